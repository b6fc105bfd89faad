"""One GNU jobserver for all compilers of a worker, or the one that we were started under.

The economy
-----------
The fifo holds as many tokens as there are cores to use. *Every running thread of work needs one.* A compiler
works with one thread from its start, so the worker takes a token before it starts a compiler and puts it back
after reaping it; every further thread (codegen) takes a token itself. So the compilers of a worker together never
run more threads than there are tokens.

A compiler that is killed cannot put back what it holds. We cannot know how much that was while others run, but
when none runs, every token must be in the fifo: the last `put_back` sees to it. Between the kill and that moment work
may be slower, never wrong, and never stuck: the moment comes when the running compilers have ended.

Under an outer jobserver (make, Cargo) the tokens are its own. We hold one by the rule of the protocol (the
implicit token that came with our start), so the first compiler takes none. Lost tokens of an outer jobserver
cannot be replaced by us: they are not ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import struct
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import final

from headstart_wrapper.errors import MachineError

VARIABLES = ("CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS")
"""Where compilers look for a jobserver, in rustc's order."""

_AUTH = re.compile(r"--jobserver-(?:auth|fds)=(?:fifo:(\S+)|(\d+),(\d+))")


def fifos(env: Mapping[str, str]) -> list[str]:
    """The fifos of jobservers that an environment names."""
    flags = (_AUTH.finditer(env.get(name, "")) for name in VARIABLES)
    return [found[1] for each in flags for found in each if found[1]]


@final
class Jobserver:
    """Tokens, non-blocking: the caller waits for `descriptor` to become readable.

    Attributes:
        descriptor: of the fifo.
        environment: what a compiler needs in its environment.
    """

    def __init__(self, descriptor: int, path: str, *, tokens: int | None) -> None:
        self.descriptor = descriptor
        self._tokens = tokens
        self._implicit = tokens is None
        self._held: list[bytes] = []
        width = "" if tokens is None else f" -j{tokens}"
        flags = f"{width} --jobserver-auth=fifo:{path}"
        self.environment: Mapping[str, str] = {"CARGO_MAKEFLAGS": flags, "MAKEFLAGS": flags}

    @classmethod
    def create(cls, directory: Path, tokens: int) -> Jobserver:
        """Makes a fifo with `tokens` tokens in a directory of ours.

        Raises:
            MachineError: the file system has no fifos.
        """
        path = directory / "jobserver"
        try:
            os.mkfifo(path, 0o600)
        except OSError as error:
            raise MachineError(
                f"cannot make the jobserver's fifo {path}: {error.strerror}; choose another place with --state-dir"
            ) from error
        descriptor = _open(str(path))
        # The variable is split at blanks; a way to the fifo that has none goes through the descriptor.
        blank = any(character.isspace() for character in str(path))
        reached = f"/proc/{os.getpid()}/fd/{descriptor}" if blank else str(path)
        jobserver = cls(descriptor, reached, tokens=tokens)
        jobserver._refill()
        return jobserver

    @classmethod
    def outer(cls, environment: Mapping[str, str]) -> Jobserver | None:
        """The jobserver that our own environment names; None when there is none, or it cannot be reached.

        A pair of descriptors is reopened through /proc, so that compilers can reach it without inheriting it. To be
        asked before this process opens anything: a number that the environment names may be free, and then be ours.
        """
        for variable in VARIABLES:
            found = _AUTH.search(environment.get(variable, ""))
            if found:
                fifo, read_end, write_end = found.groups()
                if not all(map(_is_fifo, (fifo,) if fifo else (int(read_end), int(write_end)))):
                    continue
                path = fifo or f"/proc/{os.getpid()}/fd/{read_end}"
                with contextlib.suppress(OSError):
                    return cls(_open(path), path, tokens=None)
        return None

    @property
    def free(self) -> int:
        """Tokens that nobody holds now."""
        (waiting,) = struct.unpack("i", fcntl.ioctl(self.descriptor, termios.FIONREAD, b"\0" * 4))
        return int(waiting)

    def take(self) -> bool:
        """Takes a token for a compiler that is about to start; False when there is none now."""
        if self._implicit:
            self._implicit = False
            self._held.append(b"")
            return True
        try:
            token = os.read(self.descriptor, 1)
        except BlockingIOError:
            return False
        self._held.append(token)
        return True

    def put_back(self) -> None:
        """Puts a token back for a compiler that was reaped; the last one sees that all are there."""
        token = self._held.pop()
        if token:
            with contextlib.suppress(BlockingIOError):  # a compiler filled the fifo: nobody lacks a token
                os.write(self.descriptor, token)
        else:
            self._implicit = True
        if not self._held:
            self._refill()

    def _refill(self) -> None:
        """Replaces tokens that killed compilers took with them, and takes out what others put in too much."""
        if self._tokens is not None:
            waiting = self.free
            if waiting > self._tokens:
                os.read(self.descriptor, waiting - self._tokens)
            os.write(self.descriptor, b"+" * (self._tokens - waiting))

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.descriptor)


def _is_fifo(place: str | int) -> bool:
    """False for what is not there, too: make names its descriptors to commands that it does not give them to."""
    if place in range(3):
        return False  # pipes of other people: the requests and the responses
    try:
        return stat.S_ISFIFO(os.stat(place).st_mode)  # noqa: PTH116 - takes a descriptor too
    except OSError:
        return False


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
