"""Reads the log of `strace -f -ttt -y` as a sequence of calls: who called what, where it was, which paths it named.

Pure, and sharing nothing with the product's own reading of traces: what judges the product must not have its mistakes. What is
wrong with a call is not known here (`strace_windows`).
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto

from attrs import define, evolve, field, frozen


class Role(Enum):
    """What a call does with a path that it names; `TOUCH` is anything with a descriptor that was opened before."""

    READ = auto()
    LOOK = auto()
    DIRECTORY = auto()
    WRITE = auto()
    TOUCH = auto()


@frozen
class Name:
    """A path in a call, absolute and normal."""

    path: str
    role: Role


@frozen
class Call:
    """One system call, from the line of its begin to that of its end (both the same if nothing came between).

    Attributes:
        pid: the thread's id.
        name: the system call's.
        args: as strace spells them.
        result: what is right of the equals sign; "?" for a call that its process did not survive.
        began: number of a line.
        ended: number of a line.
        cwd: the thread's directory.
        then: the same after the call.
    """

    pid: int
    name: str
    args: tuple[str, ...]
    result: str
    began: int
    ended: int
    cwd: str = ""
    then: str = ""

    @property
    def failed(self) -> bool:
        """Nothing came of it."""
        return self.result.startswith(("-1", "?"))

    @property
    def text(self) -> str:
        """For people."""
        words = ", ".join(arg if len(arg) < 160 else f"{arg[:150]}..." for arg in self.args)
        return f"{self.pid} in {self.cwd}: {self.name}({words}) = {self.result}"

    def data(self) -> bytes:
        """What a read or a write moved.

        Raises:
            ValueError: strace was told to show less.
        """
        if self.args[1].endswith("..."):
            raise ValueError(f"strace cut what was moved, give it a larger -s: {self.text}")
        return unquoted(self.args[1])

    def names(self) -> Iterator[Name]:
        """Every path that it names: as words, as descriptors, and where what it opened really lies."""
        opened = described(self.result)
        role = _role(self)
        if self.name in _DESCRIPTORS_ONLY:
            for position, arg in enumerate(self.args):
                if path := described(arg):
                    writes = position == _WRITTEN_AT.get(self.name) or self._maps_for_writing()
                    yield Name(path, Role.WRITE if writes else Role.TOUCH)
            return
        yield from (Name(path, each) for path, each in self._words(role))
        if opened:
            yield Name(opened, role)

    def _maps_for_writing(self) -> bool:
        return self.name == "mmap" and "PROT_WRITE" in self.args[2] and "MAP_SHARED" in self.args[3]

    def _words(self, role: Role) -> Iterator[tuple[str, Role]]:
        base, words = self.cwd, 0
        for arg in self.args:
            if path := described(arg):
                base = path
                if not arg.startswith("AT_FDCWD"):
                    yield path, Role.TOUCH
            elif arg.startswith("AT_FDCWD"):
                base = self.cwd
            elif arg.startswith('"'):
                words += 1
                if words == 1 and self.name.startswith("link"):
                    yield resolved(arg, base), Role.READ
                elif words > 1 or not self.name.startswith("symlink"):  # what that says is no place
                    yield resolved(arg, base), role
                base = self.cwd
                if self.name not in _TWO_PATHS:
                    return


@frozen
class Exit:
    """The end of a thread."""

    pid: int
    line: int


_LINE = re.compile(r"(\d+) +\d+\.\d+ (.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (.*)", re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(?:\.\.\.)?|<[^>]*>|[^"<>,(){}\[\]]+|.', re.DOTALL)
_DESCRIBED = re.compile(r"(?:-?\d+|AT_FDCWD)<(/[^>]*)>(?:\(deleted\))?", re.DOTALL)

_TWO_PATHS = {"rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"}
_LOOKS = {
    *("stat", "lstat", "newfstatat", "statx", "statfs", "access", "faccessat", "faccessat2", "readlink"),
    *("readlinkat", "getxattr", "lgetxattr", "listxattr", "llistxattr"),
}
_WRITES = _TWO_PATHS | {
    *("mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "mknod", "mknodat", "creat", "truncate", "utimes"),
    *("utimensat", "chmod", "fchmodat", "chown", "lchown", "fchownat", "setxattr", "lsetxattr"),
}
_WRITTEN_AT = {
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate"), 0),
    **dict.fromkeys(("fchmod", "fchown", "fsetxattr", "sendfile"), 0),
    "copy_file_range": 2,
}
_DESCRIPTORS_ONLY = {
    *_WRITTEN_AT,
    *("read", "pread64", "readv", "preadv", "mmap", "close", "fstat", "lseek", "fcntl", "ioctl", "dup"),
    *("dup2", "dup3", "getdents64", "flock", "fsync", "fdatasync", "fadvise64", "memfd_create", "sendto"),
    *("recvfrom", "sendmsg", "recvmsg"),
}
"""Their strings are not paths."""

_BEARS = {"clone", "clone3", "fork", "vfork"}


def _role(call: Call) -> Role:
    flags = " ".join(arg for arg in call.args if arg[:2] == "O_" or "flags=O_" in arg)
    if re.search(r"\bO_(WRONLY|RDWR|CREAT|TRUNC)\b", flags) or call.name in _WRITES:
        return Role.WRITE
    if (
        call.name in {"chdir", "fchdir", "getcwd"}
        or "O_DIRECTORY" in flags
        or any("_mode=S_IFDIR" in arg for arg in call.args)
    ):
        return Role.DIRECTORY
    return Role.LOOK if call.name in _LOOKS or "O_PATH" in flags else Role.READ


def unquoted(text: str) -> bytes:
    """The bytes of a string that strace quoted."""
    value = ast.literal_eval(f"b{text.removesuffix('...')}")
    assert isinstance(value, bytes)
    return value


def resolved(quoted: str, base: str) -> str:
    """A quoted path as an absolute one."""
    return posixpath.normpath(posixpath.join(base, unquoted(quoted).decode(errors="surrogateescape")))


def described(text: str) -> str:
    """The file that strace says a descriptor is; "" for what is none, or no file."""
    found = _DESCRIBED.match(text)
    if not found or found[1].startswith("/memfd:"):
        return ""
    path = unquoted(f'"{found[1]}"').decode(errors="surrogateescape")
    return path.removesuffix(" (deleted)")


def split(args: str) -> tuple[str, ...]:
    """The arguments of a call."""
    parts, depth = [""], 0
    for piece in _TOKEN.findall(args):
        if piece == "," and depth == 0:
            parts.append("")
            continue
        depth += (piece in "([{") - (piece in ")]}") if len(piece) == 1 else 0
        parts[-1] += piece
    return tuple(part.strip() for part in parts)


def raw_calls(lines: Iterable[str]) -> Iterator[Call | Exit]:
    """Calls in the order of their ends, halves joined; where their threads were is not known yet."""
    pending: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            raise ValueError(f"line {number + 1} is not strace's: {line!r}")
        pid, rest = int(found[1]), found[2]
        if rest.startswith("--- "):
            continue
        if rest.startswith("+++ "):
            if pid in pending:
                began, text = pending.pop(pid)
                name, _, args = text.partition("(")
                yield Call(pid, name, split(args), "?", began, number)
            yield Exit(pid, number)
            continue
        began = number
        if rest.startswith("<... "):
            began, text = pending.pop(pid)
            rest = text + rest.partition(" resumed>")[2]
        if rest.endswith("<unfinished ...>"):
            pending[pid] = began, rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if call := _CALL.match(rest):
            yield Call(pid, call[1], split(call[2]), call[3], began, number)


@define
class _Place:
    """A directory that threads which share it change together."""

    cwd: str


@define
class _Places:
    """Where each thread is."""

    start: str
    births: dict[int, list[tuple[int, bool]]] = field(factory=dict)
    places: dict[int, _Place] = field(factory=dict)

    def of(self, pid: int) -> _Place:
        if pid not in self.places:
            births = self.births.get(pid)
            if births:
                parent, shares = births.pop(0)
                place = self.of(parent)
                self.places[pid] = place if shares else _Place(place.cwd)
            else:
                self.places[pid] = _Place(self.start)
        return self.places[pid]

    def after(self, call: Call) -> None:
        if call.failed:
            return
        if call.name == "unshare" and "CLONE_FS" in call.args[0]:
            self.places[call.pid] = _Place(call.cwd)
        if call.name == "chdir":
            self.of(call.pid).cwd = resolved(call.args[0], call.cwd)
        if call.name == "fchdir":
            self.of(call.pid).cwd = described(call.args[0])


def _told(call: Call) -> str:
    """The caller's directory, when strace shows it."""
    return next((described(arg) for arg in call.args if arg.startswith("AT_FDCWD<")), "")


def calls(lines: Iterable[str], cwd: str) -> list[Call | Exit]:
    """Calls in the order of their ends, each with its thread's directory.

    Args:
        lines: strace's.
        cwd: where the first process is.

    Raises:
        ValueError: this is no such log.
    """
    raw = list(raw_calls(lines))
    places = _Places(cwd)
    for event in raw:
        if isinstance(event, Call) and event.name in _BEARS and not event.failed:
            child = int(event.result.split()[0])
            places.births.setdefault(child, []).append((event.pid, "CLONE_FS" in "".join(event.args)))
    found: list[Call | Exit] = []
    for event in raw:
        if isinstance(event, Exit):
            places.places.pop(event.pid, None)
            found.append(event)
            continue
        place = places.of(event.pid)
        place.cwd = _told(event) or place.cwd  # what strace shows knows of renamed directories too
        call = evolve(event, cwd=place.cwd)
        places.after(call)
        found.append(evolve(call, then=places.of(event.pid).cwd))
    return found
