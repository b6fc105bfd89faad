"""Params files of a command whose text is to be another: private files, for as long as the command runs.

Never beside the originals, which may be read-only, somebody else's inputs, or read by another job at the same time.
"""

from __future__ import annotations

import contextlib
import os
import posixpath

from headstart_wrapper import environment, outputs
from headstart_wrapper.errors import MachineError
from headstart_wrapper.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headstart_wrapper.job import Job


@final
class ChangedParams:
    """Those of one job.

    Attributes:
        command: the job's command, with the private files in their places.
        texts: what is in each, by its path.
    """

    def __init__(self, job: Job, private: str) -> None:
        """Writes nothing yet; `private` is the directory for them, which must not exist."""
        self._private = private
        self.texts: dict[str, str] = {}
        command = list(job.command)
        for index, text in job.params:
            path = posixpath.join(private, f"{index}.params")
            self.texts[path] = text
            command[index] = f"@{path}"
        self.command = tuple(command)

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """They are there, and are removed at the end.

        Raises:
            MachineError: they cannot be written.
        """
        if not self.texts:
            yield
            return
        try:
            os.makedirs(self._private, mode=0o700)  # noqa: PTH103 - without pathlib
            for path, text in self.texts.items():
                with open(path, "wb") as file:  # noqa: PTH123 - without pathlib
                    file.write(environment.data(text))
        except OSError as error:
            self._remove()
            raise MachineError(
                f"the job's params files cannot be written to {self._private}: {error.strerror}; choose another place with TMPDIR"
            ) from error
        try:
            yield
        finally:
            self._remove()

    def _remove(self) -> None:
        outputs.discard(self.texts)
        with contextlib.suppress(OSError):  # somebody cleans up temporary files, or wrote one there
            os.rmdir(self._private)  # noqa: PTH106 - without pathlib
