"""Writes trace events to a file as they happen, so that a killed worker leaves a usable one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Self, TextIO, final

from headstart_worker.trace import Trace
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
            self._file.write(self._trace.begin(time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def span(self, name: str, track: int, start: float, end: float, **args: Any) -> None:
        """See `Trace.span`."""
        if self._file is not None:
            self._file.write(self._trace.span(name, track, start, end, **args))

    def instant(self, name: str, **args: Any) -> None:
        """See `Trace.instant`; the moment is now."""
        if self._file is not None:
            self._file.write(self._trace.instant(name, time.monotonic(), **args))

    def counter(self, name: str, moment: float, value: int) -> None:
        """See `Trace.counter`."""
        if self._file is not None:
            self._file.write(self._trace.counter(name, moment, value))
