"""Traces of workers and Bazel's profiles in one trace, on one clock, for a trace viewer. Pure: text in, text out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen

from headstart_worker.timeline import bazel_profile, reading

Event = dict[str, Any]

_ANOTHER: Final = 1 << 22
"""Added to a process id that is taken already: no process of Linux has a higher one."""


@frozen
class Merged:
    """Many traces in one.

    Attributes:
        text: a trace, in the object form.
        notes: how the clock of each profile was found, a sentence each.
    """

    text: str
    notes: tuple[str, ...]


def merge(texts: Sequence[str]) -> Merged:
    """Brings traces and profiles together; the order does not matter.

    Raises:
        RequestError: one is neither.
    """
    profiles, ours = [], []
    for text in texts:
        profile = bazel_profile.read(text)
        if profile is None:
            ours.append(reading.events(text, otherwise="neither a trace of a worker nor a profile of Bazel"))
        else:
            profiles.append(profile)
    starts = [
        bazel_profile.start_of(profile, (event for events in ours for event in events))
        for profile in profiles
    ]
    processes: set[int] = set()
    found: list[Event] = []
    for events in ours:
        found += _set_apart(events, processes)
    for profile, start in zip(profiles, starts, strict=True):
        name = {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "Bazel"}}
        found += _set_apart([name, *(_moved(event, start.at) for event in profile.events)], processes)
    return Merged(
        json.dumps({"traceEvents": found}, separators=(",", ":")) + "\n",
        tuple(f"the beginning of Bazel's profile is known {start.how}" for start in starts),
    )


def _moved(event: Event, start: float) -> Event:
    at = bazel_profile.number(event.get("ts"))
    return event if at is None else {**event, "ts": event["ts"] + round(start * 1e6)}


def _set_apart(events: Sequence[Event], processes: set[int]) -> list[Event]:
    """The same with process ids and numbers of arrows that no other trace has."""
    names: dict[int, int] = {}
    for process in {_process(event) for event in events}:
        name = process
        while name in processes:
            name += _ANOTHER
        processes.add(name)
        names[process] = name
    return [_named(event, names[_process(event)]) for event in events]


def _process(event: Event) -> int:
    process = event.get("pid", 0)
    return process if isinstance(process, int) else 0


def _named(event: Event, process: int) -> Event:
    named = {**event, "pid": process}
    if "id" in event:
        named["id"] = f"{process}.{event['id']}"
    return named
