"""How far a long command is: one line that is written over and over on a terminal, plain lines elsewhere.

    bench: 3 of 60, clean build in mode worker, 1:12, about 3 min left

Always on stderr. The line is drawn at each step and once a second; that is a timer's signal and no thread, so that what is
measured meanwhile is left alone. A dumb terminal gets plain lines, NO_COLOR takes the grey away, and a terminal that we
are not in the foreground of is left to who is. Not here: results, which a command writes itself when the line is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final, Self, final

_SECOND: Final = 1.0
_FEWEST_STEPS: Final = 2
"""Steps before anything is foretold: the first one finds nothing in any cache."""

_SHORTEST: Final = 12
"""Columns that the name of a step must have left of it to be worth showing."""

_GREY, _PLAIN, _ERASED = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


@final
class Progress:
    """The progress of one command. A context manager; at its end, whatever it is, the line is gone.

    Attributes:
        total: steps that there will be; None: nobody knows. May become known later.
        is_live: on a terminal that can write over a line.
    """

    def __init__(
        self, name: str, total: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is shown yet.

        Args:
            name: the command's.
            total: see above.
            clock: tells seconds.
        """
        self.total = total
        self.is_live = _can_rewrite()
        self._name = name
        self._clock = clock
        self._began = self._step_began = clock()
        self._done = 0
        self._step: str | None = None
        self._is_hidden = False
        self._ticks = False

    def __enter__(self) -> Self:
        # A timer's signal reaches the main thread alone, and somebody else's timer is not ours to take.
        self._ticks = (
            self.is_live
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        )
        if self._ticks:
            signal.signal(signal.SIGALRM, lambda *_: self._draw())
            signal.setitimer(signal.ITIMER_REAL, _SECOND, _SECOND)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ticks:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if self._step is not None:
            self._step = None
            self._erase()

    def begin(self, what: str) -> None:
        """A step begins; the one before, if it was not told to be done, is."""
        if self._step is not None:
            self._finish()
        self._step = what
        self._step_began = self._clock()
        if self.is_live:
            self._draw()
        else:
            _plain_line(what + self._position())

    def done(self) -> None:
        """The step that began last is over."""
        if self._step is not None:
            self._finish()
            self._erase()

    def _finish(self) -> None:
        self._done += 1
        self._step = None

    def say(self, line: str) -> None:
        """A line that stays, above the one that does not."""
        if not self.is_live:
            _plain_line(line)
            return
        self._write(f"{_ERASED if _is_ours() else ''}{line}\n")
        self._draw()

    def remark(self, line: str) -> None:
        """A line of little weight that stays, grey where there are colours."""
        self.say(f"{_GREY}{line}{_PLAIN}" if self.is_live and _has_colours() else line)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Somebody else has the terminal: our line is away meanwhile."""
        if self._step is not None:
            self._erase()
        self._is_hidden = True
        try:
            yield
        finally:
            self._is_hidden = False
            self._draw()

    def seconds_left(self) -> float | None:
        """What the rest will take if its steps are like those before; None: nobody knows."""
        is_inside = self._step is not None
        if self.total is None or self._done < _FEWEST_STEPS or self.total < self._done + is_inside:
            return None
        now = self._clock()
        inside = now - self._step_began if is_inside else 0.0
        mean = (now - inside - self._began) / self._done
        rest_of_step = max(mean - inside, 0.0) if is_inside else 0.0
        return rest_of_step + mean * (self.total - self._done - is_inside)

    def _position(self) -> str:
        if self.total is None:
            return ""
        left = self.seconds_left()
        return f" ({self._count()}{'' if left is None else ', ' + in_words(left)})"

    def _count(self) -> str:
        number = self._done + 1
        return f"{number} of {self.total}" if self.total is not None and number <= self.total else str(number)

    def _draw(self) -> None:
        if self._step is None or self._is_hidden or not self.is_live or not _is_ours():
            return
        left = self.seconds_left()
        times = [_clock_face(self._clock() - self._began), *([] if left is None else [in_words(left)])]
        # One column stays free: a terminal whose last one is written to may begin another line.
        text = fitted(f"{self._name}: {self._count()}", self._step, times, width=_columns() - 1)
        self._write(_ERASED + (f"{_GREY}{text}{_PLAIN}" if _has_colours() else text))

    def _erase(self) -> None:
        """Our line is gone; what somebody else has on the terminal in the foreground stays."""
        if self.is_live and _is_ours():
            self._write(_ERASED)

    def _write(self, text: str) -> None:
        """In one piece and unbuffered: the timer may come between any two steps of ours."""
        if not self.is_live:
            return
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), text.encode(sys.stderr.encoding, "replace"))


def fitted(head: str, what: str, times: list[str], *, width: int) -> str:
    """The line, in so many columns: first the step's name is shortened, then times go from the last, then the head is cut."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in what)
    while times and _width(", ".join([head, *times])) > width:
        times = times[:-1]
    free = width - _width(", ".join([head, "", *times]))
    if _width(clean) <= free:
        return ", ".join([head, clean, *times])
    if free >= _SHORTEST:
        return ", ".join([head, _cut(clean, free - 3) + "...", *times])
    return _cut(", ".join([head, *times]), width)


def _cut(text: str, width: int) -> str:
    while _width(text) > width:
        text = text[:-1]
        if not text:
            break
    return text


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in {"W", "F"})
        for letter in text
    )


def in_words(seconds: float) -> str:
    """No more exactly than anybody can know it."""
    minutes = round(seconds / 60)
    if seconds < 45:
        return "less than 1 min left"
    if minutes < 90:
        return f"about {max(minutes, 1)} min left"
    return f"about {round(minutes / 60)} h left"


def _clock_face(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _plain_line(line: str) -> None:
    # Type checkers take it for always there; Python starts without it when descriptor 2 is closed.
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _can_rewrite() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}


def _has_colours() -> bool:
    return not os.environ.get("NO_COLOR")


def _is_ours() -> bool:
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:
        return True  # a terminal that controls nobody: there is no other job to disturb


def _columns() -> int:
    """Asked each time: it may have been given another size."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80
