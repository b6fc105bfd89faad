"""Brings outputs to their declared places, atomically.

A reader of an output may hold it mapped for its whole life (rustc does), so a published file is never
written in place: it appears by rename. A file that the compiler may still open is never moved away from it
either: publishing links or copies, the private file stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Callable, Iterable

_FICLONE = 0x40049409
"""ioctl_ficlone(2): share the blocks of another file, where the file system can."""

_serial = itertools.count()


def prepare(paths: Iterable[str]) -> None:
    """Makes room for outputs: their directories exist, and nothing old is in their places."""
    for path in paths:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120 - hot path, plain strings
        discard((path,))


def discard(paths: Iterable[str]) -> None:
    """Removes outputs that must not be seen, as after a kill; what is not there is fine."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)  # noqa: PTH108 - hot path


def publish(source: str, target: str, *, link: bool, rewrite: Callable[[bytes], bytes] | None = None) -> None:
    """Puts a complete private file at its declared place, by rename, leaving the private one.

    Args:
        source: the private file.
        target: the declared place.
        link: the compiler never writes `source` again, so both names may share one file.
        rewrite: makes the published content from the private one.

    Raises:
        OSError: the source is missing, or the target cannot be written.
    """
    import shutil  # noqa: PLC0415 - not every job publishes, and its start need not wait for it

    directory, name = os.path.split(target)
    os.makedirs(directory or ".", exist_ok=True)  # noqa: PTH103 - hot path
    temporary = os.path.join(directory, f".{name}.{os.getpid()}.{next(_serial)}")  # noqa: PTH118 - hot path
    try:
        if rewrite is not None:
            with open(source, "rb") as reader, open(temporary, "xb") as writer:  # noqa: PTH123 - hot path
                writer.write(rewrite(reader.read()))
            shutil.copymode(source, temporary)
        elif not (link and _linked(source, temporary)):
            _copy(source, temporary)
        os.replace(temporary, target)  # noqa: PTH105 - hot path
    except BaseException:
        discard((temporary,))
        raise


def _linked(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        # Another file system, one without links, or a file with all its links taken: a copy serves.
        if error.errno in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}:
            return False
        raise
    return True


def _copy(source: str, target: str) -> None:
    import shutil  # noqa: PLC0415 - as in publish

    with open(source, "rb") as reader, open(target, "xb") as writer:  # noqa: PTH123 - hot path
        try:
            fcntl.ioctl(writer, _FICLONE, reader.fileno())
        except OSError:
            shutil.copyfileobj(reader, writer, 1 << 20)
    shutil.copymode(source, target)
