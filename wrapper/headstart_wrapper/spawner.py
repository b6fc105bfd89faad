"""Starts and reaps leaders of process groups; a small program of its own when the worker asks for it.

Run as a program (`python -I -S spawner.py FD OWNER`) it is a single-threaded process of about 9 MB that does for the worker
what a big, threaded parent cannot:

-   A child's peak memory is true: the kernel starts a child's figure from its parent's.
-   Starting costs the same however big the worker is, and stops none of its threads.
-   When the worker is gone, however it went, the socket closes and everything is killed at once (I3).
-   It is a *subreaper*: a process that left its group (`setsid`) and lost its parent becomes its child, whatever else it
    did to escape. Which job an orphan belongs to is told by its tag, the variable `HEADSTART_JOB`, or by the job's guard
    (see `process_group`) among its descriptors. An orphan that threw both away can be named nobody's, and is killed
    when no job runs.

Imported, `start_leader` and `reap_leader` are the same two operations for a caller that is small itself (standalone).
It imports nothing of ours and little of Python's, because its size is every child's floor.

Starting is os.posix_spawn, which is CLONE_VFORK always; the leader is never reaped before somebody says so, so
its group can be signalled until then. waitpid(-1) is never called: each process is reaped by its id, a leader only when asked.
Not here: signals to a group that a job's owner decides on (`process_group`).
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # what type checkers take for typing's own; importing typing would cost two megabytes

GUARD = 98
"""The number of the guard's descriptor in every process of a job: above what shells and build tools use for their own."""

TAG = "HEADSTART_JOB"
"""The variable that names a job in its processes: the worker's state directory and a number."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_HEADER = 8
"""Bytes of a message's length, before the message."""

_INT = 4
"""Bytes of a C int, which a descriptor is on its way."""

_LEAST_DESCRIPTORS = 4
"""A child's 0, 1 and 2, and its guard."""

_MOST_DESCRIPTORS = 5
"""Those, and the ruleset that holds it."""

_CHUNK = 1 << 16

_MOST_BYTES = 8 << 20
"""Of a message: above what the kernel takes as a command (6 MiB, execve(2)). Refused before it is sent, because what this
process once held is the floor of every later child's peak memory."""

_ORPHAN_SECONDS = 0.2
"""How long a killed orphan may take to die before its job's end is reported all the same; the next look finds it again. Meanwhile
no other job starts, and the worker's death is not seen."""

_LOOK_SECONDS = 0.05
"""How long after a job's end orphans are looked for once more: what was killed with its group may hand over its children
only when the kernel has carried that out."""

_ROUND_SECONDS = 1.0
"""How often orphans are looked for while there are processes: a job may make thousands that are dead, and each keeps an id."""

_END_SECONDS = 0.8
"""How long everything may take to die when the worker is gone; I3 gives one second in all."""

_GENERATION_SECONDS = 0.2
"""How long the killed may take to die, and hand over their children, when that time is over."""

_LATE_GENERATIONS = 50
"""So often then; one of another user, whom we may not kill, could have children for ever."""

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_LANDLOCK_RESTRICT_SELF = 446
"""The number of the system call (asm-generic/unistd.h), the same on every machine that Linux came to after x86."""

_PARENT, _FLAGS = 1, 6
"""Fields of proc(5)'s stat, behind the name."""

_PF_EXITING = 4
"""The flag there (the kernel's sched.h) of a process that exits or has exited."""

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from headstart_wrapper.sandbox.mounts import Command, View

Reaped = tuple[int, float, float, int, int, int, int, int, int, int]
"""Wait status (POSIX), then what `job.Usage` begins with, in its order and units."""

_BLOCK = 512
"""Bytes of the blocks in getrusage(2): the kernel counts bytes, and divides (task_io_accounting_ops.h)."""

PipeId = tuple[int, int]
"""Device and inode: what a guard is, in every process. The inode alone may be some file's too."""

_NO_JOB: tuple[bytes, PipeId] = b"", (0, 0)
"""The marks of a leader whose job is over."""


class ConfinementError(OSError):
    """The kernel does not confine a leader as it was asked to; nothing was started."""


