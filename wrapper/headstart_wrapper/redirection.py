"""Files in the place of a job's stdout and stderr, and one for stderr as it came."""

from __future__ import annotations

import os

from headstart_wrapper.errors import MachineError, RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from headstart_wrapper.job import Job

STDOUT, STDERR, RAW = 1, 2, 3
"""The streams, and stderr before anything of it is made readable."""

_OPTIONS = {STDOUT: "--stdout", STDERR: "--stderr", RAW: "--output-file"}

_MODE = 0o666
"""Of a new file, less the umask."""


def opened(job: Job, *, cwd: str) -> dict[int, int]:
    """The descriptors of a job's files, by stream.

    Opening waits for nobody: a fifo that nobody reads cannot be written.

    Args:
        job: whose.
        cwd: what relative paths are relative to.

    Raises:
        RequestError: one cannot be written.
    """
    found: dict[int, int] = {}
    for stream, path in ((STDOUT, job.stdout), (STDERR, job.stderr), (RAW, job.raw_stderr)):
        if path is None:
            continue
        # Appending: two streams of one file do not overwrite each other.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            found[stream] = os.open(os.path.join(cwd, path), flags, _MODE)  # noqa: PTH118 - without pathlib
        except OSError as error:
            close(found)
            raise RequestError(
                f"the file {path} of {_OPTIONS[stream]} cannot be written: {error.strerror}"
            ) from error
        os.set_blocking(found[stream], True)
    return found


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of it, however little is taken at once; raises OSError."""
    while data:
        data = data[os.write(descriptor, data) :]


def write(files: dict[int, int], stream: int, data: bytes) -> None:
    """Writes all of it.

    Raises:
        MachineError: it cannot be written.
    """
    try:
        write_all(files[stream], data)
    except OSError as error:
        raise MachineError(f"the file of {_OPTIONS[stream]} cannot be written: {error.strerror}") from error


def close(files: dict[int, int]) -> None:
    """Gives the descriptors back."""
    while files:
        os.close(files.popitem()[1])
