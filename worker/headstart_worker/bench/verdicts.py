"""What may be said of figures: intervals, and comparisons that claim no more than the intervals show. Pure; reads and prints nothing.

    interval    between two values of the sample, for the median; nothing is assumed of how times are distributed
    comparison  two intervals that do not overlap: faster or slower; two that do: no difference shown; too few runs: nothing

The k-th smallest and the k-th largest of n independent values lie on two sides of the median unless fewer than k of them fell on one
side of it, so that they hold it with probability 1 - 2 P(Binomial(n, 1/2) < k) (David, Nagaraja: Order Statistics, 7.1).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from enum import Enum
from typing import Final

from attrs import frozen

from headstart_worker.bench.records import Experiment

COVERAGE: Final = 0.9375
"""What an interval must reach: the range of five runs does."""

ENOUGH: Final = 5
"""Runs below which no interval reaches COVERAGE, and nothing is said."""

_MEASURES: Final = {"wall": "wall time", "cpu": "CPU time"}
"""What is compared: the attribute of `Taken`, and its name for people."""

_BAZEL: Final = "bazel:"
"""What the modes that Bazel drives begin with."""


@frozen
class Interval:
    """Where the median lies.

    Attributes:
        median: of the sample.
        low, high: the ends, both of them values of the sample.
        coverage: the probability with which such an interval holds the true median; 0 for a single value.
        runs: size of the sample.
        trimmed: values that were left out at each end.
    """

    median: float
    low: float
    high: float
    coverage: float
    runs: int
    trimmed: int = 0

    def below(self, other: Interval) -> bool:
        """True when it ends before the other one begins."""
        return self.high < other.low


def interval(values: Sequence[float]) -> Interval:
    """The narrowest interval that reaches COVERAGE; the whole range where there are too few values for that."""
    ordered, runs = sorted(values), len(values)
    every = 2 ** (runs - 1)
    term = outside = 1
    trimmed = 0
    while 2 * (trimmed + 1) < runs:
        term = term * (runs - trimmed) // (trimmed + 1)  # C(runs, trimmed + 1)
        if 1 - (outside + term) / every < COVERAGE:
            break
        outside += term
        trimmed += 1
    return Interval(
        median=statistics.median(ordered),
        low=ordered[trimmed],
        high=ordered[runs - 1 - trimmed],
        coverage=1 - outside / every,
        runs=runs,
        trimmed=trimmed,
    )


class Verdict(Enum):
    """What two intervals allow to say of the first."""

    LESS = "less"
    MORE = "more"
    NOT_SHOWN = "no difference shown"
    TOO_FEW = "too few runs"


@frozen
class Comparison:
    """One figure of a thing against the same figure of another.

    Attributes:
        what: the figure's name for people.
        ours, base: the two things' names.
        our_interval, base_interval: seconds.
    """

    what: str
    ours: str
    base: str
    our_interval: Interval
    base_interval: Interval

    @property
    def verdict(self) -> Verdict:
        """What may be said of our figure."""
        if min(self.our_interval.runs, self.base_interval.runs) < ENOUGH:
            return Verdict.TOO_FEW
        if self.our_interval.below(self.base_interval):
            return Verdict.LESS
        if self.base_interval.below(self.our_interval):
            return Verdict.MORE
        return Verdict.NOT_SHOWN

    @property
    def ratio(self) -> float:
        """The base's median in units of ours: above 1 when ours is less; infinite when ours is nothing."""
        ours, base = self.our_interval.median, self.base_interval.median
        return base / ours if ours else math.inf

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the greatest ratio that the intervals allow."""
        ours, base = self.our_interval, self.base_interval
        return (
            base.low / ours.high if ours.high else math.inf,
            base.high / ours.low if ours.low else math.inf,
        )

    @property
    def chance(self) -> float:
        """How probable intervals so far apart are, on either side, where both things are in truth the same."""
        return _apart(self.our_interval, self.base_interval) + _apart(self.base_interval, self.our_interval)


def _apart(first: Interval, second: Interval) -> float:
    """The probability that the first's upper end comes before the second's lower one when every order is as likely as any other.

    That is: among the smallest so many values as the two ends count, the first's reach at least to its end.
    """
    upper, lower = first.runs - first.trimmed, second.trimmed + 1
    drawn = upper + lower - 1
    ways = sum(
        math.comb(first.runs, ours) * math.comb(second.runs, drawn - ours) for ours in range(upper, drawn + 1)
    )
    return ways / math.comb(first.runs + second.runs, drawn)


def compare(experiment: Experiment, ours: str, base: str) -> tuple[Comparison, ...]:
    """Wall time and CPU time of one mode against another."""

    def of(mode: str, figure: str) -> Interval:
        return interval([getattr(one, figure) for one in experiment.of(mode)])

    return tuple(
        Comparison(title, ours, base, of(ours, figure), of(base, figure))
        for figure, title in _MEASURES.items()
    )


def comparisons(experiment: Experiment) -> tuple[Comparison, ...]:
    """Everything worth a sentence: the worker against the rest of what the same host built, or the first mode where there is none."""
    modes = experiment.modes
    subjects = [mode for mode in modes if mode.removeprefix(_BAZEL) == "worker"] or list(modes[:1])
    return tuple(
        comparison
        for ours in subjects
        for base in modes
        # Bazel's own time says nothing about a mode that it did not drive.
        if base != ours and base.startswith(_BAZEL) == ours.startswith(_BAZEL)
        for comparison in compare(experiment, ours, base)
    )


def sentence(comparison: Comparison) -> str:
    """For people, without a full stop."""
    ours, base = comparison.our_interval, comparison.base_interval
    pair = f"{comparison.what} of {comparison.ours} against {comparison.base}"
    match comparison.verdict:
        case Verdict.TOO_FEW:
            fewest = min(ours.runs, base.runs)
            return f"{pair}: nothing can be said from {fewest} run{'s'[: fewest > 1]} (--rounds={ENOUGH})"
        case Verdict.NOT_SHOWN:
            return f"{pair}: no difference shown ({_span(ours)} and {_span(base)})"
    claim = _speed(comparison) if comparison.what == _MEASURES["wall"] else _amount(comparison)
    return f"{claim}; medians {ours.median:.2f} s and {base.median:.2f} s"


def _speed(comparison: Comparison) -> str:
    low, high = comparison.reach
    if comparison.verdict is Verdict.LESS:
        return f"{comparison.ours} is {comparison.ratio:.2f} times ({low:.2f} to {high:.2f}) as fast as {comparison.base}"
    times = f"{1 / comparison.ratio:.2f} times ({1 / high:.2f} to {1 / low:.2f})"
    return f"{comparison.ours} takes {times} as long as {comparison.base}"


def _amount(comparison: Comparison) -> str:
    parts = sorted(abs(1 / ratio - 1) for ratio in (*comparison.reach, comparison.ratio))
    low, part, high = (f"{100 * part:.0f}" for part in parts)
    return (
        f"{comparison.ours} takes {part} % ({low} to {high} %) {comparison.verdict.value} {comparison.what} "
        f"than {comparison.base}"
    )


def _span(one: Interval) -> str:
    return f"{one.low:.2f} to {one.high:.2f} s"