def become_parent() -> None:
    """Makes this process one that can start leaders, whatever it was given by its own parent.

    Where SIGCHLD is ignored the kernel reaps every child itself: its status is lost and its id given away. Where 0, 1 or 2 is
    closed, the next descriptor of ours would have that number, and be a job's stream. Where a signal is blocked, nobody
    could end us in good order.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def start_leader(
    argv: list[str],
    executable: str,
    env: dict[str, str],
    descriptors: tuple[int, int, int, int],
    ruleset: int = -1,
    *,
    view: View | None = None,
) -> int:
    """Starts a command as the leader of a new process group, in the caller's working directory.

    Args:
        argv: the command.
        executable: the file to execute.
        env: the whole environment.
        descriptors: what becomes the child's 0, 1 and 2, and its guard: the reading end of a pipe; when the last writer
            is gone, the kernel kills the group. Every other descriptor must be close-on-exec.
        ruleset: a descriptor of the Landlock ruleset (`sandbox.landlock`) that holds the leader, and with it all that it starts;
            -1: none does.
        view: what exists for it (`sandbox.view.plan`); None: what exists for us.

    Returns:
        The leader's process id, which is its group's id.

    Raises:
        ConfinementError: the ruleset cannot be put on, or the view not be made.
        OSError: the kernel's reason; EINVAL for words that no command can have.
    """
    numbered = list(zip(descriptors, (0, 1, 2, GUARD), strict=True))
    *_, guard = descriptors
    if view is not None:
        return _in_view((executable, argv, env), numbered, ruleset, view)

    def spawn() -> int:
        pid = os.posix_spawn(
            executable,
            argv,
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, number) for descriptor, number in numbered],
            setpgroup=0,
            setsigmask=(),
            setsigdef=_IGNORED_BY_PYTHON,
        )
        _arm(guard, pid)  # at once: until then nothing ends it with us
        return pid

    try:
        return spawn() if ruleset < 0 else _confined(spawn, ruleset)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error


def _arm(guard: int, pid: int) -> None:
    """Has the kernel kill a leader's group when nobody can write into its guard any more."""
    try:
        # fcntl(2): the owner is the group itself, not its number, so no later group of that number can be hit.
        fcntl.fcntl(guard, fcntl.F_SETOWN, -pid)
        fcntl.fcntl(guard, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(guard, fcntl.F_SETFL, os.O_ASYNC)
    except OSError:
        return  # a kernel that cannot do this leaves the other defences
    if _is_hung_up(guard):  # the last writer was gone before: the kernel told nobody, and will not again
        _kill(-pid)


def _is_hung_up(guard: int) -> bool:
    poll = select.poll()
    poll.register(guard, 0)  # poll(2): POLLHUP comes unasked
    return bool(poll.poll(0))


def _in_view(command: Command, descriptors: list[tuple[int, int]], ruleset: int, view: View) -> int:
    """Starts a leader by fork, which no other does: `sandbox.mounts` says why."""
    if __name__ == "__main__" and "headstart_wrapper.spawner" not in sys.modules:
        # The helper finds nothing of ours by itself; this program is one of the modules that it finds now.
        sys.modules["headstart_wrapper.spawner"] = sys.modules[__name__]
        sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - without pathlib
    from headstart_wrapper.sandbox import mounts  # noqa: PLC0415 - only for jobs that want it

    guard = descriptors[-1][0]
    pid, report = mounts.fork(command, descriptors, ruleset, view, arm=lambda leader: _arm(guard, leader))
    mounts.await_command(pid, report)
    return pid


def _confined(spawn: Callable[[], int], ruleset: int) -> int:
    """Starts a leader in a thread of its own, which the ruleset holds first.

    Landlock holds the thread that asks for it and whatever that thread starts, for ever, and no other thread: so each start has a
    new one. In it nothing may be imported or opened any more. It stays until the leader has exited, because a leader that wants to
    die with its parent (PR_SET_PDEATHSIG, prctl(2)) dies with the *thread* that started it.
    """
    import _thread  # noqa: PLC0415 - without a ruleset there is no other thread

    restrict = restriction(ruleset)
    signals = signal.valid_signals()
    pending, started = [spawn], _thread.allocate_lock()
    outcome: list[int | BaseException] = []
    started.acquire()

    def run() -> None:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)  # they are the first thread's to take
            restrict()
            outcome.append(pid := pending.pop()())
        except BaseException as error:  # noqa: BLE001 - raised again where somebody hears it
            outcome.append(error)
            return
        finally:
            started.release()
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return  # it was reaped before we looked

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    started.acquire()
    found = outcome.pop()
    if isinstance(found, BaseException):
        raise found
    return found


