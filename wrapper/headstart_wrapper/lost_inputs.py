"""Whether what a command may read late has been there all the time.

A host may give a request's directory to another action as soon as it has the early answer, and bring everything back with the
request for the full half. A command that fails in between fails for want of inputs, and nobody is there to look at that moment.
So what is looked at is not only whether they are there, but whether they are still the same.

In doubt they are not: a file that was given other permissions, or a directory that got another entry, counts as brought back. The
price is a failing command that runs twice. Not seen are a directory that was moved away and back with all that is in it, and a
file whose link was removed and made anew while it got or lost another one.
"""

from __future__ import annotations

import os
import stat

from headstart_wrapper.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Iterable

_Look = tuple[int, int, int, int, int, int]
"""Device, inode, size, modified, changed, links."""


@final
class Witness:
    """Has seen files, and tells later whether they were kept."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Looks at files; what is not there now is not expected later."""
        self._seen = {path: seen for path in paths if (seen := _look(path))}

    def misses_any(self) -> bool:
        """True when a file is not there any more, or is there anew."""
        return not all(_is_kept(seen, _look(path)) for path, seen in self._seen.items())


def _look(path: str) -> tuple[_Look, ...]:
    """At a file; at a link and what it leads to; (): there is nothing."""
    try:
        found = os.lstat(path)
        if not stat.S_ISLNK(found.st_mode):
            return (_essence(found),)
        return _essence(found), _essence(os.stat(path))  # noqa: PTH116 - hot path
    except (OSError, ValueError):  # a name with a NUL is no file's
        return ()


def _essence(found: os.stat_result) -> _Look:
    return (
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_nlink,
    )


def _is_kept(before: tuple[_Look, ...], now: tuple[_Look, ...]) -> bool:
    return len(before) == len(now) and all(map(_is_same, before, now))


def _is_same(before: _Look, now: _Look) -> bool:
    """A file that has only got or lost another name is the same: ours are private ones of what a host gave or published."""
    *file, changed, links = before
    *its_file, its_change, its_links = now
    return file == its_file and (changed == its_change or its_links != links)
