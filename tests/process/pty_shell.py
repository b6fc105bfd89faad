"""A person at a terminal: a pseudo-terminal with a real job-control shell, what is typed into it, and what it shows.

The terminal does not echo, and the shell's prompt is the exit code of what was before, so what is shown was written by the
shell's jobs, or says what became of them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Self

from process.support import PATIENCE

_LEADS_SESSION = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
_PROMPT = "code=$?\\n"
SHELL = ("bash", "--norc", "--noprofile", "--noediting", "-i")

INTERRUPT, QUIT, SUSPEND, END = "\x03", "\x1c", "\x1a", "\x04"
"""What ^C, ^backslash, ^Z and ^D send."""


class Terminal:
    """A pseudo-terminal, and the leader of its session.

    Attributes:
        leader: the shell, or another command.
        shown: what was shown and not waited for yet.
    """

    def __init__(self, *command: str, cwd: Path) -> None:
        self._master, slave = pty.openpty()
        modes = termios.tcgetattr(slave)
        # Not to flush: what a job writes when a key has ended it would be lost now and then.
        modes[3] = modes[3] & ~termios.ECHO | termios.NOFLSH
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        self.leader = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LEADS_SESSION, *(command or SHELL)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "PS1": _PROMPT, "PS2": "", "HISTFILE": "", "LC_ALL": "C", "TERM": "dumb"},
        )
        self._name = os.ttyname(slave)
        os.close(slave)
        self.shown = ""
        if not command:
            self.code()
            self.line("set -b")  # tells of jobs at once
            self.code()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        if self.leader.poll() is None:
            self.leader.kill()
        self.leader.wait()

    def keys(self, text: str) -> None:
        """Types."""
        os.write(self._master, text.encode())

    def line(self, text: str) -> None:
        """Types a line."""
        self.keys(text + "\n")

    def await_arrival(self) -> None:
        """Waits until a line that was typed is there to be read, and whatever was typed before has had its effect."""
        slave = os.open(self._name, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + PATIENCE
            while not struct.unpack("i", fcntl.ioctl(slave, termios.FIONREAD, bytes(4)))[0]:
                if time.monotonic() > deadline:
                    raise TimeoutError("what was typed did not arrive")
                os.sched_yield()
        finally:
            os.close(slave)

    def shows(self, pattern: str) -> re.Match[str]:
        """Waits until the terminal has shown something, and forgets that: the shell and its jobs write in any order."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.shown)) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._master], [], [], left)[0]:
                raise TimeoutError(f"waited for {pattern!r}, the terminal shows {self.shown!r}")
            try:
                self.shown += os.read(self._master, 65536).decode()
            except OSError as error:
                raise EOFError(f"waited for {pattern!r}, the terminal shows {self.shown!r}") from error
        self.shown = self.shown[: found.start()] + self.shown[found.end() :]
        return found

    def number(self, name: str) -> int:
        """Waits for `name=number`."""
        return int(self.shows(rf"{name}=(\d+)\b.*\n")[1])

    def code(self) -> int:
        """The exit code of the shell's command, when that is over or stopped."""
        return self.number("code")

    @property
    def foreground(self) -> int:
        """The group that the terminal talks to."""
        return os.tcgetpgrp(self._master)

    @property
    def is_raw(self) -> bool:
        """True when keys are not collected to lines."""
        return not termios.tcgetattr(self._master)[3] & termios.ICANON

    def hang_up(self) -> None:
        """Closes the terminal, as when its window is closed."""
        if self._master != -1:
            os.close(self._master)
            self._master = -1

    def resize(self, rows: int, columns: int) -> None:
        """Another size, of which the foreground group is told."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
