"""What tests of confined jobs share: what every program here needs, and a job that runs to its end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from headstart_wrapper.process_group import ProcessGroup, Spawner
from headstart_wrapper.sandbox import landlock
from headstart_wrapper.sandbox.confinement import confined
from headstart_wrapper.sandbox.landlock import Rules
from headstart_wrapper.sandbox.mounts import View

ABI: Final = landlock.abi()[0]
STRACE: Final = "/usr/bin/strace"


def needs_abi(least: int) -> pytest.MarkDecorator:
    """For a test of what only later kernels can do."""
    return pytest.mark.skipif(least > ABI, reason=f"Landlock's ABI is {ABI} here, not {least} or later")


needs_strace: Final = pytest.mark.skipif(not Path(STRACE).exists(), reason="there is no strace")

PROGRAMS: Final = (
    "/usr",
    "/bin",
    "/lib",
    "/lib64",
    "/etc",
    "/proc",
    "/dev/urandom",
    sys.prefix,
    sys.base_prefix,
)
"""What shells, compilers and Python read of their own."""


def rules(
    *, read: tuple[object, ...] = (), listed: tuple[object, ...] = (), write: tuple[object, ...] = ()
) -> Rules:
    """Programs may run, /dev/null may be written, and what else is given."""
    return Rules(
        read=(*PROGRAMS, *map(str, read)),
        list=tuple(map(str, listed)),
        write=("/dev/null", *map(str, write)),
    )


class Job:
    """A started job, confined or not, whose output is taken.

    Attributes:
        peak: bytes of memory, when it is over.
    """

    peak = 0

    def __init__(
        self,
        spawner: Spawner,
        held: Rules | None,
        *command: str,
        stdin: int | None = None,
        env: Mapping[str, str] | None = None,
        view: View | None = None,
    ) -> None:
        with ExitStack() as stack:
            null = stack.enter_context(open(os.devnull, "rb"))  # noqa: PTH123 - a descriptor is wanted
            self._output, theirs = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, theirs)
            stack.push(self._close_if_not_started)
            self.group = ProcessGroup.start(
                spawner,
                command,
                cwd=str(Path.cwd()),
                env=os.environ if env is None else env,
                streams=(null.fileno() if stdin is None else stdin, theirs, theirs),
                confinement=stack.enter_context(confined(held, view)) if held or view else None,
            )

    def _close_if_not_started(self, kind: object, *_: object) -> None:
        if kind is not None:
            os.close(self._output)

    def end(self) -> tuple[int, str]:
        """Waits for the end; returns what the shell would call its status, and its output."""
        poll = select.poll()
        poll.register(self.group.pidfd, select.POLLIN)
        with os.fdopen(self._output, encoding="utf-8") as output:
            said = output.read()
        assert poll.poll(20_000)
        status, _, _, self.peak, *_ = self.group.reap()
        return os.waitstatus_to_exitcode(status), said


def run(spawner: Spawner, held: Rules | None, *command: str, **more: object) -> tuple[int, str]:
    """A whole job; see `Job.end`."""
    return Job(spawner, held, *command, **more).end()  # type: ignore[arg-type]


def python(script: str, *arguments: object) -> tuple[str, ...]:
    """A command that runs a script."""
    return (sys.executable, "-c", script, *map(str, arguments))


LATER: Final = """
import os, select, signal, sys
from headstart_wrapper.errors import HeadstartError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup
from headstart_wrapper.sandbox import landlock
from headstart_wrapper.sandbox.confinement import confined
from headstart_wrapper.sandbox.landlock import Rules

def start(spawner, held, *command):
    with confined(held) as confinement:
        return ProcessGroup.start(
            spawner, command, cwd=os.getcwd(), env=os.environ, streams=(0, 1, 2), confinement=confinement
        )

def job(spawner, held, *command):
    group = start(spawner, held, *command)
    poll = select.poll()
    poll.register(group.pidfd, select.POLLIN)
    assert poll.poll(20_000)
    return os.waitstatus_to_exitcode(group.reap()[0])

PROGRAMS = Rules(read=("/usr", "/bin", "/lib", "/lib64", "/etc"), write=("/dev/null",))
"""
"""How a script of a process of its own begins."""


def injected(fault: str, script: str, *arguments: object, user: tuple[str, ...] = ()) -> str:
    """What a script of ours says on a machine where Landlock is as strace makes it: `error=ENOSYS`, `retval=3:when=1`."""
    inject = [STRACE, "-f", "-qqq", "-e", "trace=landlock_create_ruleset", "-o", os.devnull]
    inject += ["-e", f"inject=landlock_create_ruleset:{fault}"]
    found = subprocess.run(
        [*user, *inject, *python(LATER + script, *arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout
