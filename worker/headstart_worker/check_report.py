"""What `headstart check` found, as text for a person, or as data for a program."""

from __future__ import annotations

import itertools
import json
import posixpath
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from headstart_wrapper.job import Outcome
from headstart_wrapper.sandbox.verdict import Finding, Kind

VERSION: Final = 1
"""Of the data: a key is never removed and never changes its meaning within a version."""

_FAULTS: Final = (Kind.UNDECLARED_READ, Kind.UNDECLARED_WRITE)
"""What makes a declaration wrong; the rest is good to know."""

_TITLES: Final = {
    Kind.UNDECLARED_READ: "read, and not declared",
    Kind.UNDECLARED_VARIABLE: "variables read, and not declared",
    Kind.UNDECLARED_WRITE: "written, and not declared",
    Kind.UNDECLARED_LISTING: "directories listed, and not declared: a new file in one could change the result",
    Kind.UNDECLARED_PROBE: "looked for, and not there: a file of this name could change the result",
    Kind.NETWORK: "network",
    Kind.MISSING_OUTPUT: "declared, and not made",
    Kind.INCOMPLETE_OUTPUT: "made, and not complete",
    Kind.LEAKED_PATH: "outputs that name a directory of this machine",
    Kind.UNUSED_INPUT: "declared, and never used",
}

_MOST: Final = 8
"""Files of one directory that get a line each: more are a directory that nobody declared."""

_OPTIONS: Final = {Kind.UNDECLARED_READ: "--input=", Kind.UNDECLARED_WRITE: "--output="}


def faults(findings: Sequence[Finding]) -> list[Finding]:
    """Those that make a declaration wrong."""
    return [finding for finding in findings if finding.kind in _FAULTS]


def as_text(command: Sequence[str], outcome: Outcome, findings: Sequence[Finding]) -> str:
    """The command, a table for each kind of finding, what to add, what it all means."""
    lines = [f"check: {shlex.join(command)} ({_end(outcome)})"]
    width = max((len(path) for path, _ in _rows(findings)), default=0)
    for kind in Kind:
        found = [finding for finding in findings if finding.kind is kind]
        if found:
            lines += ["", f"{_TITLES.get(kind, kind)} ({len(found)})"]
            lines += [f"  {path:<{width}}  {detail}".rstrip() for path, detail in _rows(found)]
    if wrong := faults(findings):
        lines += [
            "",
            "to add: "
            + " ".join(_option(finding) for finding in wrong[:_MOST])
            + (" ..." if len(wrong) > _MOST else ""),
        ]
    return "\n".join([*lines, "", _conclusion(outcome, findings), ""])


def _rows(findings: Iterable[Finding]) -> Iterator[tuple[str, str]]:
    """A line for each; one for all below a directory where there are many."""
    for (_, top), members in itertools.groupby(findings, key=lambda each: (each.kind, _top(each.path))):
        same = list(members)
        if len(same) > _MOST and top:
            common = posixpath.commonpath([posixpath.dirname(finding.path) for finding in same])
            example = posixpath.relpath(same[0].path, common)
            yield f"{common}/", f"{len(same)} files; {example}: {same[0].detail}"
        else:
            yield from ((finding.path, finding.detail) for finding in same)


def _top(path: str) -> str:
    """The first directory of a path; "" when it has none."""
    first, slash, _ = path.lstrip("/").partition("/")
    return first if slash else ""


def _option(finding: Finding) -> str:
    return shlex.quote(_OPTIONS[finding.kind] + finding.path)


def _end(outcome: Outcome) -> str:
    if outcome.timed_out:
        return "timed out"
    return (
        f"exit code {outcome.exit_code}" if outcome.signal is None else f"killed by signal {outcome.signal}"
    )


def _conclusion(outcome: Outcome, findings: Sequence[Finding]) -> str:
    wrong = faults(findings)
    if not wrong:
        until = "Until it failed, everything" if outcome.exit_code else "Everything"
        return f"{until} that it read and wrote is declared."
    reads = sum(finding.kind is Kind.UNDECLARED_READ for finding in wrong)
    return f"Not declared: {reads} read, {len(wrong) - reads} written."


def as_json(command: Sequence[str], outcome: Outcome, findings: Sequence[Finding]) -> str:
    """The same as one JSON object."""
    told = {
        "version": VERSION,
        "command": command,
        "exit_code": outcome.exit_code,
        "declared": not faults(findings),
        "findings": [
            {
                "kind": finding.kind,
                "path": finding.path,
                "detail": finding.detail or None,
                "remedy": finding.remedy or None,
            }
            for finding in findings
        ],
    }
    return json.dumps(told, indent=1) + "\n"
