"""Which job has which private root: the same directory for every job of the same outputs, as long as a worker lives, and mostly longer.

The compiler's directory shows in what it keeps for itself (rustc's incremental files are worth nothing in another one), so it must
not depend on chance. The roots lie in a directory with a number below the state directory's parent; a worker takes the lowest number that no
other one has, so that the one worker of a machine has the same each time. What is in there is a hint (I13): it is removed at
the start and at the end, and whoever takes it away in between costs time.

Idle roots are kept for the next build, the latest used ones, up to a number of links. Not here: what is in a root (`private_root`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Final, final

from blake3 import blake3

from headstart_worker.directories import remove
from headstart_worker.private_root import PrivateRoot
from headstart_worker.state import LOCK, is_ours, locked
from headstart_wrapper.errors import MachineError

MOST_LINKS: Final = 200_000
"""Inputs in idle roots. Each costs some 250 bytes of this process and a directory's entry, no inode; a file can have 65,000 names (ext4),
of which each root takes one."""

CLOSE_SECONDS: Final = 0.3
"""For removing links at a worker's end, which has a second for everything (I3): some 20,000 (measured)."""

_NAME: Final = "headstart-roots-{user}-{number}"


@final
class Roots:
    """All private roots of a worker. Nothing is on disk before the first is asked for."""

    def __init__(self, parent: Path, *, most_links: int = MOST_LINKS) -> None:
        """Takes note of the place.

        Args:
            parent: where the numbered directory is made; on the file system of the inputs, or each has to be copied.
            most_links: inputs that idle roots may have together.
        """
        self._parent = parent
        self._most_links = most_links
        self._mutex = threading.Lock()
        self._directory: Path | None = None
        self._lock: int | None = None
        self._used: dict[str, PrivateRoot] = {}
        self._idle: dict[str, PrivateRoot] = {}
        self._serial = itertools.count()

    def path(self, name: str) -> str:
        """Where the root of a name is; thread-safe.

        Raises:
            MachineError: there can be no directory for roots.
        """
        with self._mutex:
            if self._directory is None or not self._is_held(self._directory):
                self._directory = self._taken()
            return str(self._directory / blake3(name.encode(errors="surrogateescape")).hexdigest(16))

    def use(self, path: str) -> PrivateRoot:
        """A root, for the one job that has it until it is given back; thread-safe."""
        with self._mutex:
            if path in self._used:
                raise AssertionError(f"two jobs at once are to run in {path}")
            self._used[path] = root = self._idle.pop(path, None) or PrivateRoot(path)
            return root

    def give_back(self, path: str) -> list[str]:
        """Nothing runs there any more; returns directories that are to be removed, because others are used more. Thread-safe."""
        with self._mutex:
            root = self._used.pop(path, None)
            if root is None:
                return []
            self._idle[path] = root  # the last one now
            surplus = sum(map(len, self._idle.values())) - self._most_links
            outdated = []
            while surplus > 0 and self._idle:
                oldest = next(iter(self._idle))
                surplus -= len(self._idle.pop(oldest)) or 1
                # Whoever removes it takes his time, and a new job may want one of this name at once.
                with contextlib.suppress(OSError):
                    os.replace(oldest, removed := f"{oldest}-{next(self._serial)}")  # noqa: PTH105 - plain strings
                    outdated.append(removed)
            return outdated

    def close(self) -> None:
        """Removes everything that it has time for; nothing runs there any more, and the next worker of this number removes the rest."""
        if self._directory is not None and self._is_held(self._directory):
            deadline = time.monotonic() + CLOSE_SECONDS
            for root in self._directory.glob("*"):
                if time.monotonic() > deadline:
                    break
                _removed(root)
            else:
                # The lock last: who makes it anew may have what is in the directory.
                _removed(self._directory)
                _removed(self._directory.parent)
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _is_held(self, directory: Path) -> bool:
        """False when somebody took the directory or its lock away: the number may be another worker's by now."""
        if self._lock is None:
            return False
        try:
            return os.path.samestat(directory.with_name(LOCK).stat(), os.fstat(self._lock))
        except OSError:
            return False

    def _taken(self) -> Path:
        self._let_go()
        self._idle.clear()
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            for number in itertools.count():
                directory = self._parent / _NAME.format(user=os.geteuid(), number=number)
                if (lock := _own_lock(directory)) is not None:
                    self._lock = lock
                    break
        except OSError as error:
            raise MachineError(
                f"the private directories of sandboxed jobs cannot be made in {self._parent}: {error.strerror}; choose "
                "another place with --state-dir"
            ) from error
        roots = directory / "roots"
        _removed(roots)
        return roots


def _own_lock(directory: Path) -> int | None:
    """The lock of a directory that nobody else has; None when somebody has it, makes or removes it at this moment.

    Only who makes the directory makes its lock: where that is missing, somebody cleaned up, and the owner may be alive.
    """
    flags = os.O_NOFOLLOW
    with contextlib.suppress(OSError):
        if is_ours(directory):
            directory.rmdir()  # what is empty is no worker's, or one's who then takes another
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        flags |= os.O_CREAT
    with contextlib.suppress(FileNotFoundError):
        lock = locked(directory, flags) if is_ours(directory) else None
        if lock is not None:
            if os.fstat(lock).st_nlink:
                return lock
            os.close(lock)
    return None


def _removed(directory: Path) -> None:
    with contextlib.suppress(OSError):
        remove(str(directory))
