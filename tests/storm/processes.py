"""Finds processes by the variables that they inherited, wherever they went."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from headstart_wrapper.spawner import TAG
from survivors import await_exit, is_alive

WORKER = "STORM_WORKER"
"""The variable that names the worker from which a process comes."""

JOB = "STORM_JOB"
"""The variable that names the job from which a process comes."""

ESCAPED = b"STORM_ESCAPED=1"
"""What processes have in their environment that leave their job's group on purpose."""


@frozen
class Found:
    """A living process.

    Attributes:
        pid, command: its id and its command line.
        escaped: it left its group on purpose.
        start: its job was the how manieth that its helper started; 0: it is no job's.
    """

    pid: int
    command: str
    escaped: bool
    start: int = 0


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
                found.append(Found(int(entry), command.strip(), ESCAPED in variables, _start(variables)))
    return found


def _start(variables: list[bytes]) -> int:
    tags = [variable for variable in variables if variable.startswith(f"{TAG}=".encode())]
    return int(tags[0].rpartition(b"/")[2]) if tags else 0


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


def are_one_start(found: Sequence[Found], others: Iterable[Found]) -> bool:
    """True when all of them can be of the job that the helper was starting when it was killed.

    It starts one at a time, so there is one such job, and it is the last one that anybody was seen of.
    """
    last = max(one.start for one in (*found, *others))
    return last > 0 and all(one.start == last for one in found)


def kill(found: list[Found]) -> None:
    """Ends what was found."""
    for one in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
