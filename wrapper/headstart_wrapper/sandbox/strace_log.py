"""What strace wrote of a job becomes events: who did what to which file, and how that went. Pure.

Written for `strace -f -qq -y -o FILE` (`tracer`): every line begins with a process id, descriptors come with the path that they are open
on, and relative paths come with their directory where the call takes one. Where it takes none, the directory is the process's own,
which is followed through `chdir`, forks and threads. A log that ends anywhere, and a line that is none of strace's, give fewer
events, never an exception. Not here: what a job may do (`observed`).
"""

from __future__ import annotations

import posixpath
import re
from enum import StrEnum

from headstart_wrapper.hints import TYPE_CHECKING, Final
from headstart_wrapper.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Use(StrEnum):
    """What was done to a path. Of MOVE, LINK and SYMLINK the path is the new name, and `source` the old one, or what it leads to."""

    LOOK = "look"
    READ = "read"
    LIST = "list"
    EXECUTE = "execute"
    ENTER = "enter"
    WRITE = "write"
    CREATE = "create"
    MOVE = "move"
    LINK = "link"
    SYMLINK = "symlink"
    REMOVE = "remove"
    CONNECT = "connect"
    BIND = "bind"


class Event(Record):
    """One thing that a process did, or tried.

    Attributes:
        use: what.
        path: absolute, as it was named (`..` and symbolic links in it are not resolved); of CONNECT and BIND an address.
        real: where that led, if the call gave a descriptor; "" when it did not.
        error: the error's name; "" for success.
        program: the last name of the process's program; "" when it was not seen to start.
        source: see `Use`.
    """

    use: Use
    path: str
    real: str = ""
    error: str = ""
    program: str = ""
    source: str = ""


_USES: Final[dict[str, Use]] = {
    **dict.fromkeys(("stat", "lstat", "stat64", "lstat64", "newfstatat", "fstatat64", "statx"), Use.LOOK),
    **dict.fromkeys(("access", "faccessat", "faccessat2", "readlink", "readlinkat"), Use.LOOK),
    **dict.fromkeys(("open", "openat", "openat2"), Use.READ),  # or what their flags say
    **dict.fromkeys(("execve", "execveat"), Use.EXECUTE),
    **dict.fromkeys(("getdents", "getdents64"), Use.LIST),
    **dict.fromkeys(("chdir", "fchdir"), Use.ENTER),
    **dict.fromkeys(("creat", "mkdir", "mkdirat", "mknod", "mknodat"), Use.CREATE),
    **dict.fromkeys(("truncate", "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat"), Use.WRITE),
    **dict.fromkeys(("utime", "utimes", "futimesat", "utimensat"), Use.WRITE),
    **dict.fromkeys(("rename", "renameat", "renameat2"), Use.MOVE),
    **dict.fromkeys(("link", "linkat"), Use.LINK),
    **dict.fromkeys(("symlink", "symlinkat"), Use.SYMLINK),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), Use.REMOVE),
    "connect": Use.CONNECT,
    "bind": Use.BIND,
}

_FORKS: Final = ("clone", "clone3", "fork", "vfork")

CALLS: Final = (*_USES, *_FORKS)
"""The system calls that have to be in the log."""

_TWO_NAMES: Final = frozenset({Use.MOVE, Use.LINK, Use.SYMLINK})

_TOKEN: Final = re.compile(
    r'"(?P<text>(?:[^"\\]|\\.)*)"(?P<cut>\.\.\.)?|<(?P<path>/(?:[^<>\\]|\\.)*)>(?:\(deleted\))?|(?P<plain>[^"<]+|.)',
    re.DOTALL,
)
_END_OF_ARGUMENTS: Final = re.compile(r"\) += ")
_RESULT: Final = re.compile(r"(-?[0-9]{1,18})(?: ([A-Z][A-Z0-9]*))?")
_PORT: Final = re.compile(r"htons\(([0-9]+)\)")
_ESCAPE: Final = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_UNFINISHED: Final = "<unfinished ...>"


def events(log: bytes, directory: str) -> Iterator[Event]:
    """The events of a log, in the order in which the calls ended.

    Args:
        log: what strace wrote.
        directory: where the first process began, absolute.
    """
    processes: dict[str, _Process] = {}
    for pid, call in _in_order(log.decode("latin-1")):  # strace writes ASCII; what does not is kept as it is
        process = processes.setdefault(pid, _Process([directory]))
        if call.name in _FORKS:
            if call.number > 0:
                processes[str(call.number)] = process.child(shares="CLONE_FS" in call.plain)
        else:
            yield from process.did(call)


def _in_order(text: str) -> Iterator[tuple[str, _Call]]:
    """Process ids and calls: a fork stands where it began, because what its child does may be told before it ends."""
    begun: dict[str, tuple[int, str]] = {}
    calls = []
    for at, line in enumerate(text.split("\n")):
        pid, _, told = line.partition(" ")
        told = told.lstrip(" ")
        if not (pid.isascii() and pid.isdecimal()):
            continue
        start = at
        if told.startswith("<... "):
            start, head = begun.pop(pid, (at, ""))
            told = head + told.partition(" resumed>")[2]
        elif told.endswith(_UNFINISHED):
            begun[pid] = (at, told.removesuffix(_UNFINISHED))
            continue
        name = told.partition("(")[0]
        if name in CALLS:
            calls.append((start if name in _FORKS else at, pid, _Call(name, told)))
    calls.sort(key=lambda call: call[0])
    for _, pid, call in calls:
        yield pid, call


class _Call:
    """One call, read.

    Attributes:
        name: its name.
        names: (directory that it is relative to, or "", text, "" for that directory itself): its strings, and descriptors.
        cwd: the process's directory, where the call showed it.
        plain: the rest of the arguments.
        number: what it returned; -1 when it failed, or when its end is not there.
        error: the error's name; "?" when the end is not there.
        real: the path of the descriptor that it returned.
    """

    def __init__(self, name: str, told: str) -> None:
        self.name = name
        self.names: list[tuple[str, str]] = []
        self.cwd = self.plain = self.real = ""
        self.number, self.error = -1, "?"
        base = ""
        for token in _TOKEN.finditer(told, len(name)):
            ended = self.error != "?" or self.number != -1
            if token["plain"] is not None and not ended:
                plain, *result = _END_OF_ARGUMENTS.split(token["plain"], maxsplit=1)
                self.plain += plain
                if result and (read := _RESULT.match(result[0])):
                    self.number, self.error = int(read[1]), read[2] or ""
            elif token["path"] is not None and ended:
                self.real = self.real or _unescaped(token["path"])
            elif token["path"] is not None:
                if base:
                    self.names.append((base, ""))
                base = _unescaped(token["path"])
                if self.plain.endswith("AT_FDCWD"):
                    self.cwd = base
            elif token["text"] is not None and not ended:
                self.names.append((base, _unescaped(token["text"])))
                base = ""
        if base:
            self.names.append((base, ""))


def _unescaped(text: str) -> str:
    def meant(escape: re.Match[bytes]) -> bytes:
        said = escape[1]
        return bytes((int(said, 8) & 255,)) if b"0" <= said[:1] <= b"7" else _LETTERS.get(said, said)

    data = text.encode("latin-1")
    return _ESCAPE.sub(meant, data).decode("utf-8", "surrogateescape")


class _Process:
    """What is known of a process: its directory, which threads share, and its program."""

    def __init__(self, directory: list[str], program: str = "") -> None:
        self._directory = directory
        self._program = program

    def child(self, *, shares: bool) -> _Process:
        return _Process(self._directory if shares else [*self._directory], self._program)

    def did(self, call: _Call) -> Iterator[Event]:
        if call.cwd:
            self._directory[0] = call.cwd
        use = _USES[call.name]
        if call.error == "?":
            return
        if use in {Use.CONNECT, Use.BIND}:
            if address := _address(call):
                yield Event(use, address, error=call.error, program=self._program)
            return
        names = [self._path(*name) for name in call.names[:2]]
        if use in _TWO_NAMES:
            if len(names) == len(("old", "new")):
                yield Event(use, names[1], error=call.error, program=self._program, source=names[0])
        elif names:
            self._follow(use, names[0], call.error)
            for each in _opened(call) if use is Use.READ else (use,):
                yield Event(each, names[0], real=call.real, error=call.error, program=self._program)

    def _follow(self, use: Use, path: str, error: str) -> None:
        if use is Use.EXECUTE and not error:
            self._program = posixpath.basename(path)
        if use is Use.ENTER and not error:
            self._directory[0] = path

    def _path(self, base: str, text: str) -> str:
        return posixpath.join(base or self._directory[0], text) if text else base


def _opened(call: _Call) -> Iterable[Use]:
    """What an open does, by its flags."""
    flags = call.plain
    if "O_PATH" in flags or "O_TMPFILE" in flags:
        return (Use.LOOK,)
    if "O_CREAT" in flags:
        return (Use.CREATE,)
    if "O_DIRECTORY" in flags:
        return (Use.LIST,) if call.error else (Use.LOOK,)  # its names are read by the calls that follow
    if "O_WRONLY" in flags:
        return (Use.WRITE,)
    return (Use.READ, Use.WRITE) if "O_RDWR" in flags else (Use.READ,)


def _address(call: _Call) -> str:
    """Of a socket's call: `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:@name`; "" for other families."""
    text = next((text for base, text in call.names if not base), None)
    port = _PORT.search(call.plain)
    if text is None:
        return ""
    if "AF_INET6" in call.plain and port:
        return f"[{text}]:{port[1]}"
    if "AF_INET" in call.plain and port:
        return f"{text}:{port[1]}"
    if "AF_UNIX" in call.plain:
        return f"unix:@{text}" if "sun_path=@" in call.plain else f"unix:{text}"
    return ""
