"""Landlock rulesets: what a job may read, list and write, and that it connects to nobody, held by the kernel (landlock(7)).

A ruleset is made here, by whoever starts a job, and put on by the job's spawner in a thread that nothing else uses (`spawner`). What
it holds, and what it does not:

-   Held: opening and executing files, listing directories, making, removing, renaming, linking and truncating; TCP (ABI 4);
    ioctl of devices (5); signals to processes outside, and abstract Unix sockets of theirs (6). A compiler signals its own
    processes only, and they are all inside; a neighbour's job, the worker and a daemon's answer are nothing that it declared.
-   Not held: stat, access, readlink, chdir, chmod, utime (an undeclared file is *there*, it just cannot be opened: EACCES); UDP;
    Unix sockets with a path; descriptors that were open before (streams, the jobserver's pipe).
-   Rules add up and go downwards. There is none for a directory without what is in it: who may list a directory may list
    those below it, and still opens no file there.
-   A rule is about the file that has the path *now*, its links resolved. Of a file that is going to be replaced, allow the directory.

Not here: which paths a job gets (`Declared`, `toolchain`, `system`), and what is done without Landlock (`policy`).
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from headstart_wrapper import spawner
from headstart_wrapper.errors import MachineError
from headstart_wrapper.hints import TYPE_CHECKING, Final
from headstart_wrapper.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable

# Numbers of system calls, equal on every machine that Linux came to after x86 (asm-generic/unistd.h); flags of linux/landlock.h.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_REMOVE_DIR: Final = 1 << 4
_REMOVE_FILE: Final = 1 << 5
_MAKE_CHAR: Final = 1 << 6
_MAKE_DIR: Final = 1 << 7
_MAKE_REG: Final = 1 << 8
_MAKE_SOCK: Final = 1 << 9
_MAKE_FIFO: Final = 1 << 10
_MAKE_BLOCK: Final = 1 << 11
_MAKE_SYM: Final = 1 << 12
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_IOCTL_DEV: Final = 1 << 15

_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR

_WRITE: Final = (
    _READ
    | _WRITE_FILE
    | _TRUNCATE
    | _REMOVE_DIR
    | _REMOVE_FILE
    | _MAKE_DIR
    | _MAKE_REG
    | _MAKE_SOCK
    | _MAKE_FIFO
    | _MAKE_SYM
    | _REFER
)
"""Without _MAKE_CHAR and _MAKE_BLOCK: a device of root's own making reads and writes every disk."""

_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""What a rule on something else than a directory may say; the kernel refuses more."""

_FILES_BY_ABI: Final = ((1, _REFER - 1), (2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV))
_TCP_BY_ABI: Final = ((4, 0b11),)  # bind, connect
_SCOPES_BY_ABI: Final = ((6, 0b11),)  # abstract Unix sockets, signals

_DEVICES: Final = "/dev"

_WHY_NOT: Final = {
    errno.ENOSYS: "this kernel was built without it",
    errno.EOPNOTSUPP: "it is switched off on this machine, see the kernel's option lsm=",
}

_NOWHERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG}
"""Why a path cannot be opened, by a job neither, so that there is nothing to allow."""


class Rules(Record, kw_only=True):
    """What a job may do; absolute paths, those that do not exist are passed over.

    Attributes:
        read: files to read and execute, and directories of which everything may be read, executed and listed.
        list: directories whose names may be listed, and with them those of the directories below.
        write: directories in which everything may be done but making devices; files to read and write.
    """

    read: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


def abi() -> tuple[int, str]:
    """The version of Landlock that this kernel has: 0 when there is none, and then a clause that says why."""
    try:
        return _call(_syscall(), _CREATE_RULESET, None, 0, _VERSION), ""
    except OSError as error:
        return 0, _WHY_NOT.get(error.errno or 0, f"asking for it fails: {error.strerror}")
    except (ImportError, AttributeError):
        return 0, "this Python cannot call the C library, it was built without ctypes"


def ruleset(rules: Rules) -> int:
    """Makes a ruleset: a descriptor, close-on-exec, that the caller owns.

    Raises:
        MachineError: there is no Landlock, or the kernel or this process is short of something.
    """
    version, why_not = abi()
    if not version:
        raise MachineError(
            f"the job cannot be confined by Landlock ({why_not}); see headstart doctor, or run it without --sandbox=enforce"
        )
    try:
        return _made(rules, version)
    except OSError as error:
        raise MachineError(
            f"the job's sandbox cannot be made ({error.strerror}: {error.filename or 'Landlock'}); lower --jobs, or see to the "
            "limits of this machine"
        ) from error


def _made(rules: Rules, version: int) -> int:
    files = _until(version, _FILES_BY_ABI)
    tcp, scopes = _until(version, _TCP_BY_ABI), _until(version, _SCOPES_BY_ABI)
    # Kernels take a longer structure than they know, when what they do not know of it is zero.
    attributes = struct.pack("=QQQ", files, tcp, scopes)
    syscall = _syscall()
    made = _call(syscall, _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for paths, rights in ((rules.read, _READ), (rules.list, _READ_DIR), (rules.write, _WRITE)):
            for path in dict.fromkeys(paths):
                _allow(syscall, made, path, rights & files, files)
    except BaseException:
        os.close(made)
        raise
    return made


def _until(version: int, rights: tuple[tuple[int, int], ...]) -> int:
    return sum(bits for since, bits in rights if since <= version)


def _allow(syscall: Callable[..., int], made: int, path: str, rights: int, handled: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except ValueError:  # no path at all: it holds a NUL
        return
    except OSError as error:
        if error.errno in _NOWHERE:
            return
        raise
    try:
        if f"{path}/".startswith(_DEVICES):
            rights |= _IOCTL_DEV & handled
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        if rights:  # a file in a list of directories has none left
            _call(syscall, _ADD_RULE, made, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    except OSError as error:
        if error.errno != errno.EBADFD:  # a pipe has no place in the file system, and needs no rule
            raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(place)


def _syscall() -> Callable[..., int]:
    return spawner.library_function("syscall")


def _call(syscall: Callable[..., int], *arguments: int | bytes | None) -> int:
    made = syscall(*arguments)
    if made < 0:
        import _ctypes  # noqa: PLC0415 - it is there by now

        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return made
