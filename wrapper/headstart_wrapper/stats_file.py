"""Where a job's statistics go, and its trace: a file, a file of its own in a directory, or whatever takes bytes.

A reader never sees half of a file: it is written beside its place and renamed. Not here: what it says (`stats`, `bazel_stats`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

from headstart_wrapper.errors import RequestError
from headstart_wrapper.redirection import write_all

TYPE_CHECKING = False  # what type checkers take for typing's own

if TYPE_CHECKING:
    from headstart_wrapper.job import Job, Outcome

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTORS = ("/dev/fd/", "/proc/self/fd/")

_NOT_REPLACEABLE = {errno.EACCES, errno.EPERM, errno.EBUSY}
"""A directory that is not ours to write, or a file that is a mount point: it can only be written in place."""


def record(job: Job, outcome: Outcome, directory: str | None = None) -> Outcome:
    """Writes the statistics that a job asks for.

    Args:
        job: every `${KEY}` replaced.
        outcome: how it ended; one that was never started has an outcome too.
        directory: as for `write`.

    Returns:
        The outcome. Where the file cannot be written its message says so, and its exit code if it was 0.
    """
    if not job.stats:
        return outcome
    try:
        write(job, outcome, directory)
    except RequestError as error:
        return outcome.spoiled(error.exit_code, str(error))
    return outcome


def write(job: Job, outcome: Outcome, directory: str | None = None) -> None:
    """Writes the file.

    Args:
        job: names the file and its form.
        outcome: what to tell.
        directory: what a relative name is relative to; None: this process's own, whose descriptors may be named too.

    Raises:
        RequestError: it cannot be written.
    """
    path = os.path.join(directory or "", job.stats or "")  # noqa: PTH118 - without pathlib
    if directory is not None and _descriptor(path) is not None:
        raise RequestError(
            f"{path} is no file of a request's, but a stream of the worker's; name a file with --stats"
        )
    data, suffix = _data(job, outcome)
    began = outcome.usage.started_at or time.time()
    try:
        deliver(path, data, name=f"{began:.6f}-{os.urandom(8).hex()}{suffix}")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is no name of a file"
        raise RequestError(
            f"the statistics file {path} cannot be written ({reason}); name another with --stats"
        ) from error


def deliver(path: str, data: bytes, *, name: str) -> None:
    """Brings bytes to whatever a path names.

    Args:
        path: of a file, a directory, or something else that takes bytes.
        data: all of it.
        name: what a file in a directory is called.

    Raises:
        OSError: it cannot be written.
        ValueError: that is no name of a file.
    """
    descriptor = _descriptor(path)
    if descriptor is not None:
        write_all(descriptor, data)
    elif path.endswith("/") or os.path.isdir(path):  # noqa: PTH112 - without pathlib
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 - without pathlib
        _replace(os.path.join(path, name), data, mode=None)  # noqa: PTH118 - without pathlib
    else:
        _put(os.path.realpath(path), data)


def _data(job: Job, outcome: Outcome) -> tuple[bytes, str]:
    """The file's content, and the end of a name for it."""
    if job.stats_format == "bazel":
        from headstart_wrapper import bazel_stats  # noqa: PLC0415 - a job pays for the form that it wants

        return bazel_stats.encoded(outcome.usage), ".pb"
    from headstart_wrapper import stats  # noqa: PLC0415 - likewise

    return stats.as_json(job, outcome).encode("ascii") + b"\n", ".json"


def _descriptor(path: str) -> int | None:
    """The descriptor of this process that a path stands for.

    It is written to as it is: opened by its name, a log file would be overwritten from its beginning, and a socket not be opened.
    """
    for prefix in _DESCRIPTORS:
        number = path.removeprefix(prefix)
        if number != path and number.isdecimal():
            return int(number)
    return _STREAMS.get(path)


def _put(path: str, data: bytes) -> None:
    try:
        status = os.stat(path)  # noqa: PTH116 - without pathlib
    except FileNotFoundError:
        _replace(path, data, mode=None)
        return
    # What is no file (a fifo, a terminal) takes bytes; a file of another user's stays that user's.
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        try:
            _replace(path, data, mode=stat.S_IMODE(status.st_mode))
        except OSError as error:
            if error.errno not in _NOT_REPLACEABLE:
                raise
        else:
            return
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _replace(path: str, data: bytes, *, mode: int | None) -> None:
    """Brings a file into its place at once, with the mode of the one that was there."""
    temporary = os.path.join(os.path.dirname(path), f".headstart-{os.urandom(8).hex()}")  # noqa: PTH118, PTH120
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            if mode is not None:
                os.fchmod(descriptor, mode)
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - without pathlib
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - without pathlib
        raise
