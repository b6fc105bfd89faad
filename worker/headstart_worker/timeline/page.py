"""Builds as one HTML page that needs nothing else: no network, no library, and for the tables not even a script.

What is told about each compile is worked out here and in `explain`; page.js draws it and follows the pointer and the keyboard.
The page's policy lets the browser load nothing. Pure, apart from reading this package's own page.js and page.css.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

from headstart_worker.timeline.critical import Critical
from headstart_worker.timeline.explain import build_told, compile_told, summary_of_delays
from headstart_worker.timeline.model import Build, Steps, means, parts, steps
from headstart_worker.timeline.palette import as_variables
from headstart_worker.timeline.svg import drawn

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

_STRETCHES: Final = 1200
"""Points of a quantity's curve: about the pixels of a window's width."""

_LESS: Final = r"\u003c"
"""What stands for "<" in the data, lest a label end the script; JSON has none outside of strings."""

_LEGEND: Final = (
    ("early", "until the early output"),
    ("codegen", "codegen, after the early output was handed on"),
    ("whole", "not pipelined"),
    ("failed", "failed"),
    ("waiting", "waiting for a slot"),
    ("path", "critical path"),
)

_COLUMNS: Final = (
    ("compile", "what was made"),
    ("started (s)", "since the first compiler's start"),
    ("queued (s)", "from asking for a slot to the start"),
    ("early (s)", "from the start until the early output was there"),
    ("wall (s)", "from the start to the end"),
    ("CPU (s)", "processor time of its processes"),
    ("peak (MiB)", "the most memory that it held"),
    ("delay (s)", "how much sooner the build would have ended had it taken no time"),
    ("slack (s)", "how much longer it could have taken without delaying the build, in this schedule"),
)

_CONTROLS: Final = """
<form name="controls" class="controls" aria-label="View">
<label>one row <select name="rows"><option value="jobs">a compile</option><option value="slots">a slot</option></select></label>
<label>zoom <input name="zoom" type="range" min="1" max="16" step="0.25" value="1"></label>
<label>find <input name="find" type="search" placeholder="part of a name"></label>
<label><input name="path" type="checkbox"> critical path only</label>
<label>colours <select name="scheme"><option value="light dark">as the system</option><option value="light">light</option>
<option value="dark">dark</option></select></label>
</form>
"""


def page(panels: Sequence[tuple[str, Build]]) -> str:
    """One page with a panel for each build, all on one scale of time: the picture, what delayed the build, a table."""
    read = [(title, Critical(build)) for title, build in panels]
    data = json.dumps([_data(title, critical) for title, critical in read], separators=(",", ":"))
    # One row a slot when there is more than one build: that is how they compare at a glance.
    controls = _CONTROLS if len(panels) == 1 else _CONTROLS.replace('value="slots"', 'value="slots" selected')
    legend = "".join(f'<li><span class="{kind}"></span>{text}</li>' for kind, text in _LEGEND)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Headstart timeline</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>:root{{{as_variables()}}}\n{_own('page.css')}</style></head>\n<body><h1>Headstart timeline</h1>"
        f'<p class="quiet">Point at a compile, or step through them with the arrow keys, to see what it waited for (solid lines) and '
        f"what it let start (dashed); a click keeps it.</p>{controls}"
        f'<ul class="legend">{legend}</ul>\n<main>'
        f"{''.join(_section(title, critical) for title, critical in read)}</main>\n"
        f'<div id="told" role="status" hidden></div><noscript>{drawn(read)}</noscript>\n'
        f'<script type="application/json" id="data">{data.replace("<", _LESS)}</script>\n'
        f"<script>{_own('page.js')}</script></body></html>\n"
    )


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _section(title: str, critical: Critical) -> str:
    sentences = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in build_told(critical))
    delays = f"<p><b>{html.escape(summary_of_delays(critical))}</b></p>"
    heads = "".join(
        f'<th scope="col" title="{title}"><button type="button">{name}</button></th>'
        for name, title in _COLUMNS
    )
    rows = "".join(_row(critical, index) for index in _order(critical))
    return (
        f'<section><h2>{html.escape(title)}</h2>{sentences}{delays}<div class="chart"></div>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></section>\n"
    )


def _order(critical: Critical) -> list[int]:
    """What delayed the build most comes first; what took longest, where nobody knows."""
    compiles, blames = critical.build.compiles, critical.blames
    return sorted(
        range(len(compiles)), key=lambda index: (-(blames[index].delay or 0.0), -compiles[index].seconds)
    )


def _row(critical: Critical, index: int) -> str:
    compile_, blame = critical.build.compiles[index], critical.blames[index]
    early = None if compile_.early is None else compile_.early - compile_.start
    figures = (
        compile_.start - critical.zero,
        compile_.start - compile_.queued,
        early,
        compile_.seconds,
        compile_.cpu,
    )
    cells = [f"{figure:.2f}" if figure is not None else "" for figure in figures]
    cells.append(str(compile_.peak_memory >> 20))
    cells += [f"{figure:.2f}" if figure is not None else "" for figure in (blame.delay, blame.slack)]
    kind = ' class="path"' if index in critical.on_path else ""
    return (
        f'<tr data-job="{index}"{kind}><td title="{html.escape(compile_.label)}">{html.escape(critical.names[index])}</td>'
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _data(title: str, critical: Critical) -> dict[str, Any]:
    build = critical.build

    def moment(at: float) -> float:
        return round(at - critical.zero, 4)

    return {
        "title": title,
        "wall": round(build.wall, 4),
        "jobs": [
            {
                "name": critical.names[index],
                "slot": compile_.slot,
                "queued": max(moment(compile_.queued), 0.0),
                "start": moment(compile_.start),
                "early": None if compile_.early is None else moment(compile_.early),
                "end": moment(compile_.end),
                "failed": compile_.failed,
                "path": index in critical.on_path,
                "waits": [
                    {"of": held.of, "at": moment(held.at), "last": held is critical.held_by[index]}
                    for held in critical.constraints[index]
                ],
                "told": compile_told(critical, index),
            }
            for index, compile_ in enumerate(build.compiles)
        ],
        "path": [
            {"of": piece.index, "start": moment(piece.start), "end": moment(piece.end)}
            for piece in critical.path
        ],
        "strips": _strips(build),
    }


def _strips(build: Build) -> list[dict[str, Any]]:
    """The quantities below the bars. Those of one strip are drawn one over the other, the largest first."""
    if not build.compiles:
        return []
    last = build.start + build.wall

    def shown(told: Steps) -> list[float]:
        return [round(value, 3) for value in means(told, build.start, last, _STRETCHES)]

    stacked, spans = [], list[tuple[float, float, float]]()
    for kind, more in parts(build.compiles):
        spans += more
        if more:
            stacked.append({"kind": kind, "values": shown(steps(spans))})
    title, memory = build.memory()
    return [
        {
            "title": f"compilers: running (at most {build.peak_compilers} at once), and waiting for a slot on top of them",
            "unit": 1,
            "series": stacked[::-1],
        },
        {
            "title": f"{title}, in MiB",
            "unit": 1 << 20,
            "series": [{"kind": "memory", "values": shown(memory)}],
        },
    ]
