"""A build run again on paper: the same compiles, needs and number of slots, one compile taking no time.

The difference is what that compile cost the build. Whoever is ready takes a free slot in the order of the build that was; hosts,
spawning and processors are free, so it is differences that mean something, not walls. For other numbers of slots, costs of
machines and predictions there is `headstart_worker.model`. Pure.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from headstart_worker.timeline.model import Build

_TRIED: Final = 200
"""Compiles of a build that are left out in turn, the longest: hardly any other costs more, and each try takes as long as all
of the build's needs."""


@frozen
class Edge:
    """One compile's need of another's output.

    Attributes:
        of, by: indices of the compiles, in the build's order.
        early: the early output served.
    """

    of: int
    by: int
    early: bool


def costs(build: Build, edges: Sequence[Edge]) -> tuple[float | None, ...]:
    """How much sooner the build would have ended if a compile had taken no time, in seconds; None where that was not tried."""
    replay = _Replay(build, edges, slots=build.peak_compilers)
    unchanged = replay.wall()
    by_length = sorted(range(len(build.compiles)), key=lambda index: -build.compiles[index].seconds)
    tried = set(by_length[:_TRIED])
    return tuple(
        max(unchanged - replay.wall(without=index), 0.0) if index in tried else None
        for index in range(len(build.compiles))
    )


def longest_chain(build: Build, edges: Sequence[Edge]) -> float:
    """Seconds that the build would have taken with a slot for everybody."""
    return _Replay(build, edges, slots=len(build.compiles)).wall()


class _Replay:
    def __init__(self, build: Build, edges: Sequence[Edge], *, slots: int) -> None:
        # Of compiles that took no time none is seen to run, and each needs a slot all the same.
        self._slots = max(slots, 1)
        self._whole = [compile_.seconds for compile_ in build.compiles]
        self._early = [
            compile_.seconds if compile_.early is None else compile_.early - compile_.start
            for compile_ in build.compiles
        ]
        self._needed = [0] * len(self._whole)
        self._after_early: dict[int, list[int]] = defaultdict(list)
        self._after_full: dict[int, list[int]] = defaultdict(list)
        for edge in edges:
            (self._after_early if edge.early else self._after_full)[edge.of].append(edge.by)
            self._needed[edge.by] += 1

    def wall(self, without: int | None = None) -> float:
        """How long it takes, with one compile that takes no time or none."""
        missing = list(self._needed)
        ready = [index for index, count in enumerate(missing) if count == 0]
        free, now = self._slots, 0.0
        # What will happen: (moment, 0 for an early output and 1 for an end, compile).
        coming: list[tuple[float, int, int]] = []
        while ready or coming:
            while free and ready:
                index, free = heapq.heappop(ready), free - 1
                takes = 0.0 if index == without else 1.0
                heapq.heappush(coming, (now + takes * self._early[index], 0, index))
                heapq.heappush(coming, (now + takes * self._whole[index], 1, index))
            now, is_end, index = heapq.heappop(coming)
            free += is_end
            for dependent in (self._after_full if is_end else self._after_early)[index]:
                missing[dependent] -= 1
                if missing[dependent] == 0:
                    heapq.heappush(ready, dependent)
        return now
