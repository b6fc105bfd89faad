"""Traces become builds."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart_worker import timeline
from headstart_worker.timeline import Build, Compile, read_build
from headstart_wrapper.errors import RequestError
from headstart_wrapper.trace_events import Arrow, Moments, Trace
from unit.compiles import compile_

DAY = 1_700_000_000.0
"""The moment of the worker's start; its own clock begins with 0 then."""


def trace(process: int = 7) -> Trace:
    return Trace(process, DAY)


def ended(label: str, *, cpu: float = 0.5, code: int = 0) -> dict[str, object]:
    return {"label": label, "cpu": cpu, "peak_memory": 3 << 20, "exit_code": code}


def whole(
    made: Trace, job: int, label: str, start: float, end: float, *, slot: int = 0, code: int = 0
) -> str:
    return made.span("compile", slot, start, end, job=job, **ended(label, code=code))


def halves(
    made: Trace, job: int, label: str, *, start: float, early: float, end: float, slot: int = 0
) -> str:
    first = made.span("early", slot, start, early, job=job)
    return first + made.span("codegen", slot, early, end, job=job, **ended(label))


def test_a_whole_compile_is_read() -> None:
    made = trace()
    build = read_build([made.begin(0) + whole(made, 1, "liba.rlib", 1.0, 2.5, slot=1)])
    (only,) = build.compiles
    assert only == Compile(
        "liba.rlib", 1, DAY + 1, DAY + 2.5, None, cpu=0.5, peak_memory=3 << 20, exit_code=0, job=1, process=7
    )
    assert (build.start, build.wall, build.cpu) == (DAY + 1, 1.5, 0.5)
    assert (build.joins, build.pipelined, build.peak_compilers) == (0, 0, 1)


def test_two_halves_are_one_compile_that_starts_with_the_first() -> None:
    made = trace()
    text = (
        made.begin(0)
        + halves(made, 1, "liba.rlib", start=1.0, early=1.25, end=3.0)
        + made.instant("join", 2.0, job=1)
    )
    build = read_build([text])
    (only,) = build.compiles
    assert (only.start, only.early, only.end) == (DAY + 1, DAY + 1.25, DAY + 3)
    assert (build.pipelined, build.joins) == (1, 1)


def test_halves_of_different_jobs_are_not_mixed() -> None:
    made = trace()
    text = made.begin(0)
    text += made.span("early", 0, 0.0, 1.0, job=1) + made.span("early", 1, 0.5, 2.0, job=2)
    text += made.span("codegen", 1, 2.0, 3.0, job=2, **ended("b")) + made.span(
        "codegen", 0, 1.0, 4.0, job=1, **ended("a")
    )
    first, second = read_build([text]).compiles
    assert (first.label, first.start - DAY, first.early) == ("a", 0.0, DAY + 1)
    assert (second.label, second.start - DAY, second.early) == ("b", 0.5, DAY + 2)


def test_a_job_whose_early_half_never_ended_in_code_is_no_compile() -> None:
    made = trace()
    assert read_build([made.begin(0) + made.span("early", 0, 0.0, 1.0, job=1)]).compiles == ()


def test_other_events_are_passed_over() -> None:
    made = trace()
    noise = made.span("queue", 1000, 0.0, 1.0, job=1) + made.counter("slots", 1.0, running=2)
    build = read_build([made.begin(0) + noise + whole(made, 1, "a", 1.0, 2.0) + noise])
    assert [done.label for done in build.compiles] == ["a"]


def test_several_workers_have_slots_of_their_own_even_with_equal_job_numbers() -> None:
    texts = []
    for process in (7, 8):
        made = trace(process)
        texts.append(
            made.begin(0)
            + halves(made, 1, f"of-{process}", start=process, early=process + 0.5, end=process + 1)
        )
    build = read_build(texts)
    assert [done.label for done in build.compiles] == ["of-7", "of-8"]
    assert len({done.slot for done in build.compiles}) == 2
    assert [done.early for done in build.compiles] == [DAY + 7.5, DAY + 8.5]


