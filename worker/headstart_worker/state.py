"""The directory where private outputs live while jobs run.

State on disk is a hint (I13): nothing in it is needed for a right result, so it is removed at the end, and what a killed
worker left behind is swept by the next one. A lock that the kernel drops with its owner tells which is which.
Processes are swept with it: those of a dead worker's jobs carry the name of its directory (`spawner.TAG`), and who holds the
lock cannot be mistaken, across containers neither, as a process id could.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headstart_wrapper import stragglers
from headstart_wrapper.errors import MachineError

LOCK = "lock"
"""The name of the file in a directory that its owner has locked."""

_PREFIX = "headstart-worker-"

_SWEEP_SECONDS = 1.0
"""How long what a dead worker left running may take to die before this worker serves all the same."""


@contextlib.contextmanager
def state_directory(parent: str | None) -> Iterator[Path]:
    """A fresh directory of this worker's own.

    Args:
        parent: where to make it; None: TMPDIR, else the system's place for temporary files.

    Raises:
        MachineError: it cannot be made.
    """
    base = Path(parent) if parent else Path(tempfile.gettempdir())
    try:
        base.mkdir(parents=True, exist_ok=True)
        # Locked before it has the name that others sweep by.
        unnamed = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
        lock = locked(unnamed, os.O_CREAT)
        directory = unnamed.rename(base / f"{_PREFIX}{os.getpid()}{unnamed.name.removeprefix('.new')}")
    except OSError as error:
        raise MachineError(
            f"cannot make a state directory in {base}: {error.strerror}; choose another place with --state-dir"
        ) from error
    try:
        _sweep(base)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def locked(directory: Path, flags: int = os.O_NOFOLLOW) -> int | None:
    """A descriptor that holds the directory's lock; None when its owner is alive.

    Only an owner makes the lock: where it is missing, somebody cleaned up, and the owner may be alive.
    """
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_ours(directory: Path) -> bool:
    """False for what another user made: in a place for everybody, any name can be made up."""
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _sweep(base: Path) -> None:
    """Ends what dead workers left running, then removes their directories, as far as they are ours to end and remove."""
    with contextlib.ExitStack() as stack:
        dead = []
        for directory in base.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if is_ours(directory) and (lock := locked(directory)) is not None:
                    stack.callback(os.close, lock)
                    dead.append(directory)
        if dead:
            stragglers.end_tagged({directory.name for directory in dead}, seconds=_SWEEP_SECONDS)
        for directory in dead:
            shutil.rmtree(directory, ignore_errors=True)
