"""`headstart doctor`: what this machine can do for Headstart, tried rather than looked up."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from headstart_worker.doctor import compilers, files, installation, kernel, machine, report, sandboxes
from headstart_worker.doctor.finding import found

_GROUPS = (
    # First, before a descriptor of ours can have the numbers that an outer jobserver's variable names.
    ("this process", machine.probes),
    ("processes", kernel.probes),
    ("file systems", files.probes),
    ("installation", installation.probes),
    ("compilers", compilers.probes),
    ("build tools", compilers.tool_probes),
    ("sandbox", sandboxes.probes),
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 0 when everything that a job needs works, else 1."""
    options = _parser().parse_args(arguments)
    findings = [finding for group, probes in _GROUPS for finding in found(group, probes())]
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    _write(report.as_json(findings) if options.json else report.as_text(findings, colour=colour))
    return 1 if any(finding.stops for finding in findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headstart doctor",
        description="Tries what jobs need of the kernel, the file systems, this installation and the compilers on PATH, and says for "
        "each: ok, weaker (work is done, with less) or missing, what that means, and what to do about it.",
        epilog="Run it where your build runs: in its container, its directory, its environment. Exit code 0: everything that is needed "
        "works; 1: something needed is missing. Example: headstart doctor --json | jq '.findings[] | select(.verdict != \"ok\")'",
    )
    parser.add_argument("--json", action="store_true", help="the same as data")
    return parser


def _write(text: str) -> None:
    """Writes to stdout whatever its encoding is; a reader that leaves early is none of our failures."""
    try:
        sys.stdout.write(text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # its end would write once more
