"""Who made what jobs read: the files that jobs of this worker made, by the names that the host has for them.

For a trace's arrows, and nothing else: what is wrong here makes a picture wrong, never a build. A name that was written by
somebody else since is told from the old one by its digest, where the host gives digests: the first reader says what a
job made. Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Final, final

from attrs import define

from headstart_wrapper.trace_events import Arrow

REMEMBERED: Final = 1 << 14
"""Files of which it is known who made them, the latest ones; each costs about 300 bytes. Few builds have more libraries."""


@define
class _Made:
    arrow: Arrow
    digest: bytes = b""


@final
class Producers:
    """The latest job that made each file."""

    def __init__(self, *, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._made: dict[str, _Made] = {}

    def made(self, paths: Iterable[str], arrow: Arrow) -> None:
        """A job's outputs are there.

        Args:
            paths: as the host named them.
            arrow: where those begin that lead to their readers.
        """
        for path in paths:
            name = posixpath.normpath(path)
            self._made.pop(name, None)
            self._made[name] = _Made(arrow)
            if len(self._made) > self._remembered:
                del self._made[next(iter(self._made))]

    def of(self, inputs: Iterable[tuple[str, bytes]]) -> list[Arrow]:
        """One arrow for each job that made some of these inputs: from all that it made, when it is not its early outputs alone.

        Args:
            inputs: path and digest of each; b"": nobody gave one.
        """
        found: dict[int, Arrow] = {}
        for path, digest in inputs:
            made = self._made.get(posixpath.normpath(path))
            if made is None:
                continue
            made.digest = made.digest or digest
            if made.digest == digest and (made.arrow.of not in found or not made.arrow.early):
                found[made.arrow.of] = made.arrow
        return list(found.values())
