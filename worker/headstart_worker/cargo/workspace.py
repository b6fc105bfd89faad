"""Puts files into the generated workspace: copies of sources and snapshots, and the texts that others made.

The workspace is ours as soon as it holds a `units.json`; what is not ours is never removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from headstart_wrapper.errors import RequestError

# A package that brings its own Bazel files would cut the generated one in two.
BAZEL_FILES = frozenset(
    {"BUILD", "BUILD.bazel", "MODULE.bazel", "REPO.bazel", "WORKSPACE", "WORKSPACE.bazel", "WORKSPACE.bzlmod"}
)
UNITS = "units.json"
_OURS = ("crates", "vendor")


def check_free(out: Path) -> None:
    """Makes sure that the workspace can be written.

    Raises:
        RequestError: something that is not ours is there.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / UNITS).is_file())):
        raise RequestError(f"{out} holds something that no import made: name another directory with --out")


def write(out: Path, copies: Mapping[str, str], texts: Mapping[str, str]) -> None:
    """Replaces the workspace.

    Args:
        out: the workspace; made when it is not there.
        copies: path in the workspace to the absolute file that it is a copy of.
        texts: path in the workspace to its text.
    """
    # Its disappearance makes a half-written workspace recognizable; it is written last.
    (out / UNITS).unlink(missing_ok=True)
    for name in _OURS:
        if (out / name).exists():
            shutil.rmtree(out / name)
    for path, original in copies.items():
        copy = out / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, copy)
    for path, text in sorted(texts.items(), key=lambda item: item[0] == UNITS):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text, encoding="utf-8", errors="surrogateescape")


def files_below(directory: str) -> Iterator[str]:
    """Every file below a directory, relative to it and in order; links to directories and Bazel's files are passed over."""
    for parent, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if name not in BAZEL_FILES and path.is_file():
                yield str(path.relative_to(directory))