def restriction(ruleset: int) -> Callable[[], None]:
    """What puts a Landlock ruleset on the thread that calls it, for ever; calling it imports and opens nothing.

    Raises:
        ConfinementError: by what is returned: the kernel does not do it; here: Python cannot ask it to.
    """
    try:
        prctl, syscall = library_function("prctl"), library_function("syscall")
    except (ImportError, AttributeError, OSError) as error:
        raise ConfinementError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    import _ctypes  # noqa: PLC0415 - it is there by now

    def restrict() -> None:
        if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0):
            number = _ctypes.get_errno()
            raise ConfinementError(number, os.strerror(number))

    return restrict


_library_functions: dict[str, Callable[..., int]] = {}


def library_function(name: str) -> Callable[..., int]:
    """A function of the C library that takes ints and bytes, and returns an int; `_ctypes.get_errno` tells why it failed.

    Raises:
        ImportError, AttributeError, OSError: it cannot be had.
    """
    if name not in _library_functions:
        import _ctypes  # noqa: PLC0415 - for these few; the package around it costs ten times as much

        class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001 - what ctypes.c_int is made of
            _type_ = "i"

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = Int

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # dlopen(3): the program itself
        _library_functions[name] = Function(_ctypes.dlsym(library, name))
    return _library_functions[name]


def reap_leader(pid: int) -> Reaped | None:
    """Collects an exited leader; None when it is not ours to collect yet, because somebody traces it (ptrace(2))."""
    found, status, usage = os.wait4(pid, os.WNOHANG)
    if not found:
        return None
    return (
        status,
        usage.ru_utime,
        usage.ru_stime,
        usage.ru_maxrss * 1024,
        usage.ru_minflt,
        usage.ru_majflt,
        usage.ru_nvcsw,
        usage.ru_nivcsw,
        usage.ru_inblock * _BLOCK,
        usage.ru_oublock * _BLOCK,
    )


def packed(message: Any) -> bytes:
    """A message for `send_message`: marshalled, with its length before it.

    Raises:
        OSError: it is longer than any command can be.
    """
    body = marshal.dumps(message)
    if len(body) > _MOST_BYTES:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    return len(body).to_bytes(_HEADER, "little") + body


def send_message(connection: socket.socket, data: bytes, descriptors: list[int]) -> None:
    """Sends what `packed` made; descriptors travel with its first bytes."""
    import socket  # noqa: PLC0415 - a job on its own starts without it

    sent = socket.send_fds(connection, [data], descriptors)
    connection.sendall(memoryview(data)[sent:])


def receive_message(connection: socket.socket) -> tuple[Any, list[int]]:
    """Receives what `send_message` sent; neither side sends a second message before it has the answer to the first.

    The kernel drops descriptors when this process has none free: fewer than were sent may come.

    Raises:
        EOFError: the other side is gone.
    """
    import socket  # noqa: PLC0415 - as above

    # socket.recv_fds passes its flags on to nobody (CPython 3.11), and without CLOEXEC every child would hold the pipes
    # of the others.
    first, ancillary, _, _ = connection.recvmsg(
        _CHUNK, socket.CMSG_SPACE(_MOST_DESCRIPTORS * _INT), socket.MSG_CMSG_CLOEXEC
    )
    descriptors = [
        int.from_bytes(data[at : at + _INT], sys.byteorder)
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for at in range(0, len(data) - _INT + 1, _INT)
    ]
    data = bytearray(first)
    while len(data) < _HEADER or len(data) < _HEADER + int.from_bytes(data[:_HEADER], "little"):
        part = connection.recv(_CHUNK)
        if not data or not part:
            raise EOFError
        data += part
    return marshal.loads(memoryview(data)[_HEADER:]), descriptors  # noqa: S302 - both ends are this program, over a private socket


