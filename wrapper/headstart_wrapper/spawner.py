"""Starts and reaps leaders of process groups; a small program of its own when the worker asks for it.

Run as a program (`python -I -S spawner.py FD`) it is a single-threaded process of about 9 MB that does three
things for the worker which a big, threaded parent cannot: a child's peak memory is true (the kernel
starts a child's figure from its parent's), starting costs the same however big the worker is, and when the
worker is gone, however it went, the socket closes and every group is killed at once (I3).

Imported, `start_leader` and `reap_leader` are the same two operations for a caller that is small itself (standalone).
It imports nothing of ours and little of Python's, because its size is every child's floor.

Starting is os.posix_spawn, which is CLONE_VFORK always; the leader is never reaped before somebody says so, so
its group can be signalled until then. Not here: signals to a group that a job's owner decides on (`process_group`).
"""

from __future__ import annotations

import errno
import marshal
import os
import signal
import sys

TYPE_CHECKING = False  # what type checkers take for typing's own; importing typing would cost two megabytes

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_HEADER = 8
"""Bytes of a message's length, before the message."""

_INT = 4
"""Bytes of a C int, which a descriptor is on its way."""

_MOST_DESCRIPTORS = 3
"""A child's 0, 1 and 2."""

if TYPE_CHECKING:
    import socket
    from typing import Any

Reaped = tuple[int, float, float, int]
"""Wait status (POSIX), user seconds, system seconds, peak memory in bytes."""


def start_leader(argv: list[str], executable: str, env: dict[str, str], streams: tuple[int, int, int]) -> int:
    """Starts a command as the leader of a new process group, in the caller's working directory.

    Args:
        argv: the command.
        executable: the file to execute.
        env: the whole environment.
        streams: descriptors that become the child's 0, 1 and 2; every other one must be close-on-exec.

    Returns:
        The leader's process id, which is its group's id.

    Raises:
        OSError: the kernel's reason; EINVAL for words that no command can have.
    """
    try:
        return os.posix_spawn(
            executable,
            argv,
            env,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(streams)
            ],
            setpgroup=0,
            setsigmask=(),
            setsigdef=_IGNORED_BY_PYTHON,
        )
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error


def reap_leader(pid: int) -> Reaped:
    """Collects an exited leader; blocks until it has exited."""
    _, status, usage = os.wait4(pid, 0)
    return status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024


def send_message(connection: socket.socket, message: Any, descriptors: list[int]) -> None:
    """Sends a marshalled message with its length before it; descriptors travel with the length."""
    import socket  # noqa: PLC0415 - a job on its own starts without it

    body = marshal.dumps(message)
    socket.send_fds(connection, [len(body).to_bytes(_HEADER, "little")], descriptors)
    connection.sendall(body)


def receive_message(connection: socket.socket) -> tuple[Any, list[int]]:
    """Receives what `send_message` sent.

    Raises:
        EOFError: the other side is gone.
    """
    import socket  # noqa: PLC0415 - as above

    # socket.recv_fds passes its flags on to nobody (CPython 3.11), and without CLOEXEC every child would hold the pipes
    # of the others.
    header, ancillary, _, _ = connection.recvmsg(
        _HEADER, socket.CMSG_SPACE(_MOST_DESCRIPTORS * _INT), socket.MSG_WAITALL | socket.MSG_CMSG_CLOEXEC
    )
    descriptors = [
        int.from_bytes(data[at : at + _INT], sys.byteorder)
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for at in range(0, len(data) - _INT + 1, _INT)
    ]
    if len(header) < _HEADER:
        raise EOFError
    missing = int.from_bytes(header, "little")
    parts: list[bytes] = []
    while missing:
        part = connection.recv(missing)
        if not part:
            raise EOFError
        parts.append(part)
        missing -= len(part)
    body = b"".join(parts)
    return marshal.loads(body), descriptors  # noqa: S302 - both ends are this program, over a private socket


def _start(request: tuple[list[str], str, dict[str, str], str], streams: list[int]) -> int:
    argv, executable, env, cwd = request
    os.chdir(cwd)
    return start_leader(argv, executable, env, (streams[0], streams[1], streams[2]))


def serve(connection: socket.socket) -> None:
    """Serves one worker until it is gone, then kills every group that was not reaped."""
    leaders: set[int] = set()
    try:
        while True:
            (verb, argument), descriptors = receive_message(connection)
            pidfd: list[int] = []
            answer: Any
            try:
                if verb == "start":
                    pid = _start(argument, descriptors)
                    leaders.add(pid)
                    pidfd = [os.pidfd_open(pid)]  # fails only without descriptors; then it dies with us
                    answer = pid
                else:
                    answer = reap_leader(argument)
                    leaders.discard(argument)
            except OSError as error:
                answer = ("failed", error.errno)
            except ValueError:  # a directory's name that no directory can have
                answer = ("failed", errno.EINVAL)
            send_message(connection, answer, pidfd)
            for descriptor in descriptors + pidfd:
                os.close(descriptor)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        for pid in leaders:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                continue
        for pid in leaders:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    import socket

    # It came over exec, so it would go on to every child: one that survives would keep the worker's end from us.
    os.set_inheritable(int(sys.argv[1]), False)
    serve(socket.socket(fileno=int(sys.argv[1])))
