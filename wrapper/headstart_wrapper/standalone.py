"""The wrapper as a program: runs one job, passes its output through, exits with its code.

Imports neither trio nor protobuf: its start is part of every job's time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from headstart_wrapper import options as grammar
from headstart_wrapper import params_files, stats
from headstart_wrapper.errors import HeadstartError
from headstart_wrapper.job import Job, Outcome, Phase
from headstart_wrapper.process_group import DirectSpawner
from headstart_wrapper.run import Ended, Run
from headstart_wrapper.supervise import Text

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGCONT)


def say(message: str) -> None:
    """One line of ours, on stderr; nobody hears it where that is closed."""
    if (
        sys.stderr is not None
    ):  # type checkers take it for always there; Python starts without it when descriptor 2 is closed
        with contextlib.suppress(OSError):
            sys.stderr.write(f"process-wrapper: {message}\n")
            sys.stderr.flush()


def read_params(path: str) -> str:
    """Reads a params file: raw, a carriage return is part of its line."""
    return Path(path).read_bytes().decode("utf-8")


def inherited_environment() -> dict[str, str]:
    """The environment that this process was given.

    Python gives itself LC_CTYPE where there is no locale (PEP 538); a compiler that had it too would speak otherwise than
    one that was started without us.
    """
    environment = dict(os.environ)
    if "LC_CTYPE" in environment and not any(
        variable.startswith(b"LC_CTYPE=") for variable in Path("/proc/self/environ").read_bytes().split(b"\0")
    ):
        del environment["LC_CTYPE"]
    return environment


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit code, or dies by the signal that its job died by."""
    try:
        options = grammar.parse(params_files.expand(arguments, read_params))
        if options.help:
            sys.stdout.write(grammar.usage())
            return 0
        if options.version:
            import importlib.metadata  # noqa: PLC0415 - a third of this process's start, for one option

            sys.stdout.write(f"process-wrapper {importlib.metadata.version('headstart')}\n")
            return 0
        job = grammar.check(options)
        if warning := grammar.weaker_sandbox(options):
            say(warning)
        outcome = run_job(job)
    except HeadstartError as error:
        say(str(error))
        return error.exit_code
    if outcome.message:
        say(outcome.message)
    if outcome.signal is not None and not outcome.timed_out:
        _die_by(outcome.signal)
    return outcome.exit_code


def run_job(job: Job) -> Outcome:
    """Runs one job with this process's directory, environment and streams.

    Raises:
        HeadstartError: the job could not be run, or its outputs not be published.
    """
    with contextlib.ExitStack() as stack:
        stage = None
        if job.phase is not None:
            import tempfile  # noqa: PLC0415 - for pipelined jobs only

            stage = stack.enter_context(tempfile.TemporaryDirectory(prefix="headstart-"))
        run = Run(
            job,
            cwd=str(Path.cwd()),
            env=inherited_environment(),
            spawner=DirectSpawner(),
            capture=False,
            stage=stage,
            # Standalone, the full half always comes after the early one, whose outputs dependents may have read.
            dependents_used=job.early_outputs if job.phase is Phase.FULL else (),
        )
        if job.explain:
            for note in run.explanation():
                say(note)
        with _forwarding(run):
            outcome = _relay(run)
        if outcome.exit_code == 0:
            run.publish(job.wanted, root=str(Path.cwd()))
        if job.stats:
            stats.write(outcome, job.stats)
        return outcome


def _relay(run: Run) -> Outcome:
    with contextlib.closing(run.events()) as events:
        for event in events:
            if isinstance(event, Text):
                _write(event, run)
            elif isinstance(event, Ended):
                return event.outcome
    raise AssertionError("a run ends with Ended")


def _write(text: Text, run: Run) -> None:
    data = text.data
    try:
        while data:
            data = data[os.write(text.stream, data) :]
    except BrokenPipeError:
        # Whoever read our output is gone; what the job writes itself would end it in the same way.
        run.forward(signal.SIGPIPE)


@contextlib.contextmanager
def _forwarding(run: Run) -> Iterator[None]:
    """Signals that reach us reach the job's group; a stop stops us too, so that a shell sees it."""

    def forward(number: int, _frame: FrameType | None) -> None:
        run.forward(number)
        if number == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)

    # What was ignored when we were started stays ignored (nohup).
    handled = [number for number in FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, forward) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die_by(number: int) -> None:
    """Dies by the signal that the job died by, without a second core file; returns if that signal does not kill."""
    import resource  # noqa: PLC0415 - the last thing that some jobs need

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
