"""The directory that all workers of a storm work in: what its outputs hold, and what they must hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import final

from process.support import entries
from storm.book import Request, ViolationError
from storm.jobs import Imagination, Job, Unit, Want, places, source


@final
class Ground:
    """Sources and outputs of all units. Attributes: the directory, the units."""

    def __init__(self, workspace: Path, units: int, imagination: Imagination, counts: Counter[str]) -> None:
        """Makes the directory, with a source for each unit."""
        self.workspace = workspace
        self.units = [Unit(number) for number in range(units)]
        self._imagination = imagination
        self._counts = counts
        for name in ("src", "out"):
            (workspace / name).mkdir(parents=True)
        for unit in self.units:
            self.write_source(unit)

    def write_source(self, unit: Unit) -> None:
        """Gives a unit a source that no unit had."""
        unit.line = f"source-{self._imagination.name()}"
        path = self.workspace / source(unit.number)
        new = path.with_suffix(".new")
        new.write_text(unit.line + "\n")
        new.replace(path)

    def settle(self, unit: Unit, request: Request) -> None:
        """A request for a unit, the newest, went well: its outputs are complete, and stay as they are."""
        metadata, library = places(unit.number)
        if request.want != "full" or not request.job.staged:
            unit.settled[metadata] = request.job.metadata
        if request.want != "early":
            unit.settled[library] = request.job.library
            unit.loose = False
        self.check_settled(unit, f"after the answer to {request} ")

    def unsettle(self, unit: Unit, job: Job, want: Want) -> None:
        """A unit's outputs are asked for: what they hold may change from now on."""
        metadata, _ = places(unit.number)
        # A full half with a private directory leaves the metadata to the early half.
        kept = want == "full" and job.staged and unit.settled.get(metadata) == job.metadata
        unit.settled = {metadata: job.metadata} if kept else {}
        unit.loose |= want == "early"

    def remove(self, unit: Unit, want: Want) -> None:
        """Removes what an action will make, as build tools do before they ask for it."""
        metadata, library = places(unit.number)
        for place in {"early": [metadata], "full": [library], "alone": [metadata, library]}[want]:
            (self.workspace / place).unlink(missing_ok=True)

    def check_settled(self, unit: Unit, when: str = "") -> None:
        """Compares a unit's outputs with what they have to hold.

        Raises:
            ViolationError: they differ.
        """
        for place, expected in unit.settled.items():
            self._counts["outputs compared"] += 1
            found = self._content(place)
            if found != expected:
                raise ViolationError(f"{when}the output {place} holds {found!r} and not {expected!r}")

    def check_whole(self, unit: Unit, request: Request) -> None:
        """Sees that no declared output of a request is half-written.

        Raises:
            ViolationError: one is.
        """
        if place := self.half_written(unit, request.want):
            found = self._content(place)
            raise ViolationError(
                f"{request} is answered ({request.answer}), but {place} is half-written: {found!r}"
            )

    def half_written(self, unit: Unit, want: Want) -> str | None:
        """The declared output of a wish for a unit that holds something incomplete; None when there is none."""
        # What an early half's compiler wrote beyond its declared output is nobody's.
        for place in places(unit.number)[: 1 if want == "early" else 2]:
            self._counts["outputs compared"] += 1
            found = self._content(place)
            if found is not None and found not in unit.complete:
                return place
        return None

    def halves(self) -> set[str]:
        """Private names of publications that were not finished."""
        return {name for name in entries(self.workspace / "out") if name.startswith(".")}

    def _content(self, place: str) -> bytes | None:
        try:
            return (self.workspace / place).read_bytes()
        except FileNotFoundError:
            return None
