"""Graphs of compile units as a benchmark wants them: a part of one, whose edit to measure, and what no schedule can beat.

Pure. It knows which unit needs which, and nothing of files; what was measured comes from others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from attrs import evolve

from headstart_worker.cargo import commands
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import BUILD_SCRIPT, LIBRARY, Unit, Units
from headstart_wrapper.errors import RequestError


def cut(
    units: Units,
    roots: Collection[str] = (),
    without: Collection[str] = (),
    *,
    build_scripts: bool = False,
) -> Units:
    """Part of a graph, which can be built without the rest.

    Args:
        units: all of it.
        roots: packages that are wanted, with what they need; all when empty. `name@version` is one of several versions.
        without: packages that are not, nor is what needs them.
        build_scripts: whether their compiles are wanted, with what only they need. No mode runs them, so they cost each the same.

    Raises:
        RequestError: there is no such package, or nothing is left.
    """
    known = {name for unit in units for name in _names(unit)}
    if unknown := sorted({*roots, *without} - known):
        raise RequestError(
            f"there is no package {unknown[0]}: name one of {', '.join(sorted({unit.package for unit in units}))}"
        )
    needed_by = dependents(units)
    tops = [unit for unit in units if (_names(unit) & {*roots} if roots else not needed_by[unit.name])]
    kept = _below(units, [unit for unit in tops if unit.kind != BUILD_SCRIPT])
    if build_scripts:
        packages = {units[name].package for name in kept}
        scripts = [unit for unit in units if unit.kind == BUILD_SCRIPT]
        kept |= _below(units, [unit for unit in scripts if not roots or unit.package in packages])
    for unit in units:
        if _names(unit) & {*without}:
            kept -= {unit.name, *needed_by[unit.name]}
    if not kept:
        raise RequestError("nothing is left of the graph: ask for more packages, or leave out fewer")
    return evolve(units, units=tuple(unit for unit in units if unit.name in kept))


def _names(unit: Unit) -> set[str]:
    """What a unit's package is called by people, and by Cargo's `--package`."""
    return {unit.package, f"{unit.package}@{unit.version}"}


def _below(units: Units, tops: Iterable[Unit]) -> set[str]:
    """The names of some units, and of all that they need, be it for being linked into a macro."""
    found: set[str] = set()
    waiting = list(tops)
    while waiting:
        unit = waiting.pop()
        if unit.name not in found:
            found.add(unit.name)
            waiting += units.direct(unit)
    return found


def dependents(units: Units) -> dict[str, frozenset[str]]:
    """By each unit's name, the units that are compiled again when it changes: what needs it, directly or not."""
    found: dict[str, frozenset[str]] = {unit.name: frozenset() for unit in units}
    for unit in reversed(units.units):
        above = found[unit.name] | {unit.name}
        for dependency in units.direct(unit):
            found[dependency.name] |= above
    return found


def edits(units: Units) -> dict[str, Unit]:
    """Libraries whose edits are worth measuring: "low" has the most dependents, "top" the fewest, "middle" about half the most.

    Edits of programs and macros start nothing early, so libraries that something needs are preferred. A graph with fewer than three of them
    has fewer edits, "low" first.
    """
    needed_by = {name: len(above) for name, above in dependents(units).items()}
    libraries = [unit for unit in units if unit.kind == LIBRARY]
    candidates = [unit for unit in libraries if needed_by[unit.name]] or libraries or list(units)
    most = max((needed_by[unit.name] for unit in candidates), default=0)
    found: dict[str, Unit] = {}
    # The middle last: where there are two, they are the ends.
    for name, wanted in (("low", most), ("top", 0), ("middle", most / 2)):
        left = [unit for unit in candidates if unit not in found.values()]
        if name == "top":
            left.reverse()  # of equal ones, that which is built last
        if left:
            found[name] = min(left, key=lambda unit: abs(needed_by[unit.name] - wanted))
    return {name: found[name] for name in ("low", "middle", "top") if name in found}


def longest_path(units: Units, seconds: Mapping[str, tuple[float, float]], mode: Mode) -> float:
    """Seconds that a build takes however many processors there are.

    Args:
        units: what is compiled; what is not among `seconds` is up to date.
        seconds: by unit's name, of the compile alone: until its early output, and of the whole compile. Where each half is a run of its own,
            the whole is the second run.
        mode: which outputs the dependents wait for.
    """
    early: dict[str, float] = {}
    full: dict[str, float] = {}
    for unit in units:
        start = max(
            (
                (early if commands.awaited(needed, unit, mode) == "early" else full)[needed.name]
                for needed in units.needed(unit)
            ),
            default=0.0,
        )
        until_early, whole = seconds.get(unit.name, (0.0, 0.0))
        early[unit.name] = start + until_early
        full[unit.name] = (early[unit.name] if commands.runs(unit, mode) == 2 else start) + whole
    return max(full.values(), default=0.0)
