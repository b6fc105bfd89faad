"""Compares clean builds without pipelining and with one-process pipelining, on a real workspace, honestly.

    benchmarks/modes.py [--rounds=3] [--source=examples/search]

The host is the embedded one, because it adds the least of its own: what differs is the mode. Builds of the modes take turns; each has
a worker of its own and begins with nothing. When the ranges of two modes overlap, no speedup is said, because none was seen.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import trio
from attrs import frozen

import measure
from headstart_worker import timeline
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.cargo.units import Units
from headstart_worker.testing import FakeHost, build

RESULTS = Path(__file__).parent / "results"
MODES: Final[tuple[Mode, ...]] = ("none", "worker")

REQUESTS_PER_CORE: Final = 4
"""Requests in flight, as in the demonstration: early answers come while compilers still run."""


FEWEST_ROUNDS: Final = 3
"""With two, equal modes would seem different one time in three."""


@frozen
class Taken:
    """One build: wall and compilers' processor seconds, and what the trace tells."""

    mode: Mode
    wall: float
    cpu: float
    peak_compilers: int
    compilers: int
    pipelined: int
    joins: int
    load: float

    def export(self) -> dict[str, Any]:
        """For the file of results."""
        return {
            "mode": self.mode,
            "wall": round(self.wall, 3),
            "cpu": round(self.cpu, 3),
            "peak_compilers": self.peak_compilers,
            "compilers": self.compilers,
            "pipelined": self.pipelined,
            "joins": self.joins,
            "load": self.load,
        }


def main() -> None:
    """Runs the rounds and writes `results/modes.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="clean builds in each mode (3)")
    parser.add_argument(
        "--source", type=Path, default=Path("examples/search"), help="a Cargo workspace (examples/search)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "modes.json", help="file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headstart-modes-") as directory:
        workspace = Path(directory, "workspace")
        units = import_cargo(options.source, workspace, progress=lambda line: print(line, file=sys.stderr))
        taken: list[Taken] = []
        # The import has built everything once, so that no round is the first to read it from disk.
        for number in range(options.rounds):
            for mode in MODES if number % 2 == 0 else reversed(MODES):
                taken.append(_build(units, workspace, mode))
                print(f"  round {number + 1}  {taken[-1].mode:8}{taken[-1].wall:8.2f} s")
    builds = [one.export() for one in taken]
    result: dict[str, Any] = {
        "machine": measure.machine(),
        "command": f"benchmarks/modes.py --rounds={options.rounds} --source={options.source}",
        "builds": builds,
        "verdict": verdict(builds),
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\n{result['verdict']}\nwritten to {options.output}")


def _build(units: Units, workspace: Path, mode: Mode) -> Taken:
    cores = measure.cores()
    trace = workspace.with_name("trace.json")
    shutil.rmtree(workspace / "out", ignore_errors=True)

    async def run() -> float:
        options = (f"--jobs={cores}", f"--trace={trace}")
        async with FakeHost(options=options, cwd=workspace) as host:
            report = await build(
                units,
                workspace=workspace,
                outroot="out",
                mode=mode,
                jobs=REQUESTS_PER_CORE * cores,
                host=host,
            )
        if report.failures:
            raise SystemExit(f"a build in mode {mode} failed, nothing can be compared: {report.failures[0]}")
        return report.seconds

    load, since = measure.load(), time.time()
    wall = trio.run(run)
    seen = timeline.read_build([trace.read_text("utf-8")], since=since)
    return Taken(
        mode, wall, seen.cpu, seen.peak_compilers, len(seen.compiles), seen.pipelined, seen.joins, load
    )


def verdict(builds: list[dict[str, Any]]) -> str:
    """What may be said about the wall time, and no more."""
    none, worker = (
        measure.Sample(mode, tuple(one["wall"] for one in builds if one["mode"] == mode)) for mode in MODES
    )
    rounds = len(none.times)
    told = f"{rounds} clean builds each, mode none {_range(none)}, mode worker {_range(worker)}"
    if rounds < FEWEST_ROUNDS:
        return f"Too few rounds to compare wall times ({told}); run at least {FEWEST_ROUNDS}."
    if min(none.times) <= max(worker.times) and min(worker.times) <= max(none.times):
        return f"No difference in wall time was seen ({told}): the ranges overlap."
    faster, slower = sorted((none, worker), key=lambda sample: sample.median)
    # Two equal modes leave no overlap when the order of all builds happens to be one of these two.
    chance = math.comb(2 * rounds, rounds) // 2
    return (
        f"Mode {faster.command} was faster ({told}): {slower.median / faster.median:.2f} times in the median. "
        f"Equal modes would show ranges this far apart one time in {chance}."
    )


def _range(sample: measure.Sample) -> str:
    return f"{min(sample.times):.1f} to {max(sample.times):.1f} s"


if __name__ == "__main__":
    main()
