"""What happened to jobs as trace events, in the JSON array form that browsers' trace viewers read.

    process = who ran the job · track = a slot · time = microseconds since the epoch

Of a job that ran there are, on its slot's track: `early` (from its admission until its early outputs were complete) and
`codegen` (from there to its end), or `compile` where nothing was early; inside them `spawn` (until its process existed)
and `reap` (from its leader's exit until nothing of it was left). What holds no slot lies on the requests' tracks. Arrows
lead from what a job made to the jobs that read it. One form for the worker and for a job on its own.

Pure, and without `json`, whose import is two milliseconds: it makes text. Who writes it, and when, is somebody else's
affair.
"""

from __future__ import annotations

from _json import encode_basestring_ascii as _quoted  # json's own core

from headstart_wrapper.hints import TYPE_CHECKING, Final
from headstart_wrapper.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

REQUESTS_TRACK: Final = 1000
"""First track of spans that hold no slot; above any number of slots. Spans that overlap lie on the tracks behind it."""

_BEFORE: Final = 1
"""Microseconds: an arrow that begins at the end of a span begins this much before it, or a viewer finds no span there."""


class Moments(Record, kw_only=True):
    """When what happened to one job; seconds of the clock that its trace counts in.

    Attributes:
        began: it was handed over to be started.
        spawned: its process existed; None: it never did.
        early: its early outputs were complete; None: they never were apart.
        exited: its leader had exited; None: unknown.
        reaped: nothing of it was left; None: unknown.
        ended: its outcome was known.
        cpu_at_early: processor seconds that it had used at `early`; None: unknown.
    """

    began: float
    spawned: float | None = None
    early: float | None = None
    exited: float | None = None
    reaped: float | None = None
    ended: float
    cpu_at_early: float | None = None


class Arrow(Record, kw_only=True):
    """Something that a job read and an earlier one made.

    Attributes:
        of: number of the job that made it.
        track: its slot.
        at: when it was there.
        early: it was an early output.
    """

    of: int
    track: int
    at: float
    early: bool


class Trace(Record):
    """Formats events of one process.

    Attributes:
        process: its id.
        epoch: seconds to add to the clock of all moments to get the time of day.
    """

    process: int
    epoch: float

    def begin(self, moment: float, name: str = "headstart worker") -> str:
        """What stands before the first event of a process of this name. The closing bracket may be left out, says the format."""
        at = self._microseconds(moment)
        return "[\n" + self._event("M", "process_name", at, 0, args={"name": name})

    def track(self, track: int, name: str, moment: float) -> str:
        """What a viewer calls a track."""
        return self._event("M", "thread_name", self._microseconds(moment), track, args={"name": name})

    def span(self, name: str, track: int, start: float, end: float, **args: object) -> str:
        """Something that took from `start` to `end`."""
        began = self._microseconds(start)
        # Of two rounded moments, so that what lies within another span does so in microseconds, too.
        return self._event("X", name, began, track, dur=self._microseconds(end) - began, args=args)

    def instant(self, name: str, moment: float, **args: object) -> str:
        """Something that happened."""
        return self._event("i", name, self._microseconds(moment), REQUESTS_TRACK, s="p", args=args)

    def counter(self, name: str, moment: float, **values: int) -> str:
        """Quantities from now on."""
        return self._event("C", name, self._microseconds(moment), 0, args=values)

    def arrow(self, number: int, arrow: Arrow, *, job: int, label: str, track: int, at: float) -> str:
        """From what an earlier job made to the start of the job that read it.

        Args:
            number: the arrow's own.
            arrow: where it begins.
            job: the job that it leads to.
            label: of that job.
            track: that job's slot.
            at: that job's start.
        """
        name = "early" if arrow.early else "full"
        args = {"job": job, "label": label, "of": arrow.of}
        tail, head = self._microseconds(arrow.at) - _BEFORE, self._microseconds(at)
        return self._event("s", name, tail, arrow.track, cat="needs", id=number) + self._event(
            "f", name, head, track, bp="e", cat="needs", id=number, args=args
        )

    def job(self, track: int, moments: Moments, *, job: int, label: str, **detail: object) -> str:
        """The spans of a job that has ended, those that lie within others last.

        Args:
            track: its slot.
            moments: when what happened to it.
            job: its number; unique in one process.
            label: what it made.
            detail: what is told of its whole run.
        """
        began, ended = moments.began, moments.ended
        named = {"job": job, "label": label}
        early = None if moments.early is None else _within(moments.early, began, ended)
        if early is None:
            spans = self.span("compile", track, began, ended, **named, **detail)
        else:
            cpu = {} if moments.cpu_at_early is None else {"cpu": round(moments.cpu_at_early, 6)}
            spans = self.span("early", track, began, early, **named, **cpu)
            spans += self.span("codegen", track, early, ended, **named, **detail)
        if moments.spawned is not None:
            until = _within(moments.spawned, began, ended if early is None else early)
            spans += self.span("spawn", track, began, until, **named)
        if moments.exited is not None and moments.reaped is not None:
            reaped = _within(moments.reaped, began if early is None else early, ended)
            exited = _within(moments.exited, began if early is None else early, reaped)
            spans += self.span("reap", track, exited, reaped, **named)
        return spans

    def _microseconds(self, moment: float) -> int:
        return round((moment + self.epoch) * 1e6)

    def _event(self, phase: str, name: str, at: int, track: int, **more: object) -> str:
        event = f'{{"ph":"{phase}","name":"{name}","ts":{at},"pid":{self.process},"tid":{track}'
        return f"{event}{_members(more)}}},\n"


def _within(moment: float, start: float, end: float) -> float:
    return min(max(moment, start), end)


def _members(values: dict[str, object]) -> str:
    return "".join([f',"{name}":{_encoded(value)}' for name, value in values.items()])


def _encoded(value: object) -> str:
    """JSON of a value; of an object nobody else has the names of members."""
    encode = _ENCODERS.get(type(value))
    if encode is not None:
        return encode(value)
    if isinstance(value, str):  # an enumeration of ours
        return str(_quoted(value))
    raise TypeError(f"{type(value).__name__} has no place in a trace")


_ENCODERS: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    int: repr,
    float: repr,
    bool: lambda value: "true" if value else "false",
    dict: lambda value: f"{{{_members(value)[1:]}}}",
    list: lambda value: f"[{','.join(map(_encoded, value))}]",
    tuple: lambda value: f"[{','.join(map(_encoded, value))}]",
}
