"""Pictures of builds: trace events in, SVG and one self-contained HTML page out.

    one panel a build · one row a slot · two colours: until the early output, and the codegen tail

Pure: text in, text out. The command that reads and writes files is `commands.timeline`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from headstart_wrapper.errors import RequestError


@frozen
class Compile:
    """One run of a compiler.

    Attributes:
        label: what it made.
        slot: where it ran; numbers start at 0 for each worker.
        start, end: seconds of the day's clock.
        early: when its early outputs were complete, likewise; None: they never were apart.
        cpu: seconds of processor time.
        peak_memory: bytes.
        exit_code: as answered.
    """

    label: str
    slot: int
    start: float
    end: float
    early: float | None
    cpu: float
    peak_memory: int
    exit_code: int


@frozen
class Build:
    """One build, as its workers' traces tell it.

    Attributes:
        compiles: in the order of their starts.
        joins: requests that were answered from a compiler which another request had started.
    """

    compiles: tuple[Compile, ...]
    joins: int

    @property
    def start(self) -> float:
        """When the first compiler started; 0 for an empty build."""
        return min((compile_.start for compile_ in self.compiles), default=0.0)

    @property
    def wall(self) -> float:
        """Seconds from the first compiler's start to the last one's end."""
        return max((compile_.end for compile_ in self.compiles), default=0.0) - self.start

    @property
    def cpu(self) -> float:
        """Processor seconds of all compilers."""
        return sum(compile_.cpu for compile_ in self.compiles)

    @property
    def peak_compilers(self) -> int:
        """The most compilers that ran at once."""
        edges = sorted(
            edge for compile_ in self.compiles for edge in ((compile_.start, 1), (compile_.end, -1))
        )
        running = most = 0
        for _, change in edges:
            running += change
            most = max(most, running)
        return most

    @property
    def pipelined(self) -> int:
        """Compilers whose early outputs were complete before they ended."""
        return sum(compile_.early is not None for compile_ in self.compiles)


def read_build(traces: Iterable[str], *, since: float = 0.0) -> Build:
    """Reads the traces of a build's workers.

    Args:
        traces: the text of each trace file; one of a killed worker, which ends anywhere after an event, is fine.
        since: what started before this moment (seconds of the day's clock) belongs to another build.

    Raises:
        RequestError: a text is no trace.
    """
    compiles: list[Compile] = []
    joins = 0
    for base, trace in enumerate(traces):
        early_at: dict[tuple[int, int], tuple[float, float]] = {}
        for event in _events(trace):
            if event.get("ts", 0) / 1e6 < since:
                continue
            joins += event["name"] == "join"
            if event["name"] == "early":
                key = event["pid"], event["args"]["job"]
                early_at[key] = event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6
            elif event["name"] in {"compile", "codegen"}:
                compiles.append(_compile(event, early_at.get((event["pid"], event["args"]["job"])), base))
    return Build(tuple(sorted(compiles, key=lambda compile_: compile_.start)), joins)


def _events(trace: str) -> list[dict[str, Any]]:
    complete = trace[: trace.rfind("}") + 1]
    try:
        events: list[dict[str, Any]] = json.loads(complete + "]")
    except ValueError as error:
        raise RequestError(f"this is no trace of a worker ({error}); make one with --trace=FILE") from error
    return events


def _compile(event: dict[str, Any], early: tuple[float, float] | None, base: int) -> Compile:
    args = event["args"]
    return Compile(
        label=args["label"],
        slot=base * 1000 + event["tid"],
        start=early[0] if early else event["ts"] / 1e6,
        end=(event["ts"] + event["dur"]) / 1e6,
        early=early[1] if early else None,
        cpu=args["cpu"],
        peak_memory=args["peak_memory"],
        exit_code=args["exit_code"],
    )


_WIDTH = 960
_ROW = 16
_MARGIN = 12
_HEAD = 24
_STYLE = """
svg{font:11px system-ui,sans-serif}.t{font-size:13px;font-weight:600;fill:#1f2937}.a{fill:#6b7280}
.e{fill:#2563eb}.c{fill:#a5b4fc}.w{fill:#64748b}.f{fill:#dc2626}.g{stroke:#e5e7eb}
rect{stroke:#fff;stroke-width:.5}rect:hover{opacity:.7}
"""


def svg(panels: Sequence[tuple[str, Build]]) -> str:
    """One picture with a panel for each build, all on one scale of time."""
    longest = max((build.wall for _, build in panels), default=0.0) or 1.0
    scale = (_WIDTH - 2 * _MARGIN) / longest
    parts: list[str] = []
    top = _MARGIN
    for title, build in panels:
        rows = sorted({compile_.slot for compile_ in build.compiles})
        parts.append(f'<text class="t" x="{_MARGIN}" y="{top + 14}">{html.escape(title)}</text>')
        top += _HEAD
        height = _ROW * len(rows)
        parts += _grid(longest, scale, top, height)
        for compile_ in build.compiles:
            y = top + _ROW * rows.index(compile_.slot)
            parts += _bars(compile_, build.start, scale, y)
        top += height + _ROW + _MARGIN
    legend = (
        f'<rect class="e" x="{_MARGIN}" y="{top}" width="10" height="10"/><text class="a" x="{_MARGIN + 14}" y="{top + 9}">'
        "until the early output</text>"
        f'<rect class="c" x="{_MARGIN + 150}" y="{top}" width="10" height="10"/>'
        f'<text class="a" x="{_MARGIN + 164}" y="{top + 9}">codegen, after the early output was handed on</text>'
        f'<rect class="w" x="{_MARGIN + 470}" y="{top}" width="10" height="10"/>'
        f'<text class="a" x="{_MARGIN + 484}" y="{top + 9}">not pipelined</text>'
    )
    size = f'viewBox="0 0 {_WIDTH} {top + 20}" width="{_WIDTH}" height="{top + 20}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>{"".join(parts)}{legend}</svg>\n'


def _grid(longest: float, scale: float, top: float, height: float) -> list[str]:
    step = next((step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300) if longest / step <= 12), 600)
    parts = []
    for count in range(int(longest / step) + 1):
        x = _MARGIN + count * step * scale
        parts.append(f'<line class="g" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + height}"/>')
        parts.append(f'<text class="a" x="{x:.1f}" y="{top + height + 12}">{count * step:g} s</text>')
    return parts


def _bars(compile_: Compile, origin: float, scale: float, y: float) -> list[str]:
    def bar(kind: str, start: float, end: float) -> str:
        x, width = _MARGIN + (start - origin) * scale, max((end - start) * scale, 0.5)
        seconds = compile_.end - compile_.start
        early = "" if compile_.early is None else f", early after {compile_.early - compile_.start:.2f} s"
        tip = f"{compile_.label}: {seconds:.2f} s{early}, CPU {compile_.cpu:.2f} s, peak {compile_.peak_memory >> 20} MiB"
        title = f"<title>{html.escape(tip)}</title>"
        return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_ROW - 3}">{title}</rect>'

    if compile_.exit_code:
        return [bar("f", compile_.start, compile_.end)]
    if compile_.early is None:
        return [bar("w", compile_.start, compile_.end)]
    return [bar("e", compile_.start, compile_.early), bar("c", compile_.early, compile_.end)]


def page(panels: Sequence[tuple[str, Build]]) -> str:
    """One HTML page: the picture, and a table of every compile, longest first. It loads nothing from elsewhere."""
    tables = "".join(_table(title, build) for title, build in panels)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Headstart timeline</title>'
        "<style>body{font:14px system-ui,sans-serif;margin:2em;color:#1f2937}table{border-collapse:collapse;margin-top:1em}"
        "td,th{padding:2px 10px;text-align:right;border-bottom:1px solid #e5e7eb}td:first-child,th:first-child{text-align:left}"
        f"</style><h1>Headstart timeline</h1>{svg(panels)}{tables}</html>\n"
    )


def _table(title: str, build: Build) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(compile_.label)}</td><td>{compile_.start - build.start:.2f}</td>"
        f"<td>{'' if compile_.early is None else f'{compile_.early - compile_.start:.2f}'}</td>"
        f"<td>{compile_.end - compile_.start:.2f}</td><td>{compile_.cpu:.2f}</td><td>{compile_.peak_memory >> 20}</td></tr>"
        for compile_ in sorted(build.compiles, key=lambda compile_: compile_.start - compile_.end)
    )
    return (
        f"<h2>{html.escape(title)}</h2><p>{len(build.compiles)} compilers, {build.joins} joins, "
        f"at most {build.peak_compilers} at once, CPU {build.cpu:.1f} s</p>"
        "<table><tr><th>output</th><th>started (s)</th><th>early (s)</th><th>wall (s)</th><th>CPU (s)</th><th>peak (MiB)</th></tr>"
        f"{rows}</table>"
    )
