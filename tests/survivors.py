"""Finds what a test left behind: processes that it started, directly or through others, and open descriptors.

Every process that a test starts inherits a variable with a value of the test's own, wherever its parent went. A
process that throws its environment away escapes this; none of ours does. Bazel's servers are left alone: they outlive
a command by design, and their owners shut them down.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "TEST_OF_HEADSTART"

GONE_SECONDS = 1.0
"""What I3 gives."""


def living(tag: str) -> dict[int, str]:
    """The processes with the tag, this one excepted, with their command lines."""
    found = {}
    wanted = f"{VARIABLE}={tag}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if wanted in (entry / "environ").read_bytes().split(b"\0") and not command.startswith(b"bazel("):
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def await_exit(pids: Iterator[int] | list[int] | dict[int, str], seconds: float) -> bool:
    """Waits until each of the processes has exited; False when one still runs after that time."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            try:
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    return False
            finally:
                os.close(pidfd)
    return True


def await_none(tag: str, seconds: float = GONE_SECONDS) -> dict[int, str]:
    """Waits for all processes with the tag; kills and returns those that are left."""
    deadline = time.monotonic() + seconds
    while (found := living(tag)) and await_exit(found, deadline - time.monotonic()):
        pass
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def zombies() -> list[int]:
    """Children of this process that have exited and were not reaped."""

    found: list[int] = []

    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in children.read_text().split() if state(int(pid)) == "Z"]

    return found


def state(pid: int) -> str:
    """The letter of proc(5) for a process; "" when there is none."""
    try:
        status = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return ""
    return status[status.rindex(b")") + 2 : status.rindex(b")") + 3].decode()


def is_alive(pid: int) -> bool:
    """True for a process that can still do something."""
    return state(pid) not in {"", "Z", "X"}


def descriptors() -> dict[int, str]:
    """This process's open descriptors and what they are."""

    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(link.name)] = str(link.readlink())

    return found
