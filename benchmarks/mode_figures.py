"""Figures from `results/modes.json`: modes side by side, edits, the model against measurement. Whether our goals were reached is told, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve

from figure_parts import RESULTS, FigureError, conditions, results, sentences, table
from headstart_worker.bench import records, report, result
from headstart_worker.bench.records import CLEAN, Experiment
from headstart_worker.bench.result import Result
from headstart_worker.bench.verdicts import Comparison, compare
from headstart_wrapper.errors import RequestError

FILE: Final = "modes"

_COLUMNS: Final = (
    "mode",
    "wall",
    "interval",
    "CPU",
    "CPU/jobs",
    "path",
    "at once",
    "memory",
    "compilers",
    "joins",
)
"""Those of the report that a reader compares; the rest is in `results/modes.html`."""

_MOST_CPU: Final = 1.02
"""What our processor time may be of Cargo's."""

_SPEED_UP, _CPU_SAVED = 1.3, 0.2
"""What we want against modes that compile twice."""


def modes_table() -> str:
    """Clean builds with as many jobs as cores, where Cargo took part."""
    found = _read()
    told = [one for one in _clean(found) if one.of("cargo")]
    parts = [f"{_experiment(one)}{sentences([*_findings(one), *_goals(one)])}" for one in told]
    return "\n".join(parts) + _note(found, told)


def edits_table() -> str:
    """One crate edited."""
    found = _read()
    told = [one for one in found.experiments if one.scenario != CLEAN]
    return "\n".join(f"{_experiment(one)}{sentences(_findings(one))}" for one in told) + _note(found, told)


def model_table() -> str:
    """Predictions beside measurements, and what may be read from the model."""
    model = _read().model
    if not model:
        raise FigureError("results/modes.json has no model; make it with benchmarks/suite.py")
    head = ("build", "jobs", "mode", "measured", "predicted", "error", "of the CPU time", "of wall by CPU")
    rows = (
        (
            f"{one['workspace']}, {one['profile']}, {one['scenario']}",
            str(one["jobs"]),
            one["mode"],
            f"{one['measured']:.1f} s",
            f"{one['predicted']:.1f} s",
            f"{one['error']:+.1%}" + (" (learned from it)" if one["is_source"] else ""),
            f"{one['cpu_error']:+.1%}",
            f"{one['error_per_work']:+.1%}",
        )
        for one in model["points"]
    )
    return table(head, rows) + sentences(model["reading"]) + "\n`benchmarks/results/modes.json`.\n"


def look_ahead_table() -> str:
    """What the order of waiting jobs is worth."""
    data = results("look_ahead")
    found = [records.read(one) for one in data["experiments"]]
    return (
        "\n".join(map(_experiment, found))
        + sentences(f"- {told}." for told in data["verdicts"])
        + conditions(data, f"load average {data['load_before']} before")
    )


FIGURES: Final[Mapping[str, Callable[[], str]]] = {
    "modes-table": modes_table,
    "edits-table": edits_table,
    "model-table": model_table,
    "look-ahead-table": look_ahead_table,
}


def _read() -> Result:
    path = Path(RESULTS / f"{FILE}.json")
    try:
        return result.read(path.read_text("utf-8"))
    except (OSError, RequestError) as error:
        raise FigureError(f"{path} cannot be read ({error}); make it with benchmarks/suite.py") from error


def _clean(found: Result) -> Iterator[Experiment]:
    most = max(one.jobs for one in found.experiments)
    return (one for one in found.experiments if one.scenario == CLEAN and one.jobs == most)


def _experiment(one: Experiment) -> str:
    columns = [column for column in report.COLUMNS if column.title in _COLUMNS]
    rows = ([column.cell(row) for column in columns] for row in report.rows(one))
    return f"**{one.name}, {one.units} crates**\n\n{table([column.title for column in columns], rows)}"


def _findings(one: Experiment) -> Iterator[str]:
    return (f"- {told[0].upper()}{told[1:]}." for told in report.findings(one))


def _goals(one: Experiment) -> Iterator[str]:
    wall, cpu = compare(one, "worker", "cargo")
    yield _goal(
        wall, 1.0, f"worker no slower than Cargo: {1 / wall.ratio:.3f} of its wall time in the medians"
    )
    yield _goal(
        cpu, 1 / _MOST_CPU, f"at most {_MOST_CPU - 1:.0%} more CPU than Cargo: {1 / cpu.ratio - 1:+.1%}"
    )
    for base in ("two_invocation", "hollow"):
        wall, cpu = compare(one, "worker", base)
        yield _goal(wall, _SPEED_UP, f"{_SPEED_UP} times as fast as {base}: {wall.ratio:.2f}")
        saved = 1 - 1 / cpu.ratio
        yield _goal(cpu, 1 / (1 - _CPU_SAVED), f"{_CPU_SAVED:.0%} less CPU than {base}: {saved:.0%}")


def _goal(comparison: Comparison, least: float, told: str) -> str:
    """By the medians; whether the difference itself is shown is the findings' business."""
    return f"- Goal {'reached' if comparison.ratio >= least else 'NOT reached'}: {told}."


def _note(found: Result, shown: Sequence[Experiment]) -> str:
    part = evolve(found, experiments=tuple(shown))
    told: Sequence[str] = (
        *report.heading(part),
        *report.method(part),
        *(f"Warning: {one}." for one in part.warnings),
    )
    return sentences(
        [*filter(None, told), "`benchmarks/results/modes.json`, as a page: `benchmarks/results/modes.html`."]
    )
