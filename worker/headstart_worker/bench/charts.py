"""Charts of a benchmark as SVG: modes side by side, and what more cores would give. Pure; tables and sentences are `report`'s business."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from headstart_worker.bench.drawing import label, line, name_of, picture, steps, tag
from headstart_worker.bench.records import Experiment
from headstart_worker.bench.report import Row, rows
from headstart_worker.bench.verdicts import Interval

_WIDTH: Final = 960
_MARGIN: Final = 16
_TOP: Final = 64
_ROW: Final = 30
_BAR: Final = 16
_NAMES: Final = 130
"""For the names of modes."""

_FIGURES: Final = 64
"""For the figure behind a bar."""

_LETTER: Final = 7
"""The width of one, about."""


def comparison(experiment: Experiment) -> str:
    """Wall time to the left, CPU time to the right: a bar to the median, its interval, a ring for each build."""
    modes = rows(experiment)
    names = max([_NAMES, *(_LETTER * len(row.mode) for row in modes)])
    width = (_WIDTH - 2 * _MARGIN - names) / 2 - _FIGURES
    left = _MARGIN + names
    parts = [label(_MARGIN, 24, f"{experiment.name}, {experiment.units} units", "title")]
    parts += [
        label(_MARGIN, _TOP + _ROW * number + _BAR, row.mode, "figure") for number, row in enumerate(modes)
    ]
    wall = [(row, row.wall, [one.wall for one in row.taken]) for row in modes]
    cpu = [(row, row.cpu, [one.cpu for one in row.taken]) for row in modes]
    parts += _bars("wall time", wall, left, width)
    parts += _bounds(modes, left, width / _most(wall))
    parts += _bars("CPU time of all processes", cpu, left + width + _FIGURES, width)
    foot = _TOP + _ROW * len(modes) + 40
    told = "bar: median · line: interval of the median · rings: single builds"
    bound = " · dashed: no schedule of these compiles is faster" if experiment.bounds else ""
    parts.append(label(_MARGIN, foot, told + bound))
    return picture(_WIDTH, foot + _MARGIN, experiment.name, parts)


_Bars = Sequence[tuple[Row, Interval, Sequence[float]]]


def _most(bars: _Bars) -> float:
    return max((max(values) for _, _, values in bars), default=0.0) or 1.0


def _bars(title: str, bars: _Bars, left: float, width: float) -> Iterator[str]:
    most = _most(bars)
    scale, bottom = width / most, _TOP + _ROW * len(bars)
    yield label(left, _TOP - 14, title)
    for value in steps(most):
        x = left + value * scale
        yield line(x, _TOP - 6, x, bottom, "grid")
        yield label(x, bottom + 14, f"{value:g} s", anchor="middle")
    for number, (row, span, values) in enumerate(bars):
        top = _TOP + _ROW * number + 3
        middle = top + _BAR / 2
        low, high = left + span.low * scale, left + span.high * scale
        tip = f"{row.mode}: median {span.median:.2f} s, {span.low:.2f} to {span.high:.2f} s, {span.runs} run{'s'[: span.runs > 1]}"
        yield tag(
            "rect",
            tag("title", html.escape(tip)),
            kind=name_of(row.mode),
            x=left,
            y=float(top),
            width=span.median * scale,
            height=float(_BAR),
            rx=2.0,
        )
        yield from (tag("circle", kind="run", cx=left + value * scale, cy=middle, r=2.5) for value in values)
        yield line(low, middle, high, middle, "whisker")
        yield from (line(end, middle - 4, end, middle + 4, "whisker") for end in (low, high))
        yield label(left + max(values) * scale + 8, middle + 4, f"{span.median:.2f} s", "figure")


def _bounds(modes: Sequence[Row], left: float, scale: float) -> Iterator[str]:
    for number, row in enumerate(modes):
        if row.bounds is not None:
            x, top = left + max(row.bounds.work, row.bounds.critical_path) * scale, _TOP + _ROW * number
            yield line(x, top - 1, x, top + _BAR + 7, "bound")


_HEIGHT: Final = 300
_LEFT: Final = 64
_RIGHT: Final = 760
"""The rest is for the names behind the curves."""

_SPACE: Final = 15
"""Between two names."""


@frozen
class _Plane:
    """Where a number of cores and a wall time stand: the cores' axis doubles from step to step, time begins with 0."""

    cores: tuple[float, ...]
    most: float

    @property
    def bottom(self) -> float:
        return float(_TOP + _HEIGHT)

    def x(self, count: float) -> float:
        first, last = math.log2(self.cores[0]), math.log2(self.cores[-1])
        return _LEFT + (math.log2(count) - first) / ((last - first) or 1) * (_RIGHT - _LEFT)

    def y(self, wall: float) -> float:
        return self.bottom - wall / self.most * _HEIGHT


