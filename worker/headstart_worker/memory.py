"""A memory budget: whether one more compiler fits, by what earlier runs of the same job needed.

A compiler is admitted when what it is expected to need fits beside what the running ones are expected to need; alone it is
always admitted, however big. The expectation, most certain first:

1. what the latest run of the same job needed. A job stays the same across edits: it is named by what it makes;
2. for a job that never ran, what nine of ten recent runs of the same program needed at most. The maximum would let
   one giant make a whole first build run one by one;
3. for a program that never ran, `UNKNOWN`.

What a run needed is its peak as the kernel counts it: the largest single process, not the sum of a tree. That is the
compiler itself for every compiler that works in one process or runs its parts one after the other; a job that runs many
big processes at once is expected too small.

The budget is a promise about expectations: a compiler that suddenly needs more is not stopped. Not here: slots and the
order of the queue (`slots`).
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeVar, final

from attrs import frozen

UNKNOWN: Final = 512 << 20
"""Bytes, for a program of which no run is known: more than most compilers of one source file or a small crate
need, few enough that several start at once where there is memory for several."""

JOBS: Final = 10_000
"""Jobs whose need is remembered, the latest ones; each costs about 300 bytes, in a worker that lives for days."""

PROGRAMS: Final = 64
"""Programs that are remembered, the latest ones: a build has few compilers."""

RUNS: Final = 64
"""Runs of one program that are remembered, the latest ones: enough for a ninetieth percentile."""


@frozen
class Kind:
    """What makes two runs the same job across edits.

    Attributes:
        output: the first declared output, as it was declared; "" when none is.
        program: name of the compiler, without its directory.
    """

    output: str
    program: str


Key = TypeVar("Key", str, Kind)
Value = TypeVar("Value", int, deque[int])


@final
class Memory:
    """One worker's budget, what is taken of it, and what it learned."""

    def __init__(self, budget: int) -> None:
        """Nothing is taken, nothing is known.

        Args:
            budget: bytes for all compilers together.
        """
        self._budget = budget
        self._taken: dict[int, int] = {}
        self._jobs: dict[Kind, int] = {}
        self._programs: dict[str, deque[int]] = {}

    @property
    def taken(self) -> int:
        """Bytes that the running compilers are expected to need."""
        return sum(self._taken.values())

    def need(self, kind: Kind) -> int:
        """Bytes that a run of this kind is expected to need."""
        if kind in self._jobs:
            return self._jobs[kind]
        if kind.program in self._programs:
            peaks = sorted(self._programs[kind.program])
            return peaks[(9 * len(peaks) - 1) // 10]
        return UNKNOWN

    def take(self, job: int, kind: Kind) -> bool:
        """Takes what the job is expected to need; False, and nothing is taken, when it does not fit."""
        need = self.need(kind)
        if self._taken and self.taken + need > self._budget:
            return False
        self._taken[job] = need
        return True

    def taken_by(self, job: int) -> int:
        """Bytes that a job took; 0 when it took nothing."""
        return self._taken.get(job, 0)

    def give_back(self, job: int) -> None:
        """The job's processes are gone; harmless when it took nothing."""
        self._taken.pop(job, None)

    def learn(self, kind: Kind, peak: int, *, ok: bool) -> None:
        """A run has ended.

        Args:
            kind: of the job that ran.
            peak: bytes that its largest process needed; 0 when it never started.
            ok: it succeeded. A run that failed or was ended needed at least its peak, so it can only raise what
                is expected.
        """
        if not peak or (not ok and peak <= self.need(kind)):
            return
        _remember(self._jobs, kind, peak, JOBS)
        peaks = self._programs.get(kind.program, deque(maxlen=RUNS))
        peaks.append(peak)
        _remember(self._programs, kind.program, peaks, PROGRAMS)


def _remember(table: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Puts an entry at the end of a table, and drops the first ones that are too many."""
    table.pop(key, None)
    table[key] = value
    if len(table) > most:
        del table[next(iter(table))]
