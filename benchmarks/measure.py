"""Takes times of several things in turn, so that whatever else the machine does falls on all of them alike.

Not for judging: a sample tells its times and their spread; what may be said of two samples is the business of who compares them.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from headstart_worker.bench.machine import cores, load, machine

__all__ = ["Run", "Sample", "cores", "interleaved", "load", "machine", "more", "ratio"]


@frozen
class Sample:
    """The times of one thing.

    Attributes:
        command: what was measured.
        times: seconds, in the order in which they were taken.
        user, system: mean processor seconds of one run; None where they cannot be told apart from others'.
        peak_memory: bytes, the largest as the kernel reports it; None where nobody asked.
        rounds: the number of turns in which the times were taken, equally many in each; None: each had its own. What was taken in one
            turn shares the machine's mood, so chance is judged by turns (`bench.regressions`).
    """

    command: str
    times: tuple[float, ...]
    user: float | None = None
    system: float | None = None
    peak_memory: int | None = None
    rounds: int | None = None

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.times)

    def export(self) -> dict[str, Any]:
        """The schema of `hyperfine --export-json`, as far as it was measured."""
        rounds = {} if self.rounds in {None, len(self.times)} else {"rounds": self.rounds}
        return {
            "command": self.command,
            **rounds,
            "mean": statistics.fmean(self.times),
            "stddev": statistics.stdev(self.times) if len(self.times) > 1 else None,
            "median": self.median,
            "p10": sorted(self.times)[len(self.times) // 10],
            "user": self.user,
            "system": self.system,
            "min": min(self.times),
            "max": max(self.times),
            "times": [round(seconds, 7) for seconds in self.times],
            "memory_usage_byte": self.peak_memory,
        }


@frozen
class Run:
    """What one run of something gave: times (one or several), processor seconds, the kernel's peak memory in bytes."""

    times: tuple[float, ...]
    user: float | None = None
    system: float | None = None
    peak_memory: int | None = None


def interleaved(things: Mapping[str, Callable[[], Run]], *, rounds: int, warm_up: int = 1) -> list[Sample]:
    """Runs everything once a round, each round beginning with another one.

    Args:
        things: by the command that names them.
        rounds: how often each is run.
        warm_up: rounds before that, whose times are forgotten: page cache, byte code.
    """
    runs: dict[str, list[Run]] = {command: [] for command in things}
    commands = list(things)
    for number in range(-warm_up, rounds):
        first = number % len(commands)
        for command in commands[first:] + commands[:first]:
            run = things[command]()
            if number >= 0:
                runs[command].append(run)
    return [_sample(command, taken) for command, taken in runs.items()]


def _sample(command: str, runs: Sequence[Run]) -> Sample:
    peaks = [run.peak_memory for run in runs if run.peak_memory is not None]
    users = [run.user for run in runs if run.user is not None]
    systems = [run.system for run in runs if run.system is not None]
    return Sample(
        command,
        tuple(seconds for run in runs for seconds in run.times),
        statistics.fmean(users) if users else None,
        statistics.fmean(systems) if systems else None,
        max(peaks, default=None),
        len(runs),
    )


def more(sample: Sample, base: Sample) -> dict[str, float]:
    """How many seconds more one took than another in the same round: the median, and between which two the middle half lies."""
    q1, median, q3 = statistics.quantiles(_pairs(sample, base, operator.sub), n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3}


def ratio(sample: Sample, base: Sample) -> dict[str, float]:
    """How many times as long one took as another in the same round: the median and the range."""
    times = _pairs(sample, base, operator.truediv)
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def _pairs(sample: Sample, base: Sample, how: Callable[[float, float], float]) -> list[float]:
    return [how(*pair) for pair in zip(sample.times, base.times, strict=True)]
