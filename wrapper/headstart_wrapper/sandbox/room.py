"""Makes room for the outputs of a job that the kernel holds: a place in which it can write them, and read nothing else.

A rule of Landlock for a directory is one for everything in it, and compilers write where other things are. So a directory is opened to
the job only when nothing else is in it. In any other one the output itself is made, empty, before the job starts, and the rule is about that
file: compilers truncate and fill it. One that writes another file and renames it into place needs a directory for its outputs alone.
"""

from __future__ import annotations

import contextlib
import os
import posixpath

from headstart_wrapper.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Iterable


@final
class Room:
    """The outputs of one job."""

    def __init__(self, outputs: Iterable[str]) -> None:
        """Touches nothing yet; `outputs` are absolute places, of files or of directories for several."""
        self._outputs = tuple(outputs)
        self._made: dict[str, tuple[int, int]] = {}

    def made(self) -> list[str]:
        """What the job may write, made if it was not there.

        Raises:
            OSError: a place cannot be written.
        """
        alone = {posixpath.dirname(place) for place in self._outputs if not os.path.isdir(place)}  # noqa: PTH112 - without pathlib
        alone = {directory for directory in alone if self._has_nothing_else(directory)}
        writable = []
        for place in self._outputs:
            directory = posixpath.dirname(place)
            if os.path.isdir(place):  # noqa: PTH112 - without pathlib
                writable.append(place)
            elif directory in alone:
                writable.append(directory)
            else:
                self._make(place)
                writable.append(place)
        return list(dict.fromkeys(writable))

    def _has_nothing_else(self, directory: str) -> bool:
        return all(posixpath.join(directory, name) in self._outputs for name in os.listdir(directory))  # noqa: PTH208 - names

    def _make(self, place: str) -> None:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not status.st_size:
            self._made[place] = status.st_ino, status.st_mtime_ns

    def tidy(self) -> None:
        """Removes what was made here and never written: the command did not make it."""
        for place, made in self._made.items():
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(place)
                if (status.st_ino, status.st_mtime_ns) == made and not status.st_size:
                    os.unlink(place)  # noqa: PTH108 - without pathlib
        self._made.clear()
