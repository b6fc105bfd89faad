"""Tells from a request's inputs that the worker's own files are others now than those that it was started from.

A host that does not restart its workers for that (Bazel, for multiplex workers) would be served by yesterday's code.
The first digest that is seen of a file counts as the one that runs; a worker is started by the build that sends it its
first request. Digests are opaque: equal, or not; an empty one says nothing. Not here: what follows from it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable
from typing import final

from headstart_worker.messages import Input


@final
class ToolFiles:
    """The worker's own files, as the host's requests show them."""

    def __init__(self, prefixes: Collection[str]) -> None:
        """Nothing was seen yet.

        Args:
            prefixes: inputs below these are the worker's own (`--worker-files`).
        """
        self._prefixes = tuple(posixpath.normpath(prefix) + "/" for prefix in prefixes)
        self._digests: dict[str, bytes] = {}

    def changed(self, inputs: Iterable[Input]) -> str | None:
        """The path of a file that has another digest than when it was first seen; None: there is none."""
        for item in inputs:
            path = posixpath.normpath(item.path)
            if (
                item.digest
                and path.startswith(self._prefixes)
                and self._digests.setdefault(path, item.digest) != item.digest
            ):
                return item.path
        return None
