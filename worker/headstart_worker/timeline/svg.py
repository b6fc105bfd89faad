"""Builds as one static picture, for documents: no script, colours for light and dark surroundings. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final

from headstart_worker.timeline.critical import Critical
from headstart_worker.timeline.model import Build, Compile, means, parts, steps
from headstart_worker.timeline.palette import as_rules

_WIDTH: Final = 960
_ROW: Final = 18
_BAR: Final = 14
_MARGIN: Final = 12
_HEAD: Final = 24
_STRIP: Final = 34
_AXIS: Final = 18
_LETTER: Final = 5.6
"""Pixels that a letter of the labels takes, rather more than less."""

_RULES: Final = {
    ".ground": {"fill": "ground"},
    ".t,.n": {"fill": "text"},
    ".a": {"fill": "quiet"},
    ".g": {"stroke": "line"},
    ".e": {"fill": "early", "stroke": "early-edge"},
    ".c": {"fill": "codegen", "stroke": "codegen-edge"},
    ".w": {"fill": "whole", "stroke": "whole-edge"},
    ".f": {"fill": "failed", "stroke": "failed-edge"},
    ".p": {"stroke": "path"},
}
_STYLE: Final = (
    "svg{font:11px system-ui,sans-serif}.t{font-size:13px;font-weight:600}.n{font-size:10px;pointer-events:none}"
    "rect{stroke-width:.75}path.hill{stroke:none}.p{fill:none;stroke-width:2}.ground{stroke:none}"
)

_LEGEND: Final = (
    ("e", "until the early output"),
    ("c", "codegen, after the early output was handed on"),
    ("w", "not pipelined"),
    ("p", "critical path"),
)


def svg(panels: Sequence[tuple[str, Build]]) -> str:
    """One picture with a panel for each build, all on one scale of time: one row a slot, below them how many compilers ran."""
    return drawn([(title, Critical(build)) for title, build in panels])


def drawn(panels: Sequence[tuple[str, Critical]]) -> str:
    """See `svg`; for builds whose constraints are known."""
    longest = max((critical.build.wall for _, critical in panels), default=0.0) or 1.0
    scale = (_WIDTH - 2 * _MARGIN) / longest
    pieces: list[str] = []
    top = _MARGIN
    for title, critical in panels:
        more, top = _panel(title, critical, longest, scale, top)
        pieces += more
    x = _MARGIN
    for kind, text in _LEGEND:
        pieces.append(
            f'<path class="p" d="M{x} {top + 5}h14"/>'
            if kind == "p"
            else f'<rect class="{kind}" x="{x}" y="{top}" width="14" height="10"/>'
        )
        pieces.append(f'<text class="a" x="{x + 19}" y="{top + 9}">{text}</text>')
        x += 45 + int(len(text) * _LETTER)
    height = top + 22
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    style = f"<style>{_STYLE}{as_rules(_RULES)}</style>"
    ground = f'<rect class="ground" width="{_WIDTH}" height="{height}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{ground}{"".join(pieces)}</svg>\n'


def _panel(title: str, critical: Critical, longest: float, scale: float, top: int) -> tuple[list[str], int]:
    build = critical.build
    slots = sorted({compile_.slot for compile_ in build.compiles})
    pieces = [f'<text class="t" x="{_MARGIN}" y="{top + 14}">{html.escape(title)}</text>']
    top += _HEAD
    bottom = top + _ROW * len(slots)
    pieces += _grid(longest, scale, top, bottom + _STRIP)
    for compile_, name in zip(build.compiles, critical.names, strict=True):
        pieces += _bars(compile_, name, critical.zero, scale, top + _ROW * slots.index(compile_.slot))
    if critical.path:
        pieces.append(_path(critical, slots, scale, top))
    pieces += _hill(build, scale, bottom)
    return pieces, bottom + _STRIP + _AXIS + _MARGIN


def _path(critical: Critical, slots: Sequence[int], scale: float, top: int) -> str:
    """The critical path, as a line below its bars that goes from slot to slot."""
    build = critical.build
    line = ""
    for piece in critical.path:
        y = top + _ROW * slots.index(build.compiles[piece.index].slot) + _BAR + 1.5
        start, end = (_MARGIN + (at - critical.zero) * scale for at in (piece.start, piece.end))
        line += f"{f'V{y}H{start:.1f}' if line else f'M{start:.1f} {y}'}H{end:.1f}"
    return f'<path class="p" d="{line}"><title>critical path</title></path>'


def _grid(longest: float, scale: float, top: int, bottom: int) -> Iterable[str]:
    step = next((step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300) if longest / step <= 12), 600)
    for count in range(int(longest / step) + 1):
        x = _MARGIN + count * step * scale
        yield f'<line class="g" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
        yield f'<text class="a" x="{x:.1f}" y="{bottom + 12}">{count * step:g} s</text>'


def _bars(compile_: Compile, name: str, origin: float, scale: float, y: int) -> Iterable[str]:
    def bar(kind: str, start: float, end: float) -> str:
        x, width = _MARGIN + (start - origin) * scale, max((end - start) * scale, 0.5)
        early = "" if compile_.early is None else f", early after {compile_.early - compile_.start:.2f} s"
        tip = (
            f"{compile_.label}: {compile_.seconds:.2f} s{early}, CPU {compile_.cpu:.2f} s, "
            f"peak {compile_.peak_memory >> 20} MiB"
            f"{', ended: nobody wanted it any more' if compile_.cancelled else ''}"
        )
        title = f"<title>{html.escape(tip)}</title>"
        return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}">{title}</rect>'

    if compile_.failed:
        yield bar("f", compile_.start, compile_.end)
    elif compile_.early is None:
        yield bar("w", compile_.start, compile_.end)
    else:
        yield bar("e", compile_.start, compile_.early)
        yield bar("c", compile_.early, compile_.end)
    if compile_.seconds * scale > len(name) * _LETTER + 6:
        x = _MARGIN + (compile_.start - origin) * scale + 3
        yield f'<text class="n" x="{x:.1f}" y="{y + 10.5}">{html.escape(name)}</text>'


def _hill(build: Build, scale: float, top: int) -> Iterable[str]:
    """How many compilers ran, those until their early outputs at the bottom."""
    low, height = top + _STRIP - 2, _STRIP - 8
    columns, most = max(int(build.wall * scale), 1), max(build.peak_compilers, 1)
    hills = list[str]()
    spans = list[tuple[float, float, float]]()
    for kind, more in parts(build.compiles):
        spans += more
        if more and kind != "waiting":
            values = means(steps(spans), build.start, build.start + build.wall, columns)
            points = "".join(
                f"L{_MARGIN + column} {low - height * value / most:.1f}"
                for column, value in enumerate(values)
            )
            hills.append(
                f'<path class="{kind[0]} hill" d="M{_MARGIN} {low}{points}L{_MARGIN + columns} {low}Z"/>'
            )
    return reversed(hills)
