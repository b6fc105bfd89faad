"""`headstart check`: runs a command once, traced, and tells what it did beyond its declaration, and what it declared in vain."""

from __future__ import annotations

import contextlib
import os
import posixpath
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

from headstart_worker import check_report
from headstart_wrapper import command_line, dialects, executables, job_files, params_files, programs
from headstart_wrapper import options as grammar
from headstart_wrapper.console import say
from headstart_wrapper.dialects.base import place
from headstart_wrapper.environment import inherited
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job, Outcome, Sandbox
from headstart_wrapper.process_group import DirectSpawner
from headstart_wrapper.records import evolve
from headstart_wrapper.run import Ended, Run
from headstart_wrapper.sandbox import audit, observed, rules, toolchain, tracer, verdict
from headstart_wrapper.sandbox.declared import Declared, declare
from headstart_wrapper.surroundings import Surroundings
from headstart_wrapper.terminal import JobControl

_HELP: Final = """\
usage: headstart check [options] [--] command arg...
       headstart check [options] @params-file

Runs a command once, in its place, and watches every file that it and all that it starts touch. Tells what it read, wrote, executed and
listed, and where it connected, beyond what was declared; which files it looked for that were not there; and what was declared and
never used. The compiler's own files and those of the system need no declaration.

options of check:
  --json            the report as data
  --help            print this and exit

All other options are process-wrapper's, and may stand in params files, as in those of a Bazel action. What is declared:
  --input=PATH           a file that the command may read, or a directory of which it may read everything
  --output=PATH, --early-output=PATH
                         what it writes
Without any --input, the files that the command names are taken to be declared.

The command's own output goes to stderr, the report to stdout. Variables that a program reads cannot be seen this way.

Exit code: the command's own; 1 when it succeeded, and read or wrote what was not declared; 125: wrong use, or nothing can be traced.

examples:
  headstart check -- cc -c hello.c
  headstart check --input=hello.c --input=include --output=hello.o -- cc -Iinclude -c hello.c -o hello.o
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code.

    Raises:
        HeadstartError: it cannot be done.
    """
    if arguments[:1] in (["--help"], ["-h"]):
        sys.stdout.write(_HELP)
        return 0
    words, as_data = _own(arguments)
    variables, cwd = inherited(), _directory()
    job = _job(words, variables, cwd)
    environment = {**variables, **dict(job.env)}
    executable = executables.find_executable(job.command[0], cwd=cwd, path=environment.get("PATH"))
    with tempfile.TemporaryDirectory(prefix="headstart-check-") as private, _report() as report:
        log = posixpath.join(private, "log")
        outcome = _run(_traced(job, executable, cwd, log), cwd, variables, posixpath.join(private, "params"))
        seen = tracer.read(log, cwd)
        declared = _declared(job, environment, cwd, private)
        tools = toolchain.tools(executable, job.command, env=environment, cwd=cwd)
        findings = observed.findings(seen, declared, rules.free(tools, environment), unused=True)
        if not outcome.exit_code:
            findings += audit.audit(declared, toolchain=tools.directories, secret=declared.secret).findings
        findings = verdict.merged(findings)
        # Of a signal it would name strace, and the report tells of that.
        if outcome.message and (outcome.timed_out or outcome.signal is None):
            say(outcome.message)
        render = check_report.as_json if as_data else check_report.as_text
        report.write(render(job.command, outcome, findings))
    return outcome.exit_code or (1 if check_report.faults(findings) else 0)


def _own(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The words without our own option, and whether it was there; without `--`, only the first word can be it."""
    end = list(arguments).index("--") if "--" in arguments else 1
    words = [word for word in arguments[:end] if word != "--json"]
    return [*words, *arguments[end:]], len(words) < len(arguments[:end])


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError as error:
        raise RequestError(
            f"the working directory cannot be told: {error.strerror}; change to one"
        ) from error


def _job(words: Sequence[str], variables: Mapping[str, str], cwd: str) -> Job:
    """What is asked for: the whole job, however much of it the words want, and without a sandbox."""
    expanded = params_files.expand(words, command_line.read_params, arity=grammar.arity)
    options = grammar.parse(expanded)
    if options.persistent_worker or options.help or options.version:
        raise RequestError("check runs one command; see headstart check --help")
    job = job_files.settled(grammar.check(options), variables, Surroundings(cwd))
    return evolve(
        job,
        phase=None,
        early_outputs=(),
        outputs=(*job.outputs, *job.early_outputs),
        stop_after_early=False,
        quit_on_rmeta=False,
        sandbox=Sandbox.OFF,
        sandbox_unused=False,
        sandbox_audit="report",
        trace_files=False,
    )


def _traced(job: Job, executable: str, cwd: str, log: str) -> Job:
    """The same job under strace, its command as it stands: nothing is added to it."""
    traced = tracer.traced(job.command, log, executable=executable, cwd=cwd)
    moved = len(traced) - len(job.command)
    return evolve(
        job,
        command=traced,
        dialect=programs.GENERIC,
        params=tuple((at + moved, text) for at, text in job.params),
    )


def _run(job: Job, cwd: str, variables: Mapping[str, str], private: str) -> Outcome:
    spawner = DirectSpawner(adopts=True)
    control = JobControl(spawner.collect)
    run = Run(job, cwd=cwd, env=variables, spawner=spawner, capture=False, private=private, control=control)
    with control, contextlib.closing(run.events()) as events:
        return next(event.outcome for event in events if isinstance(event, Ended))


def _declared(job: Job, environment: Mapping[str, str], cwd: str, private: str) -> Declared:
    plan = dialects.find(job.dialect, job.command).plan(
        job.command,
        early_outputs=(),
        pipelined=False,
        stage=None,
        read=lambda path: Path(cwd, path).read_text("utf-8"),
        directory=cwd,
    )
    declared = declare(
        job,
        plan,
        (),
        lambda output: place(output, cwd),
        given=cwd,
        directory=cwd,
        private=(),
        environment=environment,
    )
    streams = [place(path, cwd) for path in (job.stdout, job.stderr, job.raw_stderr) if path]
    return evolve(declared, allowed=(*declared.allowed, private), writable=tuple(streams))


@contextlib.contextmanager
def _report() -> Iterator[TextIO]:
    """Our stdout, while that of everything that is started in the meantime is our stderr."""
    ours = os.dup(sys.stdout.fileno())
    try:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with open(ours, "w", encoding=sys.stdout.encoding, errors="replace", closefd=False) as report:
            yield report
    finally:
        os.dup2(ours, sys.stdout.fileno())
        os.close(ours)
