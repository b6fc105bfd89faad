"""What held a build up: which wait came last before each compile, the chain of them, and what each compile cost the build.

Each compile has constraints: early and full outputs that it needed, the compiler whose slot it got after waiting for one, and, where it
waited for something else (a token, memory), the compiler that ended last before it got its turn. The one that came last
held it up. What lies between that and its start (the host, staging, spawning) is its lag, and is taken as fixed, so that:

    the critical path    follows the last constraint backwards from the compile that ended last;
    a compile's slack    is how much longer it could have taken while the build ended when it did;
    a compile's delay    is how much sooner the build would have ended if it had taken no time at all (see `replay`).

The first two hold for the schedule that was, slots included. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Final, final

from attrs import define, frozen

from headstart_worker.timeline.model import Build, Compile, value_at
from headstart_worker.timeline.replay import Edge, costs, longest_chain

_NOTICED: Final = 0.01
"""Seconds that a job may queue without there being a reason to look for: an event loop under load takes as long."""


class Why(StrEnum):
    """What a compile waited for."""

    EARLY = "early output"
    FULL = "full output"
    SLOT = "slot"
    TOKEN = "jobserver token"  # noqa: S105 - the jobserver's word
    MEMORY = "memory"
    TURN = "turn"


@frozen
class Constraint:
    """What a compile could not start before.

    Attributes:
        of: index of the compile that it waited for, in the build's order.
        at: when it was there.
        why: what it was.
    """

    of: int
    at: float
    why: Why


@frozen
class Segment:
    """A piece of the critical path.

    Attributes:
        index: of the compile, in the build's order.
        start, end: the part of the compile that lies on the path.
        why: what the next one waited for; None for the last.
        lag: seconds from there to the next one's start.
    """

    index: int
    start: float
    end: float
    why: Why | None
    lag: float

    @property
    def seconds(self) -> float:
        """How long the piece is."""
        return self.end - self.start


@frozen
class Blame:
    """What one compile did to the build.

    Attributes:
        slack: seconds; 0 on the critical path.
        delay: seconds; None where the trace does not tell who needed whom, and for all but the longest compiles of a big build.
    """

    slack: float
    delay: float | None


@final
@define(slots=False)
class Critical:
    """The constraints of one build's compiles, and what follows from them. What nobody asks for is not worked out.

    Attributes:
        build: that of the trace.
    """

    build: Build

    @cached_property
    def names(self) -> tuple[str, ...]:
        """See `Build.names`."""
        return self.build.names()

    @cached_property
    def zero(self) -> float:
        """The build's start, from which people count."""
        return self.build.start

    @cached_property
    def knows_needs(self) -> bool:
        """True when the trace tells what compiles needed: older ones do not, and one compile alone has nothing to need."""
        return any(compile_.needs for compile_ in self.build.compiles)

    @cached_property
    def constraints(self) -> tuple[tuple[Constraint, ...], ...]:
        """Those of every compile, in the build's order."""
        return _constraints(self.build)

    @cached_property
    def held_by(self) -> tuple[Constraint | None, ...]:
        """What held each compile up: what came last; None: nothing that this trace knows of."""
        return tuple(
            max(those, key=lambda constraint: constraint.at, default=None) for those in self.constraints
        )

    @cached_property
    def unlocked(self) -> dict[int, list[int]]:
        """Which compiles each one held up, by index."""
        found: dict[int, list[int]] = defaultdict(list)
        for index, held in enumerate(self.held_by):
            if held is not None:
                found[held.of].append(index)
        return found

    @cached_property
    def path(self) -> tuple[Segment, ...]:
        """The critical path, in the order of time; empty where the trace does not tell who needed whom."""
        compiles = self.build.compiles
        if not self.knows_needs:
            return ()
        index = max(range(len(compiles)), key=lambda at: compiles[at].end)
        found = [Segment(index, compiles[index].start, compiles[index].end, None, 0.0)]
        while (held := self.held_by[index]) is not None:
            lag, index = self._lag[index], held.of
            found.append(Segment(index, compiles[index].start, held.at, held.why, lag))
        return tuple(reversed(found))

    @cached_property
    def on_path(self) -> frozenset[int]:
        """The compiles of the critical path, by index."""
        return frozenset(segment.index for segment in self.path)

    @cached_property
    def blames(self) -> tuple[Blame, ...]:
        """What every compile did to the build, in its order."""
        delays: Sequence[float | None] = [None] * len(self.build.compiles)
        if self.knows_needs:
            delays = costs(self.build, self._edges)
        return tuple(Blame(slack, delay) for slack, delay in zip(self._slack(), delays, strict=True))

    @cached_property
    def longest_chain(self) -> float:
        """Seconds that the build would have taken at least, with a slot for everybody."""
        return longest_chain(self.build, self._edges)

    @cached_property
    def _edges(self) -> list[Edge]:
        return [
            Edge(held.of, index, held.why is Why.EARLY)
            for index, those in enumerate(self.constraints)
            for held in those
            if held.why in {Why.EARLY, Why.FULL}
        ]

    @cached_property
    def _lag(self) -> tuple[float, ...]:
        return tuple(
            0.0 if held is None else compile_.start - held.at
            for compile_, held in zip(self.build.compiles, self.held_by, strict=True)
        )

    def _slack(self) -> list[float]:
        compiles = self.build.compiles
        last = max((compile_.end for compile_ in compiles), default=0.0)
        slack = [last - compile_.end for compile_ in compiles]
        next_in_slot: dict[int, int] = {}
        for index in reversed(range(len(compiles))):
            compile_ = compiles[index]
            if (after := next_in_slot.get(compile_.slot)) is not None:
                slack[index] = min(slack[index], slack[after] + compiles[after].start - compile_.end)
            next_in_slot[compile_.slot] = index
            for constraint in self.constraints[index]:
                room = slack[index] + compile_.start - self._lag[index] - constraint.at
                slack[constraint.of] = min(slack[constraint.of], room)
        return slack


