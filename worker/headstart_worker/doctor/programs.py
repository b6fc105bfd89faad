"""Asks other programs for a line about themselves, without ever hanging for one that does not answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from headstart_wrapper.executables import DEFAULT_PATH
from headstart_wrapper.text import sanitise

SECONDS: Final = 5.0
"""What a program may take to name its version: bazel's start takes one on an idle machine, rustup's proxies a tenth."""

_MOST: Final = 1 << 16
"""Bytes of an answer that are read: a version is a line."""

_QUIET: Final = {"RUSTUP_AUTO_INSTALL": "0", "LC_ALL": "C"}
"""A question about a version must not make rustup fetch a toolchain."""


@frozen
class Said:
    """What became of a question.

    Attributes:
        exit_code: as `subprocess` has it; None: there was no answer in time, and the program was killed.
        text: both streams, the beginning.
        seconds: until its end.
    """

    exit_code: int | None
    text: str
    seconds: float

    @property
    def line(self) -> str:
        """The first line that says something."""
        lines = ("".join(filter(str.isprintable, line)).strip() for line in self.text.splitlines())
        return next((line for line in lines if line), "")


def ask(command: Sequence[str], *, seconds: float = SECONDS, env: Mapping[str, str] | None = None) -> Said:
    """Runs a command in a group of its own and gives what it says.

    Its answer goes to a file: what it leaves running could hold a pipe open for ever.

    Raises:
        OSError: it cannot be started.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as answer:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.STDOUT,
            env={**(os.environ if env is None else env), **_QUIET},
            process_group=0,
        )
        try:
            exit_code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            exit_code = None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        took = time.monotonic() - began
        answer.seek(0)
        return Said(exit_code, sanitise(answer.read(_MOST)), took)


def on_path(name: str) -> str | None:
    """The program that a job would run by this name; None when there is none."""
    return shutil.which(name, path=os.environ.get("PATH", DEFAULT_PATH))


def no_op() -> str | None:
    """A program that does nothing, to measure what is around it; wherever PATH leads."""
    return shutil.which("true", path=DEFAULT_PATH)
