"""What tests of real processes share: scripted compilers and fifos to talk to them.

Nothing here waits by sleeping: a test learns what happened because the compiler said so through a fifo, and a compiler
goes on because the test said so.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Self

import pytest
import trio

from headstart_worker.messages import WorkResponse
from headstart_worker.testing import FakeHost
from headstart_wrapper.errors import MachineError
from headstart_wrapper.job import Sandbox
from headstart_wrapper.sandbox import policy, probe

PATIENCE = 20.0
"""Seconds that a thing which must happen may take on a machine that is busy with other things."""


class Fifo:
    """A named pipe that is open at both ends as long as the test runs: opening it never blocks anybody.

    One of the two directions is used: the test says `go` and a script does `read x < path`; or a script does
    `echo $$ > path` and the test awaits `line`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def __str__(self) -> str:
        return str(self.path)

    def go(self, count: int = 1) -> None:
        """Lets that many readers go on."""
        os.write(self._descriptor, b"go\n" * count)

    async def line(self) -> str:
        """The next line that somebody wrote."""
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._buffer:
                try:
                    self._buffer += os.read(self._descriptor, 65536)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self._descriptor)
        first, _, self._buffer = self._buffer.partition(b"\n")
        return first.decode()

    async def pid(self) -> int:
        """The next line, a process id."""
        return int(await self.line())

    def silent(self) -> bool:
        """True when nobody wrote anything more."""

        with contextlib.suppress(BlockingIOError):
            self._buffer += os.read(self._descriptor, 65536)
        return not self._buffer


def sh(script: str, *options: str) -> tuple[str, ...]:
    """A request's arguments: options, and a shell script for a compiler."""
    return (*options, "--", "/bin/sh", "-c", script)


async def response(host: FakeHost) -> WorkResponse:
    """The next response that nobody else waits for."""
    with trio.fail_after(PATIENCE):
        return await host.next_response()


def cancelled(request_id: int) -> WorkResponse:
    """What acknowledges a cancel: nothing but that."""
    return WorkResponse(request_id=request_id, was_cancelled=True)


def children(pid: int) -> list[int]:
    """The processes that a process started itself."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def links(pid: int) -> list[str]:
    """What a process's open descriptors are."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def entries(directory: Path) -> list[str]:
    """The names in a directory."""
    return sorted(os.listdir(directory))  # noqa: PTH208 - names are what is wanted


async def gone(pid: int) -> None:
    """Waits for the end of a process that need not be a child."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with trio.fail_after(PATIENCE):
            await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


def lacking(mode: Sandbox) -> str:
    """Why this machine cannot hold a job to a mode; "" when it can."""
    try:
        policy.decide(mode, probe.available(mode), unavailable="fail")
    except MachineError as error:
        return str(error)
    return ""


HELD_MODES = [
    pytest.param(mode, marks=pytest.mark.skipif(bool(why := lacking(mode)), reason=why or "it can"))
    for mode in (Sandbox.ENFORCE, Sandbox.STRICT)
]
"""The modes in which the kernel holds a job, for tests that have one; those that this machine lacks are skipped with the reason."""


def until_it_waits(pid: int, *, threads: int = 1, where: str = "poll") -> None:
    """Returns when a wrapper waits with its first thread, and has that many: one more for a reader. Only the kernel tells."""
    tasks = Path(f"/proc/{pid}/task")
    deadline = time.monotonic() + PATIENCE
    while len(list(tasks.iterdir())) < threads or where not in (tasks / str(pid) / "wchan").read_text():
        assert time.monotonic() < deadline, f"{pid} does not wait"
        os.sched_yield()


def waiting_for_term(says: str, then: str) -> tuple[str, ...]:
    """A command in Python that says something, and does something else when it is told to end.

    A shell may miss what comes just before it begins to read.
    """
    block = "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])"
    return (sys.executable, "-I", "-S", "-c", f"{block}; {says}; signal.sigwait([signal.SIGTERM]); {then}")
