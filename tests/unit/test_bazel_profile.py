"""Bazel's profile and our traces on one clock. The profile in `data/` is Bazel 4.2.3's, of `examples/hello`, and the trace its worker's."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart_worker.timeline import bazel_profile, read_build
from headstart_worker.timeline.merge import merge
from headstart_wrapper.errors import RequestError

DATA = Path(__file__).parents[1] / "data"

Event = dict[str, Any]


def unpacked(name: str) -> str:
    return gzip.decompress((DATA / name).read_bytes()).decode("utf-8")


PROFILE, TRACE = unpacked("bazel_profile.json.gz"), unpacked("bazel_profile_worker.json.gz")
OURS: list[Event] = json.loads(TRACE.rstrip().rstrip(",") + "]")
PAIRS = {
    "Compiling Rust crate base (early)": "libbase-c12283fa1c5e93fa.rmeta",
    "Compiling Rust crate macros (proc-macro)": "libmacros-7bc208fae45929fa.so",
    "Compiling Rust crate middle (early)": "libmiddle-8782f13a939799ba.rmeta",
    "Compiling Rust crate app (bin)": "app-1b88f768c5085da8",
    "Compiling Rust crate base (test)": "base-df03e5b7bad3b4a9",
    "Compiling Rust crate middle (test)": "middle-8215c077bc1ecae9",
}
"""Bazel's action, and what our worker made for it."""


def profile(text: str = PROFILE) -> bazel_profile.Profile:
    found = bazel_profile.read(text)
    assert found is not None
    return found


def changed(**other: Any) -> str:
    """The profile with another account of itself."""
    file = json.loads(PROFILE)
    file["otherData"] = other
    return json.dumps(file)


def events(text: str) -> list[Event]:
    found: list[Event] = json.loads(text)["traceEvents"]
    return found


def between(found: list[Event]) -> Iterator[tuple[float, float]]:
    """How long before its compile an action began, and how long after it it ended; seconds."""
    for action, label in PAIRS.items():
        (theirs,) = (e for e in found if e["name"] == action and e.get("cat") == "action processing")
        (ours,) = (e for e in found if e["name"] in {"compile", "early"} and e["args"].get("label") == label)
        yield (
            (ours["ts"] - theirs["ts"]) / 1e6,
            (theirs["ts"] + theirs["dur"] - ours["ts"] - ours["dur"]) / 1e6,
        )


def test_every_compile_lies_in_its_action_though_bazel_4_says_its_beginning_to_a_second_only() -> None:
    merged = merge([PROFILE, TRACE])
    assert merged.notes == (
        "the beginning of Bazel's profile is known to some milliseconds, from where 8 requests fit into its actions",
    )
    gaps = list(between(events(merged.text)))
    assert len(gaps) == len(PAIRS)
    assert all(before > -0.001 and -0.001 < after < 0.1 for before, after in gaps), gaps


@pytest.mark.parametrize("wrong", [-0.6, 0.9])
def test_the_date_may_be_wrong_by_its_second(wrong: float) -> None:
    """Another run of the same build, whose date is another fraction of a second away."""
    date = profile().date
    assert date is not None
    other = changed(date=time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(date)))
    start = bazel_profile.start_of(profile(), OURS).at
    moved = [{**event, "ts": event["ts"] + round(wrong * 1e6)} for event in OURS]
    assert bazel_profile.start_of(profile(other), moved).at == pytest.approx(start + wrong, abs=0.002)


def test_newer_bazels_say_it_to_a_millisecond() -> None:
    start = bazel_profile.start_of(profile(changed(profile_start_ts=1_795_289_248_870)), [])
    assert start.at == 1_795_289_248.870
    assert start.how == "as the profile says, to a millisecond"


def test_without_a_trace_of_the_same_build_it_is_a_second() -> None:
    for ours in ([], [{**event, "ts": event["ts"] - 10**9} for event in OURS]):
        start = bazel_profile.start_of(profile(), ours)
        assert start.at == profile().date
        assert start.how.startswith("to a second only")


