"""Which mode pays for one graph on one machine: three sentences with numbers, and the predictions that they come from. Pure.

A difference in wall time is called one from `PAYS` on. The model compares modes on the same costs, so it can tell less than its error
against a clock, but not as little as it computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from headstart_worker.cargo.commands import MODES, Mode
from headstart_worker.model.costs import Costs
from headstart_worker.model.plans import Machine
from headstart_worker.model.simulation import Prediction, predict

PAYS: Final = 0.05

Walls = Mapping[Mode, Prediction]


@frozen
class Edit:
    """A change of one crate's interface.

    Attributes:
        package: what is changed, for people.
        compiled: names of the units that are compiled then.
    """

    package: str
    compiled: frozenset[str]


@frozen
class Advice:
    """The answer.

    Attributes:
        sentences: which mode pays here; by how much; what other machines and edits would change.
        predictions: every number that they rest on, and more.
    """

    sentences: tuple[str, str, str]
    predictions: tuple[dict[str, Any], ...]


def advise(costs: Costs, edit: Edit, here: Machine, there: Machine) -> Advice:
    """Answers for one graph.

    Args:
        costs: of its units.
        edit: whose cost is to be told beside that of clean builds.
        here: where it is built.
        there: a larger machine of the same kind.
    """
    clean, edited = _all(costs, here), _all(costs, here, edit)
    larger, edited_larger = _all(costs, there), _all(costs, there, edit)
    best = _best(clean)
    told = [
        ("clean", here, clean),
        (f"edit of {edit.package}", here, edited),
        ("clean", there, larger),
        (f"edit of {edit.package}", there, edited_larger),
    ]
    outlook = (
        f"With {_place(there)}, {_what_changes(larger)}; after an edit of {edit.package} "
        f"({len(edit.compiled)} of {len(costs.units)} compiles) with {_place(here)}, {_what_changes(edited)}."
    )
    sentences = _who_pays(len(costs.units), here, clean, best), _how_much(clean, best), outlook
    return Advice(sentences, tuple(_documents(told)))


def _all(costs: Costs, machine: Machine, edit: Edit | None = None) -> Walls:
    compiled = None if edit is None else edit.compiled
    return {mode: predict(costs.units, mode, machine, compiled) for mode in MODES}


def _best(walls: Walls) -> Mode:
    """The mode that pays most; "none" when none does.

    Of modes that are as fast as each other, the one with the least processor time; of those that are equal in that, too, the last: hollow
    goes before two_invocation, because it kills no compiler.
    """
    fastest = min(walls[mode].wall for mode in MODES)
    if walls["none"].wall <= fastest * (1 + PAYS):
        return "none"
    near = [mode for mode in MODES if walls[mode].wall <= fastest * (1 + PAYS)]
    return min(reversed(near), key=lambda mode: (round(walls[mode].cpu, 3), round(walls[mode].wall, 3)))


def _place(machine: Machine) -> str:
    if machine.remote is not None:
        return f"{machine.jobs} remote executors of {machine.remote.cores} cores"
    return "1 core" if machine.cores == 1 else f"{machine.cores} cores"


def _who_pays(units: int, here: Machine, clean: Walls, best: Mode) -> str:
    none = clean["none"].wall
    if best == "none":
        rival = _rival(clean)
        return (
            f"With {_place(here)}, no pipelining pays for clean builds: the {units} compiles take {none:.1f} s without, and {clean[rival].wall:.1f} s "
            f"in mode {rival}, which is nearest."
        )
    wall = clean[best].wall
    return (
        f"With {_place(here)}, mode {best} pays: a clean build of the {units} compiles takes {wall:.1f} s instead of {none:.1f} s without "
        f"pipelining, {none / wall:.2f} times as fast."
    )


def _rival(walls: Walls) -> Mode:
    """The fastest of those that pipeline; of equals, the one with the least processor time."""
    return min(
        (mode for mode in MODES if mode != "none"), key=lambda mode: (walls[mode].wall, walls[mode].cpu)
    )


def _how_much(clean: Walls, best: Mode) -> str:
    base = clean[best]
    parts = [
        f"{_named(mode)} takes {clean[mode].wall / base.wall - 1:+.0%} wall and {clean[mode].cpu / base.cpu - 1:+.0%} CPU"
        for mode in MODES
        if mode != best
    ]
    numbers = f"{base.wall:.1f} s wall, {base.cpu:.1f} s CPU"
    return f"Against {_named(best)} ({numbers}), {', '.join(parts[:-1])} and {parts[-1]}."


def _named(mode: Mode) -> str:
    return "no pipelining" if mode == "none" else f"mode {mode}"


def _what_changes(walls: Walls) -> str:
    best, none = _best(walls), walls["none"].wall
    if best == "none":
        return f"no mode would pay ({none:.1f} s without pipelining, {walls[_rival(walls)].wall:.1f} s at best with it)"
    wall = walls[best].wall
    return f"{best} would take {wall:.1f} s instead of {none:.1f} s ({none / wall:.2f} times as fast)"


def _documents(told: Sequence[tuple[str, Machine, Walls]]) -> list[dict[str, Any]]:
    return [
        {
            "scenario": scenario,
            "cores": machine.cores,
            "jobs": machine.jobs,
            "mode": mode,
            **asdict(predicted),
        }
        for scenario, machine, walls in told
        for mode, predicted in walls.items()
    ]
