"""Directories that others may have been at: what is in them, and how they are removed. No link in there is followed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator

Look = tuple[int, ...]
"""What tells whether something is what was left there: mode and inode, of a file size and time too. The inode alone would not do: ext4
gives the number of what was removed to what is made next."""


def listing_of(directory: str, *, of_links: bool = False) -> dict[str, Look]:
    """What is in a directory, by name; raises OSError.

    Args:
        directory: its path.
        of_links: its files have other names elsewhere. Their numbers are not given away, so that kind and number tell all; the
            directory itself knows both, and no file need be looked at.
    """
    # By descriptor: the kernel need not find the directory again for each of its files.
    with opened(directory) as descriptor, os.scandir(descriptor) as entries:
        if of_links:
            return {entry.name: (_kind_of(entry), entry.inode()) for entry in entries}
        return {entry.name: look_of(entry.stat(follow_symlinks=False)) for entry in entries}


def _kind_of(entry: os.DirEntry[str]) -> int:
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFLNK if entry.is_symlink() else stat.S_IFREG


def look_of(status: os.stat_result) -> Look:
    """Of a directory without what is in it, which has a listing of its own."""
    if stat.S_ISDIR(status.st_mode):
        return status.st_mode, status.st_ino
    return status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns


def remove(path: str) -> None:
    """Removes whatever is there, directories that a compiler has closed to us too; raises OSError."""
    try:
        os.unlink(path)  # noqa: PTH108 - hot path
    except IsADirectoryError:
        try:
            shutil.rmtree(path)
        except PermissionError:
            _open_up(path)
            shutil.rmtree(path)


def _open_up(directory: str) -> None:
    os.chmod(directory, 0o700)  # noqa: PTH101 - hot path
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _open_up(entry.path)


@contextlib.contextmanager
def opened(path: str, above: int | None = None) -> Iterator[int]:
    """A descriptor of a directory; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
