"""A job's directory, as far as `job_files` has to know it: its files, and the directories above it that have names."""

from __future__ import annotations

import os
import posixpath
import stat

from headstart_wrapper import environment
from headstart_wrapper.job_files import PWD

TYPE_CHECKING = False  # what type checkers take for typing's own
if TYPE_CHECKING:
    from collections.abc import Sequence


def files_among(command: Sequence[str], directory: str) -> list[str]:
    """The words of a command that name files: what can be known of what it reads when nobody declares anything."""
    return [word for word in command[1:] if os.path.isfile(posixpath.join(directory, word))]  # noqa: PTH113 - hot path


class Surroundings:
    """One job's directory. A file that was read once is not read again: who asks later is told the same.

    Attributes:
        cwd: its absolute path, which relative paths are relative to.
    """

    def __init__(self, cwd: str, *, runs_in: str | None = None) -> None:
        """Reads nothing yet.

        Args:
            cwd: where the job's files are.
            runs_in: the directory in which its command will find itself; None: the same.
        """
        self.cwd = cwd
        self._runs_in = runs_in or cwd
        self._texts: dict[str, str] = {}

    def read(self, path: str) -> str:
        """The text of a file, any byte of it; raises OSError."""
        if path not in self._texts:
            with open(posixpath.join(self.cwd, path), "rb") as file:  # noqa: PTH123 - without pathlib
                self._texts[path] = environment.text(file.read())
        return self._texts[path]

    def is_file(self, path: str) -> bool:
        """True for a regular file: what comes through a pipe can be read but once."""
        try:
            return stat.S_ISREG(os.stat(posixpath.join(self.cwd, path)).st_mode)  # noqa: PTH116 - without pathlib
        except (OSError, ValueError):
            return False

    def place(self, magic: str) -> str:
        """The directory that one of `job_files.MAGIC` stands for, as Bazel lays them out."""
        if magic == PWD:
            return self._runs_in
        external = posixpath.join(self.cwd, "external")
        # Of a job in its execution root `external` leads to the output base; where nothing is external, it is two above.
        above = (external, "..") if os.path.exists(external) else (self.cwd, "../..")  # noqa: PTH110 - as above
        output_base = posixpath.normpath(posixpath.join(os.path.realpath(above[0]), above[1]))
        if magic == "${output_base}":
            return output_base
        return posixpath.join(output_base, "execroot", posixpath.basename(self.cwd))
