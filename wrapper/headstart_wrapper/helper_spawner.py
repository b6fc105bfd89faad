"""Starts leaders through the small helper process: the worker's way, where this process is big and has many threads.

Why a helper, and what it does, stands in `spawner`, which is its program. Not for standalone jobs: a module of its own so that they
need not import what it takes.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, cast, final

from headstart_wrapper import spawner, stragglers
from headstart_wrapper.errors import MachineError
from headstart_wrapper.process_group import Descriptors

if TYPE_CHECKING:
    from headstart_wrapper.sandbox.confinement import Confinement

_CLOSE_SECONDS: Final = 2.0
"""How long a helper may take to end when it is told to; it gives what it kills less than half of that, unless it is held up."""

_LEFT_SECONDS: Final = 0.2
"""How long what a killed helper left may take to die; a worker has one second in all (I3)."""


@final
class HelperSpawner:
    """Starts leaders through the small helper process; safe to use from many threads.

    The helper starts with the first job, or early by `warm_up`. If it dies, the jobs that it had started
    are lost with it, and the next job starts another.
    """

    def __init__(self, owner: str | None = None) -> None:
        """Starts nothing yet; to be made in the main thread.

        Args:
            owner: the name of the worker's state directory, by which its jobs can be found when everything of it is dead;
                None: a name of no directory.
        """
        self._owner = owner or f"{os.getpid()}.{time.monotonic_ns()}"
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        spawner.become_parent()  # of the helper

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
                    [sys.executable, "-I", "-S", "-B", spawner.__file__, str(theirs.fileno()), self._owner],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
            self._connection = ours
        return self._connection

    def _ask(self, message: object, descriptors: list[int]) -> tuple[object, list[int]]:
        packed = spawner.packed(message)
        with self._lock:
            connection = self._connected()
            try:
                spawner.send_message(connection, packed, descriptors)
                return spawner.receive_message(connection)
            except (EOFError, OSError) as error:
                self._close()
                raise MachineError(
                    "the helper that starts compilers is gone; was it killed? This job is lost, the next starts a new helper"
                ) from error

    def start(
        self,
        argv: list[str],
        executable: str,
        env: dict[str, str],
        cwd: str,
        descriptors: Descriptors,
        *,
        confinement: Confinement | None = None,
    ) -> tuple[int, int]:
        """See `process_group.Spawner`."""
        rulesets = [] if confinement is None or confinement.ruleset < 0 else [confinement.ruleset]
        for ruleset in rulesets:
            try:
                os.fstat(ruleset)  # what cannot be sent would look like the helper's end
            except OSError as error:
                raise spawner.ConfinementError(error.errno, error.strerror) from error
        answer, pidfds = self._ask(
            ("start", (argv, executable, env, cwd, bool(rulesets), confinement and confinement.view)),
            [*descriptors, *rulesets],
        )
        if isinstance(answer, tuple):
            number = cast("int", answer[1])
            if len(answer) > 2 and answer[2] is not None:  # what could not be done
                raise spawner.ConfinementError(number, os.strerror(number), answer[2])
            raise OSError(number, os.strerror(number))
        pid = cast("int", answer)
        if not pidfds:  # we had none free to take it
            self._ask(("abort", pid), [])
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return pid, pidfds[0]

    def reap(self, pid: int) -> spawner.Reaped | None:
        """See `process_group.Spawner`."""
        answer, _ = self._ask(("reap", pid), [])
        if isinstance(answer, tuple) and answer[0] == "failed":
            raise MachineError(
                "the helper that started this compiler is gone, and its result with it; was it killed? Ask again"
            )
        return cast("spawner.Reaped | None", answer)

    def _close(self) -> None:
        if self._connection is not None and self._process is not None:
            self._connection.close()
            if self._ends_badly(self._process):  # it was killed: nobody ended what it had started
                stragglers.end_tagged({self._owner}, seconds=_LEFT_SECONDS)
            self._connection = self._process = None

    @staticmethod
    def _ends_badly(process: subprocess.Popen[bytes]) -> bool:
        try:
            return process.wait(_CLOSE_SECONDS) != 0
        except subprocess.TimeoutExpired:  # it is stopped, or hangs in a file system: we do not
            process.kill()
            return process.wait() != 0

    def close(self) -> None:
        """Ends the helper, and with it every group that was not reaped."""
        with self._lock:
            self._close()
