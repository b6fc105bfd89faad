"""Identities of files for fingerprints: the host's digests, or hashes of our own where it gives none."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from typing import Final, final

from blake3 import blake3

from headstart_worker.messages import Input

_REMEMBERED: Final = 1 << 16
"""Files: some 20 MB, and more than a build has inputs. A worker meets new paths as long as it lives."""

_CHUNK: Final = 1 << 20
"""Bytes read at once: an input may be larger than the memory that is left."""

MISSING = b"missing"
"""Stands for the content of a file that is not there; no hash is seven bytes long."""

_SETTLED_NANOSECONDS: Final = 1_000_000_000
"""A file that was changed just now may be changed again within one tick of its clock, which no stamp would show; file
systems' ticks are a hundredth of this or less."""


@final
class Digests:
    """Content hashes, remembered as long as a file's inode, size and times stay the same. Used from threads.

    What has no content that could be told (a fifo, a device, a disk's error) has another digest each time: it is equal to
    nothing, so that nothing is joined on the strength of it.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], bytes]] = {}

    def of_inputs(self, inputs: Iterable[Input], *, cwd: str) -> Iterator[tuple[str, bytes]]:
        """Each input with its digest; hashes the file where the host gave none."""
        for item in inputs:
            yield item.path, item.digest or self.of_file(os.path.join(cwd, item.path))  # noqa: PTH118 - hot path

    def of_file(self, path: str) -> bytes:
        """The content's hash, a directory's with all that is in it; `MISSING` for what is not there or not ours to read."""
        try:
            # Looked at before it is opened: a fifo's opening waits for a writer, a device's may do anything.
            mode = os.stat(path).st_mode  # noqa: PTH116 - hot path
            if stat.S_ISDIR(mode):
                return self._of_directory(path)
            return self._of_regular(path) if stat.S_ISREG(mode) else _unknowable()
        except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
            return MISSING  # a name with a NUL is no file's
        except OSError:
            return _unknowable()

    def _of_regular(self, path: str) -> bytes:
        # It may have become something else since it was looked at; no opening waits.
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return _unknowable()
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known = self._known.get(path)
            if known is not None and known[0] == stamp:
                return known[1]
            hasher = blake3()
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
        digest = hasher.digest()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NANOSECONDS:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[path] = stamp, digest
        return digest

    def _of_directory(self, path: str) -> bytes:
        hasher = blake3()
        for name in sorted(os.listdir(path)):  # noqa: PTH208 - names are what is wanted
            inside = os.path.join(path, name)  # noqa: PTH118 - hot path
            # A link to a directory may lead back here.
            linked = os.path.islink(inside) and os.path.isdir(inside)  # noqa: PTH112, PTH114 - hot path
            digest = _unknowable() if linked else self.of_file(inside)
            for part in (os.fsencode(name), digest):
                hasher.update(len(part).to_bytes(8, "little"))
                hasher.update(part)
        return b"directory" + hasher.digest()


def _unknowable() -> bytes:
    return os.urandom(32)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def compiler_identity(executable: str) -> bytes:
    """Names a compiler by where it really is and when it was last changed: an upgrade in place is another one."""
    real = os.path.realpath(executable)
    try:
        status = os.stat(real)  # noqa: PTH116 - hot path
    except OSError:
        return os.fsencode(real)
    return os.fsencode(f"{real} {status.st_ino} {status.st_size} {status.st_mtime_ns}")
