"""The directory where private outputs live while jobs run.

State on disk is a hint (I13): nothing in it is needed for a right result, so it is removed at the end, and what a killed
worker left behind is swept by the next one. A lock that the kernel drops with its owner tells which is which.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headstart_wrapper.errors import MachineError

_PREFIX = "headstart-worker-"


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
        lock = _locked(unnamed)
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


def _locked(directory: Path) -> int | None:
    """A descriptor that holds the directory's lock; None when its owner is alive."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(base: Path) -> None:
    """Removes directories whose owners are dead, as far as they are ours to remove."""
    for directory in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = _locked(directory)
            if lock is not None:
                shutil.rmtree(directory, ignore_errors=True)
                os.close(lock)
