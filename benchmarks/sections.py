"""A section of results: entries in hyperfine's schema, and what must be said of them in words.

Every figure is in seconds. Throughput is told as seconds per unit, so that less is better everywhere and any two files can be compared alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

import measure
from measure import Sample


@frozen
class Section:
    """Attributes: title; results, made by `entry`; sentences, what the figures alone do not tell."""

    title: str
    results: tuple[dict[str, Any], ...]
    sentences: tuple[str, ...] = ()

    def export(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "results": [*self.results], "sentences": [*self.sentences]}

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        width = max((len(one["command"]) for one in self.results), default=0) + 2
        yield f"\n{self.title:{width + 2}}{'median':>12}{'p99':>12}{'min':>12}"
        for one in self.results:
            yield f"  {one['command']:{width}}" + "".join(told(one[key]) for key in ("median", "p99", "min"))
        yield from self.sentences


def entry(sample: Sample, base: Sample | None = None, **more: Any) -> dict[str, Any]:
    """One thing that was measured.

    Args:
        sample: its times.
        base: what it is compared with, in the same rounds; `over` then tells how many seconds it took more.
        more: whatever else is to be known of it.
    """
    over = {"over": measure.more(sample, base)} if base is not None else {}
    return {**sample.export(), "p99": quantile(sample.times, 0.99), **over, **more}


def quantile(times: Sequence[float], part: float) -> float:
    """The smallest time that so great a part of all does not exceed."""
    return sorted(times)[math.ceil(part * len(times)) - 1]


def turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Every name once a round, each round beginning with another."""
    for number in range(rounds):
        first = number % len(names)
        yield from [*names[first:], *names[:first]]


def told(seconds: float) -> str:
    """A time in a column, in the unit that suits it."""
    for unit, size in (("s ", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:9.2f} {unit}"
    return f"{seconds * 1e6:9.2f} us"
