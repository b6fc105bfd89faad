"""Cargo as a child of ours: who breaks off takes its compilers and build scripts along."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from headstart_wrapper import spawner, stragglers

_SECONDS: Final = 5.0
"""Patience with the deaths of what was killed."""


@contextmanager
def running(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a command; at the end of the context it has ended. An exception kills it and all that it started.

    It stays in our process group, because what fetches sources may have to ask at the terminal; so its descendants are found by a variable.

    Args:
        command: its words.
        cwd: its directory.
        env: its environment.
        stdout: where its output goes; its messages come through a pipe.
    """
    owner = uuid.uuid4().hex
    try:
        with subprocess.Popen(
            command,
            cwd=cwd,
            env={**env, spawner.TAG: f"{owner}/cargo"},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
                process.wait()
            except BaseException:
                process.kill()  # or the end of this context would wait for it
                raise
    except BaseException:
        stragglers.end_tagged([owner], seconds=_SECONDS)
        raise
