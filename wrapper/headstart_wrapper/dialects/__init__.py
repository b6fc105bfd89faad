"""What we know of compilers: each dialect turns a command line into a plan and output lines into events.

The rooms in here are pure: they are given text and give decisions, and touch neither files nor processes.
"""

from __future__ import annotations

from headstart_wrapper import programs
from headstart_wrapper.dialects.base import (
    Dialect,
    EarlyReady,
    EarlySignal,
    OutputEvent,
    OutputFilter,
    Plan,
    Text,
)
from headstart_wrapper.dialects.generic import Generic
from headstart_wrapper.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Dialect",
    "EarlyReady",
    "EarlySignal",
    "OutputEvent",
    "OutputFilter",
    "Plan",
    "Text",
    "find",
    "names",
]


def _rustc() -> Dialect:
    from headstart_wrapper.dialects.rustc import Rustc  # noqa: PLC0415 - a tenth of the wrapper's start, for one compiler

    return Rustc()


_KNOWN: dict[str, Callable[[], Dialect]] = {programs.GENERIC: Generic, programs.RUSTC: _rustc}


def names() -> tuple[str, ...]:
    """Return the names that `--dialect` takes."""
    return tuple(sorted(_KNOWN))


def find(name: str | None, command: Sequence[str]) -> Dialect:
    """Return the dialect of a command.

    Args:
        name: what `--dialect` said; None: find it from the program's file name.
        command: the compiler's argv.

    Raises:
        RequestError: there is no dialect of that name.
    """
    if name is None:
        name = programs.spoken_by(command)
    if name not in _KNOWN:
        raise RequestError(f"unknown dialect {name!r}: --dialect takes {', '.join(names())}")
    return _KNOWN[name]()
