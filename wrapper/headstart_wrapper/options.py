"""The one command-line grammar, standalone and in every request.

    [options] [--] command arg...

A table says what each option is; the parser only looks things up. Reading params files is an effect, so
the reader is handed in. Not here: what the options mean for a compiler (dialects), or running anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import evolve, field, frozen

from headstart_wrapper import encoding
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job, Phase, Sandbox

Read = Callable[[str], str]
"""Gives the text of a file named in the arguments; raises OSError or UnicodeDecodeError."""

MAX_NESTING = 32
"""Params files inside params files: deeper than any build tool writes, shallow enough to end a cycle at once."""


@frozen(kw_only=True)
class Options:
    """Everything that a command line says: about this process, and about the job.

    Attributes:
        persistent_worker: serve requests instead of running one job.
        worker_protocol: "proto" or "json".
        jobs: how many compilers may run at once; None: one for each usable core.
        state_dir: where private outputs live while jobs run; None: a directory of our own below TMPDIR.
        worker_files: inputs below these prefixes are the worker's own files, not the job's.
        trace: file for trace events.
        sandbox, sandbox_unavailable: the check that was asked for, and what to do when it cannot be had.
        encoding_check: the known character as it arrived; see `encoding`.
        help, version: print and exit.
        job: the job's own options and command.
    """

    persistent_worker: bool = False
    worker_protocol: str = "proto"
    jobs: int | None = None
    state_dir: str | None = None
    worker_files: tuple[str, ...] = ()
    trace: str | None = None
    sandbox: Sandbox = Sandbox.OFF
    sandbox_unavailable: str = "fail"
    encoding_check: str = ""
    help: bool = False
    version: bool = False
    job: Job = field(factory=Job)


def _text(name: str, value: str) -> str:
    if not value:
        raise RequestError(f"{name} wants a value; give it as {name}=VALUE")
    return value


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise RequestError(f"{name}={value} is no number of seconds; give for example {name}=1.5")
    return seconds


def _count(name: str, value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise RequestError(f"{name}={value} is no count; give a whole number of at least 1")
    return int(value)


def _pair(name: str, value: str) -> tuple[str, str]:
    key, equals, rest = value.partition("=")
    if not key or not equals:
        raise RequestError(f"{name}={value} lacks its second half; give it as {name}=NAME=VALUE")
    return key, rest


def _choice(*known: str) -> Callable[[str, str], str]:
    def convert(name: str, value: str) -> str:
        if value not in known:
            raise RequestError(f"{name}={value} is not known; choose one of {', '.join(known)}")
        return value

    return convert


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
    Option("--timeout", _seconds, "SECONDS", "send TERM to the job's group after this long"),
    Option("--kill-delay", _seconds, "SECONDS", "send KILL this long after TERM"),
    Option(
        "--dialect", _text, "NAME", "what we know of the compiler (rustc, generic); found from the command"
    ),
    Option(
        "--phase", lambda n, v: Phase(_choice("early", "full")(n, v)), "early|full", "the half that is wanted"
    ),
    Option(
        "--early-output", _text, "PATH", "declared early output", repeated=True, attribute="early_outputs"
    ),
    Option("--output", _text, "PATH", "any other declared output", repeated=True, attribute="outputs"),
    Option(
        "--input",
        _text,
        "PATH",
        "declared input, where no host gives a list",
        repeated=True,
        attribute="inputs",
    ),
    Option("--env", _pair, "NAME=VALUE", "set a variable for the job", repeated=True),
    Option(
        "--subst",
        _pair,
        "KEY=VALUE",
        "replace ${KEY} in the command and in --env; the value ${pwd} is the job's directory",
        repeated=True,
        attribute="substitutions",
    ),
    Option("--stop-after-early", None, "", "kill the compiler when its early outputs are complete"),
    Option("--stats", _text, "FILE", "write what the job used, as JSON"),
    Option("--explain", None, "", "say on stderr why each decision was taken"),
    Option(
        "--sandbox",
        lambda n, v: Sandbox(_choice(*(s.value for s in Sandbox))(n, v)),
        "off|audit|enforce|strict",
        "check what the job reads and writes (this release knows only off)",
    ),
    Option(
        "--sandbox-unavailable",
        _choice("fail", "warn"),
        "fail|warn",
        "what to do when the sandbox asked for cannot be had",
    ),
    Option(encoding.OPTION, _text, "é", "tells whether the host takes UTF-8 for Latin-1, so that we undo it"),
    Option("--trace", _text, "FILE", "write trace events, JSON", startup=True),
    Option("--persistent-worker", None, "", "serve requests on stdin and stdout", startup=True),
    Option(
        "--worker-protocol", _choice("proto", "json"), "proto|json", "encoding of the requests", startup=True
    ),
    Option("--jobs", _count, "N", "compilers that may run at once (usable cores)", startup=True),
    Option("--state-dir", _text, "DIR", "where private outputs live while jobs run", startup=True),
    Option(
        "--worker-files",
        _text,
        "PREFIX",
        "inputs below this prefix are the worker's own files",
        repeated=True,
        startup=True,
    ),
    Option("--help", None, "", "print this and exit", startup=True),
    Option("--version", None, "", "print the version and exit", startup=True),
)

_BY_NAME = {option.name: option for option in OPTIONS}
_JOB_ATTRIBUTES = frozenset(attribute.name for attribute in Job.__attrs_attrs__)


def expand(arguments: Sequence[str], read: Read) -> list[str]:
    """Replaces `@file` and `--flagfile=file` by the file's lines, recursively, up to `--`.

    Lines are taken raw: UTF-8, no shell unquoting, empty lines kept. `@@x` and `@label//x` stay as they
    are (Bazel's rule). Nothing after `--` is expanded: compilers read their own response files.

    Raises:
        RequestError: a params file is missing, unreadable or nested without end.
    """
    return list(_expanded(arguments, read, depth=0))


def _expanded(arguments: Sequence[str], read: Read, *, depth: int) -> Iterator[str]:
    for index, argument in enumerate(arguments):
        if argument == "--":
            yield from arguments[index:]
            return
        path = _params_file(argument)
        if path is None:
            yield argument
            continue
        if depth == MAX_NESTING:
            raise RequestError(
                f"params files are nested more than {MAX_NESTING} deep at {path}; does one name itself?"
            )
        lines = list(_expanded(_lines(path, read), read, depth=depth + 1))
        yield from lines
        if "--" in lines:
            yield from arguments[index + 1 :]
            return


def _params_file(argument: str) -> str | None:
    if argument.startswith("@"):
        path = argument[1:]
        return None if not path or path.startswith("@") or "//" in path else path
    for prefix in ("--flagfile=", "-flagfile="):
        if argument.startswith(prefix):
            return argument.removeprefix(prefix)
    return None


def _lines(path: str, read: Read) -> list[str]:
    try:
        text = read(path)
    except OSError as error:
        raise RequestError(
            f"cannot read the params file {path}: {error.strerror}; declare it as an input of the action"
        ) from error
    except UnicodeDecodeError as error:
        raise RequestError(f"the params file {path} is not UTF-8; write it with UTF-8 encoding") from error
    return text.removesuffix("\n").split("\n") if text else []


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
    for word in (*job.command, *(value for pair in job.env for value in pair)):
        if "\0" in word:
            raise RequestError(
                f"{word!r} cannot be handed to a process: it holds a NUL; correct what made the request"
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
