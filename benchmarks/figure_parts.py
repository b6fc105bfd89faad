"""What every figure is put together from: results, tables, units, and the line that tells where and when they were taken."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


class FigureError(Exception):
    """A document or a file of results is not as it must be; str() is one sentence."""


def results(name: str) -> dict[str, Any]:
    """A committed file.

    Raises:
        FigureError: it is not there or is damaged.
    """
    path = RESULTS / f"{name}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FigureError(f"{path} cannot be read ({error}); make it with benchmarks/{name}.py") from error
    return {**data, "file": f"benchmarks/results/{name}.json"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown, numbers to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def ms(seconds: float) -> str:
    """As milliseconds."""
    return f"{seconds * 1e3:.1f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.2f} ms"


def more(one: dict[str, Any]) -> str:
    """What an entry took more than its base; empty for the base."""
    if one["command"] == one["base"]:
        return ""
    return "{median:+.1f} ms ({q1:+.1f} to {q3:+.1f})".format(
        **{name: seconds * 1e3 for name, seconds in one["more"].items()}
    )


def sentences(verdicts: Iterable[str]) -> str:
    """Below a table, one a line."""
    lines = "".join(f"{verdict}\n" for verdict in verdicts)
    return lines and f"\n{lines}"


def mb(size: float) -> str:
    """As megabytes."""
    return f"{size / 1e6:.1f} MB" if size else "none"


def span(builds: Sequence[dict[str, Any]], key: str) -> str:
    """Median and range of what builds have under a key, seconds."""
    values = [one[key] for one in builds]
    return f"{statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})"


def note(data: dict[str, Any]) -> str:
    """Where, when and how a file was made."""
    return conditions(data, f"load average {data['load_before']} before and {data['load_after']} after")


def conditions(data: dict[str, Any], load: str) -> str:
    """The same with the load told in other words."""
    machine = data["machine"]
    return (
        f"\n{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"{load}; `{data['command']}`, `{data['file']}`.\n"
    )
