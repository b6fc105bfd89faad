"""Bazel's own profile (`bazel build --profile=FILE`), on the clock of our traces.

Its events count from Bazel's own beginning. Since Bazel 5 the file says when that was, to a millisecond
(`otherData.profile_start_ts`). Bazel 4 says it to a second, in words (`otherData.date`): it is found to a few milliseconds
by laying our requests into Bazel's actions, because every request comes after its action began and is answered before
it ends. Pure: text in.
"""

from __future__ import annotations

import calendar
import json
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import frozen

from headstart_wrapper.errors import RequestError

Event = dict[str, Any]

_MICRO: Final = 1e6
_ACTION: Final = "action processing"

_BEFORE: Final = 2.0
"""Seconds that the beginning may lie before the date: a server that is busy starting writes it late (measured: 0.2)."""

_AFTER: Final = 1.0
"""Seconds that it may lie after it: the date has no fractions."""

_FAR: Final = 0.25
"""Seconds beyond which a request and an action have nothing to do with each other: Bazel needs milliseconds between them."""

_NEVER: Final = 1e18
"""Microseconds: beyond 30,000 years."""

_SAMPLES: Final = 64
"""Moments of ours that are laid into actions; more would not make it more exact."""


@frozen
class Profile:
    """What Bazel did.

    Attributes:
        events: as the file has them.
        start: the moment from which they count, seconds of the day's clock; None: it is not said.
        date: when the file was begun, in full seconds; None: it is not said.
    """

    events: Sequence[Event]
    start: float | None
    date: float | None


@frozen
class Start:
    """The moment from which a profile's events count.

    Attributes:
        at: seconds of the day's clock.
        how: how it is known, for a person.
    """

    at: float
    how: str


def read(text: str) -> Profile | None:
    """The profile that a file holds; None when it holds something else.

    Raises:
        RequestError: it is a profile, and no whole one.
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        file = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"the profile is no whole JSON ({error}); let the build end, Bazel writes the rest then"
        ) from error
    events, other = file.get("traceEvents"), file.get("otherData")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        return None
    if not any(event.get("cat") == _ACTION for event in events):
        return None
    said = other if isinstance(other, dict) else {}
    exact, date = number(said.get("profile_start_ts")), said.get("date")
    return Profile(
        events, None if exact is None else exact / 1e3, _seconds(date) if isinstance(date, str) else None
    )


def number(value: object) -> float | None:
    """What a file gives for a moment or a length of time; None: it is no number that any clock shows."""
    return value if isinstance(value, int | float) and abs(value) < _NEVER else None


def _seconds(date: str) -> float | None:
    """What Java writes: `Sat Nov 21 19:27:29 UTC 2026`; in another zone than UTC it has to be the reader's own."""
    day, _, year = date.rpartition(" ")
    moment, _, zone = day.rpartition(" ")
    try:
        parts = time.strptime(f"{moment} {year}", "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
    if zone in {"UTC", "GMT"}:
        return float(calendar.timegm(parts))
    if zone in time.tzname:
        return time.mktime((*parts[:8], time.tzname.index(zone)))
    return None


def start_of(profile: Profile, ours: Iterable[Event]) -> Start:
    """When a profile began.

    Args:
        profile: of a build.
        ours: the events of its workers' traces.

    Raises:
        RequestError: it cannot be found out.
    """
    if profile.start is not None:
        return Start(profile.start, "as the profile says, to a millisecond")
    if profile.date is None:
        raise RequestError(
            "the profile does not say when it began; set TZ to the zone of the machine that made it, or use Bazel 5"
        )
    spans = [
        span for event in profile.events if event.get("cat") == _ACTION and (span := _span(event)) is not None
    ]
    begins, ends = sorted(begin for begin, _ in spans), sorted(end for _, end in spans)
    latest = ends[-1] if ends else 0.0
    asked, answered = _moments(ours, profile.date - _BEFORE, profile.date + _AFTER + latest)
    first, last = profile.date - _BEFORE, profile.date + _AFTER
    found = min(
        (
            (_misfit(start, begins, ends, asked, answered), start)
            for start in {
                *_differences(asked, begins, first, last),
                *_differences(answered, ends, first, last),
            }
        ),
        default=None,
    )
    count = len(asked) + len(answered)
    if found is None or found[0] > count * _FAR / 2:
        return Start(profile.date, "to a second only, because the requests do not fit into its actions")
    return Start(found[1], f"to some milliseconds, from where {len(asked)} requests fit into its actions")


def _moments(ours: Iterable[Event], first: float, last: float) -> tuple[list[float], list[float]]:
    """When requests came, and when they were answered; a sample of each, from that time only."""
    asked, answered, published = list[float](), list[float](), set[int]()
    for event in ours:
        at, span, args = number(event.get("ts")), _span(event), event.get("args")
        if at is None or not first <= at / _MICRO <= last:
            continue
        job = args.get("job") if isinstance(args, dict) else None
        match event.get("name"):
            case "queue" | "join":
                asked.append(at / _MICRO)
            case "publish" if span is not None:
                answered.append(span[1])
                if isinstance(job, int):
                    published.add(job)
            case "early" | "compile" if span is not None and isinstance(job, int) and job not in published:
                answered.append(span[1])
            case _:
                pass
    return _sample(asked), _sample(answered)


def _span(event: Event) -> tuple[float, float] | None:
    """Where a span begins and ends, seconds; None: it is none."""
    at, length = number(event.get("ts")), number(event.get("dur"))
    return None if at is None or length is None else (at / _MICRO, (at + length) / _MICRO)


def _sample(moments: list[float]) -> list[float]:
    return sorted(moments)[:: -(-len(moments) // _SAMPLES) or 1]


def _differences(
    ours: Iterable[float], theirs: Sequence[float], first: float, last: float
) -> Iterable[float]:
    """Every start that makes one of our moments one of theirs."""
    for moment in ours:
        for other in theirs[bisect_left(theirs, moment - last) : bisect_right(theirs, moment - first)]:
            yield moment - other


def _misfit(
    start: float,
    begins: Sequence[float],
    ends: Sequence[float],
    asked: Iterable[float],
    answered: Iterable[float],
) -> float:
    """Seconds that lie between requests and the actions around them, for a start; what lies in none counts as far."""
    total = 0.0
    for moment in asked:
        place = bisect_right(begins, moment - start + 1e-6)
        total += min(moment - start - begins[place - 1], _FAR) if place else _FAR
    for moment in answered:
        place = bisect_left(ends, moment - start - 1e-6)
        total += min(ends[place] - (moment - start), _FAR) if place < len(ends) else _FAR
    return total
