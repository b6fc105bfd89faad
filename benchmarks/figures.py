"""Puts figures from the committed results into the documents, so that no number there was ever typed.

    <!-- figure:NAME -->
    ...                       written by this program
    <!-- /figure -->

`figures.py` rewrites README.md and DESIGN.md; `figures.py --check` tells whether they agree with the data.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import micro_figures
import mode_figures
from figure_parts import FigureError, conditions, mb, more, ms, note, results, sentences, span, table

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "DESIGN.md")
_FIGURE = re.compile(r"(<!-- figure:([\w-]+) -->\n).*?(<!-- /figure -->)", re.DOTALL)


def main() -> None:
    """Runs the command line of this process and exits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 on a difference")
    parser.add_argument(
        "documents", nargs="*", type=Path, help="documents to look at (README.md and DESIGN.md)"
    )
    options = parser.parse_args()
    try:
        for path in options.documents or [ROOT / name for name in DOCUMENTS]:
            _refresh(path, check=options.check)
    except FigureError as error:
        sys.exit(f"figures: {error}")


def _refresh(path: Path, *, check: bool) -> None:
    before = path.read_text("utf-8")
    after = filled(before, path.name)
    if after == before:
        return
    if check:
        raise FigureError(f"{path.name} differs from benchmarks/results; run benchmarks/figures.py")
    path.write_text(after, encoding="utf-8")


def filled(text: str, name: str) -> str:
    """A document with every figure made anew.

    Raises:
        FigureError: a figure has no end, no maker, or no results.
    """
    if len(_FIGURE.findall(text)) != text.count("<!-- figure:"):
        raise FigureError(f"a figure in {name} has no end: write <!-- /figure --> after it")

    def make(found: re.Match[str]) -> str:
        maker = FIGURES.get(found[2])
        if maker is None:
            raise FigureError(f"{name} asks for the figure {found[2]}; there are {', '.join(FIGURES)}")
        return found[1] + maker() + found[3]

    return _FIGURE.sub(make, text)


def standalone_table() -> str:
    """What programs in front of a command add to its time."""
    data = results("launchers")
    return _started(data) + note(data)


def launchers_table() -> str:
    """The same, and what of them stays in memory beside a command."""
    data = results("launchers")
    head = (f"beside each of {data['memory'][0]['jobs']} commands", "processes", "RSS", "USS", "PSS")
    rows = (
        (f"`{one['front']}`", f"{one['processes']:g}", *(mb(one[kind]) for kind in ("rss", "uss", "pss")))
        for one in data["memory"]
    )
    beside = table(head, rows) + sentences(data["verdicts"]["memory"])
    return f"{_started(data)}\n{beside}{note(data)}"


def _started(data: dict[str, Any]) -> str:
    head = ("command", "median", "p10", "more than the bare command: median (middle half)")
    rows = ((f"`{one['command']}`", ms(one["median"]), ms(one["p10"]), more(one)) for one in data["programs"])
    return table(head, rows) + sentences(data["verdicts"]["time"])


def builds_table() -> str:
    """Whole builds with and without the wrapper."""
    data = results("builds")
    rows = []
    for tool, ways in data["builds"].items():
        for one in ways:
            ratio = one["times_without"]
            told = f"{ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})"
            rows.append(
                (
                    f"{tool}, {one['command']}",
                    f"{one['median']:.2f} s ({one['min']:.2f} to {one['max']:.2f})",
                    f"{one['user'] + one['system']:.1f} s",
                    told,
                )
            )
    head = ("clean build, `-j2`", "wall, median (range)", "CPU, mean", "times as long as without (range)")
    loads = data["loads"]
    return (
        table(head, rows)
        + sentences(data["verdicts"])
        + conditions(data, f"load average {min(loads)} to {max(loads)}, these builds included")
    )


def sandboxes_table() -> str:
    """Builds in multiplex sandboxes and without, and what staging takes."""
    data = results("sandboxes")
    rows = []
    for way in dict.fromkeys(one["way"] for one in data["builds"]):
        builds = [one for one in data["builds"] if one["way"] == way]
        last = builds[-1]
        staged = (
            f"{statistics.median(one['staging_seconds'] for one in builds):.2f} s for {last['staged']} jobs"
        )
        rows.append(
            (
                way,
                span(builds, "wall"),
                span(builds, "cpu"),
                staged if last["staged"] else "none",
                f"{last['joins']}",
            )
        )
    head = ("mode worker", "wall, median (range)", "CPU, worker and compilers", "staging, together", "joins")
    loads = data["loads"]
    return (
        table(head, rows)
        + sentences(data["verdicts"])
        + conditions(data, f"load average {min(loads):.1f} to {max(loads):.1f}, these builds included")
    )


def checks_table() -> str:
    """What each mode of --sandbox costs one compile."""
    data = results("checks")
    rows = []
    for name, modes in data["compiles"].items():
        for mode, told in modes.items():
            ratio = told["cpu_ratio"]
            rows.append(
                (
                    f"{name}: {mode}",
                    f"{statistics.median(told['compiler_seconds']):.3f} s",
                    f"{told['worker_seconds_mean'] * 1e3:.0f} ms ({told['own_part']:+.1%})",
                    f"{ratio['quietest']:.3f}",
                    f"{ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})",
                    f"{told['wall_ratio_median']:.3f}",
                )
            )
    head = (
        "compile",
        "CPU of the compiler, median",
        "CPU of the worker (more than unchecked)",
        "CPU, times unchecked: quietest runs",
        "median of rounds (range)",
        "wall, median",
    )
    return table(head, rows) + sentences(data["verdict"]) + note(data)


FIGURES: dict[str, Callable[[], str]] = {
    "standalone-table": standalone_table,
    "launchers-table": launchers_table,
    "builds-table": builds_table,
    "sandboxes-table": sandboxes_table,
    "checks-table": checks_table,
    **micro_figures.FIGURES,
    **mode_figures.FIGURES,
}


if __name__ == "__main__":
    main()
