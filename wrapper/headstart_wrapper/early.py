"""Detects that early outputs are complete by watching the file system.

For compilers that do not say so themselves. An early output is complete when it was renamed into place (gcc,
gfortran, OCaml write so) or closed after writing (clang). The watch is armed before the spawn, so that nothing
is missed, and the outputs are unlinked before that, so that nothing old is taken for new. Nothing is polled.

Compilers that announce their early outputs (rustc) are understood by their dialect, not here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from headstart_wrapper.errors import MachineError

IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
"""inotify(7): watch descriptor, mask, cookie, length of the name that follows."""


class EarlyWatch:
    """An inotify descriptor on the directories of the early outputs, which must exist.

    Attributes:
        descriptor: readable when there may be news.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        import ctypes  # noqa: PLC0415 - most jobs need no watch, and need not wait for it

        self._missing = set(paths)
        self._directories: dict[int, str] = {}
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor < 0:
            raise MachineError(
                f"cannot watch early outputs: {os.strerror(ctypes.get_errno())}; raise fs.inotify limits"
            )
        for directory in {os.path.dirname(path) for path in self._missing}:  # noqa: PTH120 - plain strings throughout
            watch = libc.inotify_add_watch(
                self.descriptor, os.fsencode(directory), IN_CLOSE_WRITE | IN_MOVED_TO
            )
            if watch < 0:
                reason = os.strerror(ctypes.get_errno())
                os.close(self.descriptor)
                raise MachineError(
                    f"cannot watch {directory} for early outputs: {reason}; raise fs.inotify limits"
                )
            self._directories[watch] = directory

    def complete(self) -> bool:
        """Reads the news; True when every early output has been completed."""
        while self._missing:
            try:
                data = os.read(self.descriptor, 65536)
            except BlockingIOError:
                break
            while data:
                watch, _, _, length = _EVENT.unpack_from(data)
                name = os.fsdecode(data[_EVENT.size : _EVENT.size + length].rstrip(b"\0"))
                data = data[_EVENT.size + length :]
                self._missing.discard(f"{self._directories.get(watch, '')}/{name}")
        return not self._missing

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.descriptor)
