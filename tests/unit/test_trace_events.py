"""Trace events: a JSON array that may lack its end, in microseconds since the epoch."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.trace_events import REQUESTS_TRACK, Arrow, Moments, Trace

TRACE = Trace(process=7, epoch=1000.0)

Event = dict[str, Any]


def read(text: str) -> list[Event]:
    assert text.endswith(",\n")
    events: list[Event] = json.loads(f"[{text[:-2]}]")
    assert text.count("\n") == len(events)
    return events


def only(text: str) -> Event:
    (event,) = read(text)
    return event


def test_a_trace_without_its_end_becomes_json_by_a_bracket() -> None:
    text = TRACE.begin(0.0) + TRACE.counter("slots", 1.0, running=2) + TRACE.instant("join", 2.0, job=3)
    events = json.loads(text.rstrip(",\n") + "]")
    assert [event["ph"] for event in events] == ["M", "C", "i"]
    assert {event["pid"] for event in events} == {7}


@given(st.text())
def test_a_span_has_its_beginning_and_length_in_microseconds(label: str) -> None:
    told = {"label": label, "job": 3, "cpu": 0.25, "findings": (label, "b"), "ok": True}
    assert only(TRACE.span("early", 3, 0.5, 0.75, **told)) == {
        "ph": "X",
        "name": "early",
        "ts": 1_000_500_000,
        "dur": 250_000,
        "pid": 7,
        "tid": 3,
        "args": {**told, "findings": [label, "b"]},
    }


def test_what_has_no_place_in_a_trace_is_a_bug() -> None:
    with pytest.raises(TypeError, match="bytes has no place"):
        TRACE.instant("join", 0.0, label=b"x")


def test_instants_lie_on_the_requests_track() -> None:
    event = only(TRACE.instant("join", 1.0, job=4, want="full"))
    assert (event["tid"], event["s"], event["args"]) == (REQUESTS_TRACK, "p", {"job": 4, "want": "full"})


def test_a_counter_carries_its_values_under_their_names() -> None:
    assert only(TRACE.counter("slots", 0.0, running=2, waiting=1))["args"] == {"running": 2, "waiting": 1}


def test_a_track_has_a_name() -> None:
    event = only(TRACE.track(2, "slot 2", 0.0))
    assert (event["ph"], event["name"], event["tid"]) == ("M", "thread_name", 2)
    assert event["args"] == {"name": "slot 2"}


def test_an_arrow_begins_within_the_span_that_ends_with_what_was_made() -> None:
    made = Arrow(of=3, track=1, at=2.0, early=True)
    tail, head = read(TRACE.arrow(9, made, job=4, label="b", track=0, at=2.5))
    assert (tail["ph"], tail["name"], tail["cat"], tail["id"]) == ("s", "early", "needs", 9)
    assert (tail["ts"], tail["tid"]) == (1_001_999_999, 1)
    assert (head["ph"], head["bp"], head["name"], head["cat"], head["id"]) == ("f", "e", "early", "needs", 9)
    assert (head["ts"], head["tid"]) == (1_002_500_000, 0)
    assert head["args"] == {"job": 4, "label": "b", "of": 3}


def job(**moments: Any) -> dict[str, tuple[int, int]]:
    spans = read(TRACE.job(2, Moments(**moments), job=5, label="a", exit_code=0))
    assert {(span["tid"], span["args"]["job"], span["args"]["label"]) for span in spans} == {(2, 5, "a")}
    return {span["name"]: (span["ts"] - 10**9, span["ts"] - 10**9 + span["dur"]) for span in spans}


def test_a_whole_job_has_a_span_and_in_it_its_spawn_and_its_reaping() -> None:
    assert job(began=0.0, spawned=0.1, exited=0.6, reaped=0.7, ended=1.0) == {
        "compile": (0, 1_000_000),
        "spawn": (0, 100_000),
        "reap": (600_000, 700_000),
    }


def test_a_pipelined_job_has_two_halves() -> None:
    assert job(began=0.0, spawned=0.1, early=0.4, exited=0.6, reaped=0.7, ended=1.0) == {
        "early": (0, 400_000),
        "codegen": (400_000, 1_000_000),
        "spawn": (0, 100_000),
        "reap": (600_000, 700_000),
    }


def test_a_job_that_never_started_has_neither_spawn_nor_reaping() -> None:
    assert job(began=0.0, ended=1.0) == {"compile": (0, 1_000_000)}


def test_processor_time_of_the_first_half_is_told_where_it_is_known() -> None:
    known = TRACE.job(0, Moments(began=0.0, early=0.5, ended=1.0, cpu_at_early=0.25), job=1, label="a")
    unknown = TRACE.job(0, Moments(began=0.0, early=0.5, ended=1.0), job=1, label="a")
    assert read(known)[0]["args"]["cpu"] == 0.25
    assert "cpu" not in read(unknown)[0]["args"]


moments = st.floats(0, 10)


@given(
    began=moments,
    length=moments,
    spawned=moments,
    early=st.none() | moments,
    exited=moments,
    reaped=moments,
)
def test_spans_nest_whatever_clocks_say(
    *, began: float, length: float, spawned: float, early: float | None, exited: float, reaped: float
) -> None:
    ended = began + length
    spans = job(began=began, spawned=spawned, early=early, exited=exited, reaped=reaped, ended=ended)
    first = spans.get("early") or spans["compile"]
    last = spans.get("codegen") or spans["compile"]
    assert first[0] <= spans["spawn"][0] <= spans["spawn"][1] <= first[1] <= last[1]
    assert last[0] <= spans["reap"][0] <= spans["reap"][1] <= last[1]