def test_what_began_before_since_belongs_to_another_build() -> None:
    made = trace()
    text = made.begin(0) + halves(made, 1, "old", start=1.0, early=2.0, end=3.0) + made.instant("join", 2.0)
    text += whole(made, 2, "new", 10.0, 11.0) + made.instant("join", 12.0)
    build = read_build([text], since=DAY + 5)
    assert [done.label for done in build.compiles] == ["new"]
    assert build.joins == 1


def test_the_trace_of_a_killed_worker_may_end_after_any_event() -> None:
    made = trace()
    text = made.begin(0) + whole(made, 1, "a", 1.0, 2.0) + whole(made, 2, "b", 2.0, 3.0)
    lines = text.splitlines(keepends=True)
    before = len(made.begin(0).splitlines())
    for count in range(before, len(lines) + 1):
        assert len(read_build(["".join(lines[:count])]).compiles) == count - before
    # Without the newline and the comma that stand after an event, too.
    assert len(read_build([text.rstrip("\n")]).compiles) == 2
    assert len(read_build([text.rstrip(",\n")]).compiles) == 2


def test_the_trace_of_a_killed_worker_may_end_anywhere() -> None:
    made = trace()
    text = made.begin(0) + made.instant(
        "alone", 0.5, job=1, label="a", want="full", reason="--cfg={x} differs"
    )
    text += made.span("compile", 0, 1.0, 2.0, job=1, **ended("a"), findings=[{"kind": "{}"}])
    text += made.instant("alone", 2.5, job=2, label="b", want="full", reason="--cfg={x} differs")
    text += whole(made, 2, "b", 3.0, 4.0)
    compiles = {line.rstrip(",") for line in text.splitlines() if '"compile"' in line}
    for cut in range(1, len(text) + 1):
        rest = text[:cut]
        there = sum(line.rstrip(",") in compiles for line in rest.splitlines())
        assert len(read_build([rest]).compiles) == there, rest[-40:]


def test_what_cannot_be_printed_is_a_question_mark() -> None:
    made, bad = trace(), "a\ud800\x1b[31m\x00\n\ufffeb"
    text = made.begin(0) + made.instant("alone", 0.5, job=1, label=bad, want="full", reason=bad)
    text += made.instant("join", 0.75, job=1, label=bad, want=bad)
    text += made.arrow(1, Arrow(of=1, track=0, at=2.0, early=False), job=2, label="b", track=0, at=2.0)
    text += whole(made, 1, bad, 1.0, 2.0) + whole(made, 2, "b", 2.0, 3.0)
    build = read_build([text])
    first, second = build.compiles
    clean = "a??[31m???b"
    assert (first.label, first.alone, first.joined[0].want, second.needs[0].label) == (clean,) * 4
    ET.fromstring(timeline.svg([("t", build)]).encode())  # noqa: S314 - made here
    timeline.page([("t", build)]).encode()


def test_what_nobody_wanted_any_more_is_told_by_the_trace() -> None:
    made = trace()
    text = made.span("compile", 0, 1.0, 2.0, job=1, **ended("a", code=143), cancelled=True)
    first, second = read_build([made.begin(0) + text + whole(made, 2, "b", 2.0, 3.0, code=1)]).compiles
    assert (first.cancelled, first.failed) == (True, False)
    assert (second.cancelled, second.failed) == (False, True)


def test_numbers_that_no_clock_shows_are_told_in_one_sentence() -> None:
    made = trace()
    text = made.begin(0) + whole(made, 1, "a", 1.0, 2.0).replace(str(3 << 20), "1e999")
    with pytest.raises(RequestError, match="this is no trace of a worker"):
        read_build([text])


