"""Traces become builds. Old traces and those of other programs are read as far as they tell something.

Trace events say `early`, `codegen` or `compile` for what a slot did; everything else about a job (when it asked, what it
needed, who joined it) is an event of its own that carries the job's number. Pure: text in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from attrs import define, field

from headstart_worker.timeline.model import Build, Compile, Join, Need, Steps
from headstart_wrapper.errors import RequestError

_Event = dict[str, Any]

_MICRO: Final = 1e6
_SLOTS_OF_A_WORKER: Final = 1000


def read_build(traces: Iterable[str], *, since: float = 0.0) -> Build:
    """Reads the traces of a build's workers.

    Args:
        traces: the text of each trace file; one of a killed worker, which ends anywhere, is fine. One file may hold the events
            of several workers, and of others, which are passed over.
        since: what started before this moment (seconds of the day's clock) belongs to another build.

    Raises:
        RequestError: a text is no trace.
    """
    compiles: list[Compile] = []
    counters: list[Mapping[str, Steps]] = []
    joins = workers = 0
    for trace in traces:
        try:
            by_process = _by_process(events(trace), since)
            for those in by_process.values():
                worker = _Worker(workers)
                for event in those:
                    worker.take(event)
                compiles += worker.compiles()
                joins += worker.joins
                counters.append(worker.counters)
                workers += 1
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _no_trace(f"{type(error).__name__}: {error}") from error
    ordered = tuple(sorted(compiles, key=lambda compile_: compile_.start))
    return Build(ordered, joins, _together(counters))


def events(trace: str, *, otherwise: str = "no trace of a worker") -> list[_Event]:
    """The events of either form: an object that holds them, or an array of them, whose end may be missing.

    Args:
        trace: the text.
        otherwise: what it is called where it is neither.

    Raises:
        RequestError: it is neither.
    """
    text = trace.strip()
    try:
        found = json.loads(text)["traceEvents"] if text.startswith("{") else _listed(text)
    except (ValueError, KeyError, RecursionError) as error:
        raise _no_trace(str(error), otherwise) from error
    if not isinstance(found, list) or not all(isinstance(event, dict) for event in found):
        raise _no_trace("it is no list of events", otherwise)
    return found


def _listed(text: str) -> Any:
    """An array that may end after an event; one of ours, which has an event a line, may end in the middle of one, too."""
    try:
        return json.loads(text[: text.rfind("}") + 1] + "]")
    except ValueError:
        lines, newline, _ = text.rpartition("\n")
        return json.loads((lines if newline else text).rstrip().removesuffix(",") + "]")


def _no_trace(why: str, otherwise: str = "no trace of a worker") -> RequestError:
    return RequestError(f"this is {otherwise} ({' '.join(why.split())}); make one with --trace=FILE")


def printable(text: object) -> str:
    """Text that any file, picture and terminal can hold: a letter that cannot be printed becomes a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def _by_process(told: Iterable[_Event], since: float) -> dict[int, list[_Event]]:
    """Every process's events, for those that ran compilers. Flow arrows are told in the order of their moments."""
    found: dict[int, list[_Event]] = defaultdict(list)
    for event in told:
        if event.get("ts", 0) / _MICRO >= since:
            found[event.get("pid", 0)].append(event)
    ours = {"early", "codegen", "compile", "join", "queue"}
    return {
        process: those
        for process, those in found.items()
        if any(event.get("name") in ours and _job(event) is not None for event in those)
        or any(event.get("name") == "join" for event in those)
    }


def _job(event: _Event) -> int | None:
    job = event.get("args", {}).get("job")
    return job if isinstance(job, int) else None


@final
@define
class _Worker:
    """What the events of one worker have told so far; `compiles` when all were told."""

    base: int
    joins: int = 0
    counters: dict[str, list[tuple[float, float]]] = field(factory=dict[str, list[tuple[float, float]]])
    _ended: list[_Event] = field(factory=list[_Event])
    _early: dict[int, tuple[float, float]] = field(factory=dict[int, tuple[float, float]])
    _more: dict[int, dict[str, Any]] = field(factory=lambda: defaultdict[int, dict[str, Any]](dict))
    _joined: dict[int, list[Join]] = field(factory=lambda: defaultdict[int, list[Join]](list))
    _arrows: dict[object, float] = field(factory=dict[object, float])
    _heads: list[_Event] = field(factory=list[_Event])
    _labels: dict[int, str] = field(factory=dict[int, str])

    def take(self, event: _Event) -> None:
        """One more event."""
        name, at = event.get("name"), event.get("ts", 0) / _MICRO
        job = _job(event)
        match event.get("ph"):
            case "X" if job is not None:
                self._span(str(name), job, at, event)
            case "i" if name == "join":
                self.joins += 1
                if job is not None:
                    self._joined[job].append(Join(printable(event["args"].get("want", "")), at))
            case "i" if name == "alone" and job is not None:
                self._more[job]["alone"] = printable(event["args"].get("reason", ""))
            case "C":
                for series, value in event.get("args", {}).items():
                    self.counters.setdefault(series, []).append((at, float(value)))
            case "s" if event.get("cat") == "needs":
                self._arrows[event["id"]] = at
            case "f" if event.get("cat") == "needs":
                self._heads.append(event)
            case _:
                pass

    def _span(self, name: str, job: int, start: float, event: _Event) -> None:
        end, args = start + event["dur"] / _MICRO, event["args"]
        match name:
            case "compile" | "codegen":
                self._ended.append(event)
                self._labels[job] = printable(args["label"])
            case "early":
                self._early[job] = start, end
                self._more[job]["cpu_early"] = float(args["cpu"]) if "cpu" in args else None
            case "queue":
                self._more[job]["queued"] = start
                self._more[job]["expected_memory"] = int(args["memory"]) if "memory" in args else None
            case "spawn":
                self._more[job]["spawned"] = end
            case "reap":
                self._more[job]["reaping"] = start
            case "stage" | "publish":
                key = {"stage": "staging", "publish": "publishing"}[name]
                self._more[job][key] = self._more[job].get(key, 0.0) + end - start
            case _:
                pass

    def compiles(self) -> Iterable[Compile]:
        """Every compile that ended, with what was told about it."""
        needs: dict[int, list[Need]] = defaultdict(list)
        for head in self._heads:
            args, at = head["args"], self._arrows.get(head["id"])
            if at is not None:
                label = self._labels.get(args["of"], "")
                needs[args["job"]].append(Need(label, head["name"] == "early", at, args["of"]))
        for event in self._ended:
            job = event["args"]["job"]
            yield self._compile(event, self._early.get(job), tuple(needs[job]))

    def _compile(self, event: _Event, early: tuple[float, float] | None, needs: tuple[Need, ...]) -> Compile:
        args, job = event["args"], event["args"]["job"]
        start = event["ts"] / _MICRO
        return Compile(
            label=printable(args["label"]),
            slot=self.base * _SLOTS_OF_A_WORKER + int(event["tid"]),
            start=early[0] if early else start,
            end=(event["ts"] + event["dur"]) / _MICRO,
            early=early[1] if early else None,
            cpu=float(args["cpu"]),
            peak_memory=int(args["peak_memory"]),
            exit_code=int(args["exit_code"]),
            cancelled=bool(args.get("cancelled", False)),
            job=job,
            process=event.get("pid", 0),
            needs=needs,
            joined=tuple(self._joined[job]),
            **self._more[job],
        )


def _together(counters: list[Mapping[str, Steps]]) -> Mapping[str, Steps]:
    """The counters of all workers, added up."""
    if len(counters) < 2:
        return dict(counters[0]) if counters else {}
    changes: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for of_one in counters:
        for name, told in of_one.items():
            before = 0.0
            for at, value in told:
                changes[name].append((at, value - before))
                before = value
    summed: dict[str, Steps] = {}
    for name, told in changes.items():
        total, found = 0.0, []
        for at, change in sorted(told):
            total += change
            found.append((at, total))
        summed[name] = found
    return summed
