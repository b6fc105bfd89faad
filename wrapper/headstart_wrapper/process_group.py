"""One job's processes: the only place that signals.

How a group is ended, and why in this order
-------------------------------------------
A job is a tree of processes: the compiler (the *leader*), its linker, whatever they start. All share the
process group that the leader was started in, so one signal reaches all of them. The danger is the process
id: once the leader is reaped, its id may name somebody else's process, and a late kill hits a stranger. So:

1.  The leader stays a zombie until we are done with the group. A zombie keeps its id, so the group id
    cannot be given away. `pidfd` tells its exit without reaping it.
2.  TERM goes to the group, then after a grace KILL to the group. Both may be sent as often as one likes.
3.  KILL goes to the group after a normal exit too: a background child that the leader left behind
    would hold the pipes, and could write outputs after we said that they are complete.
4.  KILL is carried out when the kernel comes to it, not when we send it. "Dead before it is acknowledged"
    (I2) needs to know that the others are gone; probing the group tells nothing, because the zombie
    answers for it. So `await_empty` looks the members up and waits for the pidfd of each.
5.  Only then the leader is reaped, its usage read, and its id given back.

Nothing here calls waitpid(-1): statuses of others are not ours to take. Never group 0: that is the host's.

A process that leaves the group (`setsid`) escapes this room; other defences are for those.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, final

from headstart_wrapper import spawner
from headstart_wrapper.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    MachineError,
    RequestError,
)

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where commands are looked for when the job's environment has no PATH; hosts start workers without one."""


class Spawner(Protocol):
    """Starts leaders and reaps them; see `spawner` for what starting means."""

    def start(
        self, argv: list[str], executable: str, env: dict[str, str], cwd: str, streams: tuple[int, int, int]
    ) -> tuple[int, int]:
        """Returns the leader's process id and its pidfd, which the caller owns."""

    def reap(self, pid: int) -> spawner.Reaped:
        """Collects an exited leader."""


@final
class DirectSpawner:
    """Starts leaders from this process: right when this process is small and has one thread."""

    def start(
        self, argv: list[str], executable: str, env: dict[str, str], cwd: str, streams: tuple[int, int, int]
    ) -> tuple[int, int]:
        """See `Spawner`; the working directory must be this process's own."""
        if not os.path.samefile(cwd, "."):  # noqa: PTH121 - hot path
            raise ValueError("a direct spawner starts in its own working directory")
        pid = spawner.start_leader(argv, executable, env, streams)
        return pid, os.pidfd_open(pid)

    def reap(self, pid: int) -> spawner.Reaped:
        """See `Spawner`."""
        return spawner.reap_leader(pid)


def find_executable(command: str, *, cwd: str, path: str | None) -> str:
    """The file that a command names, as execvp(3) would find it.

    Raises:
        CommandNotFoundError: there is none.
        CommandNotExecutableError: there is one, but it may not be executed.
    """
    if "/" in command:
        candidate = os.path.join(cwd, command)  # noqa: PTH118 - an absolute command wins, as exec has it
        if not os.path.exists(candidate):  # noqa: PTH110 - hot path, no Path object
            raise CommandNotFoundError(
                f"the command {command} does not exist; is it declared as an input or tool?"
            )
        if not os.access(candidate, os.X_OK) or os.path.isdir(candidate):  # noqa: PTH112 - likewise
            raise CommandNotExecutableError(
                f"the command {command} is not executable; set its permission with chmod +x"
            )
        return candidate
    search = DEFAULT_PATH if path is None else path
    for directory in search.split(":"):
        candidate = os.path.join(cwd, directory, command)  # noqa: PTH118 - a relative directory is the job's
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):  # noqa: PTH112 - hot path
            return candidate
    raise CommandNotFoundError(
        f"the command {command} is not on PATH ({search}); install it or name it by its path"
    )


