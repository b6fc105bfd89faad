"""What was measured can be read: as text, Markdown, JSON, CSV, pictures and a page, none of which says more than the figures."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.bench import charts, page, report, result
from headstart_worker.bench.records import Bounds
from headstart_worker.bench.report import Row
from headstart_worker.bench.result import Result
from headstart_wrapper.errors import RequestError
from unit.bench_results import experiment, of, taken
from unit.bench_results import result as result_of

SVG = "{http://www.w3.org/2000/svg}"
FIVE = experiment(
    *(
        taken(mode, wall)
        for wall in (0.0, 0.1, 0.2, 0.3, 0.4)
        for mode, wall in (("none", 20 + wall), ("worker", 10 + wall))
    ),
    bounds={"worker": Bounds(work=9.0, critical_path=9.5)},
    equal=(("none", "worker"), ("hollow",)),
)
MODEL: dict[str, object] = {
    "curves": [
        {"workspace": "search", "profile": "dev", "mode": mode, "cores": cores, "wall": base / cores + 2}
        for mode, base in (("none", 20.0), ("worker", 16.0))
        for cores in (1, 2, 4, 256)
    ],
    "points": [
        {
            "workspace": "search",
            "profile": "dev",
            "jobs": 2,
            "mode": "worker",
            "measured": 10.2,
            "predicted": 10.0,
            "error": -0.0196,
        }
    ],
    "reading": ["From 8 cores on, hollow is as fast as worker."],
}


def test_the_table_shows_what_was_measured() -> None:
    assert report.table(FIVE) == (
        "  mode       wall        interval       mean ± sd      CPU  CPU/jobs    path  overhead  at once   memory  actions  compilers  joins\n"
        "  ------  -------  --------------  --------------  -------  --------  ------  --------  -------  -------  -------  ---------  -----\n"
        "  none    20.20 s  20.00 to 20.40  20.20 ± 0.16 s  40.40 s   20.20 s       -         -        2  400 MiB       20         10      -\n"
        "  worker  10.20 s  10.00 to 10.40  10.20 ± 0.16 s  20.40 s   10.20 s  9.50 s    0.70 s        2  400 MiB       20         10      8\n"
    )


def test_markdown_has_the_same_cells() -> None:
    lines = report.markdown_table(FIVE).splitlines()
    assert lines[0].startswith("| mode | wall | interval |")
    assert set(lines[1]) <= set("|:- ")
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]] == report.cells(FIVE)


def test_overhead_is_above_the_greater_bound() -> None:
    row = Row("worker", FIVE.of("worker"), 2, Bounds(work=8.0, critical_path=7.0))
    assert row.overhead == pytest.approx(2.2)
    assert Row("worker", FIVE.of("worker"), 2, None).overhead is None


def test_one_run_has_neither_interval_nor_deviation() -> None:
    (cells,) = report.cells(of(none=[3.0]))
    assert cells[:4] == ["none", "3.00 s", "-", "3.00 s"]


def test_findings_claim_what_can_be_claimed() -> None:
    assert report.findings(FIVE) == [
        "worker is 1.98 times (1.92 to 2.04) as fast as none; medians 10.20 s and 20.20 s",
        "worker takes 50 % (48 to 51 %) less CPU time than none; medians 20.40 s and 40.40 s",
        "outputs are equal byte for byte: none, worker",
    ]


def test_too_few_runs_are_one_finding_however_many_modes_there_are() -> None:
    few = of(none=[1.0], hollow=[2.0], worker=[3.0])
    assert report.findings(few) == ["too few runs to tell modes apart; 5 of each are needed (--rounds=5)"]
    (only,) = report.method(result_of(few))
    assert only == "Fewer than 5 runs of a mode are too few to claim a difference."


def test_few_runs_do_not_make_the_sure_intervals_of_others_look_unsure() -> None:
    sure, few, lucky, _ = report.method(result_of(FIVE, of(none=[1.0], worker=[2.0])))
    assert "at least 93.75 %" in sure
    # What is never claimed is no comparison that chance could win.
    assert lucky == report.method(result_of(FIVE))[1]
    assert few.startswith("Fewer than 5 runs of a mode are too few")


def test_the_method_says_how_much_is_chance() -> None:
    sure, lucky, limits = report.method(result_of(FIVE))
    assert "93.75 %" in sure
    # Two comparisons, each 2 of the C(10, 5) = 252 orders.
    assert "2 comparisons" in lucky
    assert "0.02" in lucky
    assert "its own processor time is not counted" in limits


@pytest.mark.parametrize("form", [report.text, report.markdown, page.page])
def test_every_form_has_machine_findings_warnings_notes_and_the_model(form: Callable[[Result], str]) -> None:
    told = form(evolve(result_of(FIVE, of(none=[1.0, 1.0]), model=MODEL), notes=("no bazel here",)))
    for part in (
        "A Processor, 2 cores, 8.0 GiB, Linux 6.1, clock governor: performance",
        "rustc 1.95.0",
        "headstart bench examples/search",
        "worker is 1.98 times",
        "2 runs of each mode",
        "no bazel here",
        "From 8 cores on",
    ):
        assert part in told


def test_json_can_be_read_again() -> None:
    first = result_of(FIVE, model=MODEL)
    text = result.as_json(first)
    again = result.read(text)
    assert result.as_json(again) == text
    assert report.text(again) == report.text(first)
    (exported,) = json.loads(text)["experiments"]
    assert [entry["command"] for entry in exported["results"]] == ["none", "worker"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "machine": 3}', "null"])
def test_what_is_no_result_is_told_in_one_sentence(text: str) -> None:
    with pytest.raises(RequestError, match="no result of headstart bench") as told:
        result.read(text)
    assert "\n" not in str(told.value)


def test_a_result_of_another_release_is_refused() -> None:
    with pytest.raises(RequestError, match="format 9"):
        result.read('{"format": 9}')


def test_csv_has_a_line_for_each_build() -> None:
    lines = list(csv.DictReader(io.StringIO(result.as_csv(result_of(FIVE)))))
    assert len(lines) == 10
    assert [(line["mode"], line["run"]) for line in lines[:4]] == [
        ("none", "1"),
        ("worker", "1"),
        ("none", "2"),
        ("worker", "2"),
    ]
    assert lines[0]["wall"] == "20.0"
    assert lines[0]["joins"] == ""


def test_bars_end_at_medians_and_whiskers_at_intervals() -> None:
    root = ET.fromstring(charts.comparison(FIVE))  # noqa: S314 - made here
    bars = [bar for bar in root.iter(f"{SVG}rect") if (bar.get("class") or "").startswith("m-")]
    assert [bar.get("class") for bar in bars] == ["m-none", "m-worker"] * 2
    for none, worker in (bars[:2], bars[2:]):
        ratio = float(none.get("width", 0)) / float(worker.get("width", 1))
        assert ratio == pytest.approx(20.2 / 10.2, rel=0.005)
    level = [
        line
        for line in root.iter(f"{SVG}line")
        if line.get("class") == "whisker" and line.get("y1") == line.get("y2")
    ]
    scale = float(bars[0].get("width", 0)) / 20.2
    assert float(level[0].get("x2", 0)) - float(level[0].get("x1", 0)) == pytest.approx(0.4 * scale, abs=0.2)
    assert len([ring for ring in root.iter(f"{SVG}circle") if ring.get("class") == "run"]) == 20
    (bound,) = (line for line in root.iter(f"{SVG}line") if line.get("class") == "bound")
    assert float(bound.get("x1", 0)) - float(bars[0].get("x", 0)) == pytest.approx(9.5 * scale, abs=0.2)


def test_curves_fall_with_cores_that_double_from_step_to_step() -> None:
    curves = [{"mode": "none", "cores": cores, "wall": 64 / cores} for cores in (1, 2, 4, 8)]
    points = [{"mode": "none", "jobs": 2, "measured": 32.0}]
    root = ET.fromstring(charts.scaling("search", curves, points))  # noqa: S314 - made here
    (curve,) = root.iter(f"{SVG}polyline")
    places = [tuple(map(float, place.split(","))) for place in (curve.get("points") or "").split()]
    steps = {round(second[0] - first[0], 0) for first, second in itertools.pairwise(places)}
    assert len(steps) == 1
    heights = [place[1] for place in places]
    assert heights == sorted(heights)
    (ring,) = root.iter(f"{SVG}circle")
    assert (float(ring.get("cx", 0)), float(ring.get("cy", 0))) == pytest.approx(places[1], abs=0.1)


def test_names_behind_curves_do_not_cover_one_another() -> None:
    curves = [
        {"mode": f"mode {number}", "cores": cores, "wall": 1.0} for number in range(8) for cores in (1, 256)
    ]
    root = ET.fromstring(charts.scaling("all the same", curves))  # noqa: S314 - made here
    rows = sorted(
        float(text.get("y", 0)) for text in root.iter(f"{SVG}text") if (text.text or "").startswith("mode")
    )
    assert len(rows) == 8
    assert all(below - above >= 12 for above, below in itertools.pairwise(rows))


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=30
) | st.sampled_from(["<script>alert(1)</script>", "a&b", "\"'", "]]>", "</title></svg>"])
WALLS = st.lists(st.just(0.0) | st.floats(1e-6, 1e5), min_size=1, max_size=7)


@given(mode=WORDS, scenario=WORDS, walls=WALLS)
def test_every_picture_is_well_formed_whatever_it_shows(mode: str, scenario: str, walls: list[float]) -> None:
    made = experiment(*(taken(mode, wall) for wall in walls), scenario=scenario)
    picture = charts.comparison(made)
    root = ET.fromstring(picture)  # noqa: S314 - made here
    assert any(text.text == mode for text in root.iter(f"{SVG}text"))
    curves = [{"mode": mode, "cores": cores, "wall": wall} for cores, wall in enumerate(walls, 1)]
    ET.fromstring(charts.scaling(scenario, curves))  # noqa: S314 - made here
    assert not {"nan", "inf"} & set(re.findall(r'="(nan|inf)"', picture))


class Tags(HTMLParser):
    """Counts what is opened and closed, and keeps what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        if tag in {"script", "link", "img", "iframe"} or any(
            name in {"src", "href"} or name.startswith("on") for name, _ in attrs
        ):
            self.loaded.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(mode=WORDS, note=WORDS)
def test_the_page_is_well_formed_and_loads_and_runs_nothing(mode: str, note: str) -> None:
    made = evolve(result_of(experiment(taken(mode, 2.0)), model=MODEL), notes=(note,))
    told = page.page(made)
    tags = Tags()
    tags.feed(told)
    tags.close()
    assert (tags.open, tags.loaded) == ([], [])
    assert not re.search(r"url\(|@import", told)


def test_the_page_is_readable_on_dark_paper() -> None:
    told = page.page(result_of(FIVE))
    assert told.count("prefers-color-scheme:dark") == 2
