"""What this process says on its own account: one line on stderr for each message, and on stdout what it was asked for."""

from __future__ import annotations

import os
import sys

from headstart_wrapper.errors import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def say(message: str) -> None:
    """One line of ours; nobody hears it where stderr is closed."""
    # Type checkers take it for always there; Python starts without it when descriptor 2 is closed.
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"process-wrapper: {message}\n")
            sys.stderr.flush()
        except OSError:
            return


def answer(text: str) -> None:
    """What was asked for, in any locale; a reader may have seen enough (`| head`), or there is none.

    Raises:
        MachineError: it cannot be written.
    """
    if sys.stdout is None:
        return
    try:
        # A locale's own letters are enough: what it cannot write is one character of a help text.
        sys.stdout.write(text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding))
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            raise MachineError(f"the answer cannot be written to stdout: {error.strerror}") from error


def leave(code: int) -> NoReturn:
    """Ends this process, without the two milliseconds in which Python takes itself apart."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                code = code or 1  # as Python's own end would have it
    os._exit(code)
