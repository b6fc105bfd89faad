"""What the kernel lets us do to processes, by doing it to small ones of our own: versions tell less than an attempt."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headstart_worker.doctor.finding import Finding, Probe, missing, ok, weaker
from headstart_wrapper import spawner, stragglers
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import Guard

_DEATH_SECONDS: Final = 5.0
"""How long a death may take that takes milliseconds: a busy machine is not a missing feature."""

_GROUP_FLAG: Final = 4
"""PIDFD_SIGNAL_PROCESS_GROUP of pidfd_send_signal(2)."""

_WAITS: Final = "import os; os.read(0, 1)"
"""A job that waits for its stdin to end."""

_ESCAPES: Final = (
    "import os\n"
    "if not os.fork():\n"
    "    os.setsid()\n"
    "    if os.fork(): os._exit(0)\n"
    f"    os.close({spawner.GUARD})\n"
    "    os.write(1, b'%d\\n' % os.getpid())\n"
    "    os.read(0, 1)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
)
"""A job that leaves its group and closes its guard, names the process that did, and ends."""

_UPGRADE: Final = "boot a newer kernel, or allow the call in the container's filter of system calls"


def probes() -> tuple[Probe, ...]:
    """What is probed, in the order of the report."""
    return (pidfds, guard, subreaper, visibility)


@contextlib.contextmanager
def _python(script: str, guard_end: int, stdout: int | None = None) -> Iterator[int]:
    """A leader that runs a script while its stdin is open; it is dead and reaped at the end."""
    with _pipe() as (reader, _writer), _null() as null:
        pid = spawner.start_leader(
            [sys.executable, "-I", "-S", "-c", script],
            sys.executable,
            dict(os.environ),
            (reader, null if stdout is None else stdout, null, guard_end),
        )
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


@contextlib.contextmanager
def _null() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def pidfds() -> Iterator[Finding]:
    """pidfd_open, pidfd_send_signal."""
    with _pipe() as (reader, _writer), _python(_WAITS, reader) as pid:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            yield missing(
                "pidfd_open",
                f"{error.strerror}: no job can be started, its end could not be awaited",
                f"Linux 5.3 has it: {_UPGRADE}",
                needed=True,
            )
            return
        yield ok(
            "pidfd_open", "a job's end is awaited by a descriptor, never by an id that may be given away"
        )
        try:
            signal.pidfd_send_signal(pidfd, 0, None, _GROUP_FLAG)
        except OSError as error:
            yield weaker(
                "pidfd_send_signal, group",
                f"{error.strerror}: groups are signalled by number, while their leader is a zombie that keeps it",
                f"nothing is lost; Linux 6.9 has it: {_UPGRADE}",
            )
        else:
            yield ok("pidfd_send_signal, group", "a whole group is signalled by descriptor (Linux 6.9)")
        finally:
            os.close(pidfd)


def guard() -> Iterator[Finding]:
    """The guard."""
    what = "guard (F_SETOWN, F_SETSIG)"
    held = Guard()
    with _python(_WAITS, held.reader) as pid:
        os.close(held.reader)
        held.close()
        if _dies(pid):
            yield ok(what, "a job dies with its wrapper, also when that is killed: tried on a job")
        else:
            yield weaker(
                what,
                "a job outlived the end of its guard: after SIGKILL of the wrapper its job goes on",
                "the helper still ends a worker's jobs; do not kill -9 standalone wrappers here",
            )


def _dies(pid: int) -> bool:
    """True when a child has ended soon; it stays a zombie."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            return stragglers.await_exit(pidfd, _DEATH_SECONDS)
        finally:
            os.close(pidfd)
    return False


def subreaper() -> Iterator[Finding]:
    """The helper as subreaper."""
    what = "helper, subreaper (prctl)"
    with contextlib.closing(HelperSpawner()) as helper, _pipe() as (news, told), _pipe() as (stdin, _writer):
        escaped = _escaped(helper, stdin, news, told)
        try:
            died = escaped is not None and stragglers.await_exit(escaped, _DEATH_SECONDS)
            if escaped is not None and not died:
                signal.pidfd_send_signal(escaped, signal.SIGKILL)
        finally:
            if escaped is not None:
                os.close(escaped)
    if died:
        yield ok(
            what, "a process that leaves its job's group and closes everything is found and ended: tried"
        )
    else:
        yield weaker(
            what,
            "a process that leaves its job's group and closes everything survives its job",
            "tools that start daemons (a cache's server) are to be started before the build",
        )


def _escaped(helper: HelperSpawner, stdin: int, news: int, told: int) -> int | None:
    """Runs a job that one process escapes from, to its end; returns that process's pidfd."""
    held = Guard()
    with _null() as null:
        try:
            pid, pidfd = helper.start(
                [sys.executable, "-I", "-S", "-c", _ESCAPES],
                sys.executable,
                dict(os.environ),
                "/",
                (stdin, told, null, held.reader),
            )
        finally:
            os.close(held.reader)
        os.close(told)
        try:
            line = _line(news)
            escaped = os.pidfd_open(int(line)) if line else None
            stragglers.await_exit(pidfd, _DEATH_SECONDS)
            helper.reap(pid)
        finally:
            os.close(pidfd)
            held.close()
        return escaped


def _line(descriptor: int) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return os.read(descriptor, 64) if poll.poll(_DEATH_SECONDS * 1000) else b""


def visibility() -> Iterator[Finding]:
    """/proc."""
    if not spawner.sees_processes():
        yield weaker(
            "/proc",
            "it is not this process namespace's: what left its job's group cannot be looked up there",
            "mount /proc anew in the container (unshare --mount-proc, docker does so by itself)",
        )
        return
    hidden = _hides_processes()
    yield ok(
        "/proc",
        "jobs can be looked up; processes of other users are hidden (hidepid), which jobs are not"
        if hidden
        else "every process can be looked up",
    )
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        yield weaker(
            "/proc, children",
            "children are found by looking at every process, which costs time with thousands of them",
            "nothing is lost; a kernel with CONFIG_PROC_CHILDREN is quicker",
        )


def _hides_processes() -> bool:
    """True when the first process, which is always there, cannot be seen."""
    try:
        Path("/proc/1/stat").read_bytes()
    except OSError:
        return True
    return False
