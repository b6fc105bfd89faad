"""Traces become figures and pictures."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker import timeline
from headstart_worker.timeline import Build, Compile, read_build
from headstart_worker.trace import Trace
from headstart_wrapper.errors import RequestError

DAY = 1_700_000_000.0
"""The moment of the worker's start; its own clock begins with 0 then."""

SVG = "{http://www.w3.org/2000/svg}"


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


def compile_(
    label: str = "liba.rlib",
    *,
    slot: int = 0,
    start: float = 0.0,
    end: float = 1.0,
    early: float | None = None,
    code: int = 0,
) -> Compile:
    return Compile(label, slot, start, end, early, cpu=0.5, peak_memory=1 << 20, exit_code=code)


def test_a_whole_compile_is_read() -> None:
    made = trace()
    build = read_build([made.begin(0) + whole(made, 1, "liba.rlib", 1.0, 2.5, slot=1)])
    (only,) = build.compiles
    assert only == Compile(
        "liba.rlib", 1, DAY + 1, DAY + 2.5, None, cpu=0.5, peak_memory=3 << 20, exit_code=0
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
    noise = made.span("queue", 1000, 0.0, 1.0, job=1) + made.counter("running", 1.0, 2)
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
    for count in range(2, len(lines) + 1):
        assert len(read_build(["".join(lines[:count])]).compiles) == count - 2
    # Without the newline and the comma that stand after an event, too.
    assert len(read_build([text.rstrip("\n")]).compiles) == 2
    assert len(read_build([text.rstrip(",\n")]).compiles) == 2


@pytest.mark.parametrize("text", ["", "no trace", "{}", "[1", "<html>}", "\x00}"])
def test_what_is_no_trace_is_told_in_one_sentence(text: str) -> None:
    with pytest.raises(RequestError, match="this is no trace of a worker") as told:
        read_build([text])
    assert "\n" not in str(told.value)


def test_most_at_once_counts_one_after_the_other_as_one() -> None:
    apart = Build((compile_(start=0, end=1), compile_(start=1, end=2)), 0)
    across = Build((compile_(start=0, end=1.1), compile_(start=1, end=2), compile_(start=0.5, end=0.6)), 0)
    assert (apart.peak_compilers, across.peak_compilers) == (1, 2)


def test_an_empty_build_has_neither_start_nor_wall() -> None:
    empty = read_build([])
    assert (empty.start, empty.wall, empty.cpu, empty.peak_compilers) == (0.0, 0.0, 0, 0)
    assert ET.fromstring(timeline.svg([("nothing", empty)])) is not None  # noqa: S314 - made here


def bars(picture: str) -> list[ET.Element]:
    """The rectangles that stand for compiles: they have a title, those of the legend have none."""
    root = ET.fromstring(picture)  # noqa: S314 - made here
    assert root.tag == f"{SVG}svg"
    return [bar for bar in root.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]


def test_a_pipelined_compile_is_two_bars_that_meet_and_the_others_one() -> None:
    build = Build(
        (compile_("a", start=0, early=1, end=4), compile_("b", slot=1, end=2), compile_("c", slot=2, code=1)),
        0,
    )
    early, codegen, plain, failed = bars(timeline.svg([("t", build)]))
    assert [bar.get("class") for bar in (early, codegen, plain, failed)] == ["e", "c", "w", "f"]
    start, width = float(early.get("x", 0)), float(early.get("width", 0))
    assert start + width == pytest.approx(float(codegen.get("x", 0)), abs=0.2)
    assert float(codegen.get("width", 0)) == pytest.approx(3 * width, rel=0.01)
    assert len({bar.get("y") for bar in (early, codegen)}) == 1
    assert len({bar.get("y") for bar in (early, plain, failed)}) == 3


def test_panels_share_one_scale_of_time() -> None:
    short, long = Build((compile_(end=1),), 0), Build((compile_(end=4),), 0)
    first, second = (float(bar.get("width", 0)) for bar in bars(timeline.svg([("s", short), ("l", long)])))
    assert second == pytest.approx(4 * first, rel=0.01)


LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", "a&b", "\"'", "]]>", "</title></svg>"]
)


@given(label=LABELS, title=LABELS)
def test_every_label_is_text_and_never_markup(label: str, title: str) -> None:
    picture = timeline.svg([(title, Build((compile_(label),), 0))])
    (bar,) = bars(picture)
    told = bar.find(f"{SVG}title")
    assert told is not None
    assert told.text is not None
    assert told.text.startswith(f"{label}: 1.00 s")
    root = ET.fromstring(picture)  # noqa: S314 - made here
    assert root.find(f"{SVG}text") is not None
    assert (root.findtext(f"{SVG}text") or "") == title
    assert "<script" not in timeline.page([(title, Build((compile_(label),), 0))])


def test_the_page_loads_nothing_and_lists_the_longest_first() -> None:
    build = Build((compile_("short", end=1), compile_("long", end=3, early=1)), 5)
    page = timeline.page([("clean", build)])
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert page.index("<td>long") < page.index("<td>short")
    assert "2 compilers, 5 joins, at most 2 at once" in page
