"""Runs one job beside it: passes its output through, sees to what has to be done, exits with its code.

The wrapper that stays. Its start is part of every job's time, and its size part of every job's memory: see `command_line`
for what is not imported here.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import signal
import time

from headstart_wrapper import outputs, stats_file, tail
from headstart_wrapper.console import say
from headstart_wrapper.dialects.base import place
from headstart_wrapper.errors import HeadstartError, MachineError, files_are_in_the_way
from headstart_wrapper.job import Job, Outcome, Phase
from headstart_wrapper.process_group import DirectSpawner
from headstart_wrapper.records import evolve
from headstart_wrapper.redirection import write_all
from headstart_wrapper.run import Early, Ended, Run
from headstart_wrapper.streams import Text
from headstart_wrapper.terminal import JobControl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    from headstart_wrapper.announce import Announcer
    from headstart_wrapper.trace_file import JobTrace


def run(
    job: Job, *, cwd: str, variables: Mapping[str, str], reason: str | None, trace: str | None = None
) -> int:
    """Runs one job; returns its exit code, or dies by the signal that it died by.

    Args:
        job: what to run, command and variables complete (`job_files`).
        cwd: this process's directory, absolute.
        variables: the environment that it was given.
        reason: what there is to do beside the compiler or after it (`tail.reason_to_stay`); None: we become it after all, if
            its dialect has nothing to do either.
        trace: where to tell what happened when; None: nowhere.
    """
    announcer = _announcer(job)
    events = _job_trace(job, trace)
    try:
        if announcer is not None:
            announcer.check()
        outcome = _run(job, cwd, variables, reason, announcer, trace=events)
    except HeadstartError as error:
        outcome = Outcome(exit_code=error.exit_code, message=str(error))
    except OSError as error:
        outcome = Outcome(exit_code=MachineError.exit_code, message=files_are_in_the_way(error))
    if announcer is not None:
        outcome = announcer.finished(outcome)
    outcome = _recorded(job, outcome, events)
    for sentence in filter(None, (*outcome.remarks, outcome.message)):
        say(sentence)
    if announcer is not None:  # last: whoever is told of a failure finds all that there is to know of it
        for message in announcer.failed(outcome.exit_code):
            say(message)
    if outcome.signal is not None and not outcome.timed_out:
        _die_by(outcome.signal)
    return outcome.exit_code


def _recorded(job: Job, outcome: Outcome, trace: JobTrace | None) -> Outcome:
    """Writes what is to be kept of it; its statistics belong to what was asked for, its trace does not."""
    if job.stats:
        outcome = stats_file.record(job, outcome)
    if trace is not None:
        trace.write(outcome)
    return outcome


def _announcer(job: Job) -> Announcer | None:
    """Who tells of the job's early outputs; None when nobody wants to hear of them."""
    if job.on_early is None and job.early_fifo is None and job.early_fd is None:
        return None
    from headstart_wrapper.announce import Announcer  # noqa: PLC0415 - few jobs have somebody to tell

    return Announcer(job)


def _job_trace(job: Job, path: str | None) -> JobTrace | None:
    if not path:
        return None
    from headstart_wrapper.trace_file import JobTrace  # noqa: PLC0415 - likewise

    return JobTrace(path, job)


def _run(
    job: Job,
    cwd: str,
    variables: Mapping[str, str],
    reason: str | None,
    announcer: Announcer | None,
    *,
    trace: JobTrace | None,
) -> Outcome:
    """The job without its statistics.

    Raises:
        HeadstartError: it could not be run.
    """
    with contextlib.ExitStack() as stack:
        stage = None
        if job.phase is not None or job.early_outputs or job.is_checked:
            import tempfile  # noqa: PLC0415 - for pipelined jobs only

            stage = stack.enter_context(tempfile.TemporaryDirectory(prefix="headstart-"))
        spawner = DirectSpawner(
            adopts=announcer is None
        )  # whom a command of --on-early leaves are not the job's
        control = JobControl(spawner.collect, announcer.interrupt if announcer is not None else None)
        run = Run(
            job,
            cwd=cwd,
            env=variables,
            spawner=spawner,
            capture=False,
            stage=stage,
            private=posixpath.join(variables.get("TMPDIR") or "/tmp", f"headstart-{os.urandom(8).hex()}"),  # noqa: S108
            # Standalone, the full half always comes after the early one, whose outputs dependents may have read.
            dependents_used=job.early_outputs if job.phase is Phase.FULL else (),
            control=control,
            tools_store=_cache(variables) if job.is_checked else "",
        )
        if job.explain:
            for note in run.explanation():
                say(note)
        if reason is None and run.is_plain:
            tail.become_job(run.job, variables)
        if job.explain:
            say(f"stays beside the compiler: {reason or 'its output is made readable'}")
        with control, _terminable(run, gracefully=job.graceful_sigterm) as came:
            outcome = _relay(run, cwd, announcer, trace)
            if announcer is not None:
                announcer.hold_signals()
        if came and not outcome.timed_out:
            outcome = evolve(outcome, exit_code=128 + signal.SIGTERM, signal=signal.SIGTERM)
            if announcer is not None:
                announcer.interrupt(signal.SIGTERM)
        return _succeeded(run, outcome, cwd, announcer, trace) if outcome.exit_code == 0 else outcome


