"""Where a fault of ours is shut in: in one request, or in the worker.

What a request's own work raises, whatever it is, becomes that request's answer. What is raised while the state that
all requests share is changed leaves that state half-changed: somebody would wait for ever. It ends the worker, which
answers everybody first (`correspondence`). `fatal` marks the functions that change such state. Either way
`bug_report` is what is said of it.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import trio

_P = ParamSpec("_P")
_R = TypeVar("_R")


class BrokenStateError(BaseException):
    """We have a bug, and the state that requests share cannot be trusted any more; the cause tells which bug."""


ENDS_OF_EVERYTHING = (BrokenStateError, trio.Cancelled, GeneratorExit)
"""What nobody who serves one request may catch. A KeyboardInterrupt is not among them: signals do not raise here, so it
is some code's own, like a SystemExit."""


def fatal(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Marks a function that changes what requests share: an exception in it is the whole worker's end."""

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            raise BrokenStateError(f"{function.__qualname__} failed half-way") from error

    return guarded


def bug_report() -> str:
    """What to say about the exception that is being handled."""
    return f"this is a bug in process-wrapper; please report it with\n{traceback.format_exc().rstrip()}"
