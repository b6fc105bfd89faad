"""Finds processes by the variables that they inherited, wherever they went."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from attrs import frozen

from survivors import await_exit, is_alive

WORKER = "STORM_WORKER"
"""The variable that names the worker from which a process comes."""

JOB = "STORM_JOB"
"""The variable that names the job from which a process comes."""

ESCAPED = b"STORM_ESCAPED=1"
"""What processes have in their environment that leave their job's group on purpose."""


@frozen
class Found:
    """A living process. Attributes: its id, its command line, and whether it left its group on purpose."""

    pid: int
    command: str
    escaped: bool


def living(variable: str, value: str) -> list[Found]:
    """The processes that inherited the variable with the value."""
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are what is wanted
        if not entry.isdecimal():
            continue
        with contextlib.suppress(OSError):
            variables = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            if wanted in variables and is_alive(int(entry)):
                command = (
                    Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                found.append(Found(int(entry), command.strip(), ESCAPED in variables))
    return found


def left(variable: str, value: str, seconds: float, *, but_escaped: bool = False) -> list[Found]:
    """Waits until all processes with the variable are gone; returns those that live on after that time.

    Args:
        variable, value: what they have in their environment.
        seconds: how long they have.
        but_escaped: those that left their group may live.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = [one for one in living(variable, value) if not (but_escaped and one.escaped)]
        if not found or not await_exit([one.pid for one in found], deadline - time.monotonic()):
            return [one for one in found if is_alive(one.pid)]


def kill(found: list[Found]) -> None:
    """Ends what was found."""
    for one in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
