"""A verification as a table for a person, or as data for a program."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any, Final

from headstart_worker.verify.comparison import Difference, Made
from headstart_worker.verify.verification import Verdict, Verification, Way

VERSION: Final = 1
"""Of the data: a key is never removed and never changes its meaning within a version."""

_CONCLUSIONS: Final = {
    Verdict.EQUAL: "Every byte is equal in every way.",
    Verdict.DIFFERS: "There are differences.",
    Verdict.NOT_DETERMINISTIC: "The compiler itself is not deterministic; nothing else differs.",
}

_COLUMNS: Final = ("way", "exit", "stdout", "stderr", "outputs", "wall", "early after")


def as_text(verification: Verification) -> str:
    """The command, its outputs, a row for each way, the differences, what they mean."""
    lines = [
        f"verify: {shlex.join(verification.request.job.command)} (dialect {verification.dialect})",
        f"outputs: {', '.join(verification.outputs) or 'none'} ({verification.told_by})",
        "",
        *_table([_row(way) for way in verification.ways]),
        "",
    ]
    for told, titles in _grouped(verification.ways).items():
        lines.append(f"{', '.join(titles)}: {told}")
    lines += [f"note: {note}" for note in verification.notes]
    return "\n".join([*lines, _CONCLUSIONS[verification.verdict], ""])


def _grouped(ways: Iterable[Way]) -> dict[str, list[str]]:
    """What is to be told of ways, with those of which it is to be told; not what plain runs differ in, which a note tells."""
    grouped: dict[str, list[str]] = {}
    for way in ways:
        told = [f"not run: {way.skipped}"] if way.skipped else []
        told += [str(difference) for difference in way.differences if not difference.excused]
        told += way.made.said if way.made else ()
        for each in told:
            grouped.setdefault(each, []).append(way.title)
    return grouped


def _row(way: Way) -> tuple[str, ...]:
    made = way.made
    if made is None:
        return (way.title, "not run", "", "", "", "", "")
    subjects = {difference.subject for difference in way.differences}
    files = len(subjects - {"exit code", "stdout", "stderr", "output"})
    outputs = f"{files} differ" if files else f"{len(made.files)} same"
    return (
        way.title,
        str(made.exit_code),
        _verdict(subjects, "stdout"),
        _verdict(subjects, "stderr"),
        "none" if made.exit_code else outputs,
        f"{made.wall * 1000:.0f} ms",
        "" if made.early is None else f"{made.early * 1000:.0f} ms",
    )


def _verdict(subjects: set[str], stream: str) -> str:
    return "differs" if subjects & {stream, "output"} else "same"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in (_COLUMNS, *rows)) for at in range(len(_COLUMNS))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_COLUMNS, *rows)
    ]


def as_json(verification: Verification) -> str:
    """The same as one JSON object."""
    told = {
        "version": VERSION,
        "verdict": verification.verdict,
        "command": verification.request.job.command,
        "dialect": verification.dialect,
        "outputs": verification.outputs,
        "outputs_told_by": verification.told_by,
        "ways": [_way(way) for way in verification.ways],
        "notes": verification.notes,
    }
    return json.dumps(told, indent=1) + "\n"


def _way(way: Way) -> dict[str, Any]:
    return {
        "way": way.title,
        "skipped": way.skipped or None,
        "differences": [_difference(difference) for difference in way.differences],
        **({} if way.made is None else _made(way.made)),
    }


def _made(made: Made) -> dict[str, Any]:
    return {
        "exit_code": made.exit_code,
        "files": sorted(made.files),
        "wall_seconds": round(made.wall, 6),
        "early_seconds": None if made.early is None else round(made.early, 6),
        "messages": made.said,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "subject": difference.subject,
        "detail": difference.detail,
        "offset": difference.offset,
        "place": difference.place or None,
        "names_directory": difference.names_directory,
        "plain_runs_differ_too": difference.excused,
    }
