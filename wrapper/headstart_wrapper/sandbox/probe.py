"""What this machine can do, tried once a process: for `policy` to decide by."""

from __future__ import annotations

import functools

from headstart_wrapper.job import Sandbox
from headstart_wrapper.sandbox import landlock, view
from headstart_wrapper.sandbox.policy import Available


def available(asked: Sandbox) -> Available:
    """What there is of what a mode needs; what it does not need is not tried.

    Args:
        asked: the mode.
    """
    if asked in {Sandbox.OFF, Sandbox.AUDIT}:
        return Available(landlock=0, view=False)
    abi, why_no_landlock = _landlock()
    why_no_view = _view() if asked is Sandbox.STRICT else "not asked for"
    return Available(
        landlock=abi, why_no_landlock=why_no_landlock, view=not why_no_view, why_no_view=why_no_view
    )


@functools.cache
def _landlock() -> tuple[int, str]:
    return landlock.abi()


@functools.cache
def _view() -> str:
    return view.can_be_made()
