"""Private copies of a directory, and what a command wrote in one.

The user's directory is only read. What links in it name is kept apart from it: a link into the directory leads into the copy; one
that leads out of it leads to the same place as before, which is shared, not copied. A file that names the directory by its absolute
path can still lead a command back there: nothing prevents that, but `Source.touched` tells.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from attrs import frozen

from headstart_wrapper.errors import MachineError, RequestError

_WRITABLE: Final = 0o700


@frozen
class State:
    """What is compared of a file to tell whether somebody wrote it: writing the same bytes again counts."""

    mode: int
    size: int
    inode: int
    modified: int
    target: str = ""


@frozen
class Kept:
    """A file that a command wrote, taken out of the copy.

    Attributes:
        kind: "file", "link" or "gone" (it was there, and the command removed it).
        place: the content of a file.
        mode: permissions of a file.
        target: of a link.
    """

    kind: str
    place: Path | None = None
    mode: int = 0
    target: str = ""


def listing(directory: Path) -> dict[str, State]:
    """Every file and link below a directory, by its path relative to it."""
    found = {}
    for entry in _entries(directory):
        status = entry.stat(follow_symlinks=False)
        target = os.readlink(entry) if stat.S_ISLNK(status.st_mode) else ""  # noqa: PTH115 - hot path
        found[os.path.relpath(entry.path, directory)] = State(
            status.st_mode, status.st_size, status.st_ino, status.st_mtime_ns, target
        )
    return found


def _entries(directory: Path | str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)
            else:
                yield entry


@final
class Source:
    """The user's directory, which is only read.

    Attributes:
        left_out: what is neither file nor link nor directory, and is not copied.
    """

    def __init__(self, root: Path, max_size: int) -> None:
        """Looks at it.

        Raises:
            RequestError: it is bigger than it may be.
            MachineError: it cannot be read.
        """
        self.root = root
        self.left_out: list[str] = []
        self._before: dict[str, State] = {}
        size = 0
        try:
            self._before = listing(root)
        except OSError as error:
            raise MachineError(
                f"{error.filename} cannot be read ({error.strerror}), so it cannot be copied"
            ) from error
        for name, state in self._before.items():
            if stat.S_ISREG(state.mode):
                size += state.size
            elif not stat.S_ISLNK(state.mode):
                self.left_out.append(name)
        if size > max_size:
            raise RequestError(
                f"the directory {root} has {size >> 20} MiB, and copies of it are made; allow that with --max-size="
                f"{(size >> 20) + 1}M, or change to a smaller directory that holds everything that the command needs"
            )

    def touched(self) -> str | None:
        """A file of it that changed since it was looked at; None when all is as it was."""
        now = listing(self.root)
        changed = (name for name in {**self._before, **now} if self._before.get(name) != now.get(name))
        return next(changed, None)

    def copy(self, target: Path) -> None:
        """Makes a copy, with times and permissions.

        Raises:
            MachineError: something cannot be read or written.
        """
        try:
            self._copy(self.root, target, target)
        except OSError as error:
            raise MachineError(
                f"{error.filename} cannot be copied to {target}: {error.strerror}; TMPDIR chooses the place of copies"
            ) from error

    def _copy(self, directory: Path, target: Path, top: Path) -> None:
        target.mkdir(mode=_WRITABLE)
        with os.scandir(directory) as entries:
            for entry in entries:
                place = target / entry.name
                if entry.is_symlink():
                    place.symlink_to(self._led(entry, top))
                    shutil.copystat(entry.path, place, follow_symlinks=False)
                elif entry.is_dir():
                    self._copy(Path(entry.path), place, top)
                elif entry.is_file():
                    shutil.copy2(entry.path, place)
        shutil.copystat(directory, target)

    def _led(self, link: os.DirEntry[str], top: Path) -> str:
        """Where a link of a copy leads: see the module's docstring."""
        target = os.readlink(link)  # noqa: PTH115 - the text as it is
        whole = os.path.normpath(os.path.join(os.path.dirname(link.path), target))  # noqa: PTH118, PTH120 - likewise
        inside = Path(whole).is_relative_to(self.root)
        if os.path.isabs(target):  # noqa: PTH117 - likewise
            return str(top / os.path.relpath(whole, self.root)) if inside else target
        return target if inside else whole


def collect(directory: Path, before: dict[str, State], into: Path) -> dict[str, Kept]:
    """Takes out of a copy what was written in it since it was listed."""
    into.mkdir(parents=True)
    after = listing(directory)
    kept: dict[str, Kept] = {name: Kept("gone") for name in before if name not in after}
    for number, (name, state) in enumerate(sorted(after.items())):
        if before.get(name) == state:
            continue
        if stat.S_ISLNK(state.mode):
            kept[name] = Kept("link", target=state.target)
        elif stat.S_ISREG(state.mode):
            place = into / str(number)
            shutil.copyfile(directory / name, place)
            kept[name] = Kept("file", place, stat.S_IMODE(state.mode))
    return kept


def remove(directory: Path) -> None:
    """Removes a directory of ours, with whatever permissions a command gave to what is in it."""

    def permit(_function: object, path: str, _error: object) -> None:
        parent = Path(path).parent
        if parent.is_relative_to(directory):
            parent.chmod(_WRITABLE)
        if Path(path).is_dir() and not Path(path).is_symlink():
            Path(path).chmod(_WRITABLE)
            shutil.rmtree(path, ignore_errors=True)
        else:
            Path(path).unlink(missing_ok=True)

    shutil.rmtree(directory, onerror=permit)
