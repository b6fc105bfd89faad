"""Paths through a build, as its trace tells it; and traces that are of no use."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.look_ahead import LookAhead, longest_paths, read
from headstart_worker.timeline import Build, Compile, Need


def compile_(
    label: str, start: float, end: float, *needs: Need, early: float | None = None, exit_code: int = 0
) -> Compile:
    return Compile(
        label=label,
        slot=0,
        start=start,
        end=end,
        early=early,
        cpu=end - start,
        peak_memory=1,
        exit_code=exit_code,
        needs=needs,
    )


def need(label: str, *, early: bool) -> Need:
    return Need(label, early, 0.0)


def paths(*compiles: Compile) -> dict[str, float]:
    return longest_paths(Build(tuple(sorted(compiles, key=lambda one: one.start)), 0))


def test_a_path_goes_through_what_is_early_and_no_further_than_needed() -> None:
    assert paths(
        compile_("low", 0, 10, early=2),
        compile_("middle", 20, 30, need("low", early=True), early=23),
        compile_("program", 40, 44, need("low", early=False), need("middle", early=False)),
        compile_("apart", 50, 70, early=51),
    ) == {"program": 4, "middle": 10 + 4, "low": 2 + 10 + 4, "apart": 20}


def test_a_jobs_own_tail_counts_when_it_is_longer_than_what_needs_it() -> None:
    assert paths(
        compile_("low", 0, 100, early=2), compile_("top", 2, 5, need("low", early=True), early=3)
    ) == {"low": 100, "top": 3}


def test_waiting_for_a_slot_is_no_part_of_a_path() -> None:
    assert paths(compile_("low", 0, 1), compile_("top", 1000, 1001, need("low", early=False)))["low"] == 2


def test_of_several_runs_the_last_good_one_counts() -> None:
    assert paths(
        compile_("low", 0, 9),
        compile_("low", 20, 23),
        compile_("low", 30, 31, exit_code=1),
        compile_("top", 40, 42, need("low", early=False)),
    ) == {"low": 5, "top": 2}


def test_where_nobody_needed_anything_there_is_no_order() -> None:
    assert paths(compile_("a", 0, 1), compile_("b", 0, 2)) == {}


def test_jobs_of_one_name_in_a_circle_do_no_harm() -> None:
    found = paths(
        compile_("a", 0, 1, need("b", early=False), need("a", early=False)),
        compile_("b", 1, 3, need("a", early=False)),
    )
    assert found == {"a": 3, "b": 2}


@given(st.data())
def test_paths_are_those_of_plain_recursion(data: st.DataObject) -> None:
    compiles: list[Compile] = []
    for number in range(data.draw(st.integers(1, 8))):
        duration = data.draw(st.integers(1, 9))
        early = data.draw(st.none() | st.integers(0, duration))
        needed = data.draw(st.sets(st.integers(0, number - 1))) if number else set()
        start = 100.0 * number
        compiles.append(
            compile_(
                str(number),
                start,
                start + duration,
                *(need(str(other), early=data.draw(st.booleans())) for other in sorted(needed)),
                early=None if early is None else start + early,
            )
        )

    def longest(label: str) -> float:
        one = compiles[int(label)]
        through = [one.seconds]
        for later in compiles:
            for use in later.needs:
                if use.label == label:
                    there = one.early if use.early and one.early is not None else one.end
                    through.append(there - one.start + longest(later.label))
        return max(through)

    expected = {one.label: longest(one.label) for one in compiles}
    assert paths(*compiles) == (expected if any(one.needs for one in compiles) else {})


def test_a_job_that_the_trace_does_not_know_is_as_urgent_as_the_usual_one() -> None:
    look_ahead = LookAhead({"a": 1.0, "b": 2.0, "c": 30.0}, 2.0)
    assert [look_ahead.path(label) for label in ("a", "c", "new")] == [1.0, 30.0, 2.0]


def event(name: str, label: object, **more: object) -> dict[str, object]:
    span = {"ph": "X", "name": name, "ts": 0, "dur": 10, "pid": 1, "tid": 0}
    args = {"job": 1, "label": label, "exit_code": 0, "cpu": 0, "peak_memory": 0}
    return {**span, "args": args, **more}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "there is no such file"),
        ("directory", "it is no file"),
        ("huge", "it is larger than 256 MiB"),
        ("fifo", "it is no file"),
        (b"", "no trace"),
        (b"\xff\xfe", "can't decode"),
        (b'{"a": 1}', "no trace"),
        (b"[" * 100_000, "no trace"),
        (b'[{"ph":"X"}]', "no compiler that used"),
        (json.dumps([event("compile", "a")]).encode(), "no compiler that used"),
        (json.dumps([event("compile", ["a"])]).encode(), "says nothing"),
        (json.dumps([event("compile", "a", ts="soon")]).encode(), "no trace"),
    ],
)
def test_I13_a_trace_that_is_of_no_use_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | str | None, why: str
) -> None:
    trace = tmp_path / "trace.json"
    match content:
        case bytes():
            trace.write_bytes(content)
        case "directory":
            trace.mkdir()
        case "fifo":
            os.mkfifo(trace)
        case "huge":
            trace.touch()
            os.truncate(trace, (1 << 28) + 1)
    assert read(str(trace)) is None
    said = capsys.readouterr().err
    assert said.startswith(f"process-wrapper: the trace {trace} says nothing about the order of jobs")
    assert why in said
    assert said.count("\n") == 1


def test_I13_moments_that_are_no_numbers_leave_no_path() -> None:
    nowhere = float("nan")
    assert paths(
        compile_("low", nowhere, 1),
        compile_("middle", 1, 2),
        compile_("top", 3, 4, need("middle", early=False)),
    ) == {"middle": 2, "top": 1}
