"""The options of `headstart bench`: what may be written, and what a wrong value is told.

Not what an option does: `bench` and `session` do that.
"""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final

from headstart_worker.bench import competitors, regressions
from headstart_worker.bench.subjects import DEV, RELEASE
from headstart_worker.cargo.commands import MODES

_EDITS: Final = ("low", "middle", "top")

_MEANINGS: Final = {
    "none": "one compile a unit; dependents wait for its end",
    "two_invocation": "metadata by a run that ends there, code by a second whole one",
    "hollow": "metadata by a run without code generation (-Zno-codegen), code by a second whole one",
    "worker": "one compile a unit; dependents start when its metadata is there",
    "worker+sandbox": "the same, under multiplex sandboxing",
    competitors.CARGO: "Cargo itself, on the same units of a Cargo workspace",
}
"""Of each mode of the embedded host, and of Cargo."""


def modes() -> str:
    """A line for each name that --modes knows."""
    return "".join(f"{name:<22}{_meaning(name)}\n" for name in competitors.NAMES)


def _meaning(name: str) -> str:
    known = name.removeprefix(competitors.BAZEL)
    return _MEANINGS[name] if known == name else f"Bazel: {_MEANINGS[known]}"


def parser() -> argparse.ArgumentParser:
    """Of the whole command line."""
    made = argparse.ArgumentParser(
        prog="headstart bench",
        description="Builds one graph of compile units in several modes in turn, and says which differences the times show. "
        "Outputs are compared byte for byte; build scripts are left out of every mode.",
        epilog="examples: headstart bench examples/search --only=tokio --report=bench.html; headstart bench chain:20; "
        "headstart bench --compare before.json after.json",
    )
    made.add_argument(
        "subject",
        nargs="?",
        metavar="DIR|GRAPH.json|SHAPE",
        help="a Cargo workspace, an import of one, a graph, or a shape: chain:20, diamond:20, fan:20, layered:20",
    )
    what = made.add_argument_group("what to build")
    what.add_argument(
        "--modes",
        type=_choices(*competitors.NAMES),
        default=MODES,
        help=f"modes and hosts ({','.join(MODES)}); see --list-modes",
    )
    what.add_argument("--list-modes", action="store_true", help="print what --modes may name, and exit")
    what.add_argument(
        "--peer",
        type=_command,
        action="append",
        default=[],
        metavar="CMD",
        help="measure this worker, too (repeatable)",
    )
    what.add_argument(
        "--peer-protocol", choices=("proto", "json"), default="proto", help="what peers speak (proto)"
    )
    what.add_argument("--profile", type=_choices(DEV, RELEASE), default=(), help="dev, release or both (dev)")
    what.add_argument(
        "--only", type=_words, default=(), metavar="PKG,..", help="these packages and what they need"
    )
    what.add_argument(
        "--without", type=_words, default=(), metavar="PKG,..", help="not these, nor what needs them"
    )
    how = made.add_argument_group("how to measure")
    how.add_argument(
        "--jobs",
        type=_numbers,
        metavar="N,..",
        help="compilers at once (the cores); several are measured in turn",
    )
    how.add_argument(
        "--edits",
        type=_choices(*_EDITS, "none"),
        default=("middle",),
        help="edit a crate with many, some, few dependents: low, middle, top, or none (middle)",
    )
    how.add_argument(
        "--rounds",
        type=_number,
        default=5,
        help="timed builds of each mode (5, the fewest that tell differences)",
    )
    how.add_argument(
        "--work", type=Path, metavar="DIR", help="where to build; it stays (a temporary directory, removed)"
    )
    out = made.add_argument_group("what to write, beside the text on stdout")
    out.add_argument(
        "--output",
        type=Path,
        metavar="FILE.json",
        help="everything, in hyperfine's schema where that has a place",
    )
    out.add_argument("--report", type=Path, metavar="FILE.html", help="a page with charts")
    out.add_argument("--markdown", type=Path, metavar="FILE.md", help="the text for a document")
    out.add_argument("--csv", type=Path, metavar="FILE.csv", help="a line for each build")
    both = made.add_argument_group("comparing two files instead of measuring")
    both.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("OLD", "NEW"),
        help="what --output or hyperfine wrote; exit code 1: a regression",
    )
    both.add_argument(
        "--threshold",
        type=_percent,
        default=100 * regressions.THRESHOLD,
        metavar="PERCENT",
        help="what is worth telling (5)",
    )
    both.add_argument("--force", action="store_true", help="compare files of different machines")
    return made


def _words(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(filter(None, (word.strip() for word in text.split(",")))))
    if not words:
        raise argparse.ArgumentTypeError("name at least one")
    return words


def _command(text: str) -> str:
    try:
        if shlex.split(text):
            return text
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no shell command: {error}") from error
    raise argparse.ArgumentTypeError("name a command")


def _choices(*known: str) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        words = _words(text)
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"there is no {unknown[0]}: choose from {', '.join(known)}")
        return words

    return parse


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _percent(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 0 up")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(map(_number, _words(text))))
