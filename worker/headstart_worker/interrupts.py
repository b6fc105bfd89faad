"""Signals that end a companion command: what it started ends first, and its last line says so instead of a traceback.

Not for the worker: its ends are `ends`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from headstart_wrapper.errors import HeadstartError

_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)


class BrokenOffError(HeadstartError):
    """A signal ended the command; its exit code is 128 and the signal's number.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__("broken off" + (f"; what was finished before is in {kept}" if kept else ""))
        self.number = number
        self.exit_code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Makes every signal that ends us come as ^C does, so that workers end and directories go.

    Raises:
        BrokenOffError: one came.
        HeadstartError: likewise where trio had put it into a group.
    """
    with _as_interrupts() as came:
        try:
            yield
        except BaseException as error:
            found = first(error)
            if came or isinstance(found, KeyboardInterrupt):  # whatever went wrong while it ended
                raise BrokenOffError(came[0] if came else signal.SIGINT) from None
            if found is error:
                raise
            raise found from error


@contextmanager
def _as_interrupts() -> Iterator[list[int]]:
    """Tells which other signals became interrupts."""
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        # A second one, as `timeout` sends to the group, must not break off what the first one's end does.
        if not came:
            came.append(number)
            signal.raise_signal(signal.SIGINT)

    # A shell without job control starts what is in its background with ^C ignored, and then no signal could become one.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves the hangup
            before[number] = signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first(error: BaseException) -> BaseException:
    """What went wrong, out of the groups that trio makes: an interrupt before all else, then an error of ours."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    for kind in (KeyboardInterrupt, HeadstartError):
        if (group := error.subgroup(kind)) is not None:
            return first(group.exceptions[0])
    return error
