"""Admission: which job may start a compiler now.

At most `capacity` compilers run at once, their codegen tails included: a tail holds its slot until it is reaped.
Who waits is admitted in this order: jobs that an early request waits for, because others wait for what they make;
then the rest; each in the order of their coming. Not here: jobserver tokens, which bound the threads.
"""

from __future__ import annotations

import heapq
from typing import final


@final
class Slots:
    """Numbered slots, lowest free number first, so that a picture of them stays small."""

    def __init__(self, capacity: int) -> None:
        self._free = list(range(capacity))
        self._queue: list[tuple[bool, int, int]] = []
        self._arrivals = 0
        self._holders: dict[int, int] = {}

    @property
    def running(self) -> int:
        """Slots that are held."""
        return len(self._holders)

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    def ask(self, job: int, *, early: bool) -> None:
        """Puts a job into the queue.

        Args:
            job: its number.
            early: somebody waits for its early outputs.
        """
        self._arrivals += 1
        heapq.heappush(self._queue, (not early, self._arrivals, job))

    def admit(self) -> list[tuple[int, int]]:
        """Gives free slots to those who wait; returns (job, slot) pairs."""
        admitted = []
        while self._free and self._queue:
            _, _, job = heapq.heappop(self._queue)
            slot = self._holders[job] = heapq.heappop(self._free)
            admitted.append((job, slot))
        return admitted

    def withdraw(self, job: int) -> None:
        """Takes a job out, wherever it is; afterwards others may be admitted."""
        slot = self._holders.pop(job, None)
        if slot is not None:
            heapq.heappush(self._free, slot)
            return
        self._queue = [entry for entry in self._queue if entry[2] != job]
        heapq.heapify(self._queue)
