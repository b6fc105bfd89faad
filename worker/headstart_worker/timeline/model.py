"""What a build was, as its traces tell it: the data that pictures, explanations and models are made of.

All moments are seconds of the day's clock. Pure; how traces become this is `reading`, what follows from it is `critical`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter

from attrs import Factory, field, frozen

Steps = Sequence[tuple[float, float]]
"""A quantity over time: (moment, value from then on), in order."""


@frozen
class Need:
    """Something that a compiler read and another compiler of the same worker made.

    Attributes:
        label: of the compile that made it.
        early: it was an early output.
        at: when it was there.
        job: the number of the job that made it.
    """

    label: str
    early: bool
    at: float
    job: int = 0


@frozen
class Join:
    """A request that was answered from a compiler which another request had started.

    Attributes:
        want: "early", "full" or "whole".
        at: when it came.
    """

    want: str
    at: float


@frozen
class Compile:
    """One run of a compiler.

    Attributes:
        label: what it made.
        slot: where it ran; numbers start at 0 for the first worker, at 1000 for the second, and so on.
        start, end: from its admission to its reaping.
        early: when its early outputs were complete; None: they never were apart.
        cpu: seconds of processor time.
        peak_memory: bytes.
        exit_code: as answered.
        cancelled: it was ended because nobody wanted it any more.
        job: its number; unique in one worker.
        process: the worker's id.
        cpu_early: processor seconds until `early`; None: unknown.
        queued: when it asked for a slot; `start` when unknown.
        needs: what it read that the same worker had made.
        spawned: when its process existed; None: unknown.
        reaping: when its leader had exited and the rest was swept; None: unknown.
        alone: why a request for one phase got a compiler of its own; "" when none did or nothing is known.
        staging: seconds that went into bringing its inputs to its private root.
        publishing: seconds that went into bringing its outputs to their places.
        joined: the requests that joined it.
        expected_memory: bytes that were set aside for it; None: there was no budget.
    """

    label: str
    slot: int
    start: float
    end: float
    early: float | None
    cpu: float
    peak_memory: int
    exit_code: int
    job: int = 0
    process: int = 0
    cpu_early: float | None = None
    queued: float = Factory(lambda self: self.start, takes_self=True)
    needs: tuple[Need, ...] = ()
    spawned: float | None = None
    reaping: float | None = None
    alone: str = ""
    staging: float = 0.0
    publishing: float = 0.0
    joined: tuple[Join, ...] = ()
    expected_memory: int | None = None
    cancelled: bool = False

    @property
    def failed(self) -> bool:
        """It ended badly, and nobody had ended it."""
        return self.exit_code != 0 and not self.cancelled

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from every other compile of a build."""
        return self.slot // 1000, self.job

    @property
    def seconds(self) -> float:
        """From its start to its end."""
        return self.end - self.start