class Children:
    """The helper's leaders and orphans. Everything here is by process id, safe because nobody else reaps them."""

    def __init__(self, owner: str) -> None:
        self._prefix = f"{TAG}={owner}/".encode()
        self._last = 0
        self._leaders: dict[int, tuple[bytes, PipeId]] = {}
        self._condemned: set[int] = set()
        self._lingering: set[int] = set()
        self._sees_them = sees_processes()

    def start(
        self,
        request: tuple[list[str], str, dict[str, str], str, bool, View | None],
        descriptors: list[int],
    ) -> tuple[int, int]:
        """Starts a leader, confined by the last descriptor if the request says so; returns its process id and a pidfd."""
        argv, executable, env, cwd, is_confined, view = request
        if len(descriptors) < _LEAST_DESCRIPTORS + is_confined:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        stdin, stdout, stderr, guard, ruleset = (*descriptors, -1)[:_MOST_DESCRIPTORS]
        self._last += 1
        tag = self._prefix + str(self._last).encode()
        name, _, value = tag.decode().partition("=")
        os.chdir(cwd)
        try:
            pid = start_leader(
                argv, executable, env | {name: value}, (stdin, stdout, stderr, guard), ruleset, view=view
            )
        finally:
            os.chdir("/")  # a sandbox that is taken back must not be anybody's directory (I8)
        self._leaders[pid] = tag, pipe_id(os.fstat(guard))
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            self.abort(pid)
            raise

    def reap(self, pid: int) -> Reaped | None:
        """Collects a leader, and ends those that escaped from its group.

        Returns:
            None when somebody traces it who does not end with its job; to be asked again, and given up when it is so then too.
        """
        reaped = reap_leader(pid)
        if reaped is None and self._leaders[pid] != _NO_JOB:
            self._leaders[pid] = _NO_JOB  # whoever carries its marks is nobody's now
            self.end_orphans()
            reaped = reap_leader(pid)
            if reaped is None:
                return None
        del self._leaders[pid]
        self.end_orphans()
        return reaped

    def abort(self, pid: int) -> None:
        """Ends a job of which the worker never came to know.

        Raises:
            KeyError: another helper started it, and its id may be anybody's.
        """
        if pid not in self._leaders:
            raise KeyError(pid)
        self._leaders[pid] = _NO_JOB
        _kill(-pid)
        _kill(pid)
        _await_exit(pid, time.monotonic() + _ORPHAN_SECONDS)
        self.reap(pid)

    def end_orphans(self) -> None:
        """Kills the orphans of jobs that are over, until none is left or time is over, and reaps the dead ones."""
        found = self._unwanted()
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while found:
            self._end(found, deadline)
            if time.monotonic() >= deadline:
                return
            found = [pid for pid in self._unwanted() if pid not in self._lingering]

    def end_all(self) -> None:
        """Kills every process that came from this one."""
        deadline = time.monotonic() + _END_SECONDS
        for pid in self._leaders:
            _kill(-pid)
        self._leaders.clear()
        killed: set[int] = set()
        late = 0
        # This process may have been held up itself: whom it has not killed yet, it kills when the time is over, too.
        while (left := self.own()) and (time.monotonic() < deadline or not killed.issuperset(left)):
            if time.monotonic() >= deadline and (late := late + 1) > _LATE_GENERATIONS:
                return
            killed.update(left)
            self._lingering.clear()
            self._end(left, max(deadline, time.monotonic() + _GENERATION_SECONDS))

    def own(self) -> list[int]:
        """The children of this process."""
        return children(os.getpid()) if self._sees_them else []

    def _unwanted(self) -> list[int]:
        orphans = [pid for pid in self.own() if pid not in self._leaders]
        self._condemned.intersection_update(orphans)
        self._lingering.intersection_update(orphans)
        return [pid for pid in orphans if pid in self._condemned or not self._is_spared(pid)]

    def _is_spared(self, orphan: int) -> bool:
        """True for what a running job may have started, and lives."""
        if not self._leaders:
            return False
        tags, guards = zip(*self._leaders.values(), strict=True)
        tag, guard = _tag(orphan, self._prefix), _guard(orphan)
        # Asked last: one that exits has lost its marks already, and its children, soon ours, are to be found by theirs.
        return _is_alive(orphan) and (tag is None or tag in tags or guard in guards)

    def _end(self, pids: list[int], deadline: float) -> None:
        for pid in pids:
            # Its own children become ours when it is dead, and their tags may be gone: they are to follow it. When no job runs
            # everybody is, and being quick catches what forks and exits all the time.
            if self._leaders:
                self._condemned.update(_descendants(pid))
            _kill(pid)
        # Who was waited for once and did not go (a sleep that nothing ends, a tracer) does not hold up others each time.
        for pid in pids:
            if _reaps(pid, 0.0 if pid in self._lingering else deadline):
                self._lingering.discard(pid)
            else:
                self._lingering.add(pid)


def _kill(target: int) -> None:
    try:
        os.kill(target, signal.SIGKILL)
    except OSError:
        return  # it is gone already, or it changed its user and is not ours to kill


