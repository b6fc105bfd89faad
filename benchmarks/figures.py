"""Puts figures from the committed results into the documents, so that no number there was ever typed.

    <!-- figure:NAME -->
    ...                       written by this program
    <!-- /figure -->

`figures.py` rewrites README.md and DESIGN.md; `figures.py --check` tells whether they agree with the data.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = ("README.md", "DESIGN.md")
_FIGURE = re.compile(r"(<!-- figure:([\w-]+) -->\n).*?(<!-- /figure -->)", re.DOTALL)


class FigureError(Exception):
    """A document or a file of results is not as it must be; str() is one sentence."""


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
    data = _results("launchers")
    return _started(data) + _note(data)


def launchers_table() -> str:
    """The same, and what of them stays in memory beside a command."""
    data = _results("launchers")
    head = (f"beside each of {data['memory'][0]['jobs']} commands", "processes", "RSS", "USS", "PSS")
    rows = (
        (f"`{one['front']}`", f"{one['processes']:g}", *(_mb(one[kind]) for kind in ("rss", "uss", "pss")))
        for one in data["memory"]
    )
    beside = _table(head, rows) + _sentences(data["verdicts"]["memory"])
    return f"{_started(data)}\n{beside}{_note(data)}"


def _started(data: dict[str, Any]) -> str:
    head = ("command", "median", "p10", "more than the bare command: median (middle half)")
    rows = (
        (f"`{one['command']}`", _ms(one["median"]), _ms(one["p10"]), _more(one)) for one in data["programs"]
    )
    return _table(head, rows) + _sentences(data["verdicts"]["time"])


def worker_table() -> str:
    """Requests to the worker, and its memory."""
    data = _results("spine")
    bare = next(one for one in data["requests"] if one["command"].startswith("bare spawn"))

    def over_bare(one: dict[str, Any]) -> str:
        if "one at a time" not in one["command"]:
            return ""
        return ", ".join(f"{(one[key] - bare[key]) * 1e3:+.2f} ms" for key in ("median", "p10"))

    rows = ((one["command"], *_times(one), over_bare(one)) for one in data["requests"])
    memory = data["memory"]
    idle = ", ".join(
        f"the {name} {memory[name]['rss'] / 2**20:.0f} MiB (proportional: {memory[name]['pss'] / 2**20:.0f} MiB)"
        for name in ("worker", "helper")
    )
    return (
        _table(
            ("`/bin/true`, time for each", "median", "p10", "stddev", "over a bare spawn: median, p10"), rows
        )
        + f"\nIdle, {idle}.\n"
        + _note(data)
    )


def spawner_table() -> str:
    """Ways to start a command, and what the kernel then says about its memory."""
    data = _results("spine")
    rows = (
        (f"{one['command']}", *_times(one), f"{one['memory_usage_byte'] >> 20} MiB")
        for one in data["spawning"]
    )
    ours = {one["command"]: one["median"] for one in data["spawning"] if "our helper" in one["command"]}
    by_size = list(ours.values())
    ratio = f"\nBy our helper, the biggest parent against the smallest: {by_size[-1] / by_size[0]:.2f} of the time.\n"
    return (
        _table(("way", "median", "p10", "stddev", "peak memory of `true`, as reported"), rows)
        + ratio
        + _note(data)
    )


def modes_table() -> str:
    """Builds without and with pipelining, and what may be said of them."""
    data = _results("modes")
    rows = []
    for mode in dict.fromkeys(one["mode"] for one in data["builds"]):
        builds = [one for one in data["builds"] if one["mode"] == mode]
        last = builds[-1]
        rows.append(
            (
                mode,
                _range(builds, "wall"),
                _range(builds, "cpu"),
                str(max(one["peak_compilers"] for one in builds)),
                f"{last['joins']} of {last['pipelined']}" if last["pipelined"] else "none",
            )
        )
    head = ("mode", "wall, median (range)", "CPU of all compilers", "compilers at once", "joins")
    loads = [one["load"] for one in data["builds"]]
    return (
        _table(head, rows)
        + f"\n{data['verdict']}\n"
        + _conditions(data, f"load average {min(loads):.1f} to {max(loads):.1f}, these builds included")
    )


def builds_table() -> str:
    """Whole builds with and without the wrapper."""
    data = _results("builds")
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
        _table(head, rows)
        + _sentences(data["verdicts"])
        + _conditions(data, f"load average {min(loads)} to {max(loads)}, these builds included")
    )


def sandboxes_table() -> str:
    """Builds in multiplex sandboxes and without, and what staging takes."""
    data = _results("sandboxes")
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
                _range(builds, "wall"),
                _range(builds, "cpu"),
                staged if last["staged"] else "none",
                f"{last['joins']}",
            )
        )
    head = ("mode worker", "wall, median (range)", "CPU, worker and compilers", "staging, together", "joins")
    loads = data["loads"]
    return (
        _table(head, rows)
        + _sentences(data["verdicts"])
        + _conditions(data, f"load average {min(loads):.1f} to {max(loads):.1f}, these builds included")
    )


def checks_table() -> str:
    """What each mode of --sandbox costs one compile."""
    data = _results("checks")
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
    return _table(head, rows) + _sentences(data["verdict"]) + _note(data)


FIGURES: dict[str, Callable[[], str]] = {
    "standalone-table": standalone_table,
    "launchers-table": launchers_table,
    "builds-table": builds_table,
    "worker-table": worker_table,
    "spawner-table": spawner_table,
    "modes-table": modes_table,
    "sandboxes-table": sandboxes_table,
    "checks-table": checks_table,
}


def _results(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FigureError(f"{path} cannot be read ({error}); make it with benchmarks/{name}.py") from error
    return data


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def _times(one: dict[str, Any]) -> tuple[str, str, str]:
    return _ms(one["median"]), _ms(one["p10"]), _ms(one["stddev"])


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.2f} ms"


def _more(one: dict[str, Any]) -> str:
    if one["command"] == one["base"]:
        return ""
    return "{median:+.1f} ms ({q1:+.1f} to {q3:+.1f})".format(
        **{name: seconds * 1e3 for name, seconds in one["more"].items()}
    )


def _sentences(verdicts: Sequence[str]) -> str:
    return "\n" + "".join(f"{verdict}\n" for verdict in verdicts)


def _mb(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size else "none"


def _range(builds: Sequence[dict[str, Any]], key: str) -> str:
    values = [one[key] for one in builds]
    return f"{statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})"


def _note(data: dict[str, Any]) -> str:
    return _conditions(data, f"load average {data['load_before']} before and {data['load_after']} after")


def _conditions(data: dict[str, Any], load: str) -> str:
    machine = data["machine"]
    return (
        f"\n{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"{load}; `{data['command']}`.\n"
    )


if __name__ == "__main__":
    main()