@frozen
class Build:
    """One build, as its workers' traces tell it.

    Attributes:
        compiles: in the order of their starts.
        joins: requests that were answered from a compiler which another request had started.
        counters: quantities by name ("running", "waiting", "free", "memory", "rss"), where the trace has them.
    """

    compiles: tuple[Compile, ...]
    joins: int
    counters: Mapping[str, Steps] = field(factory=dict[str, Steps])

    @property
    def start(self) -> float:
        """When the first compiler started; 0 for an empty build."""
        return min((compile_.start for compile_ in self.compiles), default=0.0)

    @property
    def wall(self) -> float:
        """Seconds from the first compiler's start to the last one's end."""
        return max((compile_.end for compile_ in self.compiles), default=0.0) - self.start

    @property
    def cpu(self) -> float:
        """Processor seconds of all compilers."""
        return sum(compile_.cpu for compile_ in self.compiles)

    @property
    def peak_compilers(self) -> int:
        """The most compilers that ran at once."""
        return int(max((value for _, value in self.running()), default=0))

    @property
    def pipelined(self) -> int:
        """Compilers whose early outputs were complete before they ended."""
        return sum(compile_.early is not None for compile_ in self.compiles)

    def names(self) -> tuple[str, ...]:
        """What people call each compile: short names, with as much of label, number and worker as tells them apart."""
        shorts = Counter(short(compile_.label) for compile_ in self.compiles)
        begun = Counter(_with_hash(compile_.label) for compile_ in self.compiles)
        numbered = [
            name
            if shorts[name := short(compile_.label)] == 1
            else longer
            if begun[longer := _with_hash(compile_.label)] == 1
            else f"{longer} #{compile_.job}"
            for compile_ in self.compiles
        ]
        found = Counter(numbered)
        # Numbers of jobs are a worker's own, and two workers may have made the same.
        return tuple(
            name
            if found[name] == 1
            else f"{_with_hash(compile_.label)} #{compile_.key[0] + 1}.{compile_.job}"
            for name, compile_ in zip(numbered, self.compiles, strict=True)
        )

    def running(self) -> Steps:
        """How many compilers ran."""
        return steps((compile_.start, compile_.end, 1) for compile_ in self.compiles)

    def waiting(self) -> Steps:
        """How many jobs had asked for a slot and had none."""
        return steps((compile_.queued, compile_.start, 1) for compile_ in self.compiles)

    def memory(self) -> tuple[str, Steps]:
        """What is known of the memory, and what it is: measured, set aside, or the sum of the running compilers' peaks."""
        if self.counters.get("rss"):
            return "resident memory of each compiler's first process, added up", self.counters["rss"]
        if self.counters.get("memory"):
            return "memory set aside for the running compilers", self.counters["memory"]
        peaks = steps((compile_.start, compile_.end, compile_.peak_memory) for compile_ in self.compiles)
        return "memory: the running compilers' peaks, added up", peaks


def steps(spans: Iterable[tuple[float, float, float]]) -> Steps:
    """What spans add up to over time.

    Args:
        spans: (start, end, value) each.
    """
    edges: dict[float, float] = {}
    for start, end, value in spans:
        if end > start:
            edges[start] = edges.get(start, 0) + value
            edges[end] = edges.get(end, 0) - value
    total = 0.0
    found = []
    for moment in sorted(edges):
        total += edges[moment]
        found.append((moment, total))
    return found


def parts(compiles: Sequence[Compile]) -> Iterator[tuple[str, list[tuple[float, float, float]]]]:
    """What compiles did when, as spans for `steps`: until the early output, whole, codegen, waiting."""
    pipelined = [(one.start, one.early, one.end) for one in compiles if one.early is not None]
    yield "early", [(start, early, 1) for start, early, _ in pipelined]
    yield "whole", [(one.start, one.end, 1) for one in compiles if one.early is None]
    yield "codegen", [(early, end, 1) for _, early, end in pipelined]
    yield "waiting", [(one.queued, one.start, 1) for one in compiles if one.queued < one.start]


def means(quantity: Steps, start: float, end: float, count: int) -> list[float]:
    """A quantity's mean in each of a number of equal stretches of time: what a picture can show of it. No time has none."""
    width = (end - start) / count
    sums = [0.0] * count
    if width <= 0:
        return sums
    bounds = [*quantity, (end, 0.0)]
    for (at, value), (after, _) in pairwise(bounds):
        left, right = max((at - start) / width, 0.0), min((after - start) / width, count)
        first, last = int(left), min(int(right), count - 1)
        for stretch in range(first, last + 1) if right > left else ():
            sums[stretch] += value * (min(right, stretch + 1) - max(left, stretch))
    return sums


def value_at(quantity: Steps, moment: float) -> float:
    """What a quantity was at a moment; 0 before it was told first."""
    position = bisect_right(quantity, moment, key=itemgetter(0))
    return quantity[position - 1][1] if position else 0.0


_LIBRARY = re.compile(r"lib(.+)\.(?:rmeta|rlib|so|a)")
_HASH = re.compile(r"-([0-9a-f]{16})(?=\.|$)")


def short(label: str) -> str:
    """A label without what only machines read: the hash, and what makes a crate's name a library's."""
    name = _HASH.sub("", label)
    library = _LIBRARY.fullmatch(name)
    return library[1] if library else name


def _with_hash(label: str) -> str:
    """A short name with the first digits of the hash, if there is one."""
    found = _HASH.search(label)
    return f"{short(label)}-{found[1][:4]}" if found else short(label)
