"""Runs one program to its end with its streams in files: whoever holds them open holds nobody up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import trio
from attrs import frozen

from headstart_wrapper.errors import RequestError

_END_SECONDS: Final = 2.0
"""What a wrapper may take to end its job when we are told to stop; it promises one second."""


@frozen
class Ran:
    """How a program ended.

    Attributes:
        exit_code: the interface's: 128+n for a signal, 124 when its time was over.
        stdout, stderr: all of it.
        wall: seconds.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    wall: float


async def execute(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    executable: str | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - the job's own, with its own way to end
    kill_delay: float = 0.0,
) -> Ran:
    """Runs a program in a group of its own, of which nothing is left at its end.

    Args:
        command: its words.
        cwd: its directory.
        env: its environment, whole.
        executable: the file to run; None: found as usual.
        timeout: seconds until TERM.
        kill_delay: seconds between TERM and KILL.

    Raises:
        RequestError: it cannot be started.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began = trio.current_time()
        try:
            process = await trio.lowlevel.open_process(
                list(command),
                executable=executable or command[0],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=dict(env),
                process_group=0,
            )
        except OSError as error:
            raise RequestError(f"{command[0]} cannot be executed: {error.strerror}") from error
        pidfd = os.pidfd_open(process.pid)
        in_time = True
        try:
            with trio.move_on_after(timeout if timeout is not None else float("inf")):
                await trio.lowlevel.wait_readable(pidfd)
            if not _has_ended(pidfd):
                in_time = False
                await _end(process.pid, pidfd, kill_delay)
            wall = trio.current_time() - began
        finally:
            with trio.CancelScope(shield=True):
                await _end(process.pid, pidfd, _END_SECONDS)
                code = await process.wait()  # reaped last: until then the group's number is its own
                os.close(pidfd)
        shown = 124 if not in_time else 128 - code if code < 0 else code
        return Ran(shown, _all(stdout), _all(stderr), wall)


async def _end(group: int, pidfd: int, seconds: float) -> None:
    """TERM, and KILL after that time; KILL at once for what a leader left behind."""
    if not _has_ended(pidfd):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
        with trio.move_on_after(seconds):
            await trio.lowlevel.wait_readable(pidfd)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _has_ended(pidfd: int) -> bool:
    return os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
