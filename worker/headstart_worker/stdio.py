"""Takes the protocol's descriptors away from everybody else.

Whatever prints, in this process or in a library, must not reach the host's stream (I4). The two descriptors are
moved to new numbers that are closed on exec; 0 becomes the null device and 1 becomes stderr.
"""

from __future__ import annotations

import os
import select
import sys

from headstart_wrapper.errors import RequestError


def claim_protocol_descriptors() -> tuple[int, int]:
    """Returns the descriptors to read requests from and to write responses to.

    Raises:
        RequestError: there is no stdin or no stdout.
    """
    null = os.open(os.devnull, os.O_RDWR)  # may be one of the three, if that was closed
    try:
        if sys.stdin is None or sys.stdout is None:
            raise RequestError("a worker serves a host on stdin and stdout, and one of them is closed")
        if sys.stderr is None:
            os.dup2(null, 2)
            os.set_inheritable(2, True)
            sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
        sys.stdout.flush()
        reader, writer = os.dup(0), os.dup(1)
        os.dup2(null, 0)
        os.dup2(2, 1)
    finally:
        if null > 2:
            os.close(null)
    return reader, writer


def holds_input(descriptor: int) -> bool:
    """True when something can be read at once; an end of the stream is nothing."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


def has_ended(descriptor: int) -> bool:
    """True when the other side of a pipe or socket is closed, whether or not everything from it was read."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
