"""Which job delays the end of a build most if it waits, as far as the trace of an earlier build tells.

    path of a job = seconds from its start to the end of the last job that needs it, directly or through others,
                    if no job had to wait for a slot

A trace is a hint (I13): one that cannot be read costs the order, and a warning, never a job. Not here: what comes of
a path (`slots`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from attrs import frozen

from headstart_worker import timeline
from headstart_wrapper.console import say
from headstart_wrapper.errors import RequestError

_LARGEST: Final = 1 << 28
"""Bytes of a trace that are worth reading before the first job: some hundred thousand compiles."""


@final
@frozen
class LookAhead:
    """The paths of one trace.

    Attributes:
        paths: seconds by what a job makes, as traces label it.
        usual: their median, for a job that the trace does not know. Nothing is known against it: the first crate of a
            renamed chain must not wait for all others, and a small new program need not overtake all of them.
    """

    paths: Mapping[str, float]
    usual: float

    def path(self, label: str) -> float:
        """Seconds."""
        return self.paths.get(label, self.usual)


def read(trace: str) -> LookAhead | None:
    """Reads a worker's trace file; None, and a warning, when it is of no use."""
    try:
        paths = _paths(Path(trace))
    except Exception as error:  # noqa: BLE001 - whatever a file holds, no build fails for the want of a hint (I13)
        why = " ".join(str(error).split())
        say(f"the trace {trace} says nothing about the order of jobs, which is that of their requests: {why}")
        return None
    return LookAhead(paths, statistics.median(paths.values()))


def _paths(trace: Path) -> dict[str, float]:
    if not trace.exists():
        raise RequestError("there is no such file; this build can write it with --trace")
    if not trace.is_file():  # nobody may ever write to a fifo
        raise RequestError("it is no file")
    if trace.stat().st_size > _LARGEST:
        raise RequestError(f"it is larger than {_LARGEST >> 20} MiB; give that of one build")
    paths = longest_paths(timeline.read_build([trace.read_text("utf-8")]))
    if not paths:
        raise RequestError(
            "it tells of no compiler that used what another one had made; give that of a whole build"
        )
    return paths


def longest_paths(build: timeline.Build) -> dict[str, float]:
    """Every job's path, by its label; of several runs the last good one counts. Nothing where nobody needed anything."""
    latest = {compile_.label: compile_ for compile_ in build.compiles if compile_.exit_code == 0}
    if not any(compile_.needs for compile_ in latest.values()):
        return {}
    paths = {label: compile_.seconds for label, compile_ in latest.items()}
    # Who needs something started later, so that its own path is known when it is counted.
    for compile_ in sorted(latest.values(), key=lambda one: one.start, reverse=True):
        for need in compile_.needs:
            made_by = latest.get(need.label)
            if made_by is None or made_by.start >= compile_.start:
                continue  # two jobs of one name, or of different builds
            there = made_by.early if need.early and made_by.early is not None else made_by.end
            through = there - made_by.start + paths[compile_.label]
            paths[need.label] = max(paths[need.label], through)
    return {label: path for label, path in paths.items() if math.isfinite(path)}