def test_everything_that_is_told_of_a_job_is_found() -> None:
    made = trace()
    moments = Moments(began=3.0, spawned=3.01, early=4.0, exited=5.8, reaped=5.9, ended=6.0, cpu_at_early=0.7)
    text = made.begin(0) + made.span("queue", 1000, 2.0, 3.0, job=2, label="b", memory=5 << 20)
    text += made.span("stage", 1000, 1.5, 2.0, job=2, label="b")
    text += made.instant("alone", 1.0, job=2, label="b", want="early", reason="another toolchain")
    # Arrows come with the job that they lead to, before that of which they tell has ended.
    text += made.arrow(1, Arrow(of=1, track=1, at=1.5, early=True), job=2, label="b", track=0, at=3.0)
    text += made.arrow(2, Arrow(of=3, track=1, at=2.0, early=False), job=2, label="b", track=0, at=3.0)
    text += made.job(0, moments, job=2, label="b", cpu=0.5, peak_memory=3 << 20, exit_code=0)
    text += made.span("publish", 1000, 4.0, 4.25, job=2, label="b", request=9, phase="early")
    text += made.instant("join", 4.5, job=2, label="b", want="full")
    text += made.counter("slots", 3.0, running=2, waiting=1) + halves(
        made, 1, "a", start=0.5, early=1.5, end=7.0
    )
    build = read_build([text])
    told = next(found for found in build.compiles if found.label == "b")
    assert (told.queued, told.spawned, told.reaping) == (DAY + 2, DAY + 3.01, DAY + 5.8)
    assert (told.staging, told.publishing, told.cpu_early) == (0.5, 0.25, 0.7)
    assert (told.alone, told.expected_memory) == ("another toolchain", 5 << 20)
    assert [(join.want, join.at) for join in told.joined] == [("full", DAY + 4.5)]
    assert [(need.label, need.early, need.job) for need in told.needs] == [("a", True, 1), ("", False, 3)]
    assert [need.at for need in told.needs] == pytest.approx([DAY + 1.5, DAY + 2], abs=1e-5)
    assert build.counters == {"running": [(DAY + 3, 2.0)], "waiting": [(DAY + 3, 1.0)]}


def test_an_object_with_events_of_several_processes_is_read_without_those_of_others() -> None:
    events = []
    for process in (7, 8):
        made = trace(process)
        text = made.begin(0) + halves(
            made, 1, f"of-{process}", start=process, early=process + 0.5, end=process + 1
        )
        events += json.loads(text.rstrip(",\n") + "]")
    of_a_host = {
        "ph": "X",
        "name": "early",
        "ts": 1,
        "dur": 2,
        "pid": 1,
        "tid": 1,
        "args": {"target": "//:x"},
    }
    build = read_build([json.dumps({"otherData": {}, "traceEvents": [of_a_host, *events]})])
    assert [(done.label, done.slot, done.early) for done in build.compiles] == [
        ("of-7", 0, DAY + 7.5),
        ("of-8", 1000, DAY + 8.5),
    ]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_damaged_events_are_told_in_one_sentence_or_passed_over(data: st.DataObject) -> None:
    made = trace()
    text = made.begin(0) + halves(made, 1, "a", start=0.5, early=1.5, end=7.0) + whole(made, 2, "b", 8.0, 9.0)
    text += made.arrow(1, Arrow(of=1, track=0, at=1.5, early=True), job=2, label="b", track=0, at=8.0)
    events = json.loads(text.rstrip(",\n") + "]")
    event = data.draw(st.sampled_from(events))
    place = data.draw(st.sampled_from([event, event["args"]] if "args" in event else [event]))
    key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(st.sampled_from([None, "x", [], {}, -1]))
    try:
        build = read_build([json.dumps(events)])
        timeline.page([("t", build)])
    except RequestError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("text", ["", "no trace", "{}", "[1", "<html>}", "\x00}"])
def test_what_is_no_trace_is_told_in_one_sentence(text: str) -> None:
    with pytest.raises(RequestError, match="this is no trace of a worker") as told:
        read_build([text])
    assert "\n" not in str(told.value)


def test_most_at_once_counts_one_after_the_other_as_one() -> None:
    apart = Build((compile_(start=0, end=1), compile_(start=1, end=2)), 0)
    across = Build((compile_(start=0, end=1.1), compile_(start=1, end=2), compile_(start=0.5, end=0.6)), 0)
    assert (apart.peak_compilers, across.peak_compilers) == (1, 2)