def _cache(variables: Mapping[str, str]) -> str:
    """Where a user's programs keep what they can find out again; "" when nothing says so."""
    home = variables.get("HOME", "")
    base = variables.get("XDG_CACHE_HOME") or (home and posixpath.join(home, ".cache"))
    return posixpath.join(base, "headstart", "tools") if base.startswith("/") else ""


def _succeeded(
    run: Run, outcome: Outcome, cwd: str, announcer: Announcer | None, trace: JobTrace | None
) -> Outcome:
    try:
        _publish(run, _left(run, outcome, cwd), cwd, trace)
        if run.job.copies or run.job.touched is not None:
            from headstart_wrapper import after_success  # noqa: PLC0415 - few jobs leave more than their outputs

            after_success.see_to(run.job, root=cwd)
    except HeadstartError as error:
        return outcome.spoiled(error.exit_code, str(error))
    if announcer is not None:
        announcer.complete(cwd=cwd, env=run.environment)
    return outcome


def _left(run: Run, outcome: Outcome, cwd: str) -> list[str]:
    """The outputs that are not in their places when the job has ended.

    Those of a whole job are all that its command wrote, as they would be there without a private directory; those of a half
    are declared.
    """
    job = run.job
    if outcome.stopped_early:
        return []
    if job.phase is not None:
        return [] if job.phase is Phase.EARLY and outcome.early is not None else list(job.wanted)
    declared = [*job.outputs, *job.early_outputs]
    published = {place(output, cwd) for output in job.early_outputs} if outcome.early is not None else set()
    found = {place(output, cwd): output for output in (*outputs.written(run.plan.places), *declared)}
    return [output for where, output in found.items() if where not in published]


@contextlib.contextmanager
def _terminable(run: Run, *, gracefully: bool) -> Iterator[list[int]]:
    """With --graceful-sigterm, TERM ends the job, and us, whatever the job makes of it; the list is not empty when it came."""
    came: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        run.stop()

    if not gracefully or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield came
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _relay(run: Run, cwd: str, announcer: Announcer | None, trace: JobTrace | None) -> Outcome:
    with contextlib.closing(run.events()) as events:
        for event in events:
            if trace is not None:
                trace.take(event)
            if isinstance(event, Text):
                _write(event, run)
            elif isinstance(event, Early) and run.job.phase is not Phase.FULL:
                _publish(run, run.job.early_outputs, cwd, trace)
                if announcer is not None:
                    announcer.complete(cwd=cwd, env=run.environment)
            elif isinstance(event, Ended):
                return event.outcome
    raise AssertionError("a run ends with Ended")


def _publish(run: Run, declared: Sequence[str], cwd: str, trace: JobTrace | None) -> None:
    began = time.monotonic()
    run.publish(declared, root=cwd)
    if trace is not None and run.publishes and declared:
        trace.published(began)


def _write(text: Text, run: Run) -> None:
    try:
        write_all(text.stream, text.data)
    except BrokenPipeError:
        # Whoever read our output is gone; what the job writes itself would end it in the same way.
        run.forward(signal.SIGPIPE)


def _die_by(number: int) -> None:
    """Dies by the signal that the job died by, without a second core file; returns if that signal does not kill."""
    import resource  # noqa: PLC0415 - the last thing that some jobs need

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
