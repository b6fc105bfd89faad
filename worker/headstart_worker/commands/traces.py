"""Trace files become builds, for the commands that read them; says in words what is wrong with a file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from headstart_worker import timeline
from headstart_worker.timeline import Build
from headstart_wrapper.errors import RequestError


def read(paths: Sequence[Path]) -> Build:
    """The build that trace files tell of; those that end in .gz are unpacked.

    Raises:
        RequestError: one cannot be read, is no trace, or all of them together have no compile that ended.
    """
    build = timeline.read_build(map(text, paths))
    if not build.compiles:
        raise RequestError(
            f"no compile ended while {' '.join(map(str, paths))} was written; let a build end, or give the trace of another worker"
        )
    return build


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
