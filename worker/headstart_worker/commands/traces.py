"""Trace files become builds, for the commands that read them; says in words what is wrong with a file."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from headstart_worker import timeline
from headstart_worker.timeline import Build
from headstart_wrapper.errors import RequestError

ALL_BUILDS: Final = "--all-builds"
"""The flag of those commands that tell of the last build of a trace unless they are asked for more."""

ALL_BUILDS_HELP: Final = "tell of every build that a trace holds, as one, not of the last alone"

_PAUSE: Final = 60.0
"""Seconds without a compile that runs or waits, after which another build begins. A worker outlives its build, and who changes a
source and builds again may take less; but inside a build a test or a download may leave us without work for many seconds, and
half a build told as a whole one would be worse than two told together."""


def read(paths: Sequence[Path], *, all_builds: bool = False) -> Build:
    """The build that trace files tell of; those that end in .gz are unpacked, and a directory stands for those in it.

    Args:
        paths: the files and directories.
        all_builds: with every build that went before it in the lives of the same workers; without, a person is told of them.

    Raises:
        RequestError: one cannot be read, is no trace, or all of them together have no compile that ended.
    """
    texts = [text(path) for path in files(paths)]
    named = " ".join(map(str, paths))
    build = timeline.read_build(texts)
    if not build.compiles:
        raise RequestError(
            f"no compile ended while {named} was written; let a build end, or give the trace of another worker"
        )
    since = None if all_builds else _before_the_last(build)
    if since is None:
        return build
    _say(f"{named} holds earlier builds, which are left out; {ALL_BUILDS} shows them")
    return timeline.read_build(texts, since=since)


def _before_the_last(build: Build) -> float | None:
    """The middle of the last pause between two builds, before anything of the second was told; None: there is one build."""
    asked = sorted((compile_.queued - compile_.staging, compile_.end) for compile_ in build.compiles)
    found, busy_until = None, asked[0][1]
    for began, ended in asked:
        if began - busy_until > _PAUSE:
            found = (busy_until + began) / 2
        busy_until = max(busy_until, ended)
    return found


def _say(sentence: str) -> None:
    # Type checkers take it for always there; Python starts without it when descriptor 2 is closed.
    if sys.stderr is not None:
        sys.stderr.write(f"headstart: {sentence}\n")


def files(paths: Sequence[Path]) -> list[Path]:
    """The trace files that paths stand for: a directory for all in it, in the order of their names.

    Raises:
        RequestError: a directory cannot be read, or there is no trace in it.
    """
    found: list[Path] = []
    for path in paths:
        found += _inside(path) if _is_directory(path) else [path]
    return found


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # whoever reads it tells why that cannot be


def _inside(directory: Path) -> list[Path]:
    try:
        found = sorted(path for path in directory.iterdir() if path.name.endswith((".json", ".json.gz")))
    except OSError as error:
        raise RequestError(f"the directory {directory} cannot be read: {error.strerror}") from error
    if not found:
        raise RequestError(
            f"the directory {directory} holds no trace (*.json, *.json.gz); was it written with --trace={directory}/?"
        )
    return found


def text(path: Path) -> str:
    """What a file holds; one that ends in .gz is unpacked.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(
            f"the trace {path} cannot be read: {why}; was the worker started with --trace?"
        ) from error
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{path} is no trace of a worker but no text at all; make one with --trace=FILE"
        ) from error
