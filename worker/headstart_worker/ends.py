"""Signals that end the worker in good order, whenever they come: before the event loop runs, and after it too.

A second one changes nothing, and none raises KeyboardInterrupt anywhere. Not here: what an end in good order is.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, Self, final

import trio

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@final
class EndSignals:
    """TERM and INT as a wish. A context manager, for the main thread.

    Attributes:
        came: one of them was received.
    """

    def __init__(self) -> None:
        self.came = False
        self._carry_out: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._ignore()

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        if self._carry_out is not None:
            self._carry_out()

    @contextlib.contextmanager
    def cancelling(self, scope: trio.CancelScope) -> Iterator[None]:
        """While the block runs, a signal cancels the scope; one that came before does so at once. After it, none does anything."""
        token = trio.lowlevel.current_trio_token()
        self._carry_out = lambda: token.run_sync_soon(scope.cancel)
        if self.came:
            scope.cancel()
        try:
            yield
        finally:
            # From here the event loop goes, and a signal's number written to its closed wake-up pipe would be complained about.
            self._ignore()
            self._carry_out = None

    @staticmethod
    def _ignore() -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
