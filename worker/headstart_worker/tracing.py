"""Writes trace events to a file as they happen, so that a killed worker leaves a usable one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TextIO, final

from headstart_worker.trace import Trace
from headstart_wrapper.console import say
from headstart_wrapper.errors import RequestError


@final
class TraceFile:
    """The trace of this worker; does nothing when nobody asked for one. A context manager."""

    def __init__(self, path: str | None) -> None:
        """Opens the file; `%p` in its name becomes the process id, because a host may start several workers.

        Raises:
            RequestError: it cannot be written.
        """
        self._trace = Trace(os.getpid(), time.time() - time.monotonic())
        self._file: TextIO | None = None
        if path is not None:
            path = path.replace("%p", str(os.getpid()))
            try:
                self._file = Path(path).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed by __exit__
            except OSError as error:
                raise RequestError(f"the trace file {path} cannot be written: {error.strerror}") from error
            self._write(lambda: self._trace.begin(time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def span(self, name: str, track: int, start: float, end: float, **args: Any) -> None:
        """See `Trace.span`."""
        self._write(lambda: self._trace.span(name, track, start, end, **args))

    def instant(self, name: str, **args: Any) -> None:
        """See `Trace.instant`; the moment is now."""
        self._write(lambda: self._trace.instant(name, time.monotonic(), **args))

    def counter(self, name: str, moment: float, value: int) -> None:
        """See `Trace.counter`."""
        self._write(lambda: self._trace.counter(name, moment, value))

    def _write(self, event: Callable[[], str]) -> None:
        """Writes one event; a trace that cannot be written ends, the jobs that it tells of go on."""
        if self._file is None:
            return
        try:
            self._file.write(event())
        except OSError as error:
            say(f"the trace ends here, it cannot be written: {error.strerror}")
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
