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

What group signals cannot do, and who does it
---------------------------------------------
Every process of a job inherits the reading end of a pipe, its *guard*. Nobody ever writes into it. This process alone
holds the writing end, and it serves twice:

-   When it closes, however this process ends (SIGKILL too), the kernel sends KILL to the group, because the leader's
    spawner made the group the owner of the pipe's signals. That needs no process of ours to be alive.
-   While any process of the job lives, wherever it went, the pipe has a reader. The kernel tells when the last one is
    gone. What still holds the guard when the group is empty has left the group (`setsid`), and is killed by that mark.

A process that leaves the group *and* closes all descriptors is for the worker's helper, which becomes the parent of every
orphan (`spawner`); and when the worker and its helper are killed at once, for the next worker (`stragglers`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence

from headstart_wrapper import spawner, stragglers
from headstart_wrapper.errors import (
    CommandNotExecutableError,
    CommandNotFoundError,
    HeadstartError,
    MachineError,
    RequestError,
)
from headstart_wrapper.executables import SHELL, in_shell, named_executable
from headstart_wrapper.hints import TYPE_CHECKING, Final, Protocol, final

if TYPE_CHECKING:
    from headstart_wrapper.sandbox.confinement import Confinement

_ESCAPED_SECONDS: Final = 1.0
"""How long those that left the group, and were killed, may take to die before the job's end is told all the same (I2)."""

_TRACER_SECONDS: Final = 5.0
"""How long one of these may take that traces the leader: only then is the tracer taken for somebody else's."""

_PIDFD_SIGNAL_PROCESS_GROUP: Final = 4
"""pidfd_send_signal(2), Linux 6.9: to the group whose leader this is, even when its id was given away."""

_REMEDIES: Final = {
    errno.EAGAIN: "; raise the limit of processes (ulimit -u), or lower --jobs",
    errno.ENOMEM: "; lower --jobs",
    errno.EMFILE: "; raise the limit of open files (ulimit -n)",
    errno.EBADF: f"; its processes need the descriptor {spawner.GUARD}: raise the limit of open files (ulimit -n)",
}

Descriptors = tuple[int, int, int, int]
"""What becomes a leader's 0, 1 and 2, and its guard."""


class Spawner(Protocol):
    """Starts leaders and reaps them; see `spawner` for what starting means."""

    def start(
        self,
        argv: list[str],
        executable: str,
        env: dict[str, str],
        cwd: str,
        descriptors: Descriptors,
        *,
        confinement: Confinement | None = None,
    ) -> tuple[int, int]:
        """Returns the leader's process id and its pidfd, which the caller owns."""

    def reap(self, pid: int) -> spawner.Reaped | None:
        """Collects an exited leader; None when somebody traces it (`spawner.Children.reap`)."""


@final
class DirectSpawner:
    """Starts leaders from this process: right when this process is small and has one thread, which makes this."""

    def __init__(self, *, adopts: bool = False) -> None:
        """Makes this process ready.

        Args:
            adopts: become the parent of processes that leave their job's group and lose their own, and end them with the job.
        """
        spawner.become_parent()
        self._adopts = adopts
        self._leader: int | None = None

    def start(
        self,
        argv: list[str],
        executable: str,
        env: dict[str, str],
        cwd: str,
        descriptors: Descriptors,
        *,
        confinement: Confinement | None = None,
    ) -> tuple[int, int]:
        """See `Spawner`; the working directory must be this process's own."""
        if not os.path.samefile(cwd, "."):  # noqa: PTH121 - hot path
            raise ValueError("a direct spawner starts in its own working directory")
        # Who became us (exec) may have left us children; what they leave is no job's.
        self._adopts = self._adopts and not spawner.children(os.getpid())
        self._leader = pid = spawner.start_leader(
            argv,
            executable,
            env,
            descriptors,
            confinement.ruleset if confinement else -1,
            view=confinement.view if confinement else None,
        )
        self._adopts = self._adopts and spawner.become_subreaper()  # now: it is no part of what a start costs
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def collect(self) -> None:
        """Takes note of the ends of those that were adopted: until then they keep their process ids."""
        if self._adopts:
            for pid in spawner.children(os.getpid()):
                if pid != self._leader:
                    os.waitpid(pid, os.WNOHANG)

    def reap(self, pid: int) -> spawner.Reaped | None:
        """See `Spawner`."""
        reaped = spawner.reap_leader(pid)
        if self._adopts:
            spawner.Children("").end_orphans()
        return reaped


@final
class ProcessGroup:
    """A started job's processes, from the leader's start until it is reaped.

    Attributes:
        pid: the leader's process id.
        pidfd: readable when the leader has exited.
    """

    def __init__(self, pid: int, pidfd: int, guard: Guard, spawner_: Spawner) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._guard = guard
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
        confinement: Confinement | None = None,
    ) -> ProcessGroup:
        """Starts a command in a group of its own.

        Args:
            spawner_: starts it.
            argv: the command.
            cwd: its working directory.
            env: its whole environment.
            streams: what becomes its 0, 1 and 2.
            confinement: what holds it; the caller's, and needed no longer afterwards.

        Raises:
            CommandNotFoundError, CommandNotExecutableError: see `named_executable`.
            RequestError: a word holds what no command can have.
            MachineError: the kernel cannot start it: no memory, no process ids, an argument list that is too long.
        """
        if not os.path.isdir(cwd):  # noqa: PTH112 - hot path
            raise CommandNotFoundError(f"the working directory {cwd} does not exist; the host must create it")
        executable = named_executable(argv[0], cwd=cwd, path=env.get("PATH"))
        guard = None
        try:
            guard = Guard()
            descriptors = (*streams, guard.reader)
            try:
                pid, pidfd = spawner_.start(
                    list(argv), executable, dict(env), cwd, descriptors, confinement=confinement
                )
            except OSError as error:
                shell = in_shell(executable, argv, cwd=cwd) if error.errno == errno.ENOEXEC else None
                if shell is None:
                    raise
                pid, pidfd = spawner_.start(
                    shell, SHELL, dict(env), cwd, descriptors, confinement=confinement
                )
        except BaseException as error:
            if guard is not None:
                guard.close()
            if isinstance(error, OSError):
                raise why_not_started(argv[0], error, confinement) from error
            raise
        finally:
            if guard is not None:
                os.close(guard.reader)
        return cls(pid, pidfd, guard, spawner_)

    def signal(self, number: int) -> None:
        """Sends a signal to every process of the group.

        Raises:
            ValueError: the leader was reaped, its id may be somebody else's.
        """
        if self._reaped:
            raise ValueError("the leader was reaped; its group cannot be signalled any more")
        try:
            signal.pidfd_send_signal(self.pidfd, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        except ProcessLookupError:
            pass
        except OSError:  # a kernel before 6.9, or a filter of system calls
            # One that changed its user is not ours to signal: it is waited for.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        if number == signal.SIGKILL:
            # A leader may have gone to another group of its session (setpgid).
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, number)

    def stopped_by(self) -> int | None:
        """The signal that keeps the leader stopped now; None when it runs or has exited. Only for whoever started it itself."""
        try:
            found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        return None if found is None else found.si_status

    def await_empty(self, *, seconds: float) -> bool:
        """Kills what is left beside the leader and waits until it is gone.

        Returns:
            False when something still lives after `seconds` (a process in uninterruptible sleep).
        """
        deadline = time.monotonic() + seconds
        # Once is enough: the kernel forks no process that has a fatal signal pending, so nobody joins after this.
        self.signal(signal.SIGKILL)
        try:
            return all(
                stragglers.await_exit(member, deadline - time.monotonic()) for member in self._members()
            )
        except OSError:  # no descriptor is free to look with, or /proc is not ours to look into
            # The guard tells it too, of all but those who closed it.
            return not self._guard.is_held(seconds=deadline - time.monotonic())

    def _members(self) -> Iterator[int]:
        """A pidfd for each process of the group but the leader, open until the next is asked for; of a dead one it is ready.

        One at a time, because a group may have more members than we may have descriptors. Zombies too: a process whose
        first thread has exited looks like one while its other threads still write.
        """
        for entry in stragglers.everybody():
            if int(entry) != self.pid and _in_group(int(entry), self.pid):
                with contextlib.suppress(ProcessLookupError):
                    pidfd = os.pidfd_open(int(entry))
                    try:
                        if _in_group(int(entry), self.pid):
                            yield pidfd
                    finally:
                        os.close(pidfd)

    def reap(self) -> spawner.Reaped:
        """Collects the leader when it has exited; kills the rest of its tree first.

        Raises:
            MachineError: the helper that started it is gone, or somebody else traces it; the tree is dead all the same.
        """
        self.signal(signal.SIGKILL)
        try:
            stragglers.await_exit(self.pidfd, None)  # in this job's own thread: the helper waits for nobody
            if self._guard.is_held():  # somebody is left beside the leader, in the group or away from it
                self.await_empty(seconds=_ESCAPED_SECONDS)
            return self._collect()
        finally:
            self._reaped = True
            os.close(self.pidfd)
            if self._guard.is_held():
                stragglers.end_holders(self._guard.id, seconds=_ESCAPED_SECONDS)
            self._guard.close()

    def _collect(self) -> spawner.Reaped:
        reaped = self._spawner.reap(self.pid)
        if reaped is None:  # a tracer is told of the end before the parent; it may be one that escaped
            stragglers.end_holders(self._guard.id, seconds=_TRACER_SECONDS)
            reaped = self._spawner.reap(self.pid)
        if reaped is None:
            raise MachineError(
                f"the command's process {self.pid} has ended, but a debugger that is no part of the job holds its result; "
                "end the debugger and ask again"
            )
        return reaped


