"""What the file systems in use offer: watching, links, shared blocks. Tried with files of our own, which are removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from headstart_worker.doctor.finding import Finding, Probe, missing, ok, weaker
from headstart_wrapper.early import EarlyWatch
from headstart_wrapper.errors import MachineError

_NEWS_SECONDS: Final = 5.0
"""How long the news of a file may take that takes microseconds."""

_FICLONE: Final = 0x40049409
"""ioctl_ficlone(2)."""

_INSTANCES: Final = Path("/proc/sys/fs/inotify/max_user_instances")


def probes() -> tuple[Probe, ...]:
    """What is probed, in the order of the report."""
    return (temporary, here, watching, instances)


def temporary() -> Iterator[Finding]:
    """TMPDIR."""
    try:
        with _private(None) as directory:
            os.mkfifo(directory / "fifo")
            yield ok("TMPDIR", f"{directory.parent}: private outputs and the jobserver's fifo can be made")
            yield from _links("TMPDIR", directory)
            yield from _from_there_to_here(directory)
    except OSError as error:
        yield missing(
            "TMPDIR",
            f"no private directory can be made ({error.strerror}): a pipelined job has no place for its outputs",
            "set TMPDIR to a directory that you may write to (a worker: --state-dir), on a file system with fifos",
            needed=True,
        )


def here() -> Iterator[Finding]:
    """The current directory."""
    try:
        with _private(".") as directory:
            yield from _links("current directory", directory)
    except OSError as error:
        yield weaker(
            "current directory",
            f"it cannot be written to ({error.strerror}), so it was not tried",
            "run this where your build runs",
        )


def _links(place: str, directory: Path) -> Iterator[Finding]:
    source = directory / "file"
    source.write_bytes(bytes(4096))
    if _works(lambda: os.link(source, directory / "link")):
        yield ok(f"{place}, hard links", "an output is published without copying it")
    else:
        yield weaker(
            f"{place}, hard links",
            "outputs are copied when they are published",
            "choose a file system with hard links where that time matters",
        )
    if _works(lambda: _clone(source, directory / "clone")):
        yield ok(f"{place}, reflinks", "a copy shares the blocks of its original")
    else:
        yield weaker(
            f"{place}, reflinks",
            "a copy is written block by block, where a hard link does not serve",
            "nothing is lost; XFS and Btrfs have them",
        )


def _from_there_to_here(directory: Path) -> Iterator[Finding]:
    what = "TMPDIR and here"
    with contextlib.suppress(OSError), _private(".") as near:
        if _works(lambda: os.link(directory / "file", near / "link")):
            yield ok(what, "one file system: private outputs are published here by link")
        else:
            yield weaker(
                what,
                "two file systems: private outputs are copied when they are published here",
                "give the worker --state-dir=DIR, or a standalone job TMPDIR, on this file system",
            )


def _clone(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        fcntl.ioctl(writer, _FICLONE, reader.fileno())


def watching() -> Iterator[Finding]:
    """The kernel's inotify."""
    what = "inotify"
    try:
        with _private(None) as directory:
            place = directory / "early"
            watch = EarlyWatch([str(place)])
            with contextlib.closing(watch):
                place.write_bytes(b"made")
                poll = select.poll()
                poll.register(watch.descriptor, select.POLLIN)
                came = bool(poll.poll(_NEWS_SECONDS * 1000)) and watch.complete()
    except MachineError as error:
        yield missing(
            what,
            f"{error}; compilers that do not announce their early outputs answer when they end",
            "raise fs.inotify.max_user_instances and max_user_watches (sysctl)",
        )
        return
    if came:
        yield ok(what, "an early output of any compiler is seen when it is closed or renamed into place")
    else:
        yield missing(
            what,
            "no news of a file came: compilers that do not announce their early outputs answer when they end",
            "put TMPDIR and the build on a local file system",
        )


def instances() -> Iterator[Finding]:
    """inotify, limit."""
    what = "inotify, limit"
    try:
        limit = int(_INSTANCES.read_text("ascii"))
    except OSError:
        return  # no inotify, which is told above
    cores = len(os.sched_getaffinity(0))
    meaning = (
        f"{limit} watches of yours at once; each pipelined job whose compiler does not announce takes one"
    )
    if limit < 2 * cores:  # the jobs of a worker by default, and as much for editors and the desktop
        yield weaker(what, meaning, "sysctl fs.inotify.max_user_instances=512")
    else:
        yield ok(what, meaning)


@contextlib.contextmanager
def _private(parent: str | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".headstart-doctor-", dir=parent) as name:
        yield Path(name)


def _works(attempt: Callable[[], None]) -> bool:
    with contextlib.suppress(OSError):
        attempt()
        return True
    return False