@final
class ProcessGroup:
    """A started job's processes, from the leader's start until it is reaped."""

    def __init__(self, pid: int, pidfd: int, spawner_: Spawner) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._spawner = spawner_
        self._reaped = False

    @classmethod
    def start(
        cls,
        spawner_: Spawner,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        streams: tuple[int, int, int],
    ) -> ProcessGroup:
        """Starts a command in a group of its own.

        Raises:
            CommandNotFoundError, CommandNotExecutableError: see `find_executable`.
            RequestError: a word holds what no command can have.
            MachineError: the kernel cannot start it: no memory, no process ids, an argument list that is too long.
        """
        if not os.path.isdir(cwd):  # noqa: PTH112 - hot path
            raise CommandNotFoundError(f"the working directory {cwd} does not exist; the host must create it")
        executable = find_executable(argv[0], cwd=cwd, path=env.get("PATH"))
        try:
            pid, pidfd = spawner_.start(list(argv), executable, dict(env), cwd, streams)
        except OSError as error:
            if error.errno in {errno.ENOEXEC, errno.EACCES, errno.EISDIR}:
                raise CommandNotExecutableError(
                    f"the command {argv[0]} cannot be executed ({error.strerror}); is it built for this machine?"
                ) from error
            if error.errno == errno.ENOENT:
                raise CommandNotFoundError(
                    f"the command {argv[0]} names an interpreter that does not exist; look at its first line"
                ) from error
            if error.errno == errno.EINVAL:
                raise RequestError(
                    f"a word or variable of the command {argv[0]!r} holds a NUL, or is no text; no command can have it"
                ) from error
            if error.errno == errno.E2BIG:
                raise MachineError(
                    f"the command line of {argv[0]} is longer than the kernel takes; use the compiler's response files"
                ) from error
            raise MachineError(f"the command {argv[0]} cannot be started: {error.strerror}") from error
        return cls(pid, pidfd, spawner_)

    def signal(self, number: int) -> None:
        """Sends a signal to every process of the group.

        Raises:
            ValueError: the leader was reaped, its id may be somebody else's.
        """
        if self._reaped:
            raise ValueError("the leader was reaped; its group cannot be signalled any more")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def await_empty(self, *, seconds: float) -> bool:
        """Kills what is left beside the leader and waits until it is gone.

        Returns:
            False when something still lives after `seconds` (a process in uninterruptible sleep).
        """
        deadline = time.monotonic() + seconds
        # Once is enough: the kernel forks no process that has a fatal signal pending, so nobody joins after this.
        self.signal(signal.SIGKILL)
        with contextlib.ExitStack() as stack:
            members = []
            for member in self._members():
                stack.callback(os.close, member)
                members.append(member)
            return all(_await_exit(member, deadline - time.monotonic()) for member in members)

    def _members(self) -> Iterator[int]:
        """A pidfd for each process of the group but the leader; one that is dead is ready at once.

        Zombies too: a process whose first thread has exited looks like one while its other threads still write.
        """
        for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
            if entry.isdecimal() and int(entry) != self.pid and _in_group(entry, self.pid):
                with contextlib.suppress(ProcessLookupError):
                    pidfd = os.pidfd_open(int(entry))
                    if _in_group(entry, self.pid):
                        yield pidfd
                    else:
                        os.close(pidfd)

    def reap(self) -> spawner.Reaped:
        """Collects the leader, which must have exited; kills the rest of its group first."""
        self.signal(signal.SIGKILL)
        try:
            return self._spawner.reap(self.pid)
        finally:
            self._reaped = True
            os.close(self.pidfd)


def _in_group(pid: str, group: int) -> bool:
    try:
        status = Path("/proc", pid, "stat").read_bytes()
    except OSError:
        return False
    # proc(5): the name stands in brackets and may hold anything; after it come state, parent and group.
    _state, _parent, pgrp, *_ = status[status.rindex(b")") + 2 :].split(b" ", 3)
    return int(pgrp) == group


def _await_exit(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(seconds, 0) * 1000))