def test_requests_that_fit_nowhere_are_not_believed() -> None:
    """Answers of another build: but for the last ones, no action ends near them, whenever the profile may have begun."""
    begun = profile().date
    assert begun is not None
    answers = [
        {"name": "publish", "ts": round((begun + 3 + n / 10) * 1e6), "dur": 0, "args": {}} for n in range(34)
    ]
    assert bazel_profile.start_of(profile(), answers).how.startswith("to a second only")


def test_a_date_in_an_unknown_zone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = changed(date="Sat Nov 21 20:27:29 CET 2026")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        with pytest.raises(RequestError, match="set TZ to the zone"):
            bazel_profile.start_of(profile(text), OURS)
        monkeypatch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        assert profile(text).date == profile().date
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", [TRACE, '{"traceEvents": []}', '{"traceEvents": [{"name": "x"}]}', "[]"])
def test_what_is_no_profile_is_not_taken_for_one(text: str) -> None:
    assert bazel_profile.read(text) is None


def test_what_says_nothing_of_itself_is_refused_in_one_sentence() -> None:
    others: list[object] = [
        [],
        "x",
        None,
        {"profile_start_ts": "x", "date": 3},
        {"profile_start_ts": 10**400},
    ]
    for other in others:
        text = json.dumps({"otherData": other, "traceEvents": [{"cat": "action processing"}]})
        with pytest.raises(RequestError, match="does not say when it began"):
            merge([text, TRACE])


def test_foreign_events_tell_no_moments() -> None:
    foreign: list[Event] = [
        {"name": name, "ph": "X", "ts": OURS[-1]["ts"], **more}
        for name in ("queue", "join", "publish", "early", "compile")
        for more in ({}, {"dur": "x"}, {"dur": 1, "args": None}, {"dur": 1, "args": {"job": []}}, {"ts": "x"})
    ]
    assert bazel_profile.start_of(profile(), foreign).at
    bare = json.dumps({**json.loads(PROFILE), "traceEvents": [{"cat": "action processing", "ts": 1}]})
    assert bazel_profile.start_of(profile(bare), OURS).how.startswith("to a second only")
    odd = json.dumps([{"ts": "x", "pid": []}, {"ts": None, "pid": None}])
    assert len(events(merge([odd, changed(profile_start_ts=1)]).text)) > 2


@pytest.mark.parametrize(
    "text",
    ['{"traceEvents": [1]}', "[1]", "[" * 100_000, '{"a":' * 100_000],
    ids=["numbers in an object", "a number in a list", "deep lists", "deep objects"],
)
def test_what_is_far_from_both_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(RequestError) as error:
        merge([text])
    assert "\n" not in str(error.value)


def test_half_a_worker_trace_is_merged() -> None:
    cut = '[\n{"ph":"X","name":"x","ts":1,"pid":1,"args":{}},\n{"ph":"X","args":{"reason":"--cfg={x} and'
    assert [event["name"] for event in events(merge([cut]).text)] == ["x"]


def test_half_a_profile_is_refused() -> None:
    with pytest.raises(RequestError, match="let the build end"):
        merge([PROFILE[:2000], TRACE])


def test_what_is_nothing_of_both_is_refused() -> None:
    with pytest.raises(RequestError, match="neither a trace of a worker nor a profile of Bazel"):
        merge(["hello"])


def test_processes_and_arrows_of_many_traces_stay_apart() -> None:
    arrow = '[\n{"ph":"s","name":"early","cat":"needs","id":1,"ts":1,"pid":1,"tid":0},\n'
    found = events(merge([arrow, PROFILE, arrow, TRACE]).text)
    arrows = [event for event in found if event["ph"] == "s"]
    assert len({event["pid"] for event in arrows}) == len({event["id"] for event in arrows}) == 2
    theirs = {event["pid"] for event in found if event.get("cat") == "action processing"}
    assert len(theirs) == 1
    assert not theirs & {event["pid"] for event in arrows}
    assert len(found) == len(json.loads(PROFILE)["traceEvents"]) + 1 + len(OURS) + 2


def test_what_is_merged_can_be_read_again() -> None:
    assert read_build([merge([PROFILE, TRACE]).text]) == read_build([TRACE])
