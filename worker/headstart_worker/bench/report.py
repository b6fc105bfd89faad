"""What a benchmark found, for people: tables and sentences, as plain text or Markdown. Pure; the page with pictures is `page`."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import frozen

from headstart_worker.bench.records import Bounds, Experiment, Taken
from headstart_worker.bench.result import Result
from headstart_worker.bench.verdicts import (
    COVERAGE,
    ENOUGH,
    Interval,
    Verdict,
    comparisons,
    interval,
    sentence,
)


@frozen
class Row:
    """The figures of one mode of an experiment.

    Attributes:
        mode: its name.
        taken: its builds.
        jobs: of the experiment.
        bounds: what no schedule can beat; None where phases are unknown.
    """

    mode: str
    taken: tuple[Taken, ...]
    jobs: int
    bounds: Bounds | None

    @property
    def wall(self) -> Interval:
        """Seconds."""
        return interval([one.wall for one in self.taken])

    @property
    def cpu(self) -> Interval:
        """Processor seconds."""
        return interval([one.cpu for one in self.taken])

    @property
    def work(self) -> float:
        """Seconds: the processor time, had every job always been at work."""
        return self.cpu.median / self.jobs

    @property
    def overhead(self) -> float | None:
        """Seconds of wall time above what no schedule can beat."""
        if self.bounds is None:
            return None
        return self.wall.median - max(self.bounds.work, self.bounds.critical_path)

    def most(self, figure: str) -> int | None:
        """The largest of all runs; None where it is not known."""
        return max((value for one in self.taken if (value := getattr(one, figure)) is not None), default=None)


@frozen
class Column:
    """One column of the table.

    Attributes:
        title: its head.
        meaning: a sentence, for the page.
        cell: what it shows.
    """

    title: str
    meaning: str
    cell: Callable[[Row], str]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _spread(row: Row) -> str:
    walls = [one.wall for one in row.taken]
    spread = f" ± {statistics.stdev(walls):.2f}" if len(walls) > 1 else ""
    return f"{statistics.fmean(walls):.2f}{spread} s"


def _memory(row: Row) -> str:
    most = row.most("peak_memory")
    return f"{most >> 20} MiB" if most else "-"


COLUMNS: Final = (
    Column("mode", "how the units were compiled, or who built them", lambda row: row.mode),
    Column("wall", "median", lambda row: _seconds(row.wall.median)),
    Column(
        "interval",
        "of that median",
        lambda row: f"{row.wall.low:.2f} to {row.wall.high:.2f}" if row.taken[1:] else "-",
    ),
    Column("mean ± sd", "of the wall time; the standard deviation", _spread),
    Column(
        "CPU",
        "median of the processor time of all processes, killed ones too",
        lambda row: _seconds(row.cpu.median),
    ),
    Column(
        "CPU/jobs",
        "the processor time, had every job always been at work",
        lambda row: _seconds(row.work),
    ),
    Column(
        "path",
        "the longest chain of units: no schedule can be faster",
        lambda row: _seconds(None if row.bounds is None else row.bounds.critical_path),
    ),
    Column("overhead", "wall time above what no schedule can beat", lambda row: _seconds(row.overhead)),
    Column("at once", "the most compilers", lambda row: _number(row.most("peak_compilers"))),
    Column("memory", "the most of all processes together, shared pages counted once", _memory),
    Column("actions", "requests, or actions of the build tool", lambda row: _number(row.most("actions"))),
    Column("compilers", "that were started", lambda row: _number(row.most("compilers"))),
    Column(
        "joins",
        "requests answered from a compiler that another one had started",
        lambda row: _number(row.most("joins")),
    ),
)


def rows(experiment: Experiment) -> list[Row]:
    """One for each mode."""
    return [
        Row(mode, experiment.of(mode), experiment.jobs, experiment.bounds.get(mode))
        for mode in experiment.modes
    ]


def cells(experiment: Experiment) -> list[list[str]]:
    """The table without its head."""
    return [[column.cell(row) for column in COLUMNS] for row in rows(experiment)]


def table(experiment: Experiment) -> str:
    """As plain text: names to the left, figures to the right."""
    lines = [[column.title for column in COLUMNS], *cells(experiment)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  " + "  ".join(_aligned(line, widths)) for line in lines) + "\n"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for number, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.rjust(width) if number else cell.ljust(width)


def markdown_table(experiment: Experiment) -> str:
    """For a document."""
    head = [
        [column.title for column in COLUMNS],
        [":--" if number == 0 else "--:" for number in range(len(COLUMNS))],
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in [*head, *cells(experiment)])


def findings(experiment: Experiment) -> list[str]:
    """What the figures allow to say, and what of the outputs was compared: sentences without a full stop."""
    made = comparisons(experiment)
    told = [sentence(one) for one in made if one.verdict is not Verdict.TOO_FEW]
    if len(told) < len(made):
        told.append(f"too few runs to tell modes apart; {ENOUGH} of each are needed (--rounds={ENOUGH})")
    told += [
        f"outputs are equal byte for byte: {', '.join(group)}" for group in experiment.equal if len(group) > 1
    ]
    return told


def method(result: Result) -> list[str]:
    """How sure it is: sentences with a full stop."""
    spans = [row.wall for one in result.experiments for row in rows(one)]
    sure = [span.coverage for span in spans if span.coverage >= COVERAGE]
    few = f"Fewer than {ENOUGH} runs of a mode are too few to claim a difference"
    if not sure:
        return [f"{few}."]
    told = (
        f"Intervals hold the median in at least {100 * min(sure):.4g} % of cases, whatever the distribution"
    )
    compared = itertools.chain.from_iterable(map(comparisons, result.experiments))
    made = [one for one in compared if one.verdict is not Verdict.TOO_FEW]
    lucky = sum(one.chance for one in made)
    return [
        f"{told}; a difference is claimed only where two do not overlap.",
        *([f"{few}; they are there for the model."] if len(sure) < len(spans) else []),
        f"{len(made)} comparisons: if nothing differed in truth, chance alone would claim {lucky:.2f} of them.",
        "Where the harness is the host (every mode but Cargo and Bazel), its own processor time is not counted; a worker's start and end are in the processor time alone.",
    ]


def heading(result: Result) -> list[str]:
    """Where and when."""
    machine: dict[str, Any] = dict(result.machine)
    memory = machine.get("memory_bytes", 0) / (1 << 30)
    clock = result.before.governor or "not told by this machine"
    where = (
        f"{machine.get('cpu')}, {machine.get('cores')} cores, {memory:.1f} GiB, Linux {machine.get('kernel')}, "
        f"clock governor: {clock}, load before: {result.before.load}"
    )
    return [
        where,
        ", ".join(result.tools.values()),
        f"{result.began} to {result.ended}: {result.command}",
    ]


def text(result: Result) -> str:
    """The whole report for a terminal."""
    parts = ["\n".join(filter(None, heading(result))) + "\n"]
    for experiment in result.experiments:
        parts.append(f"{_title(experiment)}\n\n{table(experiment)}")
        parts.append("".join(f"  {told}.\n" for told in findings(experiment)))
    parts.append("".join(f"{told}\n" for told in (*method(result), *reading(result))))
    parts.append("".join(f"warning: {told}.\n" for told in result.warnings))
    parts.append("".join(f"note: {told}.\n" for told in result.notes))
    return "\n".join(filter(None, parts))


def markdown(result: Result) -> str:
    """The whole report for a document."""
    parts = ["# headstart bench\n", _bullets(filter(None, heading(result)))]
    for experiment in result.experiments:
        parts += [
            f"## {_title(experiment)}\n",
            markdown_table(experiment),
            _bullets(f"{told}." for told in findings(experiment)),
        ]
    parts.append("".join(f"{told}\n" for told in (*method(result), *reading(result))))
    if result.warnings or result.notes:
        told = (
            *(f"**warning**: {told}." for told in result.warnings),
            *(f"{told}." for told in result.notes),
        )
        parts += ["## Warnings\n", _bullets(told)]
    return "\n".join(filter(None, parts))


def reading(result: Result) -> list[str]:
    """What the model says of other machines, in its own sentences."""
    return list((result.model or {}).get("reading", ()))


def _title(experiment: Experiment) -> str:
    return f"{experiment.name}, {experiment.units} units"


def _bullets(told: Iterable[str]) -> str:
    return "".join(f"- {one}\n" for one in told)
