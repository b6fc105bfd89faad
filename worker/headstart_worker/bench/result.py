"""Everything that one `headstart bench` found, and its forms for programs: JSON and CSV. Pure; forms for people are `report` and `page`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, asdict, fields, frozen

from headstart_worker.bench import records
from headstart_worker.bench.records import FORMAT, Experiment, Taken
from headstart_worker.bench.warnings import Condition, warnings
from headstart_wrapper.errors import RequestError

_PLACE: Final = ("workspace", "profile", "scenario", "jobs")
"""What tells an experiment from the others."""


@frozen
class Result:
    """Everything of one command.

    Attributes:
        machine: what it was taken on.
        tools: releases of the compilers and build tools, as they tell them.
        before: the machine's condition before the first build.
        command: the command line.
        began, ended: ISO 8601, with the zone.
        experiments: what was measured.
        model: predictions and their errors, from the model's own code; None: not asked for, or impossible.
        notes: what was left out, and why.
    """

    machine: Mapping[str, Any]
    tools: Mapping[str, str]
    before: Condition
    command: str
    began: str
    ended: str
    experiments: tuple[Experiment, ...]
    model: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = Factory(tuple)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know."""
        return warnings(self.before, self.experiments)

    def export(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            "machine": dict(self.machine),
            "tools": dict(self.tools),
            "before": asdict(self.before),
            "command": self.command,
            "began": self.began,
            "ended": self.ended,
            "experiments": [one.export() for one in self.experiments],
            "model": None if self.model is None else dict(self.model),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def read(text: str) -> Result:
    """The inverse of `Result.export`, from its text.

    Raises:
        RequestError: it is no result of `headstart bench`, or one of another release.
    """
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise RequestError(
                f"this result has format {document['format']}, and this release reads {FORMAT}; measure again"
            )
        return Result(
            machine=document["machine"],
            tools=document["tools"],
            before=Condition(**document["before"]),
            command=document["command"],
            began=document["began"],
            ended=document["ended"],
            experiments=tuple(records.read(one) for one in document["experiments"]),
            model=document["model"],
            notes=tuple(document["notes"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise RequestError(
            f"this is no result of headstart bench ({error}); make one with headstart bench DIR --output=FILE.json"
        ) from error


def as_json(result: Result) -> str:
    """One document."""
    return json.dumps(result.export(), indent=1, ensure_ascii=False) + "\n"


def as_csv(result: Result) -> str:
    """One line a build, for spreadsheets and statistics programs."""
    figures = [attribute.name for attribute in fields(Taken)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_PLACE, "run", *figures])
    for experiment in result.experiments:
        runs = dict.fromkeys(experiment.modes, 0)
        for one in experiment.taken:
            runs[one.mode] += 1
            place = [getattr(experiment, name) for name in _PLACE]
            writer.writerow([*place, runs[one.mode], *(getattr(one, name) for name in figures)])
    return text.getvalue()
