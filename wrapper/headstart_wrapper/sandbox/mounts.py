"""Starts a command in a private view of the file system: the child's half of `view`, which decides what is in it.

Everything but this starts processes without a copy of their parent (`spawner`). A view can be made only by the process that is to
have it, between its start and its command: a user namespace of its own is refused to a process with threads, and mounts are no
part of what posix_spawn(3) does. So this one path forks. Who does it is small, and what other threads it has only wait for
confined leaders: its copy costs less than the mounts do, and hangs on nothing.

The view is an empty file system in memory (tmpfs), in which every file and directory that the plan names is *mounted* at its own
path: the compiler sees the same paths, the same inodes and so writes the same bytes, and a file that was not named does not
exist. All of it is read-only but for what is named as writable. With the last process of the job the kernel takes it away.

What is left open: /proc tells of other processes, and through them (`/proc/1/root`) would lead out of the view; Landlock, which the job
has besides, refuses that. Somebody who may mount anyway (CAP_SYS_ADMIN) needs no user namespace, and so keeps his rights over files of
others; that right itself is taken from the job.

Imported by the helper when the first job wants a view: it needs nothing that the helper does not have.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
import sys

from headstart_wrapper.spawner import ConfinementError, library_function, restriction

TYPE_CHECKING = False  # what type checkers take for typing's own

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

View = tuple[
    str, tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]
]
"""What `view.plan` decides, parents first in each part: where the command starts; directories to make; symbolic links to make
(place, target); files to make, so that something can be mounted on them; what is mounted read-only; what is mounted writable."""

NOTHING: View = ("/", (), (), (), (), ())

Command = tuple[str, list[str], dict[str, str]]
"""execve(2)'s arguments: the file, the words, the environment."""

_STAGE = "/proc"
"""A directory that there always is; the new root is mounted on it until it takes the old one's place."""

_OLD = "/.headstart-old-root"
"""Where the old root is while the new one is made."""

_CLONE_NEWNS = 0x20000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV = 2, 4
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2

# Numbers of the newer system calls, which are the same on every architecture; not every C library knows them.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_LANDLOCK_ADD_RULE = 445

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4

_READ_ONLY = struct.pack("QQQQ", 1, 0, 0, 0)
"""mount_setattr(2)'s struct mount_attr: what to set (MOUNT_ATTR_RDONLY), to clear, propagation, a namespace's descriptor."""

_PR_CAPBSET_DROP = 24
_CAP_SYS_ADMIN = 21

_LANDLOCK = "the ruleset"
_LANDLOCK_RULE_PATH_BENEATH = 1
_LANDLOCK_READ_DIR = 1 << 3


def fork(
    command: Command,
    descriptors: list[tuple[int, int]],
    ruleset: int,
    view: View,
    *,
    arm: Callable[[int], None] | None = None,
) -> tuple[int, int]:
    """Starts a process, in a group of its own, that makes itself a view and then becomes a command.

    Args:
        command: what it becomes.
        descriptors: (ours, its number in the command); ours are close-on-exec, 0 to 2 apart.
        ruleset: Landlock's (`landlock.ruleset`), which it is held to; -1: none.
        view: what exists for it.
        arm: sets the guard of a group; called by the new process itself, so that whatever becomes of its parent it does not outlive it.

    Returns:
        Its process id, and the descriptor for `await_command`, which has to be called.
    """
    report, writer = os.pipe2(os.O_CLOEXEC)
    # Until it has no handler of ours left: one that ran in the child would act for the parent.
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _become(command, descriptors, ruleset, view, writer, arm=arm)
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        os.setpgid(pid, pid)  # both sides do: whoever asks for the group next finds it
    except OSError:
        return pid, report  # it is further than that
    return pid, report


def await_command(pid: int, report: int) -> None:
    """Waits until the command runs, or was killed on its way there; closes the descriptor.

    Raises:
        ConfinementError: there is no view, and `filename` says what could not be done: a system call and the path that it was about; or
            the ruleset cannot be put on, and it says nothing.
        OSError: the command cannot be executed in it. Both times the process is reaped.
    """
    said = b""
    try:
        while data := os.read(report, 1 << 12):
            said += data
    finally:
        os.close(report)
    if not said:
        return
    os.waitpid(pid, 0)
    number, _, what = os.fsdecode(said).partition(" ")
    reason = os.strerror(int(number))
    if what:
        raise ConfinementError(int(number), reason, "" if what == _LANDLOCK else what)
    raise OSError(int(number), reason)


