"""Builds become pictures: one SVG, one page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart_worker import timeline
from headstart_worker.timeline import Build, Need, read_build
from headstart_worker.timeline.model import means, steps
from unit.compiles import compile_

SVG = "{http://www.w3.org/2000/svg}"


def test_an_empty_build_has_neither_start_nor_wall() -> None:
    empty = read_build([])
    assert (empty.start, empty.wall, empty.cpu, empty.peak_compilers) == (0.0, 0.0, 0, 0)
    assert ET.fromstring(timeline.svg([("nothing", empty)])) is not None  # noqa: S314 - made here


def bars(picture: str) -> list[ET.Element]:
    """The rectangles that stand for compiles: they have a title, those of the legend and the ground have none."""
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


def test_what_nobody_wanted_any_more_is_no_failure() -> None:
    build = Build((compile_("a", code=143, cancelled=True),), 0)
    (bar,) = bars(timeline.svg([("t", build)]))
    assert bar.get("class") == "w"
    assert (bar.findtext(f"{SVG}title") or "").endswith(", ended: nobody wanted it any more")
    assert '"failed":false' in timeline.page([("t", build)])


def test_a_build_that_took_no_time_becomes_pictures() -> None:
    needs = (Need("a", early=False, at=1.0),)
    build = Build((compile_("a", start=1), evolve(compile_("b", slot=1, start=1), job=1, needs=needs)), 0)
    assert len(bars(timeline.svg([("t", build)]))) == 2
    assert "2 compiles in 0.00 s" in timeline.page([("t", build)])
    assert means([(1.0, 2.0)], 1.0, 1.0, 3) == [0.0, 0.0, 0.0]


def test_the_counted_memory_is_called_what_it_is() -> None:
    build = Build((compile_(),), 0, {"rss": [(0.0, 1.0)]})
    assert "resident memory of each compiler's first process, added up, in MiB" in timeline.page(
        [("t", build)]
    )


def test_traces_of_real_builds_become_pictures() -> None:
    for path in sorted((Path(__file__).parent.parent / "data" / "traces").iterdir()):
        build = read_build([path.read_text("utf-8")])
        assert build.compiles
        assert len(bars(timeline.svg([(path.stem, build)]))) == len(build.compiles) + build.pipelined
        assert len(set(build.names())) == len(build.compiles)


@given(
    spans=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(1, 5))),
    count=st.integers(1, 40),
)
def test_means_keep_what_is_below_the_curve(spans: list[tuple[int, int, int]], count: int) -> None:
    told = steps((start, start + length, value) for start, length, value in spans)
    stretches = means(told, 0, 100, count)
    assert sum(stretches) * 100 / count == pytest.approx(sum(length * value for _, length, value in spans))


def test_panels_share_one_scale_of_time() -> None:
    short, long = Build((compile_(end=1),), 0), Build((compile_(end=4),), 0)
    first, second = (float(bar.get("width", 0)) for bar in bars(timeline.svg([("s", short), ("l", long)])))
    assert second == pytest.approx(4 * first, rel=0.01)


LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", "a&b", "\"'", "]]>", "</title></svg>"]
)


@settings(deadline=None, max_examples=40)
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
    page = timeline.page([(title, Build((compile_(label),), 0))])
    assert page.count("<script") == 2, "the data and the page's own"
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert (data[0]["title"], len(data[0]["jobs"])) == (title, 1)


def test_the_page_loads_nothing_and_lists_the_longest_first() -> None:
    build = Build((compile_("short", end=1), compile_("long", end=3, early=1)), 5)
    page = timeline.page([("clean", build)])
    assert re.findall(r"(?:src|href)=[^>]*>|url\(|@import", page) == ['href="data:,">']
    assert page.index(">long</td>") < page.index(">short</td>")
    assert "2 compiles in 3.00 s: CPU 1.00 s, at most 2 at once, 1 with early outputs, 5 joins." in page
