"""Compares two files of results: the same figures, before and after a change. Pure; `commands.bench` reads the files.

Any JSON will do in which something holds a `command` and its `times`, as hyperfine's results do, wherever it is nested. A figure is
named by where it stands: by the keys on the way, what tells an experiment from others, and the command. Times that were taken several in
a turn say so by the number of `rounds`: then the turns' medians are compared, since what is taken in one turn is alike for more reasons than one.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from headstart_worker.bench import records
from headstart_worker.bench.records import Experiment
from headstart_worker.bench.verdicts import ENOUGH, Comparison, Verdict, interval
from headstart_wrapper.errors import RequestError

THRESHOLD: Final = 0.05
"""A part more or less that is worth telling: builds of one program on one quiet machine differ by up to that from day to day."""

_MACHINE: Final = {"cpu": "processor", "cores": "number of cores", "memory_bytes": "size of memory"}
"""What must be equal for times to be comparable, and its name for people."""

_IGNORED: Final = frozenset({"experiments", "results"})
"""Keys that every file has on the way to a figure."""


@frozen
class Change:
    """One figure in both files.

    Attributes:
        name: see the module.
        comparison: the new times against the old ones.
        threshold: the part that is worth telling.
    """

    name: str
    comparison: Comparison
    threshold: float = THRESHOLD

    @property
    def ratio(self) -> float:
        """New in units of old: above 1 is slower."""
        return 1 / self.comparison.ratio if self.comparison.ratio else float("inf")

    @property
    def is_regression(self) -> bool:
        """Slower by more than the threshold, and more than chance explains."""
        return self.comparison.verdict is Verdict.MORE and self.ratio > 1 + self.threshold

    @property
    def is_improvement(self) -> bool:
        """Faster, likewise."""
        return self.comparison.verdict is Verdict.LESS and self.comparison.ratio > 1 + self.threshold

    @property
    def verdict(self) -> str:
        """For people."""
        if self.is_regression:
            return "REGRESSION"
        if self.is_improvement:
            return "improvement"
        if self.comparison.verdict is Verdict.TOO_FEW:
            return "too few runs"
        shown = self.comparison.verdict is not Verdict.NOT_SHOWN
        return f"within {100 * self.threshold:g} %" if shown else "no difference shown"


@frozen
class Changes:
    """What two files have in common, and what they have not."""

    both: tuple[Change, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        """Those that fail the command."""
        return tuple(change for change in self.both if change.is_regression)


def changes(old: Any, new: Any, *, threshold: float = THRESHOLD, force: bool = False) -> Changes:
    """Compares every figure that both documents have.

    Raises:
        RequestError: they are of different machines and it is not forced, or have no figure in common.
    """
    if not force and (other := _differing(old, new)):
        raise RequestError(
            f"the two results are of different machines ({other}), so their times cannot be compared; "
            "measure both on one, or use --force"
        )
    before, after = dict(figures(old)), dict(figures(new))
    both = tuple(
        Change(name, Comparison("time", "new", "old", interval(after[name]), interval(times)), threshold)
        for name, times in before.items()
        if name in after
    )
    if not both:
        raise RequestError("the two results have no figure in common: compare results of one program")
    return Changes(
        both,
        tuple(name for name in before if name not in after),
        tuple(name for name in after if name not in before),
    )


def _differing(old: Any, new: Any) -> str:
    """What makes the machines different, for people; empty when nothing is known to."""
    one, other = (
        (document.get("machine") or {}) if isinstance(document, Mapping) else {} for document in (old, new)
    )
    return ", ".join(
        f"{title}: {one[key]} and {other[key]}"
        for key, title in _MACHINE.items()
        if key in one and key in other and one[key] != other[key]
    )


def figures(document: Any) -> Iterator[tuple[str, Sequence[float]]]:
    """Names and times, in the document's order; a name that comes again gets a number."""
    seen: dict[str, int] = {}
    for name, times in _figures(document, ()):
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} ({seen[name]})"), times


def _figures(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Sequence[float]]]:
    if isinstance(node, list):
        for entry in node:
            yield from _figures(entry, path)
    if not isinstance(node, Mapping):
        return
    if isinstance(node.get("command"), str) and _are_times(node.get("times")):
        yield ", ".join((*path, node["command"])), _by_rounds(node["times"], node.get("rounds"))
        return
    if {"workspace", "scenario", "taken"} <= node.keys():
        experiment = _experiment(node)
        for mode in experiment.modes:
            taken = experiment.of(mode)
            yield f"{experiment.name}, {mode}", [one.wall for one in taken]
            yield f"{experiment.name}, {mode}, CPU", [one.cpu for one in taken]
        return
    for key, value in node.items():
        yield from _figures(value, path if key in _IGNORED else (*path, key))


def _are_times(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(one, (int, float)) for one in value)


def _by_rounds(times: Sequence[float], rounds: object) -> Sequence[float]:
    """The medians of the rounds; the times themselves where each had its own.

    Raises:
        RequestError: so many rounds cannot have given those times.
    """
    if rounds is None:
        return times
    if not isinstance(rounds, int) or rounds < 1 or len(times) % rounds:
        raise RequestError(
            f"a figure in the results has {len(times)} times of {rounds!r} rounds, which is not a whole number for each; measure again"
        )
    size = len(times) // rounds
    return [statistics.median(times[start : start + size]) for start in range(0, len(times), size)]


def _experiment(node: Mapping[str, Any]) -> Experiment:
    try:
        return records.read(dict(node))
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"an experiment in the results is not whole ({error!r}); measure again") from error


def text(found: Changes) -> str:
    """A table, the worst first, and a sentence."""
    ordered = sorted(found.both, key=lambda change: -change.ratio)
    lines = [("figure", "old", "new", "new/old", ""), *map(_line, ordered)]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    told = [
        "  ".join(
            cell.rjust(width) if 0 < number < 4 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    told += [f"only in the old file: {', '.join(found.only_old)}"] if found.only_old else []
    told += [f"only in the new file: {', '.join(found.only_new)}"] if found.only_new else []
    return "\n".join([*told, _sum(found)]) + "\n"


def _line(change: Change) -> tuple[str, str, str, str, str]:
    old, new = change.comparison.base_interval.median, change.comparison.our_interval.median
    return change.name, _seconds(old), _seconds(new), f"{change.ratio:.3f}", change.verdict


def _seconds(value: float) -> str:
    """In the unit that leaves at least one digit before the point."""
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:.2f} {unit}"
    return f"{value * 1e6:.2f} µs"


def _sum(found: Changes) -> str:
    few = sum(change.comparison.verdict is Verdict.TOO_FEW for change in found.both)
    better = sum(change.is_improvement for change in found.both)
    told = f"figures: {len(found.both)}, regressions: {len(found.regressions)}, improvements: {better}"
    return told + (f"; with less than {ENOUGH} runs, which say nothing: {few}" if few else "")