def _become(
    command: Command,
    descriptors: list[tuple[int, int]],
    ruleset: int,
    view: View,
    report: int,
    *,
    arm: Callable[[int], None] | None,
) -> NoReturn:
    """The child: never returns, never raises, and runs nothing of what its parent would have run next."""
    number, what = errno.EINVAL, "its process"
    try:
        os.setpgid(0, 0)
        if arm is not None:
            arm(
                os.getpid()
            )  # if ours is a copy of the guard's writing end, it is closed when the command runs
        try:
            enter(view)
        except OSError as error:
            what = str(error.filename)
            raise
        what = _LANDLOCK
        _restrict(ruleset)
        what = ""
        if report in {place for _, place in descriptors}:
            report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, report + 1)
        for descriptor, place in descriptors:
            os.dup2(descriptor, place)
            os.set_inheritable(place, True)  # dup2(2) does nothing for one that is in its place
        _reset_signals()
        os.execve(*command)  # noqa: S606 - there is no shell to be had
    except OSError as error:
        number = error.errno or errno.EINVAL
    finally:  # ValueError: a word that no command can have
        os.write(report, b"%d %s" % (number, os.fsencode(what)))
        os._exit(127)


def _reset_signals() -> None:
    """What posix_spawn(3) is told to do: nothing blocked, nothing ignored that only Python ignores."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) or number in {signal.SIGPIPE, signal.SIGXFSZ}:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def enter(view: View) -> None:
    """Gives this process, which has one thread, the view for good.

    Raises:
        OSError: `filename` says what could not be done, or where.
    """
    directory, directories, links, files, readable, writable = view
    _leave_namespaces()
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    _call("mount", b"tmpfs", _STAGE.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=755")
    os.mkdir(_STAGE + _OLD)  # noqa: PTH102 - without pathlib
    _call("pivot_root", _STAGE.encode(), (_STAGE + _OLD).encode())
    os.chdir("/")
    mask = os.umask(0)
    for place in directories:
        os.mkdir(place, 0o755)  # noqa: PTH102 - without pathlib
    for place, target in links:
        os.symlink(target, place)  # noqa: PTH211 - without pathlib
    for place in files:
        os.mknod(place, stat.S_IFREG | 0o444)
    os.umask(mask)
    # Taken before the old root goes, put in their places when what is there by then has become read-only.
    trees = [(_tree(place), place) for place in writable]
    for place in readable:
        _call("mount", os.fsencode(_OLD + place), os.fsencode(place), None, _MS_BIND | _MS_REC, None)
    _call("umount2", _OLD.encode(), _MNT_DETACH)
    os.rmdir(_OLD)  # noqa: PTH106 - without pathlib
    _system_call(
        "mount_setattr /", _MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, _READ_ONLY, len(_READ_ONLY)
    )
    for tree, place in trees:
        _system_call(
            f"move_mount {place}",
            _MOVE_MOUNT,
            tree,
            b"",
            _AT_FDCWD,
            os.fsencode(place),
            _MOVE_MOUNT_F_EMPTY_PATH,
        )
        os.close(tree)
    os.chdir(directory)
    _call("prctl", _PR_CAPBSET_DROP, _CAP_SYS_ADMIN, 0, 0, 0)


def _leave_namespaces() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        _call("unshare", _CLONE_NEWNS)
    except PermissionError:
        _call("unshare", _CLONE_NEWNS | _CLONE_NEWUSER)
        # user_namespaces(7): who has no rights outside may name himself alone, and only when groups cannot be dropped.
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - without pathlib
                file.write(line)


def _tree(path: str) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    return _system_call(f"open_tree {path}", _OPEN_TREE, _AT_FDCWD, os.fsencode(_OLD + path), flags)


def _restrict(ruleset: int) -> None:
    """Holds this process to a ruleset of Landlock's; in a view every directory may be listed, for it shows only what is declared."""
    if ruleset < 0:
        return
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", _LANDLOCK_READ_DIR, root)
    _system_call("landlock_add_rule /", _LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
    os.close(root)
    restriction(ruleset)()


def _call(function: str, *arguments: int | bytes | None) -> int:
    """Calls a function of the C library; in errors it is named with the last path among its arguments."""
    paths = [os.fsdecode(each) for each in arguments if isinstance(each, bytes) and each.startswith(b"/")]
    return _checked(" ".join((function, *paths[-1:])), function, *arguments)


def _system_call(name: str, number: int, *arguments: int | bytes) -> int:
    return _checked(name, "syscall", number, *arguments)


def _checked(name: str, function: str, *arguments: int | bytes | None) -> int:
    result = library_function(function)(*arguments)
    if result < 0:
        import _ctypes  # noqa: PLC0415 - it is there by now

        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def probe() -> None:
    """Makes this process a view, as the whole of a program (`view.can_be_made`): ends with what could not be done, if anything."""
    try:
        enter(NOTHING)
    except OSError as error:
        sys.exit(f"{error.errno} {error.filename}")
