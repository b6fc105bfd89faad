"""Places where a compile stops and waits for the test: no test has to guess how long something takes.

A gate is a directory of named pipes. Whoever arrives opens the pipe of its name for reading and writing, writes the
name into `begun`, and then reads a line from its pipe, which blocks until the test writes one. Not here: who is made to
arrive there.
"""

from __future__ import annotations

import errno
import os
import select
import subprocess
from pathlib import Path
from typing import Self, final

# Far above what comes before an arrival (seconds); it only bounds how long a broken test takes.
_ARRIVAL_SECONDS = 60


ARRIVE = 'arrive() { exec 3<>"$1/$2"; echo "$2" >"$1/begun"; read -r _ <&3; }'
"""A function for /bin/sh: arrives at a gate, under a name."""


@final
class Gate:
    """One gate; a context manager. Attributes: the directory that arrivals are given."""

    def __init__(self, directory: Path, *names: str) -> None:
        """Makes the pipes for these names in a directory that does not exist."""
        self.directory = directory
        directory.mkdir(parents=True)
        for name in ("begun", *names):
            os.mkfifo(directory / name)
        # Held open at both ends: no arrival waits for the test to listen, and none ends the stream.
        self._begun = os.open(directory / "begun", os.O_RDWR | os.O_NONBLOCK)
        self._arrived: list[str] = []
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._begun)

    def await_arrivals(self, build: subprocess.Popen[bytes], *names: str) -> None:
        """Waits until all of these have arrived, in any order, since they were last waited for.

        Raises:
            AssertionError: the build ended, or one did not come.
        """
        missing = list(names)
        end = os.pidfd_open(build.pid)
        try:
            while True:
                for name in [name for name in missing if name in self._arrived]:
                    missing.remove(name)
                    self._arrived.remove(name)
                if not missing:
                    return
                readable, _, _ = select.select([self._begun, end], [], [], _ARRIVAL_SECONDS)
                if self._begun not in readable:
                    raise AssertionError(f"{missing} did not arrive at {self.directory}")
                *lines, self._rest = (self._rest + os.read(self._begun, 4096)).split(b"\n")
                self._arrived += [line.decode() for line in lines]
        finally:
            os.close(end)

    def let_through(self, name: str) -> bool:
        """Lets one that waits go on; False when nobody of that name waits, as when it was killed."""
        try:
            pipe = os.open(self.directory / name, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False
            raise
        try:
            os.write(pipe, b"\n")
        finally:
            os.close(pipe)
        return True

    def remove(self) -> None:
        """From now on nobody waits here: empty files stand in place of the pipes."""
        for path in list(self.directory.iterdir()):
            path.unlink()
            path.touch()
