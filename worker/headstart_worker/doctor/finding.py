"""What a probe found, as data; how it is shown is `report`'s business."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from attrs import evolve, frozen


class Verdict(StrEnum):
    """OK: it works. WEAKER: work is done, with less. MISSING: it is not there."""

    OK = "ok"
    WEAKER = "weaker"
    MISSING = "missing"


@frozen
class Finding:
    """One line of the report.

    Attributes:
        what: the thing that was probed.
        verdict: how it stands.
        meaning: what was found, and what that means for the work.
        next_step: what a person can do about it; "" when it is ok.
        needed: no job can be run without it.
        group: the report's heading above it.
    """

    what: str
    verdict: Verdict
    meaning: str
    next_step: str = ""
    needed: bool = False
    group: str = ""

    @property
    def stops(self) -> bool:
        """True when the main job cannot be done."""
        return self.needed and self.verdict is Verdict.MISSING


Probe = Callable[[], Iterable[Finding]]


def ok(what: str, meaning: str) -> Finding:
    """It works."""
    return Finding(what, Verdict.OK, meaning)


def weaker(what: str, meaning: str, next_step: str) -> Finding:
    """Work is done, with less."""
    return Finding(what, Verdict.WEAKER, meaning, next_step)


def missing(what: str, meaning: str, next_step: str, *, needed: bool = False) -> Finding:
    """It is not there."""
    return Finding(what, Verdict.MISSING, meaning, next_step, needed)


def found(group: str, probes: Iterable[Probe]) -> Iterator[Finding]:
    """What the probes of one group find; one that trips over this machine is a finding too, and ends no other."""
    for probe in probes:
        try:
            for finding in probe():
                yield evolve(finding, group=group)
        except Exception as error:  # noqa: BLE001 - whatever is strange here is what a person wants to be told
            reason = str(error) or type(error).__name__
            yield Finding(
                what=(probe.__doc__ or probe.__name__).rstrip("."),
                verdict=Verdict.WEAKER,
                meaning=f"could not be told: {reason}",
                next_step="look at the reason; where it is no property of this machine, report it as a defect",
                group=group,
            )
