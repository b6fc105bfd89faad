"""Becomes the compiler, when nothing is left to do after it.

A launcher that waits costs memory for as long as the compiler runs, and time at its end. One that becomes the compiler
(execve) costs its own start only. What it then cannot do is in `reason_to_stay`: whoever asks for one of these gets a
wrapper that stays. The process that was started by our caller is the compiler then, in the caller's process group, as
behind `env`: whoever ends that ends the compiler.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's own core: signal makes enumerations, two milliseconds
import posix

from headstart_wrapper import environment, executables, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from headstart_wrapper.job import Job

_ENOEXEC = 8
"""errno(3): nothing that the kernel executes. errno's own name for it would cost an import."""

_LAST_STREAM = 2
_VARIABLES = b"HEADSTART_"
_OURS_IN_JOBS = b"HEADSTART_JOB"
"""The tag of a worker's job, which is no option (`spawner.TAG`): a compiler of such a job may use a launcher again."""


def take_shortcut(arguments: Sequence[str]) -> None:
    """Becomes the compiler of a command line without any options of ours; returns when there is more to it.

    Raises:
        HeadstartError: the command cannot be executed.
    """
    if not arguments or any(name.startswith(_VARIABLES) and name != _OURS_IN_JOBS for name in posix.environ):
        return
    if arguments[0] == "--":
        command = arguments[1:]
    elif arguments[0].startswith(("-", "@")):
        return
    else:
        command = arguments
    if command and programs.is_left_alone(programs.spoken_by(command), command):
        become(command, environment.inherited_bytes())


_REASONS = (
    ("stay", "--stay"),
    ("is_checked", "--sandbox"),
    ("timeout", "--timeout"),
    ("stats", "--stats"),
    ("graceful_sigterm", "--graceful-sigterm"),
    ("phase", "--phase"),
    ("early_outputs", "--early-output"),
    ("outputs", "--output"),
    ("touched", "--touch-file"),
    ("copies", "--copy-output"),
    ("raw_stderr", "--output-file"),
    ("quit_on_rmeta", "--rustc-quit-on-rmeta"),
    ("rustc_output_format", "--rustc-output-format"),
    ("params", "--subst in a params file"),
)
"""What there is to do while the compiler runs or after it: attributes of a job, and their options."""


def reason_to_stay(job: Job) -> str | None:
    """The first option that gives us something to do beside or after the compiler; None: we may become it."""
    return next((option for attribute, option in _REASONS if getattr(job, attribute)), None)


def become_job(job: Job, variables: Mapping[str, str]) -> NoReturn:
    """Becomes a job's compiler, with its streams where they are to go.

    Args:
        job: command and variables complete (`job_files`).
        variables: what it inherits.

    Raises:
        HeadstartError: the command cannot be executed, or a file for its streams not be written.
    """
    if job.explain:
        from headstart_wrapper.console import say  # noqa: PLC0415 - seldom asked for

        say("becomes the compiler: nothing is left to do after it")
    environ = {
        environment.data(name): environment.data(value)
        for name, value in {**variables, **dict(job.env)}.items()
    }
    if not (job.stdout or job.stderr):
        become(job.command, environ)
    from headstart_wrapper import redirection  # noqa: PLC0415 - likewise

    _occupy_closed_streams()
    files = redirection.opened(job, cwd="")
    ours = {stream: posix.dup(stream) for stream in files}
    for stream, descriptor in files.items():
        posix.dup2(descriptor, stream)
    try:
        become(job.command, environ)
    finally:  # what we have to say is for our own reader
        for stream, descriptor in ours.items():
            posix.dup2(descriptor, stream)


def become(command: Sequence[str], variables: Mapping[bytes, bytes]) -> NoReturn:
    """Replaces this process by the command; never returns.

    Signals that Python ignores get their default back, as every program expects. Descriptors that we were given, a
    jobserver's among them, stay open.

    Raises:
        HeadstartError: the command cannot be executed.
    """
    path = variables.get(b"PATH")
    executable = executables.named_executable(
        command[0], cwd="", path=None if path is None else environment.text(path)
    )
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    try:
        _execute(executable, command, variables)
    except (OSError, ValueError) as error:
        from headstart_wrapper.process_group import why_not_started  # noqa: PLC0415 - only when it fails

        raise why_not_started(command[0], error) from error


def _execute(executable: str, command: Sequence[str], variables: Mapping[bytes, bytes]) -> NoReturn:
    """As execvp(3) does it; raises OSError or ValueError."""
    try:
        posix.execve(executable, list(command), variables)
    except OSError as error:
        in_shell = executables.in_shell(executable, command, cwd="") if error.errno == _ENOEXEC else None
        if in_shell is None:
            raise
        posix.execve(executables.SHELL, in_shell, variables)


def _occupy_closed_streams() -> None:
    """A file of ours must not get a stream's number; what takes it instead is closed again when the compiler begins."""
    while (descriptor := posix.open("/", posix.O_RDONLY | posix.O_CLOEXEC)) <= _LAST_STREAM:
        pass
    posix.close(descriptor)
