"""A worker's trace events on their way to a file.

Events are gathered and written together: when nothing is left to do, when there are `MOST` bytes, `LONGEST_WAIT` after the
first of them at the latest. So a worker that is killed leaves a file that can be read, without what happened in its last moments. Jobs never wait
for the file's reader, and a trace that cannot be written ends, while they go on. Not here: what an event looks like
(`trace_events`, the wrapper's), and what is worth one (`jobs`, `requests`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Self, final

import trio

from headstart_wrapper.console import say
from headstart_wrapper.errors import RequestError
from headstart_wrapper.trace_events import REQUESTS_TRACK, Arrow, Moments, Trace
from headstart_wrapper.trace_file import own_name, place_of

LONGEST_WAIT: Final = 0.1
"""Seconds from an event to its being written: nobody sees it in a picture, and ten writes a second cost nothing."""

MOST: Final = 1 << 16
"""Bytes that are gathered before they are written: a pipe's capacity on Linux."""

_LEFT_UNREAD: Final = 1 << 24
"""Bytes that a slow reader of a pipe may be behind, before the trace ends: a minute of a busy build."""


@final
class TraceFile:
    """The trace of this worker; does nothing when nobody asked for one. A context manager.

    Attributes:
        is_on: somebody asked for a trace, and it can be written.
    """

    def __init__(self, path: str | None) -> None:
        """Opens the file; one in a directory when `path` is one, or ends in a slash.

        Raises:
            RequestError: it cannot be written.
        """
        self._trace = Trace(os.getpid(), time.time() - time.monotonic())
        self._descriptor = -1
        self._gathered: list[str] = []
        self._size = 0
        self._unwritten = b""
        self._some = trio.Event()
        self._lanes: list[float] = []
        self._counters: dict[str, dict[str, int]] = {}
        self._arrows = 0
        self._named: set[int] = set()
        self.is_on = path is not None
        if path is not None:
            path = place_of(path)
            try:
                if path.endswith("/") or os.path.isdir(path):  # noqa: PTH112 - as the wrapper has it
                    os.makedirs(path, exist_ok=True)  # noqa: PTH103 - likewise
                    path = os.path.join(path, own_name())  # noqa: PTH118 - likewise
                # A fifo without a reader makes us wait for one, as in a shell; none makes us wait later.
                self._descriptor = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY | os.O_CLOEXEC, 0o666
                )
            except OSError as error:
                raise RequestError(f"the trace file {path} cannot be written: {error.strerror}") from error
            os.set_blocking(self._descriptor, False)
            self._put(self._trace.begin(time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_on:
            self._write()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def now(self) -> float:
        """The moment, on the clock that all moments here count in."""
        return time.monotonic()

    def span(self, name: str, start: float, end: float, **args: Any) -> None:
        """Something that held no slot. Spans that overlap get tracks of their own, or viewers would leave them out."""
        if self.is_on:
            self._put(self._trace.span(name, self._lane(start, end), start, end, **args))

    def job(
        self,
        track: int,
        moments: Moments,
        needs: Iterable[Arrow],
        *,
        job: int,
        label: str,
        **detail: Any,
    ) -> None:
        """A job that has ended: see `Trace.job` and `Trace.arrow`."""
        if not self.is_on:
            return
        if track not in self._named:
            self._named.add(track)
            self._put(self._trace.track(track, f"slot {track}", moments.began))
        self._put(self._trace.job(track, moments, job=job, label=label, **detail))
        for arrow in needs:
            self._arrows += 1
            self._put(
                self._trace.arrow(self._arrows, arrow, job=job, label=label, track=track, at=moments.began)
            )

    def instant(self, name: str, **args: Any) -> None:
        """See `Trace.instant`; the moment is now."""
        if self.is_on:
            self._put(self._trace.instant(name, time.monotonic(), **args))

    def counter(self, name: str, **values: int) -> None:
        """See `Trace.counter`; from now on. What has not changed is not told again."""
        if self.is_on and self._counters.get(name) != values:
            self._counters[name] = values
            self._put(self._trace.counter(name, time.monotonic(), **values))

    def flush(self) -> None:
        """Writes what is gathered now."""
        if self.is_on and self._gathered:
            self._write()

    async def write(self, sample: Callable[[], bool]) -> None:
        """Writes what is gathered, for as long as the worker lives.

        Args:
            sample: counts what has to be looked at to be known, just before a write; True: look again after `LONGEST_WAIT`.
        """
        while self.is_on:
            await self._some.wait()
            await trio.sleep(LONGEST_WAIT)
            self._some = trio.Event()
            if sample():
                self._some.set()
            self._write()

    def _lane(self, start: float, end: float) -> int:
        for lane, taken_until in enumerate(self._lanes):
            if taken_until <= start:
                self._lanes[lane] = end
                return REQUESTS_TRACK + lane
        self._lanes.append(end)
        lane = REQUESTS_TRACK + len(self._lanes) - 1
        self._put(self._trace.track(lane, "requests", start))
        return lane

    def _put(self, event: str) -> None:
        self._gathered.append(event)
        self._size += len(event)
        self._some.set()
        if self._size >= MOST:
            self._write()

    def _write(self) -> None:
        data = self._unwritten + "".join(self._gathered).encode("ascii")
        self._gathered, self._size = [], 0
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            if len(data) > _LEFT_UNREAD:
                self._end("its reader is too slow")
        except OSError as error:
            self._end(error.strerror or "no reason is known")
        self._unwritten = data if self.is_on else b""
        if self._unwritten:
            self._some.set()

    def _end(self, reason: str) -> None:
        say(f"the trace ends here, it cannot be written: {reason}")
        self.is_on = False
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1
