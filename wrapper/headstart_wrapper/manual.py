"""What is told to people about `process-wrapper`: what it is, its options by group with examples, variables, exit codes, signals.

The words stand here and in the table of options; `--help` shows them, and the manual page is made of them (`man_page`).
"""

from __future__ import annotations

import textwrap

from headstart_wrapper.option_table import (
    CHECK,
    EARLY,
    JOB,
    OPTIONS,
    OUTPUT,
    RULES_RUST,
    SHORT,
    STARTUP,
)
from headstart_wrapper.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headstart_wrapper.option_table import Option

_WIDTH, _COLUMN = 79, 27
"""A terminal of 80 columns, and where what an option does begins."""

SYNOPSIS = (
    "process-wrapper [options] [--] command arg...",
    "process-wrapper [options] @params-file",
    "process-wrapper [options] --persistent_worker",
)

SUMMARY = "run one compiler job, or serve many over Bazel's worker protocol"

DESCRIPTION = (
    "process-wrapper stands in front of a compiler: it passes its output through as it comes and exits with its code.",
    (
        "When nothing is left to do after the compiler, process-wrapper becomes it (execve), and costs nothing but its own start. "
        "Otherwise it stays beside the compiler, gives it a process group of its own, and ends whatever it leaves running."
    ),
)


class Example(Record):
    """A command to copy. Attributes: what it does, and the command."""

    does: str
    command: str


GROUPS: dict[str, Example] = {
    JOB: Example("end a compiler that hangs", "process-wrapper --timeout=60 -- cc -c hello.c"),
    EARLY: Example(
        "tell a script that dependents can be compiled, while rustc generates code",
        "process-wrapper --early-output=liba.rmeta --on-early='touch a.ready' -- rustc --crate-type=lib "
        "--emit=metadata,link a.rs",
    ),
    OUTPUT: Example(
        "keep what every compiler of a build used", "HEADSTART_STATS=stats/ make CC='process-wrapper cc'"
    ),
    CHECK: Example(
        "ask for a check, and run without it where there is none",
        "process-wrapper --sandbox=audit --sandbox-unavailable=warn -- cc -c hello.c",
    ),
    RULES_RUST: Example(
        "leave the directory's name out of what is built",
        "process-wrapper --subst pwd='${pwd}' -- rustc --remap-path-prefix='${pwd}=.' lib.rs",
    ),
    STARTUP: Example("serve a build tool's requests", "process-wrapper --jobs=8 --persistent_worker"),
}
"""The groups of options, each with what to learn it from."""

LAUNCHERS = (
    Example("Cargo", "RUSTC_WRAPPER=process-wrapper cargo build"),
    Example("CMake", "cmake -DCMAKE_C_COMPILER_LAUNCHER=process-wrapper ."),
    Example("make", "make CC='process-wrapper cc'"),
)

SPELLING = (
    "Options accept - and _ alike, and --name=value or --name value. Those with ... may be repeated; of others the last counts. "
    "They end at --, or at the command's first word. @FILE stands for the file's lines, each a word."
)

VARIABLES = (
    "Where a caller leaves no place for options, variables give them: HEADSTART_TIMEOUT=60 for --timeout=60. Flags are switched by "
    "1 and 0, repeated values stand on lines of their own, an empty variable says nothing, and the command line counts more."
)

EXITS = (
    (
        "the command's own",
        "it ended; death by a signal is died again, so that a shell sees 128 and its number",
    ),
    ("124", "it was ended after --timeout"),
    ("125", "an option is wrong, or something of ours failed: one line on stderr says what to do"),
    ("126", "the command cannot be executed"),
    ("127", "the command was not found"),
    ("70", "an early output changed after it was published"),
)

SIGNALS = (
    "A process-wrapper that stays sends TERM, INT, QUIT, HUP, TSTP and CONT on to the job's process group, and gives the job "
    "the terminal when it asks for it. A worker ends all its jobs at TERM, at INT, and when its stdin ends."
)

_BRIEF = ("--timeout", "--stats", "--early-output", "--explain", "--persistent-worker")


def usage() -> str:
    """The help text."""
    lines = [*_head(), *_wrapped(SPELLING), ""]
    for group, example in GROUPS.items():
        lines.append(f"{group}:")
        lines += _rows(option for option in OPTIONS if option.group == group)
        lines += _example(example)
    lines += ["launchers:", *(f"  {one.does + ':':<8}{one.command}" for one in LAUNCHERS), ""]
    lines += ["variables:", *_wrapped(VARIABLES, "  ")]
    lines += _wrapped(
        " ".join(option.variable.removeprefix("HEADSTART_") for option in OPTIONS if option.has_variable),
        "    ",
    )
    lines += ["", "exit codes:"]
    for code, meaning in EXITS:
        lines += _row(code, meaning, column=22)
    lines += ["", "signals:", *_wrapped(SIGNALS, "  ")]
    return "\n".join(lines) + "\n"


def brief() -> str:
    """The beginning of it."""
    named = {option.name: option for option in OPTIONS}
    lines = [
        *_head(),
        *_rows(named[name] for name in _BRIEF),
        "",
        "process-wrapper --help tells of all options.",
    ]
    return "\n".join(lines) + "\n"


def _head() -> Iterator[str]:
    for before, line in zip(("usage: ", "       ", "       "), SYNOPSIS, strict=True):
        yield before + line
    yield ""
    for paragraph in DESCRIPTION:
        yield from _wrapped(paragraph)
    yield ""


def spelled(option: Option) -> str:
    """How an option is written: `-t, --timeout=SECONDS`."""
    short = [f"{letter}, " for letter, name in SHORT.items() if name == option.name]
    joint = " " if option.pair else "="
    value = f"{joint}{option.metavar}" if option.metavar else ""
    return "".join(short) + option.name + value + (" ..." if option.repeated else "")


def _rows(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        yield from _row(spelled(option), option.help, column=_COLUMN)


def _row(left: str, right: str, *, column: int) -> Iterator[str]:
    lines = textwrap.wrap(right, _WIDTH - column, break_long_words=False, break_on_hyphens=False)
    if len(left) + 3 > column:
        yield f"  {left}"
    else:
        yield f"  {left}".ljust(column) + lines.pop(0)
    yield from (" " * column + line for line in lines)


def _example(example: Example) -> Iterator[str]:
    yield f"  # {example.does}"
    lines = _wrapped(example.command, "    ", width=_WIDTH - 2)
    yield from (f"{line} \\" for line in lines[:-1])
    yield lines[-1]
    yield ""


def _wrapped(text: str, indent: str = "", width: int = _WIDTH) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
