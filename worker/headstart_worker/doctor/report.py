"""Findings as aligned text for a person, or as data for a program."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Final

from headstart_worker.doctor.finding import Finding, Verdict

VERSION: Final = 1
"""Of the data: a key is never removed and never changes its meaning within a version."""

_COLOURS: Final = {Verdict.OK: "32", Verdict.WEAKER: "33", Verdict.MISSING: "31"}


def as_text(findings: Sequence[Finding], *, colour: bool) -> str:
    """A line each: what, verdict, what that means; below it the next step when it is not ok."""
    wide = max((len(finding.what) for finding in findings), default=0)
    verdicts = max(map(len, Verdict))
    lines: list[str] = []
    for group, members in itertools.groupby(findings, key=lambda finding: finding.group):
        lines += ["", group] if lines else [group]
        for finding in members:
            shown = f"{finding.verdict:<{verdicts}}"
            if colour:
                shown = f"\x1b[{_COLOURS[finding.verdict]}m{shown}\x1b[0m"
            lines.append(f"  {finding.what:<{wide}}  {shown}  {finding.meaning}")
            if finding.next_step:
                lines.append(f"  {'':<{wide}}  {'':<{verdicts}}  next: {finding.next_step}")
    return "\n".join([*lines, "", _verdict(findings), ""])


def _verdict(findings: Sequence[Finding]) -> str:
    stopping = [finding.what for finding in findings if finding.stops]
    if stopping:
        return f"Jobs cannot be run here: {', '.join(stopping)}."
    return "Everything that is needed to run jobs works."


def as_json(findings: Sequence[Finding]) -> str:
    """The same as one JSON object."""
    told = [
        {
            "group": finding.group,
            "what": finding.what,
            "verdict": finding.verdict,
            "meaning": finding.meaning,
            "next_step": finding.next_step or None,
            "needed": finding.needed,
        }
        for finding in findings
    ]
    works = not any(finding.stops for finding in findings)
    return json.dumps({"version": VERSION, "works": works, "findings": told}, indent=1) + "\n"
