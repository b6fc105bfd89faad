"""The writing end of the host's stream: whole responses in the order of their coming, and what became of the host.

It can be written to without the event loop too, because answers are still owed when that is broken. A write that was
interrupted goes on where it stopped, so a frame is never cut by another. Not here: what the bytes mean.
"""

from __future__ import annotations

import os
import select
import time
from typing import Final, NoReturn, final

import trio

_WRITE: Final = 1 << 16
"""Bytes at a time: a pipe's capacity on Linux."""


class HungUpError(Exception):
    """The host closed its end of our stdout, or it cannot be written to."""


@final
class Outbox:
    """Frames on their way to the host.

    Unbounded: a slow host must not stop cancels (I12), and there are only as many answers as there were requests.
    """

    def __init__(self, descriptor: int) -> None:
        """Takes a descriptor that nobody else writes to; it stays open."""
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._pending = bytearray()
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._emptied.set()

    def put(self, frame: bytes) -> None:
        """Takes one whole frame; never waits."""
        self._pending += frame
        self._filled.set()
        if self._emptied.is_set():
            self._emptied = trio.Event()

    async def emptied(self) -> None:
        """Waits until the host's pipe has taken everything."""
        while self._pending:
            await self._emptied.wait()

    async def write(self) -> NoReturn:
        """Writes what comes, until cancelled.

        Raises:
            HungUpError: nobody reads any more.
        """
        while True:
            await self._filled.wait()
            while self._pending:
                if self._write_some():
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_writable(self._descriptor)
            self._filled = trio.Event()
            self._emptied.set()

    async def watch(self) -> NoReturn:
        """Waits until the host hangs up; for ever where that cannot be seen (a file, a terminal).

        A pipe's writing end never becomes readable, but an error wakes whoever waits for that.

        Raises:
            HungUpError: it did.
        """
        try:
            await trio.lowlevel.wait_readable(self._descriptor)
        except OSError:
            await trio.sleep_forever()  # a file: it cannot be waited for, and has no other end
        poll = select.poll()
        poll.register(self._descriptor, 0)
        if not poll.poll(0):
            await trio.sleep_forever()  # a socket or terminal, and somebody wrote to us on it
        raise HungUpError

    def flush(self, *, seconds: float) -> bool:
        """Writes what is left, without the event loop.

        Returns:
            False when the host did not take all of it in that time.
        """
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        try:
            while self._pending and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                self._write_some()
        except HungUpError:
            return False
        return not self._pending

    def _write_some(self) -> bool:
        """Writes what fits; False when nothing does."""
        try:
            with memoryview(self._pending) as pending, pending[:_WRITE] as first:
                written = os.write(self._descriptor, first)
        except BlockingIOError:
            return False
        except OSError as error:
            raise HungUpError from error
        del self._pending[:written]
        return True
