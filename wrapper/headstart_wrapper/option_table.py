"""Every option, a row each: how it is spelled, what its value is, where it has a place.

The parser (`options`), the help texts and the manual page (`manual`) and the variables `HEADSTART_*` all look things up
here. Not here: what an option means for a job.
"""

from __future__ import annotations

from headstart_wrapper import encoding, programs
from headstart_wrapper.job import Phase, Sandbox
from headstart_wrapper.option_values import (
    one_of,
    to_count,
    to_descriptor,
    to_limit,
    to_pair,
    to_seconds,
    to_size,
    to_stream,
    to_text,
    to_truth,
)
from headstart_wrapper.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VARIABLE_PREFIX = "HEADSTART_"


class Option(Record, kw_only=True):
    """One row of the grammar.

    Attributes:
        name: as documented, with dashes.
        convert: (name as spelled, text) to value, raising RequestError; None: a flag without a value.
        metavar: stands for the value in help texts.
        help: one line.
        group: the part of the help text in which it stands.
        repeated: may be given many times, values are collected.
        many: may be followed by several values, up to the next option, when the command stands after `--` (rules_rust).
        pair: is followed by two words, which are its value.
        startup: about the process; refused inside a request.
        alone: has a meaning for one job on its own only; refused in a worker.
        attribute: the attribute that it sets; "": the name itself.
        has_variable: can be given as `HEADSTART_...` too.
    """

    name: str
    convert: Callable[[str, str], Any] | None = None
    metavar: str = ""
    help: str
    group: str
    repeated: bool = False
    many: bool = False
    pair: bool = False
    startup: bool = False
    alone: bool = False
    attribute: str = ""
    has_variable: bool = True

    @property
    def target(self) -> str:
        """The attribute of `Options` or `Job` that this option sets."""
        return self.attribute or self.name.removeprefix("--").replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that gives it a default; "" when there is none."""
        if not self.has_variable:
            return ""
        return VARIABLE_PREFIX + self.name.removeprefix("--").replace("-", "_").upper()


JOB, EARLY, OUTPUT, CHECK, RULES_RUST, STARTUP = (
    "the job",
    "early outputs",
    "output and statistics",
    "checks",
    "rules written for rules_rust's process_wrapper",
    "the program",
)

OPTIONS: tuple[Option, ...] = (
    Option(
        name="--timeout",
        convert=to_limit,
        metavar="SECONDS",
        group=JOB,
        help="end the job then: TERM to its whole group, KILL later; exit code 124 (0: no limit)",
    ),
    Option(
        name="--kill-delay",
        convert=to_seconds,
        metavar="SECONDS",
        group=JOB,
        help="time between TERM and KILL (0.5)",
    ),
    Option(
        name="--graceful-sigterm",
        group=JOB,
        help="at TERM end the job as --timeout does; otherwise TERM is only passed on",
    ),
    Option(
        name="--env",
        convert=to_pair,
        metavar="NAME=VALUE",
        group=JOB,
        repeated=True,
        help="set a variable for the job",
    ),
    Option(
        name="--output",
        convert=to_text,
        metavar="PATH",
        group=JOB,
        repeated=True,
        attribute="outputs",
        help="what the job writes: its directory is made, and nothing old or half-written stays there",
    ),
    Option(
        name="--input",
        convert=to_text,
        metavar="PATH",
        group=JOB,
        repeated=True,
        attribute="inputs",
        help="what the job reads, where no build tool lists it",
    ),
    Option(
        name="--dialect",
        convert=one_of(programs.GENERIC, programs.RUSTC),
        metavar="NAME",
        group=JOB,
        help="what is known of the compiler: rustc or generic; found from its name when absent",
    ),
    Option(
        name="--stay",
        group=JOB,
        alone=True,
        help="never become the compiler: stay beside it, and end what it leaves running",
    ),
    Option(
        name="--early-output",
        convert=to_text,
        metavar="PATH",
        group=EARLY,
        repeated=True,
        attribute="early_outputs",
        help="what others wait for, like rustc's .rmeta",
    ),
    Option(
        name="--on-early",
        convert=to_text,
        metavar="COMMAND",
        group=EARLY,
        alone=True,
        help="run this with sh -c when the early outputs are complete",
    ),
    Option(
        name="--early-fifo",
        convert=to_text,
        metavar="PATH",
        group=EARLY,
        alone=True,
        help="write a line with the exit code to this fifo then, or when the job failed before",
    ),
    Option(
        name="--early-fd",
        convert=to_descriptor,
        metavar="N",
        group=EARLY,
        alone=True,
        help="write that line to an open descriptor, and close it",
    ),
    Option(
        name="--phase",
        convert=lambda n, v: Phase(one_of("early", "full")(n, v)),
        metavar="early|full",
        group=EARLY,
        help="the half that a build asks for: early is answered when the early outputs are complete",
    ),
    Option(
        name="--stop-after-early",
        group=EARLY,
        help="with --phase=early: kill the compiler then",
    ),
    Option(
        name="--stdout",
        convert=to_stream,
        metavar="FILE",
        group=OUTPUT,
        help="write the job's stdout there (-: to ours)",
    ),
    Option(
        name="--stderr",
        convert=to_stream,
        metavar="FILE",
        group=OUTPUT,
        help="write the job's stderr there (-: to ours)",
    ),
    Option(
        name="--stats",
        convert=to_text,
        metavar="FILE",
        group=OUTPUT,
        help="write what the job used; a directory gets a file for each job (-s: in Bazel's form)",
    ),
    Option(
        name="--stats-format",
        convert=one_of("json", "bazel"),
        metavar="json|bazel",
        group=OUTPUT,
        help="how: as JSON, or as Bazel's ExecutionStatistics",
    ),
    Option(
        name="--explain",
        group=OUTPUT,
        help="say why each decision was taken, and whether we become the compiler or stay",
    ),
    Option(
        name="--trace",
        convert=to_text,
        metavar="FILE",
        group=OUTPUT,
        startup=True,
        help="write what happened when as trace events, for headstart timeline; a directory gets a file for each job, or worker",
    ),
    Option(
        name="--sandbox",
        convert=lambda n, v: Sandbox(one_of(*(s.value for s in Sandbox))(n, v)),
        metavar="off|audit|enforce|strict",
        group=CHECK,
        help="hold the job to what it declared: tell, refuse, or hide the rest (off; for a worker whose host names inputs: audit, told in trace and statistics)",
    ),
    Option(
        name="--sandbox-unavailable",
        convert=one_of("fail", "warn"),
        metavar="fail|warn",
        group=CHECK,
        help="when that cannot be had: fail, or warn and run with less (fail)",
    ),
    Option(
        name="--sandbox-audit",
        convert=one_of("report", "error"),
        metavar="report|error",
        group=CHECK,
        help="what an audit finds is told, or fails the job with exit code 125 (report)",
    ),
    Option(
        name="--sandbox-allow",
        convert=to_text,
        metavar="PATH",
        group=CHECK,
        repeated=True,
        help="a file or directory that the job may read, though nobody declares it",
    ),
    Option(
        name="--sandbox-unused",
        group=CHECK,
        help="tell declared inputs that the job did not read, too",
    ),
    Option(
        name="--trace-files",
        group=CHECK,
        help="audit what the job really opened, with strace: also what no dependency file tells",
    ),
    Option(
        name=encoding.OPTION,
        convert=to_text,
        metavar="é",
        group=CHECK,
        help="tells whether the build tool takes UTF-8 for Latin-1, which is undone then",
    ),
    Option(
        name="--subst",
        convert=to_pair,
        metavar="KEY=VALUE",
        group=RULES_RUST,
        repeated=True,
        many=True,
        attribute="substitutions",
        help="replace ${KEY} in the command, its params files and all variables; VALUE may be ${pwd}, ${output_base} or ${exec_root}",
    ),
    Option(
        name="--env-file",
        convert=to_text,
        metavar="FILE",
        group=RULES_RUST,
        repeated=True,
        many=True,
        attribute="env_files",
        help="set variables from lines NAME=VALUE",
    ),
    Option(
        name="--arg-file",
        convert=to_text,
        metavar="FILE",
        group=RULES_RUST,
        repeated=True,
        many=True,
        attribute="arg_files",
        help="append a file's lines to the command",
    ),
    Option(
        name="--stable-status-file",
        convert=to_text,
        metavar="FILE",
        group=RULES_RUST,
        help="replace {KEY} in variables, from lines KEY VALUE",
    ),
    Option(name="--volatile-status-file", convert=to_text, metavar="FILE", group=RULES_RUST, help="likewise"),
    Option(
        name="--out-dir",
        convert=to_text,
        metavar="DIR",
        group=RULES_RUST,
        help="set OUT_DIR, and ${out_dir}, to its absolute path",
    ),
    Option(
        name="--touch-file",
        convert=to_text,
        metavar="FILE",
        group=RULES_RUST,
        attribute="touched",
        help="make this empty file when the job succeeded",
    ),
    Option(
        name="--copy-output",
        convert=to_text,
        metavar="SOURCE TARGET",
        group=RULES_RUST,
        repeated=True,
        pair=True,
        attribute="copies",
        has_variable=False,
        help="copy a file when the job succeeded",
    ),
    Option(
        name="--output-file",
        convert=to_text,
        metavar="FILE",
        group=RULES_RUST,
        attribute="raw_stderr",
        help="also write the job's stderr there, as it came",
    ),
    Option(
        name="--rustc-quit-on-rmeta",
        convert=to_truth,
        metavar="true|false",
        group=RULES_RUST,
        attribute="quit_on_rmeta",
        help="kill rustc when its metadata is complete, and succeed",
    ),
    Option(
        name="--rustc-output-format",
        convert=one_of("json", "rendered"),
        metavar="json|rendered",
        group=RULES_RUST,
        help="what to show of rustc's JSON: it, or its text",
    ),
    Option(
        name="--require-explicit-unstable-features",
        convert=to_truth,
        metavar="true|false",
        group=RULES_RUST,
        attribute="explicit_features",
        help="append -Zallow-features= if there is no such word",
    ),
    Option(
        name="--persistent-worker",
        group=STARTUP,
        startup=True,
        has_variable=False,
        help="serve requests on stdin and stdout, until they end",
    ),
    Option(
        name="--worker-protocol",
        convert=one_of("proto", "json"),
        metavar="proto|json",
        group=STARTUP,
        startup=True,
        help="how requests are encoded (proto)",
    ),
    Option(
        name="--jobs",
        convert=to_count,
        metavar="N",
        group=STARTUP,
        startup=True,
        help="compilers that may run at once (usable cores)",
    ),
    Option(
        name="--memory",
        convert=to_size,
        metavar="SIZE",
        group=STARTUP,
        startup=True,
        help="memory that they may need at once: bytes, 6G or 80%",
    ),
    Option(
        name="--look-ahead",
        convert=to_text,
        metavar="TRACE",
        group=STARTUP,
        startup=True,
        help="when jobs wait, start first what delayed an earlier build most, by its --trace",
    ),
    Option(
        name="--state-dir",
        convert=to_text,
        metavar="DIR",
        group=STARTUP,
        startup=True,
        help="where private outputs live while jobs run (TMPDIR)",
    ),
    Option(
        name="--worker-files",
        convert=to_text,
        metavar="PREFIX",
        group=STARTUP,
        repeated=True,
        startup=True,
        help="inputs below it are the worker's own, not the job's",
    ),
    Option(
        name="--exit-when-changed",
        group=STARTUP,
        startup=True,
        help="end, when idle, after the worker's own files changed",
    ),
    Option(
        name="--collect-when-idle",
        convert=to_seconds,
        metavar="SECONDS",
        group=STARTUP,
        startup=True,
        help="give memory back after so long without work (never)",
    ),
    Option(
        name="--help",
        group=STARTUP,
        startup=True,
        has_variable=False,
        help="print this; -h: only the beginning",
    ),
    Option(name="--version", group=STARTUP, startup=True, has_variable=False, help="print the version"),
)

SHORT = {
    "-t": "--timeout",
    "-k": "--kill-delay",
    "-g": "--graceful-sigterm",
    "-o": "--stdout",
    "-e": "--stderr",
    "-s": "--stats",
    "-d": "--explain",
    "-h": "--help",
}
"""Short options: those of Bazel's process-wrapper, and -h."""

SHORT_MEANS_TOO: dict[str, dict[str, object]] = {"-s": {"stats_format": "bazel"}, "-h": {"short_help": True}}
"""What short options set besides: Bazel's statistics are binary, and a short question gets a short answer."""

ALIASES = {
    "--debug": "--explain",
    "--stdout-file": "--stdout",
    "--stderr-file": "--stderr",
}
"""Long names of Bazel's and rules_rust's wrappers for the same thing."""

BY_NAME = {option.name: option for option in OPTIONS}


def find(spelled: str) -> Option | None:
    """The option of a long name, whose dashes may be underscores."""
    name = spelled.replace("_", "-")
    return BY_NAME.get(ALIASES.get(name, name))


def known() -> list[str]:
    """Every long name."""
    return [*BY_NAME, *ALIASES]