@final
class Guard:
    """The pipe whose reading end every process of a job has.

    Attributes:
        reader: the end that the job gets; who starts the job closes ours.
        id: names the pipe, in other processes too.
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_CLOEXEC)
        self.id = spawner.pipe_id(os.fstat(self.reader))
        self._poll = select.poll()
        self._poll.register(self._writer, 0)  # poll(2): POLLERR comes unasked, when nobody reads any more

    def is_held(self, *, seconds: float = 0.0) -> bool:
        """True while a process of the job has it; waits that long for the last one to be gone."""
        return not self._poll.poll(max(seconds, 0.0) * 1000)

    def close(self) -> None:
        """Ends the group, if anything of it is left."""
        os.close(self._writer)


def why_not_started(
    command: str, error: OSError | ValueError, confinement: Confinement | None = None
) -> HeadstartError:
    """What a failed start means for whoever asked for it; ValueError: a word that no command can have."""
    if isinstance(error, spawner.ConfinementError) and error.filename:
        from headstart_wrapper.sandbox import view  # noqa: PLC0415 - only for jobs that want one

        return MachineError(
            f"the command {command} was not started, because no view of the file system can be made for it "
            f"({view.why_not(error)}); see headstart doctor, or run it with --sandbox=enforce"
        )
    if isinstance(error, spawner.ConfinementError):
        why = "sixteen sandboxes hold us already" if error.errno == errno.E2BIG else error.strerror
        return MachineError(
            f"the command {command} was not started, because the kernel does not confine it ({why}); "
            "see headstart doctor, or run it without --sandbox=enforce"
        )
    if isinstance(error, ValueError) or error.errno == errno.EINVAL:
        return RequestError(
            f"a word or variable of the command {command!r} holds a NUL, or is no text; no command can have it"
        )
    # What may not be read is refused, or in a view is not there.
    refusals = {errno.EACCES, errno.ENOENT} if confinement and confinement.view else {errno.EACCES}
    if confinement and error.errno in refusals:
        return CommandNotExecutableError(
            f"the command {command} cannot be executed in its sandbox ({error.strerror}): it, or the interpreter that it names, "
            "is not among what it may read; add that by --sandbox-allow"
        )
    if error.errno in {errno.ENOEXEC, errno.EACCES, errno.EISDIR}:
        return CommandNotExecutableError(
            f"the command {command} cannot be executed ({error.strerror}); is it built for this machine?"
        )
    if error.errno == errno.ENOENT:
        return CommandNotFoundError(
            f"the command {command} names an interpreter that does not exist; look at its first line"
        )
    if error.errno == errno.E2BIG:
        return MachineError(
            f"the command line of {command} is longer than the kernel takes; use the compiler's response files"
        )
    remedy = _REMEDIES.get(error.errno or 0, "")
    return MachineError(f"the command {command} cannot be started: {error.strerror}{remedy}")


def _in_group(pid: int, group: int) -> bool:
    with contextlib.suppress(OSError):
        return os.getpgid(pid) == group
    return False
