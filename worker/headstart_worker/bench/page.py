"""What a benchmark found, as one HTML page with pictures. It loads nothing from elsewhere and runs no script. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from headstart_worker.bench import charts, report
from headstart_worker.bench.records import CLEAN, Experiment
from headstart_worker.bench.result import Result

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1240px;padding:0 1rem;color:#1f2937;background:#fff}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}
td,th{padding:.15rem .5rem;text-align:right;border-bottom:1px solid #e5e7eb;white-space:nowrap}
td:first-child,th:first-child{text-align:left}th{font-weight:600}th[title]{text-decoration:underline dotted}
svg{max-width:100%;height:auto}.note{color:#6b7280}.warning{border-left:4px solid #d97706;padding-left:.8rem}
@media (prefers-color-scheme:dark){body{color:#e5e7eb;background:#0f172a}td,th{border-color:#334155}.note{color:#9ca3af}}
"""


def page(result: Result) -> str:
    """The whole report."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>headstart bench</title>'
        f"<style>{_STYLE}</style></head><body><h1>headstart bench</h1>{''.join(_body(result))}</body></html>\n"
    )


def _body(result: Result) -> Iterator[str]:
    yield _lines("note", filter(None, report.heading(result)))
    yield _lines("warning", (f"{told}." for told in result.warnings))
    for experiment in result.experiments:
        yield from _experiment(experiment)
    yield _lines("note", report.method(result))
    if result.model:
        yield from _model(result.model)
    yield _lines("note", (f"{told}." for told in result.notes))


def _experiment(experiment: Experiment) -> Iterator[str]:
    yield f"<h2>{html.escape(experiment.name)}</h2>{charts.comparison(experiment)}"
    yield _list(f"{told}." for told in report.findings(experiment))
    head = [(column.title, column.meaning) for column in report.COLUMNS]
    yield _table(head, report.cells(experiment))


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>What more cores would give</h2>"
    yield _list(model.get("reading", ()))
    points = model.get("points", [])
    for build, curves in _by_build(model.get("curves", [])).items():
        near = [one for one in _by_build(points).get(build, []) if one.get("scenario", CLEAN) == CLEAN]
        yield charts.scaling(", ".join(filter(None, build)) or "model", curves, near)
    if points:
        head = [
            ("build", ""),
            ("mode", ""),
            ("jobs", ""),
            ("measured", "median"),
            ("predicted", ""),
            ("error", ""),
            (
                "by work",
                "error of the wall for each second of processor time: without the machine's wavering speed",
            ),
        ]
        yield "<h3>Predicted and measured</h3>" + _table(head, [_point(one) for one in points])


def _by_build(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Workspace and profile; what names neither belongs together."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in entries:
        found.setdefault((one.get("workspace", ""), one.get("profile", "")), []).append(one)
    return found


def _point(point: Mapping[str, Any]) -> list[str]:
    build = ", ".join(filter(None, map(point.get, ("workspace", "profile", "scenario"))))
    figures = [f"{point[name]:.2f} s" for name in ("measured", "predicted")]
    errors = [f"{100 * point[name]:+.1f} %" if name in point else "-" for name in ("error", "error_per_work")]
    return [build, point["mode"], str(point["jobs"]), *figures, *errors]


def _table(head: Iterable[tuple[str, str]], lines: Iterable[Sequence[str]]) -> str:
    titles = "".join(_title(*column) for column in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{titles}</tr>{body}</table></div>'


def _title(words: str, meaning: str) -> str:
    tip = f' title="{html.escape(meaning)}"' if meaning else ""
    return f"<th{tip}>{html.escape(words)}</th>"


def _list(told: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(one)}</li>" for one in told)
    return f"<ul>{items}</ul>" if items else ""


def _lines(kind: str, told: Iterable[str]) -> str:
    return "".join(f'<p class="{kind}">{html.escape(one)}</p>' for one in told)