def _constraints(build: Build) -> tuple[tuple[Constraint, ...], ...]:
    compiles = build.compiles
    by_key = {compile_.key: index for index, compile_ in enumerate(compiles)}
    in_slot: dict[int, list[int]] = defaultdict(list)
    by_end = sorted(range(len(compiles)), key=lambda at: compiles[at].end)
    ends = [compiles[at].end for at in by_end]
    found = []
    for index, compile_ in enumerate(compiles):
        needs = [
            Constraint(of, need.at, Why.EARLY if need.early else Why.FULL)
            for need in compile_.needs
            # Clocks are rounded to microseconds, so what ran before may seem to have started after.
            if (of := by_key.get((compile_.slot // 1000, need.job))) is not None and of < index
        ]
        turn = _turn(build, index, in_slot[compile_.slot], by_end[: bisect_right(ends, compile_.start)])
        in_slot[compile_.slot].append(index)
        found.append((*needs, *([turn] if turn is not None else [])))
    return tuple(found)


def _turn(build: Build, index: int, in_slot: Sequence[int], ended: Sequence[int]) -> Constraint | None:
    """What ended so that a compile got its turn; None when it had it at once.

    Args:
        build: all of it.
        index: the compile's.
        in_slot: those before it in its slot.
        ended: those that had ended when it started, in the order of their ends.
    """
    compile_ = build.compiles[index]
    if in_slot:
        holder = build.compiles[in_slot[-1]]
        if compile_.queued < holder.end and compile_.start - holder.end <= max(
            _NOTICED, holder.end - compile_.queued
        ):
            return Constraint(in_slot[-1], holder.end, Why.SLOT)
    if compile_.start - compile_.queued < _NOTICED:
        return None
    for other in reversed(ended):
        candidate = build.compiles[other]
        if candidate.end < compile_.queued:
            return None
        if candidate.slot // 1000 == compile_.slot // 1000 and other < index:
            return Constraint(other, candidate.end, _scarce(build, compile_))
    return None


def _scarce(build: Build, compile_: Compile) -> Why:
    """What there was too little of while a compile waited though there was a slot."""
    middle = (compile_.queued + compile_.start) / 2
    free = build.counters.get("free")
    if free and value_at(free, middle) <= 0:
        return Why.TOKEN
    return Why.MEMORY if compile_.expected_memory is not None else Why.TURN
