"""Brings outputs to their declared places, atomically.

A reader of an output may hold it mapped for its whole life (rustc does), so a published file is never
written in place: it appears by rename. A file that the compiler may still open is never moved away from it
either: publishing links or copies, the private file stays. A link is made beside the private file and renamed from
there, so that a worker that is killed in between leaves nothing at the host's; a copy has to be made beside its target.

Outputs are files. A directory in the place of one is the host's mistake or somebody's work: it is never removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Callable, Iterable, Iterator

from headstart_wrapper.errors import RequestError

_FICLONE = 0x40049409
"""ioctl_ficlone(2): share the blocks of another file, where the file system can."""

_process = os.urandom(6).hex()
_serial = itertools.count()


def _temporary(directory: str) -> str:
    """A name that nobody has: process ids come again, in containers soon; an output's own name may be as long as names can be."""
    return os.path.join(directory, f".headstart-{_process}-{next(_serial)}")  # noqa: PTH118 - hot path


def prepare(paths: Iterable[str]) -> None:
    """Makes room for outputs: their directories exist, and nothing old is in their places.

    Raises:
        RequestError: a directory is in the place of one, or the place cannot be made free.
    """
    for path in paths:
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120 - hot path, plain strings
            discard((path,))
        except IsADirectoryError as error:
            raise RequestError(
                f"the output {path} is a directory; declare the files in it, or remove it if it is an older build's"
            ) from error
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise RequestError(
                f"there can be no output {path}: {why}; correct its --output or --early-output"
            ) from error


def discard(paths: Iterable[str]) -> None:
    """Removes outputs that must not be seen, as after a kill; what is not there is fine."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)  # noqa: PTH108 - hot path


def written(places: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Every file that a command wrote into private places, by the name that it has for the command as given.

    Args:
        places: (file or directory as the command named it, its private place).
    """
    for named, private in places:
        if os.path.isdir(private):  # noqa: PTH112 - hot path
            yield from (os.path.join(named, name) for name in os.listdir(private))  # noqa: PTH118, PTH208 - hot path
        elif os.path.lexists(private):
            yield named


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

    directory = os.path.dirname(target)  # noqa: PTH120 - hot path
    os.makedirs(directory or ".", exist_ok=True)  # noqa: PTH103 - hot path
    if link and rewrite is None and _linked(source, target):
        return
    temporary = _temporary(directory)
    try:
        if rewrite is not None:
            with open(source, "rb") as reader, open(temporary, "xb") as writer:  # noqa: PTH123 - hot path
                writer.write(rewrite(reader.read()))
            shutil.copymode(source, temporary)
        else:
            copy(source, temporary)
        os.replace(temporary, target)  # noqa: PTH105 - hot path
    except BaseException:
        discard((temporary,))
        raise


def _linked(source: str, target: str) -> bool:
    temporary = _temporary(os.path.dirname(source))  # noqa: PTH120 - hot path
    try:
        os.link(source, temporary)
        os.replace(temporary, target)  # noqa: PTH105 - hot path
    except OSError as error:
        # Another file system, one without links, or a file with all its links taken: a copy serves.
        if error.errno in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP}:
            return False
        raise
    finally:
        # After success too: renaming one name of a file to another name of it does nothing, says rename(2).
        discard((temporary,))
    return True


def copy(source: str, target: str) -> None:
    """Copies a file and its mode to a place where there is none, sharing its blocks where the file system can; raises OSError."""
    import shutil  # noqa: PLC0415 - as in publish

    with open(source, "rb") as reader, open(target, "xb") as writer:  # noqa: PTH123 - hot path
        try:
            fcntl.ioctl(writer, _FICLONE, reader.fileno())
        except OSError:
            shutil.copyfileobj(reader, writer, 1 << 20)
    shutil.copymode(source, target)