def sees_processes() -> bool:
    """True when /proc tells process ids as this process knows them; not in a namespace that kept its parent's /proc."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 - without pathlib
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The processes that a process has to reap."""
    found: set[int] = set()
    try:
        # The first thread last: it takes over the children of those that end meanwhile.
        for thread in reversed(os.listdir(f"/proc/{pid}/task")):  # noqa: PTH208 - without pathlib
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:  # noqa: PTH123
                found.update(int(child) for child in file.read().split())
        return list(found)
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or a thread that ended
        everybody = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]  # noqa: PTH208 - without pathlib
        return [other for other in everybody if _field(other, _PARENT) == str(pid).encode()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:  # it grows meanwhile
        try:
            threads = os.listdir(f"/proc/{parent}/task")  # noqa: PTH208 - without pathlib
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as file:  # noqa: PTH123
                    found += [int(child) for child in file.read().split()]
            except OSError:
                continue
    return found[1:]


def _is_alive(pid: int) -> bool:
    """False for one that is dead or on its way there."""
    flags = _field(pid, _FLAGS)
    return flags != b"" and not int(flags) & _PF_EXITING


def _field(pid: int, number: int) -> bytes:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - without pathlib
            status = file.read()
    except OSError:
        return b""
    return status[status.rindex(b")") + 2 :].split()[number]


def _tag(pid: int, prefix: bytes) -> bytes | None:
    """The variable of a job of ours in a process's environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - without pathlib
            variables = file.read().split(b"\0")
    except OSError:
        return None
    return next((variable for variable in variables if variable.startswith(prefix)), None)


def pipe_id(status: os.stat_result) -> PipeId:
    """What a guard is, from its stat(2)."""
    return status.st_dev, status.st_ino


def _guard(pid: int) -> PipeId | None:
    """What a process has as its guard."""
    try:
        return pipe_id(os.stat(f"/proc/{pid}/fd/{GUARD}"))  # noqa: PTH116 - without pathlib
    except OSError:
        return None


def _reaps(pid: int, deadline: float) -> bool:
    """Waits for the end of a child of ours and collects it; never longer, whoever traces it."""
    return _await_exit(pid, deadline) and os.waitpid(pid, os.WNOHANG)[0] == pid


def _await_exit(pid: int, deadline: float) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False  # no descriptor is free; the next look finds it again
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(pidfd)


def serve(connection: socket.socket, owner: str) -> None:
    """Serves one worker until it is gone, then kills everything that came from here."""
    children = Children(owner)
    incoming = select.poll()
    incoming.register(connection, select.POLLIN)
    look: float | None = None
    try:
        while True:
            if look is not None and not incoming.poll(look * 1000):
                children.end_orphans()
                look = _ROUND_SECONDS if children.own() else None
                continue
            (verb, argument), descriptors = receive_message(connection)
            pidfd: list[int] = []
            answer: Any
            try:
                if verb == "start":
                    answer, *pidfd = children.start(argument, descriptors)
                elif verb == "reap":
                    answer = children.reap(argument)
                else:
                    children.abort(argument)
                    answer = None
            except OSError as error:
                answer = (
                    "failed",
                    error.errno,
                    (error.filename or "") if isinstance(error, ConfinementError) else None,
                )
            except (ValueError, KeyError):
                # A directory's name that no directory can have; a leader of another helper.
                answer = ("failed", errno.EINVAL)
            look = _LOOK_SECONDS if verb != "start" else look or _ROUND_SECONDS
            # Before it is told: a copy of the guard here looks like a process of the job.
            for descriptor in descriptors:
                os.close(descriptor)
            send_message(connection, packed(answer), pidfd)
            for descriptor in pidfd:
                os.close(descriptor)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the worker is gone
    finally:  # a defect of ours leaves nothing behind either
        children.end_all()


def become_subreaper() -> bool:
    """Takes the orphans of our descendants, prctl(2); where that cannot be had, the other defences are left."""
    try:
        return library_function("prctl")(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (ImportError, AttributeError, OSError):
        return False


def _forget_what_is_ignored() -> None:
    """Each job begins with the same signals, whatever the worker was told to ignore, and when."""
    for number in signal.valid_signals():
        if number not in _IGNORED_BY_PYTHON and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    import socket

    become_parent()
    _forget_what_is_ignored()
    # It came over exec, so it would go on to every child: one that survives would keep the worker's end from us.
    os.set_inheritable(int(sys.argv[1]), False)
    become_subreaper()
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
