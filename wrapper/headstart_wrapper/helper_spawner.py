"""Starts leaders through the small helper process: the worker's way, where this process is big and has many threads.

Why a helper, and what it does, stands in `spawner`, which is its program. Not for standalone jobs: a module of its own so that they
need not import what it takes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import cast, final

from headstart_wrapper import spawner
from headstart_wrapper.errors import MachineError


@final
class HelperSpawner:
    """Starts leaders through the small helper process; safe to use from many threads.

    The helper starts with the first job, or early by `warm_up`. If it dies, the jobs that it had started
    are lost with it, and the next job starts another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def warm_up(self) -> None:
        """Starts the helper now."""
        with self._lock:
            self._connected()

    def _connected(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self._close()  # it died while it had nothing to do: nothing is lost with it
        if self._connection is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-B", spawner.__file__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
            self._connection = ours
        return self._connection

    def _ask(self, message: object, descriptors: list[int]) -> tuple[object, list[int]]:
        with self._lock:
            connection = self._connected()
            try:
                spawner.send_message(connection, message, descriptors)
                return spawner.receive_message(connection)
            except (EOFError, OSError) as error:
                self._close()
                raise MachineError(
                    "the helper that starts compilers is gone; was it killed? This job is lost, the next starts a new helper"
                ) from error

    def start(
        self, argv: list[str], executable: str, env: dict[str, str], cwd: str, streams: tuple[int, int, int]
    ) -> tuple[int, int]:
        """See `process_group.Spawner`."""
        answer, descriptors = self._ask(("start", (argv, executable, env, cwd)), list(streams))
        if isinstance(answer, tuple):
            number = cast("int", answer[1])
            raise OSError(number, os.strerror(number))
        return cast("int", answer), descriptors[0]

    def reap(self, pid: int) -> spawner.Reaped:
        """See `process_group.Spawner`."""
        answer, _ = self._ask(("reap", pid), [])
        if cast("tuple[object, ...]", answer)[0] == "failed":
            raise MachineError(
                "the helper that started this compiler is gone, and its result with it; was it killed? Ask again"
            )
        return cast("spawner.Reaped", answer)

    def _close(self) -> None:
        if self._connection is not None and self._process is not None:
            self._connection.close()
            self._process.wait()
            self._connection = self._process = None

    def close(self) -> None:
        """Ends the helper, and with it every group that was not reaped."""
        with self._lock:
            self._close()
