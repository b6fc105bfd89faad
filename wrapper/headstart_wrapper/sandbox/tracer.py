"""Runs a command under strace, and reads what that wrote.

strace stands in front of the command, in its process group: it exits with the command's code, dies by its signal, and takes no signal
of its own while it writes to a file, so that who ends the group ends the job as ever. Its BPF filter stops the command at the
calls that are told (`strace_log.CALLS`), and at no other. Measured: 5 to 15 % on a real compile. Not here: who starts it, and what
comes of it (`observed`).
"""

from __future__ import annotations

import functools
import os

from headstart_wrapper import executables
from headstart_wrapper.errors import MachineError
from headstart_wrapper.hints import TYPE_CHECKING, Final
from headstart_wrapper.sandbox import observed, strace_log
from headstart_wrapper.sandbox.accesses import Observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headstart_wrapper.sandbox.declared import Declared
    from headstart_wrapper.sandbox.verdict import Finding

_LONGEST_PATH: Final = 4096
"""Bytes (PATH_MAX): what is longer is no path."""

_PATIENCE: Final = 10.0
"""Seconds for tracing a program that does nothing: it takes milliseconds."""

_FLAGS: Final = (
    *("-f", "-qq", "-y", "--seccomp-bpf", "-e", "signal=none", "-s", str(_LONGEST_PATH)),
    # The question mark: not every processor has every call.
    *("-e", "trace=" + ",".join(f"?{name}" for name in strace_log.CALLS)),
)


@functools.cache
def can_trace() -> str:
    """Says why no command can be traced here, a clause; "" when it can: tried, once."""
    import shutil  # noqa: PLC0415 - nor the others: only who traces pays for them
    import subprocess  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    strace = _strace()
    if strace is None:
        return "there is no strace on PATH: install it"
    nothing = shutil.which("true", path=os.defpath)
    if nothing is None:
        return "there is no program `true` to try it with"
    with tempfile.NamedTemporaryFile(prefix="headstart-trace-") as log:
        try:
            tried = subprocess.run(
                [strace, *_FLAGS, "-o", log.name, "--", nothing],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{strace} cannot be run: {error}"
        said = tried.stderr.decode(errors="replace").strip().partition("\n")[0]
        if tried.returncode or b"execve(" not in log.read():
            return f"{strace} does not work here ({said or f'exit code {tried.returncode}'})"
    return ""


def _strace() -> str | None:
    import shutil  # noqa: PLC0415 - see above

    return shutil.which("strace")


def traced(command: Sequence[str], log: str, *, executable: str, cwd: str) -> tuple[str, ...]:
    """The command that runs a command and writes a log of it.

    Args:
        command: with a program that exists: strace's word for one that does not is not ours.
        log: a file, which the job itself must be able to write if it runs in a sandbox.
        executable: that program, as `executables.find_executable` has it.
        cwd: the job's directory.

    Raises:
        MachineError: nothing can be traced here.
    """
    if why := can_trace():
        raise MachineError(f"the job's files cannot be traced: {why}; or leave --trace-files out")
    return (
        _strace() or "strace",
        *_FLAGS,
        "-o",
        log,
        "--",
        *(_in_shell(command, executable, cwd) or command),
    )


def _in_shell(command: Sequence[str], executable: str, cwd: str) -> Sequence[str] | None:
    """How a script without an interpreter is run, which the kernel refuses, and strace leaves at that; None for anything else."""
    try:
        with open(executable, "rb") as file:  # noqa: PTH123 - without pathlib
            if file.read(2) == b"#!":
                return None
    except OSError:
        return None
    return executables.in_shell(executable, command, cwd=cwd)


def read(log: str, directory: str) -> Observed:
    """What a traced command did.

    Args:
        log: the file that `traced` was given; a job that was killed leaves one that ends anywhere.
        directory: where the command began, absolute.

    Raises:
        OSError: it cannot be read.
    """
    with open(log, "rb") as file:  # noqa: PTH123 - without pathlib
        data = file.read()
    return Observed(strace_log.events(data, directory), os.path.realpath)


def explain(log: str, declared: Declared) -> list[Finding]:
    """What a job was refused: findings of Kind.DENIED, from the log of its run (`traced`) in the sandbox in which it failed.

    Args:
        log: see `read`.
        declared: what the job declared.

    Raises:
        OSError: it cannot be read.
    """
    seen = read(log, declared.directory)
    return observed.denials(seen, declared, exists=os.path.lexists)
