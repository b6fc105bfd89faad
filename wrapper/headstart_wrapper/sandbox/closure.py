"""Gathers what programs need: each with the libraries that it loads and the interpreters that its first line names."""

from __future__ import annotations

import os
import posixpath
import stat

from headstart_wrapper import executables
from headstart_wrapper.errors import HeadstartError
from headstart_wrapper.hints import Final
from headstart_wrapper.records import Record
from headstart_wrapper.sandbox.libraries import Loader, Ways, entries, link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_FIRST_LINE: Final = 256
"""Bytes of a script's first line that the kernel looks at (execve(2))."""


class Tools(Record, kw_only=True):
    """What a tool needs: resolved, absolute, sorted; what is below one of its directories is not listed as a file again.

    Attributes:
        files: files that it reads: libraries, settings.
        directories: directories of which it may read and execute everything.
        programs: what is executed: the tool, its interpreters, what it starts; wherever they are.
        listed: directories of which it reads the names, and may not read more.
        links: (place, what is written in it) of each symbolic link on the way to any of these.
    """

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    def cover(self, path: str) -> bool:
        """True when what a resolved path names may be read."""
        return path in self.files or path in self.programs or is_below(path, self.directories)


class State(Record, kw_only=True):
    """What a closure was found by. Where that changes, so may the closure; what would be found only now is not noticed.

    Attributes:
        stamps: of everything that was added, as it was spelled; None: it did not exist.
        steps: see `Ways`.
    """

    stamps: dict[str, tuple[int, ...] | None]
    steps: dict[str, str | None]

    def lasts(self) -> bool:
        """True when nothing has changed."""
        return all(link(place) == said for place, said in self.steps.items()) and all(
            _stamp(path) == stamp for path, stamp in self.stamps.items()
        )


class Closure:
    """Grows by what is added; paths are absolute, and what does not exist is left out."""

    def __init__(self, *, env: Mapping[str, str], cwd: str) -> None:
        """Both are the job's."""
        self._seen: dict[str, None] = {}
        self._path = env.get("PATH")
        self._cwd = cwd
        self._ways = Ways()
        self._loader = Loader(env=env, cwd=cwd, ways=self._ways)
        self._files: set[str] = set()
        self._directories: set[str] = set()
        self._programs: set[str] = set()
        self._listed: set[str] = set()

    def program(self, path: str) -> None:
        """Adds a program: what it loads, or what interprets it."""
        if path in self._seen:
            return
        real = self._exists(path, os.path.isfile)
        if real is None:
            return
        self._programs.add(real)
        beginning = first_bytes(path)
        if is_elf(beginning):
            self._libraries(path)
        else:
            for interpreter in self._interpreters(beginning):
                self.program(interpreter)

    @property
    def spellings(self) -> frozenset[str]:
        """What was added, as it was spelled, and programs as they are really called."""
        return frozenset((*self._seen, *self._programs))

    def library(self, path: str) -> None:
        """Adds what a program loads later than at its start, and what comes with it."""
        if path not in self._seen:
            self.file(path)
            self._libraries(path)

    def file(self, path: str) -> None:
        """Adds a file that is read."""
        if (real := self._exists(path, os.path.isfile)) is not None:
            self._files.add(real)

    def directory(self, path: str) -> None:
        """Adds everything below a directory."""
        if (real := self._exists(path, os.path.isdir)) is not None:
            self._directories.add(real)

    def names(self, path: str) -> None:
        """Adds a directory of which the names are read, and the links in it."""
        if (real := self._exists(path, os.path.isdir)) is not None:
            self._listed.add(real)
            for name in entries(real):
                self._ways.real(posixpath.join(real, name))

    def state(self) -> State:
        """What the closure was found by, as it is now."""
        return State(stamps={path: _stamp(path) for path in self._seen}, steps=dict(self._ways.steps))

    def tools(self) -> Tools:
        """Everything that was added."""
        directories = [
            each for each in self._directories if not is_below(posixpath.dirname(each), self._directories)
        ]
        return Tools(
            files=tuple(sorted(each for each in self._files if not is_below(each, directories))),
            directories=tuple(sorted(directories)),
            programs=tuple(sorted(self._programs)),
            listed=tuple(sorted(each for each in self._listed if not is_below(each, directories))),
            links=tuple(sorted((at, said) for at, said in self._ways.steps.items() if said is not None)),
        )

    def _exists(self, path: str, is_one: Callable[[str], bool]) -> str | None:
        """Where a path leads; None when that is not what it should be."""
        self._seen[path] = None
        return self._ways.real(path) if is_one(path) else None

    def _libraries(self, path: str) -> None:
        for each in self._loader.loaded(path):
            self.file(each)

    def _interpreters(self, beginning: bytes) -> Iterator[str]:
        """Who runs a script: the program of its first line, and the one that `env` finds; a shell where it has no such line."""
        if not beginning.startswith(b"#!"):
            if b"\0" not in beginning:
                yield executables.SHELL
            return
        line = beginning[2:].partition(b"\n")[0]
        words = os.fsdecode(line).split()
        if not words:
            return
        yield posixpath.join(self._cwd, words[0])
        if posixpath.basename(words[0]) == "env":
            named = (word for word in words[1:] if not word.startswith("-") and "=" not in word)
            if (found := find(next(named, ""), cwd=self._cwd, path=self._path)) is not None:
                yield found


def _stamp(path: str) -> tuple[int, ...] | None:
    """What changes with a file; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - without pathlib
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):  # only which one it is: names come and go in it
        return (found.st_dev, found.st_ino)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def find(command: str, *, cwd: str, path: str | None) -> str | None:
    """The absolute path of the program that a command names; None: there is none."""
    try:
        return posixpath.join(cwd, executables.find_executable(command, cwd=cwd, path=path))
    except HeadstartError:
        return None


def is_elf(beginning: bytes) -> bool:
    """True for the first bytes of a program or library, false for those of a script."""
    return beginning.startswith(b"\x7fELF")


def first_bytes(path: str) -> bytes:
    """What tells how a file is executed; nothing when it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - without pathlib
            return file.read(_FIRST_LINE)
    except OSError:
        return b""


def is_below(path: str, directories: Iterable[str]) -> bool:
    """True when a resolved path is one of the directories, or below one."""
    return any(path == each or path.startswith(f"{each.rstrip('/')}/") for each in directories)