def scaling(title: str, curves: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]] = ()) -> str:
    """Wall time over cores, one line a mode.

    Args:
        title: what was built.
        curves: {"mode", "cores", "wall"}, predicted; at least one.
        points: {"mode", "jobs", "measured"}, to be seen beside the lines.
    """
    walls = [one["wall"] for one in curves] + [one["measured"] for one in points]
    cores = {one["cores"] for one in curves} | {one["jobs"] for one in points}
    plane = _Plane(tuple(sorted(cores)), max(walls) or 1.0)
    parts = [label(_MARGIN, 24, title, "title")]
    parts.append(label(_MARGIN, 44, "predicted wall time by cores; rings: medians of measured builds"))
    parts += _axes(plane)
    ends = []
    for mode in dict.fromkeys(one["mode"] for one in curves):
        ordered = sorted((one["cores"], one["wall"]) for one in curves if one["mode"] == mode)
        path = " ".join(f"{plane.x(count):.1f},{plane.y(wall):.1f}" for count, wall in ordered)
        parts.append(tag("polyline", kind=f"curve {name_of(mode)}", points=path))
        ends.append((plane.y(ordered[-1][1]), f"{mode}: {ordered[-1][1]:.1f} s", name_of(mode)))
    parts += _names(sorted(ends))
    parts += [_ring(plane, one) for one in points]
    return picture(_WIDTH, plane.bottom + 56, title, parts)


def _axes(plane: _Plane) -> Iterator[str]:
    for value in steps(plane.most):
        yield line(_LEFT, plane.y(value), _RIGHT, plane.y(value), "grid")
        yield label(_LEFT - 8, plane.y(value) + 4, f"{value:g} s", anchor="end")
    for count in plane.cores:
        if math.log2(count).is_integer():
            yield line(plane.x(count), _TOP, plane.x(count), plane.bottom, "grid")
            yield label(plane.x(count), plane.bottom + 18, f"{count:g}", anchor="middle")
    yield label((_LEFT + _RIGHT) / 2, plane.bottom + 38, "cores", anchor="middle")


def _names(ends: Sequence[tuple[float, str, str]]) -> Iterator[str]:
    """Behind the curves' ends, pushed apart from below so that none covers another."""
    lowest = float(_TOP + _HEIGHT)
    for y, words, kind in reversed(ends):
        place = min(y, lowest)
        yield line(_RIGHT + 4, y, _RIGHT + 20, place, f"curve {kind}")
        yield label(_RIGHT + 26, place + 4, words, "figure")
        lowest = place - _SPACE


def _ring(plane: _Plane, point: Mapping[str, Any]) -> str:
    tip = html.escape(f"{point['mode']}, {point['jobs']} jobs: measured {point['measured']:.2f} s")
    return tag(
        "circle",
        tag("title", tip),
        kind=f"curve {name_of(point['mode'])}",
        cx=plane.x(point["jobs"]),
        cy=plane.y(point["measured"]),
        r=4.5,
    )
