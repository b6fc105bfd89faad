"""What a person is told about one request on our stderr; each line names the request.

Telling is less important than serving: a line that stderr has no room for is dropped, so nobody waits for a reader and a
full disk costs the lines only.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import Final, final

from headstart_wrapper.text import unsurrogated

_STDERR: Final = 2

_ATOMIC: Final = 4096
"""PIPE_BUF: a pipe that is said to be writable takes this much without making us wait."""

_ONE_AT_A_TIME: Final = threading.Lock()


@final
class Notes:
    """One request's lines.

    Attributes:
        request_id: of the request.
        verbose: the host asked for more (`WorkRequest.verbosity`); otherwise `tell` is silent.
    """

    def __init__(self, request_id: int, *, verbose: bool) -> None:
        self.verbose = verbose
        self.request_id = request_id
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the request was read."""
        return time.monotonic() - self._since

    def tell(self, text: str) -> None:
        """Tells it if the host asked for more."""
        if self.verbose:
            self.say(text)

    def say(self, text: str) -> None:
        """Tells it in any case."""
        for line in text.splitlines():
            _write_line(f"process-wrapper: request {self.request_id}: {line}")


def _write_line(line: str) -> None:
    data = unsurrogated(line).encode() + b"\n"
    poll = select.poll()
    poll.register(_STDERR, select.POLLOUT)
    with _ONE_AT_A_TIME, contextlib.suppress(OSError):
        while data and poll.poll(0):
            data = data[os.write(_STDERR, data[:_ATOMIC]) :]
