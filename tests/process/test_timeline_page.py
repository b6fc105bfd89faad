"""The timeline's page in a real browser: it draws every compile, answers pointer and keyboard, and asks nobody for anything."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_worker import timeline
from headstart_worker.timeline import Build
from process.browser import Browser, needs_browser

pytestmark = needs_browser

TRACES = Path(__file__).parent.parent / "data" / "traces"

PICTURES = os.environ.get("HEADSTART_PICTURES")
"""A directory for pictures of what the tests saw, for people who want to look."""

READABLE = 4.5
"""Least contrast of text, by WCAG 2.2, 1.4.3."""

SEEN = 3.0
"""Least contrast of what one must see to understand a picture, by WCAG 2.2, 1.4.11."""

# The contrast of two colours that the browser names as rgb(): its formula is WCAG's.
CONTRAST = """
function contrast(first, second) {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [light(first), light(second)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}
function colour(selector, property) { return getComputedStyle(document.querySelector(selector))[property]; }
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as opened:
        yield opened
        assert opened.complaints == []
        assert opened.requests == []


def real() -> Build:
    return timeline.read_build([(TRACES / "clap_and_tokio.json").read_text("utf-8")])


def opened(browser: Browser, directory: Path, *panels: tuple[str, Build]) -> None:
    page = directory / "page.html"
    page.write_text(timeline.page(panels), encoding="utf-8")
    browser.open(page)
    browser.frame()


def look(browser: Browser, name: str) -> None:
    if PICTURES is not None:
        browser.picture(Path(PICTURES) / f"{name}.png")


def count(browser: Browser, selector: str) -> int:
    return int(browser.evaluate(f"document.querySelectorAll({selector!r}).length"))


def column(browser: Browser, number: int) -> list[str]:
    cells = browser.evaluate(
        f"[...document.querySelectorAll('tbody tr')].map((row) => row.cells[{number}].textContent)"
    )
    return [str(cell) for cell in cells]


def bar(name: str) -> str:
    return f".job[aria-label^='{name} ran']"


def test_every_compile_has_its_bar_its_row_and_its_place_on_the_path(
    browser: Browser, tmp_path: Path
) -> None:
    build = real()
    opened(browser, tmp_path, ("one build", build))
    assert count(browser, ".job") == count(browser, "tbody tr") == len(build.compiles) == 21
    assert count(browser, ".job .early") == count(browser, ".job .codegen") == build.pipelined
    assert count(browser, ".job .whole") == len(build.compiles) - build.pipelined
    assert count(browser, "rect.on-path") == count(browser, "tr.path") > 1
    assert count(browser, "svg path.memory") == 1
    assert count(browser, "svg path.waiting") == 1
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    look(browser, "one-build")


def test_bars_stand_where_the_seconds_say(browser: Browser, tmp_path: Path) -> None:
    build = real()
    opened(browser, tmp_path, ("one build", build))
    boxes = browser.evaluate(
        "[...document.querySelectorAll('.job .frame')].map((one) => [+one.getAttribute('x'), +one.getAttribute('width')])"
    )
    scale = max(x + width for x, width in boxes) - min(x for x, _ in boxes)
    for (x, width), compile_ in zip(boxes, build.compiles, strict=True):
        left = min(x for x, _ in boxes)
        assert (x - left) / scale == pytest.approx((compile_.start - build.start) / build.wall, abs=1e-3)
        assert width / scale == pytest.approx(compile_.seconds / build.wall, abs=1e-3)


def test_the_pointer_asks_about_a_compile_and_a_click_keeps_the_answer(
    browser: Browser, tmp_path: Path
) -> None:
    opened(browser, tmp_path, ("one build", real()))
    assert browser.evaluate("told.hidden")
    browser.point(bar("tokio"))
    text = browser.evaluate("told.hidden ? '' : told.textContent")
    assert text.startswith("tokio ran for ")
    assert "It needed the full output of tokio_macros" in text
    assert count(browser, ".arrow") >= 5
    assert count(browser, ".arrow.last") >= 1
    assert count(browser, "tr.chosen") == 1
    browser.frame()
    look(browser, "pointed-at")
    browser.point("h1")
    assert browser.evaluate("told.hidden")
    assert count(browser, ".arrow") == 0
    browser.click(bar("tokio"))
    browser.point("h1")
    assert browser.evaluate("told.textContent").startswith("tokio ran for ")
    assert not browser.evaluate("told.hidden")


def test_the_keyboard_goes_from_compile_to_compile(browser: Browser, tmp_path: Path) -> None:
    build = real()
    opened(browser, tmp_path, ("one build", build))
    assert count(browser, ".job[tabindex='0']") == 1, "one stop for the whole picture"
    browser.evaluate("document.querySelector(\".job[tabindex='0']\").focus()")
    names = build.names()
    for name in names[:3]:
        assert browser.evaluate("told.textContent").startswith(f"{name} ran for ")
        browser.press("ArrowDown")
    browser.press("End")
    assert browser.evaluate("told.textContent").startswith(f"{names[-1]} ran for ")
    browser.press("Escape")
    assert browser.evaluate("told.hidden")


def test_a_columns_head_sorts_and_sorts_back(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, ("one build", real()))
    head = "th:nth-child(5)"
    for order, direction in (("descending", -1), ("ascending", 1)):
        browser.click(f"{head} button")
        seconds = [float(cell) for cell in column(browser, 4)]
        assert seconds == sorted(seconds, key=lambda value: direction * value)
        assert browser.evaluate(f"document.querySelector('{head}').getAttribute('aria-sort')") == order
    browser.click("th:first-child button")
    names = column(browser, 0)
    assert names == browser.evaluate(f"{names}.sort((first, second) => first.localeCompare(second))")
    assert names[0] == "bitflags"
    assert count(browser, "[aria-sort]") == 1


def test_rows_can_be_slots_and_the_path_can_stand_alone(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, ("one build", real()))
    tall = browser.evaluate("document.querySelector('svg').getBoundingClientRect().height")
    browser.evaluate("controls.rows.value = 'slots', controls.dispatchEvent(new Event('input'))")
    heights = browser.evaluate(
        "new Set([...document.querySelectorAll('.frame')].map((one) => one.getAttribute('y'))).size"
    )
    assert heights == 2
    assert browser.evaluate("document.querySelector('svg').getBoundingClientRect().height") < tall / 1.5
    browser.frame()
    look(browser, "slots")
    browser.click("input[name=path]")
    assert count(browser, ".faded") > 0
    shown = browser.evaluate("[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).length")
    assert shown == count(browser, "tr.path")


def test_what_is_looked_for_stands_out(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, ("one build", real()))
    browser.evaluate("controls.find.focus()")
    browser.call("Input.insertText", text="SYN")
    assert count(browser, ".job:not(.faded)") == 2
    assert (
        browser.evaluate("[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).length")
        == 2
    )


@pytest.mark.parametrize("chosen", ["as the system", "by hand"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_readable_in_both_schemes(
    browser: Browser, tmp_path: Path, scheme: str, chosen: str
) -> None:
    other = "dark" if scheme == "light" else "light"
    browser.scheme(scheme if chosen == "as the system" else other)
    opened(browser, tmp_path, ("one build", real()))
    if chosen == "by hand":
        browser.evaluate(
            f"controls.scheme.value = '{scheme}', controls.scheme.dispatchEvent(new Event('change'))"
        )
    browser.evaluate(CONTRAST)
    browser.point(bar("tokio"))
    browser.frame()
    look(browser, f"{scheme}-{chosen.replace(' ', '-')}")
    is_dark = browser.evaluate("contrast(colour(':root', 'backgroundColor'), 'rgb(0 0 0)') < 3")
    assert is_dark == (scheme == "dark")
    ground = "colour(':root', 'backgroundColor')"
    for text in ("body", "p.quiet", ".legend li", "td", "th button"):
        assert browser.evaluate(f"contrast(colour('{text}', 'color'), {ground})") >= READABLE, text
    assert (
        browser.evaluate("contrast(colour('#told', 'color'), colour('#told', 'backgroundColor'))") >= READABLE
    )
    assert browser.evaluate(f"contrast(colour('text.axis', 'fill'), {ground})") >= READABLE
    for kind in (".job .early", ".job .codegen", ".job .whole"):
        assert (
            browser.evaluate(f"contrast(colour('text.inside', 'fill'), colour('{kind}', 'fill'))") >= READABLE
        ), kind
        assert browser.evaluate(f"contrast(colour('{kind}', 'stroke'), {ground})") >= SEEN, kind
    for line in (".on-path", ".arrow.last"):
        assert browser.evaluate(f"contrast(colour('{line}', 'stroke'), {ground})") >= SEEN, line


def test_builds_stand_below_one_another_on_one_scale(browser: Browser, tmp_path: Path) -> None:
    build = real()
    shorter = Build(tuple(one for one in build.compiles if one.end - build.start < build.wall / 2), 0)
    opened(browser, tmp_path, ("whole", build), ("part", shorter))
    look(browser, "two-builds")
    assert count(browser, "svg") == count(browser, "table") == 2
    widths = browser.evaluate(
        "[...document.querySelectorAll('section')].map((one) => +one.querySelector(\".job[aria-label^='proc_macro2 '] .frame\")"
        ".getAttribute('width'))"
    )
    assert widths[0] == widths[1] > 0
    # What is asked in one panel is answered there.
    browser.point("section:nth-child(2) .job")
    assert browser.evaluate("document.querySelector('section:nth-child(1) tr.chosen')") is None
    assert count(browser, "section:nth-child(2) tr.chosen") == 1


def test_names_of_every_kind_are_text_in_the_page(browser: Browser, tmp_path: Path) -> None:
    build = real()
    names = itertools.cycle(["</script><script>alert(1)</script>", "<img src=x>", "a&b", "\"'", "日本"])
    strange = Build(
        tuple(
            timeline.Compile(next(names), i, one.start, one.end, one.early, 0.0, 0, 0, job=i)
            for i, one in enumerate(build.compiles)
        ),
        0,
    )
    opened(browser, tmp_path, ("<b>title</b>", strange))
    assert count(browser, ".job") == count(browser, "tbody tr") == len(build.compiles)
    assert browser.evaluate("document.querySelector('h2').textContent") == "<b>title</b>"


def test_an_old_trace_without_arrows_and_an_empty_build_are_drawn(browser: Browser, tmp_path: Path) -> None:
    old = timeline.read_build([(TRACES / "before_arrows.json").read_text("utf-8")])
    opened(browser, tmp_path, ("old", old), ("empty", Build((), 0)))
    assert count(browser, ".job") == len(old.compiles)
    assert count(browser, ".on-path") == 0
    assert count(browser, "svg") == 2


def test_the_picture_for_documents_is_drawn_in_both_schemes(browser: Browser, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    picture.write_text(timeline.svg([("one build", real())]), encoding="utf-8")
    grounds = []
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.open(picture)
        browser.evaluate(CONTRAST)
        browser.frame()
        look(browser, f"picture-{scheme}")
        grounds.append(browser.evaluate("colour('.ground', 'fill')"))
        for text in (".t", ".n", ".a"):
            assert (
                browser.evaluate(f"contrast(colour('{text}', 'fill'), colour('.ground', 'fill'))") >= READABLE
            )
        for kind in (".e", ".c", ".w"):
            assert (
                browser.evaluate(f"contrast(colour('.n', 'fill'), colour('rect{kind}', 'fill'))") >= READABLE
            )
    assert grounds[0] != grounds[1]
