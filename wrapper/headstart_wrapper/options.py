"""The one command-line grammar, standalone and in every request.

    [options] [--] command arg...

A table says what each option is; the parser only looks things up. Not here: arguments that stand in files
(`params_files`), how a value is written (`option_values`), what the options mean for a compiler (dialects), or running
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, field, frozen

from headstart_wrapper import encoding
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job, Phase, Sandbox
from headstart_wrapper.option_values import Size, one_of, to_count, to_pair, to_seconds, to_size, to_text


@frozen(kw_only=True)
class Options:
    """Everything that a command line says: about this process, and about the job.

    Attributes:
        persistent_worker: serve requests instead of running one job.
        worker_protocol: "proto" or "json".
        jobs: how many compilers may run at once; None: one for each usable core.
        memory: what the compilers that run at once may be expected to need together; None: not bounded.
        state_dir: where private outputs live while jobs run; None: a directory of our own below TMPDIR.
        worker_files: inputs below these prefixes are the worker's own files, not the job's.
        exit_when_changed: end, when there is nothing to do, after a request showed that the worker's own files changed.
        collect_when_idle: give memory back after so many seconds without work; None: never.
        trace: file for trace events.
        sandbox, sandbox_unavailable: the check that was asked for, and what to do when it cannot be had.
        encoding_check: the known character as it arrived; see `encoding`.
        help, version: print and exit.
        foreign: unknown options behind `--persistent-worker`: a host's user can add flags there for every worker of a
            build (Bazel: `--worker_extra_flag`), some of which are meant for others. They are named and left out.
        job: the job's own options and command.
    """

    persistent_worker: bool = False
    worker_protocol: str = "proto"
    jobs: int | None = None
    memory: Size | None = None
    state_dir: str | None = None
    worker_files: tuple[str, ...] = ()
    exit_when_changed: bool = False
    collect_when_idle: float | None = None
    trace: str | None = None
    sandbox: Sandbox = Sandbox.OFF
    sandbox_unavailable: str = "fail"
    encoding_check: str = ""
    help: bool = False
    version: bool = False
    foreign: tuple[str, ...] = ()
    job: Job = field(factory=Job)


@frozen
class Option:
    """One row of the grammar.

    Attributes:
        name: as documented, with dashes.
        convert: text to value, raising RequestError; None: a flag without a value.
        metavar: stands for the value in help texts.
        help: one line.
        repeated: may be given many times, values are collected.
        startup: about the process; refused inside a request.
        attribute: the attribute that it sets; "": the name itself.
    """

    name: str
    convert: Callable[[str, str], Any] | None
    metavar: str
    help: str
    repeated: bool = False
    startup: bool = False
    attribute: str = ""

    @property
    def target(self) -> str:
        """The attribute of `Options` or `Job` that this option sets."""
        return self.attribute or self.name.removeprefix("--").replace("-", "_")


OPTIONS: tuple[Option, ...] = (
    Option("--timeout", to_seconds, "SECONDS", "send TERM to the job's group after this long"),
    Option("--kill-delay", to_seconds, "SECONDS", "send KILL this long after TERM"),
    Option(
        "--dialect", to_text, "NAME", "what we know of the compiler (rustc, generic); found from the command"
    ),
    Option(
        "--phase", lambda n, v: Phase(one_of("early", "full")(n, v)), "early|full", "the half that is wanted"
    ),
    Option(
        "--early-output", to_text, "PATH", "declared early output", repeated=True, attribute="early_outputs"
    ),
    Option("--output", to_text, "PATH", "any other declared output", repeated=True, attribute="outputs"),
    Option(
        "--input",
        to_text,
        "PATH",
        "declared input, where no host gives a list",
        repeated=True,
        attribute="inputs",
    ),
    Option("--env", to_pair, "NAME=VALUE", "set a variable for the job", repeated=True),
    Option(
        "--subst",
        to_pair,
        "KEY=VALUE",
        "replace ${KEY} in the command and in --env; the value ${pwd} is the job's directory",
        repeated=True,
        attribute="substitutions",
    ),
    Option("--stop-after-early", None, "", "kill the compiler when its early outputs are complete"),
    Option("--stats", to_text, "FILE", "write what the job used, as JSON"),
    Option("--explain", None, "", "say on stderr why each decision was taken"),
    Option(
        "--sandbox",
        lambda n, v: Sandbox(one_of(*(s.value for s in Sandbox))(n, v)),
        "off|audit|enforce|strict",
        "check what the job reads and writes (this release knows only off)",
    ),
    Option(
        "--sandbox-unavailable",
        one_of("fail", "warn"),
        "fail|warn",
        "what to do when the sandbox asked for cannot be had",
    ),
    Option(
        encoding.OPTION, to_text, "é", "tells whether the host takes UTF-8 for Latin-1, so that we undo it"
    ),
    Option("--trace", to_text, "FILE", "write trace events, JSON", startup=True),
    Option("--persistent-worker", None, "", "serve requests on stdin and stdout", startup=True),
    Option(
        "--worker-protocol", one_of("proto", "json"), "proto|json", "encoding of the requests", startup=True
    ),
    Option("--jobs", to_count, "N", "compilers that may run at once (usable cores)", startup=True),
    Option(
        "--memory",
        to_size,
        "SIZE",
        "memory that compilers may need at once: bytes, 6G or 80% (no bound)",
        startup=True,
    ),
    Option("--state-dir", to_text, "DIR", "where private outputs live while jobs run", startup=True),
    Option(
        "--worker-files",
        to_text,
        "PREFIX",
        "inputs below this prefix are the worker's own files",
        repeated=True,
        startup=True,
    ),
    Option(
        "--exit-when-changed",
        None,
        "",
        "end, when there is nothing to do, after the worker's own files changed",
        startup=True,
    ),
    Option(
        "--collect-when-idle",
        to_seconds,
        "SECONDS",
        "give memory back after so long without work (never)",
        startup=True,
    ),
    Option("--help", None, "", "print this and exit", startup=True),
    Option("--version", None, "", "print the version and exit", startup=True),
)

_BY_NAME = {option.name: option for option in OPTIONS}
_JOB_ATTRIBUTES = frozenset(attribute.name for attribute in Job.__attrs_attrs__)


def parse(arguments: Sequence[str], *, base: Options | None = None, request: bool = False) -> Options:
    """Reads expanded arguments.

    Args:
        arguments: options, then the command; `--` between them may be left out when the command does not
            begin with a dash.
        base: defaults, the worker's startup options.
        request: the arguments are a request's, where startup options have no place.

    Raises:
        RequestError: an option is unknown, lacks its value, or has a bad one.
    """
    base = base or Options()
    values: dict[str, Any] = {}
    rest = encoding.read_back_arguments(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            break
        if not argument.startswith("-"):
            rest.insert(0, argument)
            break
        spelled, equals, value = argument.partition("=")
        name = spelled.replace("_", "-")
        option = _BY_NAME.get(name)
        # A sandbox that was misspelled must not be left out: that would be weaker than asked for (I11).
        if option is None and values.get("persistent_worker") and not name.startswith("--sandbox"):
            values.setdefault("foreign", []).append(spelled)
            continue
        if option is None:
            raise RequestError(
                f"unknown option {spelled}; see process-wrapper --help, or put -- before the command"
            )
        if request and option.startup:
            raise RequestError(f"{name} has no place in a request; give it when the worker is started")
        _set(values, option, equals, value, rest)
    job = {name: value for name, value in values.items() if name in _JOB_ATTRIBUTES}
    process = {name: value for name, value in values.items() if name not in _JOB_ATTRIBUTES}
    for chosen, default in ((job, base.job), (process, base)):
        for name, value in chosen.items():
            if isinstance(value, list):
                chosen[name] = getattr(default, name) + tuple(value)
    return evolve(base, job=evolve(base.job, command=tuple(rest), **job), **process)


def _set(values: dict[str, Any], option: Option, equals: str, value: str, rest: list[str]) -> None:
    if option.convert is None:
        if equals:
            raise RequestError(f"{option.name} takes no value")
        values[option.target] = True
        return
    if not equals:
        if not rest or rest[0] == "--":
            raise RequestError(f"{option.name} wants a value; give it as {option.name}={option.metavar}")
        value = rest.pop(0)
    converted = option.convert(option.name, value)
    if option.repeated:
        values.setdefault(option.target, []).append(converted)
    else:
        values[option.target] = converted


def check(options: Options) -> Job:
    """The job of the options, after the checks that need all of them.

    Raises:
        RequestError: there is no command, or two options contradict each other.
    """
    job = options.job
    if not job.command:
        raise RequestError("no command is given; put the compiler and its arguments after --")
    variables = (word for pair in job.env for word in pair)
    paths = (*job.early_outputs, *job.outputs, *job.inputs, job.stats or "")
    for word in (*job.command, *variables, *paths):
        if "\0" in word:
            raise RequestError(
                f"{word!r} is no word for a process and no path: it holds a NUL; correct what made the request"
            )
    if job.phase and not job.early_outputs:
        raise RequestError(f"--phase={job.phase} needs at least one --early-output=PATH")
    if job.stop_after_early and job.phase is not Phase.EARLY:
        raise RequestError("--stop-after-early goes with --phase=early")
    if options.sandbox is not Sandbox.OFF and options.sandbox_unavailable == "fail":
        raise RequestError(
            f"--sandbox={options.sandbox} is not available in this release; "
            "use --sandbox=off, or --sandbox-unavailable=warn to run without it"
        )
    return job


def weaker_sandbox(options: Options) -> str | None:
    """What has to be said when the job runs with less than was asked for (I11); None when it does not."""
    if options.sandbox is Sandbox.OFF:
        return None
    return f"--sandbox={options.sandbox} is not available in this release: this job runs without a sandbox"


def usage() -> str:
    """The help text, made from the table."""
    lines = [
        "usage: process-wrapper [options] -- command arg...",
        "       process-wrapper [options] --persistent_worker",
        "",
        "Runs one compiler job in its own process group, or serves many over the Bazel worker protocol.",
        "",
    ]
    for startup, title in ((False, "options of a job:"), (True, "startup options:")):
        lines.append(title)
        for option in OPTIONS:
            if option.startup is startup:
                left = f"{option.name}={option.metavar}" if option.metavar else option.name
                lines.append(f"  {left:<34} {option.help}")
        lines.append("")
    lines += [
        "Options accept - and _ alike, and --name=value or --name value. @FILE stands for the file's lines.",
        "",
        "examples:",
        "  process-wrapper --timeout=60 -- cc -c hello.c",
        "  process-wrapper --stats=usage.json -- rustc --crate-type=lib lib.rs",
        "",
    ]
    return "\n".join(lines)
