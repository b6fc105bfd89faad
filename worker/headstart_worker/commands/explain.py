"""`headstart explain`: which compiles delayed a build, and why one compile ran when it did."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from headstart_worker.commands import traces
from headstart_worker.timeline import explain
from headstart_worker.timeline.critical import Critical
from headstart_wrapper.console import answer
from headstart_wrapper.errors import RequestError

_MOST: Final = 20
"""Compiles that are listed unless all are asked for: about what a terminal shows."""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    critical = Critical(traces.read([options.trace], all_builds=options.all_builds))
    if options.compile is None:
        told = explain.build_told(critical)
        delays = explain.delays_told(critical)
        shown = len(delays) if options.all else _MOST
        if delays:
            told += ["", "How much sooner it would have ended without each compile (s):", *delays[:shown]]
        if len(delays) > shown:
            told.append(f"{len(delays) - shown} more; --all tells them")
    else:
        told = explain.compile_told(critical, _found(critical, options.compile))
    answer("\n".join(told) + "\n")
    return 0


def _found(critical: Critical, wanted: str) -> int:
    found = explain.find(critical, wanted)
    if not found:
        raise RequestError(f"no compile of this trace is called {wanted}; headstart explain TRACE lists them")
    if len(found) > 1:
        names = ", ".join(sorted(critical.names[index] for index in found)[:_MOST])
        more = "" if len(found) <= _MOST else f" and {len(found) - _MOST} more"
        raise RequestError(f"{wanted} can mean {len(found)} compiles, say which: {names}{more}")
    return found[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headstart explain",
        description="Tells from a trace which compiles delayed the build, most first. With a compile: what it waited for, who "
        "joined it, what it let start, and what it cost the build.",
        epilog="example: headstart explain build.json; headstart explain build.json tokio",
    )
    parser.add_argument(
        "trace",
        type=Path,
        metavar="TRACE",
        help="file written by --trace (.gz too), or a directory of them, written by --trace=DIR/, as one build",
    )
    parser.add_argument(
        "compile",
        nargs="?",
        metavar="JOB",
        help="a crate's name, part of an output's name, or a job's number",
    )
    parser.add_argument("--all", action="store_true", help=f"list every compile, not the first {_MOST}")
    parser.add_argument(traces.ALL_BUILDS, action="store_true", help=traces.ALL_BUILDS_HELP)
    return parser
