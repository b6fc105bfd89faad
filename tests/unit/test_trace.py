"""Trace events: a JSON array that may lack its end, in microseconds since the epoch."""

from __future__ import annotations

import json
from typing import Any

from headstart_worker.trace import REQUESTS_TRACK, Trace

TRACE = Trace(process=7, epoch=1000.0)


def only(text: str) -> dict[str, Any]:
    assert text.endswith(",\n")
    assert text.count("\n") == 1
    event: dict[str, Any] = json.loads(text[:-2])
    return event


def test_a_trace_without_its_end_becomes_json_by_a_bracket() -> None:
    text = TRACE.begin(0.0) + TRACE.counter("compilers", 1.0, 2) + TRACE.instant("join", 2.0, job=3)
    events = json.loads(text.rstrip(",\n") + "]")
    assert [event["ph"] for event in events] == ["M", "C", "i"]
    assert {event["pid"] for event in events} == {7}


def test_a_span_has_its_beginning_and_length_in_microseconds() -> None:
    assert only(TRACE.span("early", 3, 0.5, 0.75, label='a"\n\u00e9')) == {
        "ph": "X",
        "name": "early",
        "ts": 1_000_500_000,
        "dur": 250_000,
        "pid": 7,
        "tid": 3,
        "args": {"label": 'a"\n\u00e9'},
    }


def test_instants_lie_on_the_requests_track() -> None:
    event = only(TRACE.instant("join", 1.0, job=4, want="full"))
    assert (event["tid"], event["s"], event["args"]) == (REQUESTS_TRACK, "p", {"job": 4, "want": "full"})


def test_a_counter_carries_its_value_under_its_name() -> None:
    assert only(TRACE.counter("compilers", 0.0, 2))["args"] == {"compilers": 2}
