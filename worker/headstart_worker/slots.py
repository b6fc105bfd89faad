"""Admission: which job may start a compiler now.

At most `capacity` compilers run at once, their codegen tails included: a tail holds its slot until it is reaped. With a
memory budget, what they are expected to need stays within it, too. Who waits is admitted in this order:

1. the job that had its turn and did not fit the memory that was left. Nobody overtakes it, whoever waits for whom:
   otherwise small jobs that fit would keep a big one out for as long as they come;
2. jobs that an early request waits for, because others wait for what they make. A job that such a request joins
   while it queues is moved up; it stays there when the request is cancelled;
3. the rest.

Each, and those with an equal path, in the order of their requests' coming, which is that of their numbers; where paths
are known, those of 2 and 3 with the longest path first (`look_ahead`). A job that needs more than the whole budget
gets its turn like any other, and starts when nothing else runs. Not here: jobserver tokens, which bound the threads,
and what a job is expected to need (`memory`).
"""

from __future__ import annotations

import heapq
from typing import Final, final

from headstart_worker.memory import Kind, Memory

_NEXT: Final = 0
_EARLY: Final = 1
_REST: Final = 2


@final
class Slots:
    """Numbered slots, lowest free number first, so that a picture of them stays small."""

    def __init__(self, capacity: int, memory: Memory | None = None) -> None:
        """Nobody holds a slot.

        Args:
            capacity: how many there are.
            memory: the budget that is to be kept; None: there is none.
        """
        self._free = list(range(capacity))
        self._memory = memory
        self._queue: list[tuple[int, float, int, Kind]] = []
        self._holders: dict[int, int] = {}

    @property
    def running(self) -> int:
        """Slots that are held."""
        return len(self._holders)

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    def ask(self, job: int, *, early: bool, kind: Kind, path: float = 0.0) -> None:
        """Puts a job into the queue.

        Args:
            job: its number; the lower one came first.
            early: somebody waits for its early outputs.
            kind: tells what it is expected to need. Looked up when its turn comes, by when more is known.
            path: seconds by which the build lasts on at least once it has started; the same for all where nothing is known.
        """
        heapq.heappush(self._queue, (_EARLY if early else _REST, -path, job, kind))

    def expedite(self, job: int) -> None:
        """Somebody waits for the job's early outputs now; nothing changes unless it is in the queue."""
        self._queue = [
            (min(rank, _EARLY), path, number, kind) if number == job else (rank, path, number, kind)
            for rank, path, number, kind in self._queue
        ]
        heapq.heapify(self._queue)

    def admit(self) -> list[tuple[int, int]]:
        """Gives free slots to those who wait; returns (job, slot) pairs."""
        admitted = []
        while self._free and self._queue:
            _, path, job, kind = self._queue[0]
            if self._memory is not None and not self._memory.take(job, kind):
                heapq.heapreplace(self._queue, (_NEXT, path, job, kind))
                break
            heapq.heappop(self._queue)
            slot = self._holders[job] = heapq.heappop(self._free)
            admitted.append((job, slot))
        return admitted

    def withdraw(self, job: int) -> None:
        """Takes a job out, wherever it is; afterwards others may be admitted."""
        slot = self._holders.pop(job, None)
        if slot is not None:
            heapq.heappush(self._free, slot)
            if self._memory is not None:
                self._memory.give_back(job)
            return
        self._queue = [entry for entry in self._queue if entry[2] != job]
        heapq.heapify(self._queue)
