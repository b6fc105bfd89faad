"""Spans and counters of a worker as trace events, in the JSON array form that browsers' trace viewers read.

    process = the worker · track = a slot · time = microseconds since the epoch

Spans of a job, in order: `queue` (asked for a slot until it got one), `early` (spawn until early outputs were
complete) and `codegen` (from there to the exit), or `compile` where nothing was early. `publish` spans lie on the
requests' own track. Pure: it makes text; who writes it is the server.
"""

from __future__ import annotations

import json
from typing import Any, Final

from attrs import frozen

REQUESTS_TRACK: Final = 1000
"""Track of spans that hold no slot; above any number of slots."""


@frozen
class Trace:
    """Formats events of one worker process.

    Attributes:
        process: its id.
        epoch: seconds to add to the worker's monotonic clock to get the time of day.
    """

    process: int
    epoch: float

    def _event(self, phase: str, name: str, moment: float, track: int, **more: Any) -> str:
        event = {
            "ph": phase,
            "name": name,
            "ts": round((moment + self.epoch) * 1e6),
            "pid": self.process,
            "tid": track,
            **more,
        }
        return json.dumps(event, separators=(",", ":")) + ",\n"

    def begin(self, moment: float) -> str:
        """What stands before the first event. The closing bracket may be left out, says the format."""
        name = {"name": "headstart worker"}
        return "[\n" + self._event("M", "process_name", moment, 0, args=name)

    def span(self, name: str, track: int, start: float, end: float, **args: Any) -> str:
        """Something that took from `start` to `end`, in seconds of the worker's monotonic clock."""
        return self._event("X", name, start, track, dur=round((end - start) * 1e6), args=args)

    def instant(self, name: str, moment: float, **args: Any) -> str:
        """Something that happened."""
        return self._event("i", name, moment, REQUESTS_TRACK, s="p", args=args)

    def counter(self, name: str, moment: float, value: int) -> str:
        """A quantity from now on."""
        return self._event("C", name, moment, 0, args={name: value})
