"""What the worker does when it has nothing to do: give memory back, if somebody asked for that.

Off by default: a collection takes as long as the heap is big, and a worker that has nothing to do can wait, but the
request that comes meanwhile cannot. So it is done after a while without work, once until there was work again.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import final

import trio


@final
class Activity:
    """How much is going on: requests that are not answered, compilers that run or wait to run."""

    def __init__(self) -> None:
        self._count = 0
        self._quiet = trio.Event()
        self._quiet.set()
        self._busy = trio.Event()

    @property
    def is_quiet(self) -> bool:
        """Nothing is going on."""
        return not self._count

    def begin(self) -> None:
        """Something goes on from here until `end`."""
        if self.is_quiet:
            self._quiet = trio.Event()
            self._busy.set()
        self._count += 1

    def end(self) -> None:
        """One thing that began goes on no more."""
        self._count -= 1
        if self.is_quiet:
            self._busy = trio.Event()
            self._quiet.set()

    async def quiet(self) -> None:
        """Waits until nothing goes on."""
        while self._count:
            await self._quiet.wait()

    async def busy(self) -> None:
        """Waits until something goes on."""
        await self._busy.wait()


async def collect_when_idle(activity: Activity, seconds: float, is_asked: Callable[[], bool]) -> None:
    """Gives memory back after each time without work, until cancelled.

    Args:
        activity: what goes on.
        seconds: how long nothing must have gone on.
        is_asked: a request has come that was not read yet; it is not kept waiting.
    """
    while True:
        await activity.quiet()
        with trio.move_on_after(seconds) as waiting:
            await activity.busy()
        if not waiting.cancelled_caught:
            continue
        if activity.is_quiet and not is_asked():
            collect()
        await activity.busy()


def collect() -> None:
    """Collects cycles and gives free memory back to the system, where the C library can do that."""
    import ctypes  # noqa: PLC0415 - for those who asked for it only

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
