"""Finds processes of jobs that are over by what they carry, and kills them: the last of the defences.

For those that the group's signals and the helper's lineage cannot reach: the helper was killed, or the whole worker
was. A process is named by its pidfd and looked at again before it is killed, so an id that was given away hurts
nobody. Looks at every process of the machine, so it is for rare cases. Processes of other users cannot be looked into
and are left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator

from headstart_wrapper import spawner


def end_tagged(owners: Collection[str], *, seconds: float) -> bool:
    """Kills what jobs of these owners left behind; the owners must be dead.

    Args:
        owners: names of state directories, as they stand in the tag (`spawner.TAG`).
        seconds: how long their deaths may take.

    Returns:
        False when something still lives after that time.
    """
    prefixes = tuple(f"{spawner.TAG}={owner}/".encode() for owner in owners)

    def is_tagged(process: str) -> bool:
        with open(f"{process}/environ", "rb") as file:  # noqa: PTH123 - without pathlib
            variables = file.read().split(b"\0")
        return any(variable.startswith(prefixes) for variable in variables)

    return _end(is_tagged, seconds)


def end_holders(guard: spawner.PipeId, *, seconds: float) -> bool:
    """Kills what still holds a job's guard.

    Args:
        guard: its pipe.
        seconds: see `end_tagged`.

    Returns:
        See `end_tagged`.
    """
    return _end(
        lambda process: spawner.pipe_id(os.stat(f"{process}/fd/{spawner.GUARD}")) == guard,  # noqa: PTH116 - likewise
        seconds,
    )


def _end(is_meant: Callable[[str], bool], seconds: float) -> bool:
    """Until none is found: one that is killed may have started another just before, or there was no descriptor for all."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.ExitStack() as stack:
            try:
                found = list(_found(is_meant, stack))
            except OSError:
                return False  # no descriptor is free to look with, or no /proc to look into
            if not found:
                return True
            for pidfd in found:
                with contextlib.suppress(OSError):  # it is gone, or not ours to kill
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if not all(await_exit(pidfd, deadline - time.monotonic()) for pidfd in found):
                return False


def _found(is_meant: Callable[[str], bool], stack: contextlib.ExitStack) -> Iterator[int]:
    for entry in everybody():
        if int(entry) == os.getpid():
            continue
        process = f"/proc/{entry}"
        with contextlib.suppress(OSError):
            if is_meant(process):
                pidfd = os.pidfd_open(int(entry))
                stack.callback(os.close, pidfd)
                if is_meant(process):
                    yield pidfd


def everybody() -> list[str]:
    """The ids of all processes that can be seen.

    Raises:
        OSError: they cannot be told: no descriptor is free, or /proc is none, or another process namespace's.
    """
    if not spawner.sees_processes():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/self")
    return [entry for entry in os.listdir("/proc") if entry.isdecimal()]  # noqa: PTH208 - names are all that is wanted


def await_exit(pidfd: int, seconds: float | None) -> bool:
    """Waits until a process has exited, for ever if None; False when it still lives after that time."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(seconds, 0.0) * 1000))
