"""What tests ask of a trace: its events, and that each is in its place."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

Event = dict[str, Any]

REQUESTS = 1000
"""The first track of what holds no slot."""

OF_JOBS = {"early", "codegen", "compile", "spawn", "reap"}
BETWEEN = {"queue", "stage", "publish"}
ARGS = {
    "queue": {"job", "label"},
    "stage": {"job", "label", "linked", "copied", "kept", "removed"},
    "publish": {"job", "label", "request", "phase"},
    "early": {"job", "label", "cpu"},
    "codegen": {"job", "label", "exit_code", "cpu", "peak_memory"},
    "compile": {"job", "label", "exit_code", "cpu", "peak_memory"},
    "spawn": {"job", "label"},
    "reap": {"job", "label"},
    "join": {"job", "label", "want"},
    "alone": {"job", "label", "want", "reason"},
    "compilers": {"compilers"},
    "slots": {"running", "waiting"},
    "tokens": {"free"},
    "memory": {"memory"},
    "rss": {"rss"},
}
"""What each event tells; some tell more."""


def events(path: Path) -> list[Event]:
    """Every event of a file."""
    return parsed(path.read_text("ascii"))


def parsed(text: str) -> list[Event]:
    """Every event of a trace; its closing bracket may be missing."""
    text = text.rstrip()
    found: list[Event] = json.loads(text if text.endswith("]") else text.rstrip(",") + "]")
    return found


def named(found: Iterable[Event], *names: str) -> list[Event]:
    """Those of some names, arrows apart."""
    return [event for event in found if event["name"] in names and event["ph"] in "XiC"]


def arrows(found: Iterable[Event]) -> list[tuple[str, int, int]]:
    """(what was read, of which job, by which job)."""
    return [
        (event["name"], event["args"]["of"], event["args"]["job"]) for event in found if event["ph"] == "f"
    ]


def check(found: list[Event]) -> None:
    """Whatever holds for every trace."""
    assert len({event["pid"] for event in found}) == 1
    for event in found:
        assert {"ph", "name", "ts", "pid", "tid"} <= set(event), event
        assert isinstance(event["ts"], int)
        assert event["ph"] in "MXiCsf", event
    for event in named(found, *ARGS):
        missing = ARGS[event["name"]] - set(event["args"])
        assert not missing or (event["name"], missing) == ("early", {"cpu"}), event
    _check_spans(found)
    _check_arrows(found)


def _check_spans(found: list[Event]) -> None:
    tracks: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for event in found:
        if event["ph"] == "X":
            assert event["dur"] >= 0, event
            assert (event["tid"] < REQUESTS) is (event["name"] in OF_JOBS), event
            tracks[event["tid"]].append((event["ts"], -event["ts"] - event["dur"], event["name"]))
    for on_one in tracks.values():
        opened: list[int] = []
        for start, negative_end, _ in sorted(on_one, key=lambda span: span[:2]):
            while opened and opened[-1] <= start:
                opened.pop()
            assert not opened or -negative_end <= opened[-1], on_one
            opened.append(-negative_end)
    runs = [event["args"]["job"] for event in named(found, "compile", "codegen")]
    assert len(runs) == len(set(runs)), runs
    by_job: dict[int, dict[str, Event]] = defaultdict(dict)
    for event in named(found, *OF_JOBS):
        by_job[event["args"]["job"]][event["name"]] = event
    for job, spans in by_job.items():
        assert set(spans) - {"spawn", "reap"} in ({"compile"}, {"early", "codegen"}), job
        first, last = spans.get("early") or spans["compile"], spans.get("codegen") or spans["compile"]
        assert len({span["tid"] for span in spans.values()}) == 1
        assert spans.get("spawn", first)["ts"] == first["ts"]
        assert _contains(first, spans.get("spawn", first)), job
        assert _contains(last, spans.get("reap", last)), job
    for ours in by_job.values():
        halves = [ours[name] for name in ("early", "codegen") if name in ours]
        assert all(a["ts"] + a["dur"] == b["ts"] for a, b in pairwise(halves))


def _check_arrows(found: list[Event]) -> None:
    tails = {event["id"]: event for event in found if event["ph"] == "s"}
    heads = {event["id"]: event for event in found if event["ph"] == "f"}
    assert set(tails) == set(heads)
    assert len(heads) == sum(event["ph"] == "f" for event in found)
    spans = named(found, "early", "codegen", "compile")
    for number, head in heads.items():
        tail, args = tails[number], head["args"]
        assert (tail["name"], tail["cat"]) == (head["name"], head["cat"])
        assert head["bp"] == "e"
        assert tail["ts"] <= head["ts"], (tail, head)
        assert any(_binds(tail, span) and span["args"]["job"] == args["of"] for span in spans), tail
        assert any(
            _binds(head, span) and span["args"]["job"] == args["job"] and span["ts"] == head["ts"]
            for span in spans
        ), head


def _binds(arrow: Event, span: Event) -> bool:
    return bool(arrow["tid"] == span["tid"] and span["ts"] <= arrow["ts"] < span["ts"] + max(span["dur"], 1))


def _contains(outer: Event, inner: Event) -> bool:
    return bool(outer["ts"] <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"])
