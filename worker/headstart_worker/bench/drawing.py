"""What charts are drawn with: elements, colours, round numbers on an axis. Pure; what a chart shows is `charts`' business."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator
from typing import Final

_COLOURS: Final = {
    "none": ("#64748b", "#94a3b8"),
    "two_invocation": ("#d97706", "#fbbf24"),
    "hollow": ("#059669", "#34d399"),
    "worker": ("#2563eb", "#60a5fa"),
    "worker+sandbox": ("#7c3aed", "#a78bfa"),
    "cargo": ("#e11d48", "#fb7185"),
    "other": ("#0e7490", "#22d3ee"),
}
"""Of each mode, on light and on dark paper. The worker's is the one that a timeline has for what runs until the early output."""

_INK: Final = (
    (".paper{{fill:{}}}", "#ffffff", "#0f172a"),
    (".title,.figure{{fill:{}}}", "#1f2937", "#e5e7eb"),
    (".note{{fill:{}}}", "#6b7280", "#9ca3af"),
    (".grid{{stroke:{}}}", "#e5e7eb", "#334155"),
    (".whisker,.bound{{stroke:{};fill:none}}", "#1f2937", "#e5e7eb"),
    (".run{{stroke:{};fill:none}}", "#1f2937", "#e5e7eb"),
)

_SHAPE: Final = (
    "svg.chart{font:12px system-ui,sans-serif}.chart .title{font-size:14px;font-weight:600}.chart .note{font-size:11px}"
    ".chart .bound{stroke-dasharray:3 3}.chart .run{stroke-opacity:.55}.chart .curve{fill:none;stroke-width:2}"
    ".chart .grid{stroke-width:1}.chart .figure{font-variant-numeric:tabular-nums}"
)


def _theme(dark: bool) -> str:
    """The colours for one kind of paper."""
    ink = "".join(f".chart {rule.format((light, night)[dark])}" for rule, light, night in _INK)
    modes = "".join(
        f".chart .{name_of(mode)}{{fill:{pair[dark]}}}.chart .curve.{name_of(mode)}{{fill:none;stroke:{pair[dark]}}}"
        for mode, pair in _COLOURS.items()
    )
    return ink + modes


def style() -> str:
    """The rules of every chart, for light and dark."""
    return f"<style>{_SHAPE}{_theme(dark=False)}@media (prefers-color-scheme:dark){{{_theme(dark=True)}}}</style>"


def name_of(mode: str) -> str:
    """The class of a mode's elements: Bazel's modes have the colours of ours, peers that we do not know share one."""
    known = mode.removeprefix("bazel:")
    return "m-" + (known if known in _COLOURS else "other").replace("+", "-").replace("_", "-")


def tag(element: str, content: str = "", /, kind: str = "", **attributes: float | str) -> str:
    """One element. The content is markup; an underscore in an attribute's name stands for a hyphen.

    Args:
        element: its name.
        content: what is inside, escaped where it is text.
        kind: its class.
        attributes: numbers are rounded to a tenth of a pixel.
    """
    named = {"class": kind, **attributes} if kind else attributes
    told = "".join(
        f' {name.replace("_", "-")}="{value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")}"'
        for name, value in named.items()
    )
    return f"<{element}{told}>{content}</{element}>" if content else f"<{element}{told}/>"


def label(x: float, y: float, words: str, kind: str = "note", anchor: str = "start") -> str:
    """Text on its base line."""
    return tag("text", html.escape(words), kind=kind, x=x, y=y, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight one."""
    return tag("line", kind=kind, x1=x1, y1=y1, x2=x2, y2=y2)


def picture(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """One SVG, readable on light and dark paper, by people who hear it too."""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    told = tag("title", html.escape(title))
    paper = tag("rect", kind="paper", width=width, height=height, rx=6.0)
    return f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" {size}>{told}{style()}{paper}{"".join(parts)}</svg>\n'


def steps(most: float, wanted: int = 5) -> Iterator[float]:
    """Round numbers from 0 up to the most, about so many as wanted."""
    if not most > 0:
        yield 0.0
        return
    rough = most / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    yield from (step * count for count in range(int(most / step + 1e-9) + 1))
