"""What a benchmark measured: builds, and the experiments that they belong to. Pure; what may be said of them is `verdicts`' business.

    Taken       one build in one mode
    Experiment  builds that may be compared: same units, same edit, same profile, same number of jobs, modes in turn
    Result      everything of one command, with the machine that it was taken on

The JSON form holds, for each mode of an experiment, what `hyperfine --export-json` holds for a command, and more beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, field, frozen

CLEAN: Final = "clean"
"""The scenario in which nothing is built yet. Others are named by the edited crate: `edit of tokio (middle)`."""

FORMAT: Final = 1


@frozen
class Taken:
    """One build.

    Attributes:
        mode: how the units were compiled, or which peer built them: "none", "two_invocation", "hollow", "worker", "worker+sandbox",
            "cargo", "bazel:none" and so on, or the name of a peer.
        wall: seconds from the first request to the last answer; a build tool's from its start to its end.
        user, system: processor seconds of all processes: host or build tool, worker, compilers, killed ones too. The harness's own
            are left out where it is the host.
        peak_compilers: the most compilers that were seen at once.
        peak_memory: bytes, the most that the worker or build tool and all compilers had at once, shared pages counted once (PSS).
        actions: requests, or actions of a build tool.
        compilers: how many compilers were started.
        joins: requests that were answered from a compiler that another request had started; None where there is no such thing.
        outputs: digest of all outputs' names and bytes.
        load: the load average of the last minute before it began.
        stolen: part of the processors' time that the machine's own host took meanwhile, from 0 to 1; None where it does not tell.
    """

    mode: str
    wall: float
    user: float
    system: float
    peak_compilers: int
    peak_memory: int
    actions: int
    compilers: int
    joins: int | None
    outputs: str
    load: float
    stolen: float | None = None

    @property
    def cpu(self) -> float:
        """Processor seconds."""
        return self.user + self.system


@frozen
class Bounds:
    """What no schedule can beat.

    Attributes:
        work: seconds, the compilers' processor time divided by the jobs, or by the cores where these are fewer.
        critical_path: seconds, the longest chain of units, each as long as its fastest run, early edges where the mode has them.
    """

    work: float
    critical_path: float


@frozen
class Experiment:
    """Builds that may be compared.

    Attributes:
        workspace: its name.
        profile: "dev", "release", or "synthetic".
        scenario: CLEAN, or what was edited.
        jobs: compilers that may run at once.
        units: how many the scenario compiles.
        taken: builds in the order in which they ran.
        bounds: by mode, where phases are known.
        equal: modes whose outputs must have the same bytes, in groups.
    """

    workspace: str
    profile: str
    scenario: str
    jobs: int
    units: int
    taken: tuple[Taken, ...]
    bounds: dict[str, Bounds] = field(factory=dict)
    equal: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.workspace}, {self.profile}, {self.scenario}, {self.jobs} jobs"

    @property
    def modes(self) -> tuple[str, ...]:
        """In the order of their first builds."""
        return tuple(dict.fromkeys(one.mode for one in self.taken))

    def of(self, mode: str) -> tuple[Taken, ...]:
        """The builds of one mode."""
        return tuple(one for one in self.taken if one.mode == mode)

    def export(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "workspace": self.workspace,
            "profile": self.profile,
            "scenario": self.scenario,
            "jobs": self.jobs,
            "units": self.units,
            "results": [_hyperfine(mode, self.of(mode)) for mode in self.modes],
            "bounds": {mode: asdict(bounds) for mode, bounds in self.bounds.items()},
            "equal": [list(group) for group in self.equal],
            "taken": [_rounded(asdict(one)) for one in self.taken],
        }


def read(document: dict[str, Any]) -> Experiment:
    """The inverse of `Experiment.export`."""
    return Experiment(
        workspace=document["workspace"],
        profile=document["profile"],
        scenario=document["scenario"],
        jobs=document["jobs"],
        units=document["units"],
        taken=tuple(Taken(**one) for one in document["taken"]),
        bounds={mode: Bounds(**bounds) for mode, bounds in document["bounds"].items()},
        equal=tuple(tuple(group) for group in document["equal"]),
    )


def _hyperfine(mode: str, taken: Sequence[Taken]) -> dict[str, Any]:
    """The schema of `hyperfine --export-json`."""
    times = [one.wall for one in taken]
    return _rounded(
        {
            "command": mode,
            "mean": statistics.fmean(times),
            "stddev": statistics.stdev(times) if len(times) > 1 else None,
            "median": statistics.median(times),
            "user": statistics.fmean(one.user for one in taken),
            "system": statistics.fmean(one.system for one in taken),
            "min": min(times),
            "max": max(times),
            "times": [round(seconds, 4) for seconds in times],
            "memory_usage_byte": [one.peak_memory for one in taken],
            "exit_codes": [0] * len(times),
        }
    )


def _rounded(document: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in document.items()}
