"""Statistics: the JSON is JSON, the table is the truth, and Bazel's form is Bazel's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import execution_statistics
from headstart_wrapper import bazel_stats, stats
from headstart_wrapper.job import Job, Outcome, Usage

ROOT = Path(__file__).parents[2]
TYPES: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "array": list,
}

ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""With lone surrogates: a command's bytes that are no UTF-8."""

SECONDS = st.floats(0, 1e7)
COUNTS = st.integers(0, 2**40)
USAGES = st.builds(
    Usage,
    user=SECONDS,
    system=SECONDS,
    peak_memory=COUNTS,
    minor_page_faults=COUNTS,
    major_page_faults=COUNTS,
    voluntary_context_switches=COUNTS,
    involuntary_context_switches=COUNTS,
    storage_read=COUNTS,
    storage_written=COUNTS,
    wall=SECONDS,
    spawn=SECONDS,
    started_at=st.none() | st.floats(0, 4e9),
)
OUTCOMES = st.builds(
    Outcome,
    exit_code=st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    cancelled=st.booleans(),
    timed_out=st.booleans(),
    stopped_early=st.booleans(),
    early=st.none() | SECONDS,
    message=ANY_TEXT,
    usage=USAGES,
)
COMMANDS = st.lists(ANY_TEXT).map(tuple)


@given(st.none() | st.booleans() | st.integers() | ANY_TEXT | st.lists(ANY_TEXT))
@example("".join(map(chr, range(0x120))))
@example("\ud800\udfff\udc80\ud83d\U0001f600\U0010ffff\uffff")
def test_json_is_what_pythons_own_encoder_writes(value: str | int | list[str] | None) -> None:
    assert stats.encoded(value) == json.dumps(value)


@given(st.floats(-1e15, 1e15))
def test_fractions_are_written_to_the_microsecond(value: float) -> None:
    assert stats.encoded(value) == json.dumps(round(value, 6))


@given(COMMANDS, OUTCOMES)
def test_the_file_is_what_the_schema_says(command: tuple[str, ...], outcome: Outcome) -> None:
    text = stats.as_json(Job(command=command), outcome)
    assert "\n" not in text
    read = json.loads(text)
    schema = stats.schema()
    assert list(read) == schema["required"] == [field.name for field in stats.FIELDS]
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert list(properties) == list(read)
    for key, said in properties.items():
        value, types = read[key], said["type"]
        names = types if isinstance(types, list) else [types]
        assert (value is None and "null" in names) or (
            isinstance(value, TYPES[names[0]]) and isinstance(value, bool) is (names[0] == "boolean")
        ), key
        assert said["description"]
        if value is not None:
            assert value >= said.get("minimum", value)
            assert value == said.get("const", value)
    assert tuple(read["command"]) == command


@given(OUTCOMES)
def test_what_no_process_used_is_null_and_everything_else_is_said(outcome: Outcome) -> None:
    read = json.loads(stats.as_json(Job(command=("cc",)), outcome))
    figures = ("user_seconds", "wall_seconds", "peak_memory_bytes", "minor_page_faults", "storage_read_bytes")
    for key in (*figures, "started_at"):
        assert (read[key] is None) is (outcome.usage.started_at is None)
    assert (
        read["exit_code"],
        read["signal"],
        read["timed_out"],
        read["cancelled"],
        read["stopped_early"],
    ) == (
        outcome.exit_code,
        outcome.signal,
        outcome.timed_out,
        outcome.cancelled,
        outcome.stopped_early,
    )
    assert (read["signal_name"] is None) is (outcome.signal is None)


def test_each_figure_has_its_own_key() -> None:
    usage = Usage(1.5, 2.5, 3, 4, 5, 6, 7, 8, 9, 10.5, 11.5, 12.5)
    read = json.loads(stats.as_json(Job(command=("cc",)), Outcome(exit_code=0, early=13.5, usage=usage)))
    assert {key: value for key, value in read.items() if isinstance(value, int | float) and value > 2} == {
        "system_seconds": 2.5,
        "peak_memory_bytes": 3,
        "minor_page_faults": 4,
        "major_page_faults": 5,
        "voluntary_context_switches": 6,
        "involuntary_context_switches": 7,
        "storage_read_bytes": 8,
        "storage_written_bytes": 9,
        "wall_seconds": 10.5,
        "spawn_seconds": 11.5,
        "started_at": 12.5,
        "early_seconds": 13.5,
    }
    assert (read["version"], read["user_seconds"]) == (2, 1.5)


@pytest.mark.parametrize(
    ("number", "name"), [(9, "SIGKILL"), (34, "SIGRTMIN"), (40, "SIGRTMIN+6"), (64, "SIGRTMAX")]
)
def test_signals_are_named_as_shells_name_them(number: int, name: str) -> None:
    assert stats.signal_name(number) == name


def test_the_design_shows_the_table() -> None:
    assert stats.document() in (ROOT / "DESIGN.md").read_text("utf-8")


@given(USAGES)
def test_bazels_form_is_what_protobuf_writes(usage: Usage) -> None:
    figures = {
        "maxrss": usage.peak_memory // 1024,
        "minflt": usage.minor_page_faults,
        "majflt": usage.major_page_faults,
        "inblock": usage.storage_read // 512,
        "oublock": usage.storage_written // 512,
        "nvcsw": usage.voluntary_context_switches,
        "nivcsw": usage.involuntary_context_switches,
    }
    for name, seconds in (("utime", usage.user), ("stime", usage.system)):
        figures[f"{name}_sec"], figures[f"{name}_usec"] = divmod(round(seconds * 1_000_000), 1_000_000)
    assert bazel_stats.encoded(usage) == execution_statistics.encoded(figures)
