"""Identities of files for fingerprints: the host's digests, or hashes of our own where it gives none."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Final, final

from blake3 import blake3

from headstart_worker.messages import Input

MISSING = b"missing"
"""Stands for the content of a file that is not there; no hash is seven bytes long."""

_SETTLED_NANOSECONDS: Final = 1_000_000_000
"""A file that was changed just now may be changed again within one tick of its clock, which no stamp would show; file
systems' ticks are a hundredth of this or less."""


@final
class Digests:
    """Content hashes, remembered as long as a file's inode, size and times stay the same. Used from threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def of_inputs(self, inputs: Iterable[Input], *, cwd: str) -> Iterator[tuple[str, bytes]]:
        """Each input with its digest; hashes the file where the host gave none."""
        for item in inputs:
            yield item.path, item.digest or self.of_file(os.path.join(cwd, item.path))  # noqa: PTH118 - hot path

    def of_file(self, path: str) -> bytes:
        """The content's hash; `MISSING` for what is no readable file."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - hot path
                status = os.fstat(file.fileno())
                stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                known = self._known.get(path)
                if known is not None and known[0] == stamp:
                    return known[1]
                digest = blake3(file.read()).digest()
        except OSError:
            return MISSING
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NANOSECONDS:
            self._known[path] = stamp, digest
        return digest


def compiler_identity(executable: str) -> bytes:
    """Names a compiler by where it really is and when it was last changed: an upgrade in place is another one."""
    real = os.path.realpath(executable)
    try:
        status = os.stat(real)  # noqa: PTH116 - hot path
    except OSError:
        return os.fsencode(real)
    return os.fsencode(f"{real} {status.st_ino} {status.st_size} {status.st_mtime_ns}")
