"""What processes hold of the file system at one moment: their directories, descriptors and mappings, which no call shows later."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen


@frozen
class Holding:
    """Something that keeps a file or a directory in use.

    Attributes:
        pid: whose.
        what: "cwd", "root", "exe", "fd" or "maps".
        path: as the kernel tells it.
    """

    pid: int
    what: str
    path: str


_PLACE = re.compile(r"^\S+ \S+ \S+ \S+ \S+ +(/.*)$", re.MULTILINE)


def held(pids: Iterable[int]) -> list[Holding]:
    """Everything that the processes hold; one that ends meanwhile holds nothing."""
    return [holding for pid in pids for task in _tasks(pid) for holding in _of(pid, task)]


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _of(pid: int, task: Path) -> Iterator[Holding]:
    with contextlib.suppress(OSError):
        for what in ("cwd", "root", "exe"):
            yield Holding(pid, what, str((task / what).readlink()))
        for link in (task / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since
                yield Holding(pid, "fd", str(link.readlink()))
        for path in set(_PLACE.findall((task / "maps").read_text(errors="surrogateescape"))):
            yield Holding(pid, "maps", path)
