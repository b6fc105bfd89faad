"""Builds and results that were never measured, for tests of what is said of them."""

from __future__ import annotations

from collections.abc import Sequence

from headstart_worker.bench.records import CLEAN, Bounds, Experiment, Taken
from headstart_worker.bench.result import Result
from headstart_worker.bench.warnings import Condition

QUIET = Condition(cores=2, load=0.1, pressure=0.0, governor="performance", boost=False)


def taken(mode: str, wall: float, cpu: float | None = None, *, stolen: float | None = 0.0) -> Taken:
    """A build; its processor time is twice its wall time when nobody says otherwise."""
    return Taken(
        mode=mode,
        wall=wall,
        user=2 * wall if cpu is None else cpu,
        system=0.0,
        peak_compilers=2,
        peak_memory=400 << 20,
        actions=20,
        compilers=10,
        joins=8 if mode.startswith("worker") else None,
        outputs="digest",
        load=1.5,
        stolen=stolen,
    )


def experiment(
    *builds: Taken,
    scenario: str = CLEAN,
    jobs: int = 2,
    bounds: dict[str, Bounds] | None = None,
    equal: tuple[tuple[str, ...], ...] = (),
) -> Experiment:
    """With these builds in this order."""
    return Experiment("search", "dev", scenario, jobs, 10, builds, bounds or {}, equal)


def of(**walls: Sequence[float]) -> Experiment:
    """By mode, the wall times of its builds, in turn."""
    rounds = max(map(len, walls.values()))
    return experiment(
        *(
            taken(mode, times[number])
            for number in range(rounds)
            for mode, times in walls.items()
            if number < len(times)
        )
    )


def result(*experiments: Experiment, model: dict[str, object] | None = None) -> Result:
    """Of a quiet machine."""
    return Result(
        machine={
            "cpu": "A Processor",
            "cores": 2,
            "memory_bytes": 8 << 30,
            "kernel": "6.1",
            "python": "3.11.2",
        },
        tools={"rustc": "rustc 1.95.0"},
        before=QUIET,
        command="headstart bench examples/search",
        began="2026-01-01T10:00:00+00:00",
        ended="2026-01-01T10:20:00+00:00",
        experiments=experiments,
        model=model,
    )
