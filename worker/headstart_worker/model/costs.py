"""What units cost, from the trace of one clean build in mode worker.

- The front end's processor seconds are those until the early output (`cpu_early`); in a trace that does not have them, the wall
  seconds until then, because it is one thread. All the rest of a library is codegen, but for its packing.
- What is linked tells no such moment: it is divided as the libraries together are.
- How many threads codegen can keep busy, a trace from few cores cannot tell. It is taken from how the crate is compiled: see `_WIDTH`.
- `pace` is what the front ends took in wall seconds for each of their processor seconds: waits for files, for the machine's other
  work, and for the turn on a core, as they were in that build, where the cores were busy.

Pure.
"""

from __future__ import annotations

import posixpath
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from attrs import asdict, evolve, frozen

from headstart_worker.cargo import commands
from headstart_worker.cargo.units import Unit, Units
from headstart_worker.model.plans import Cost, Machine, Remote
from headstart_worker.timeline import Build, Compile
from headstart_wrapper.errors import RequestError

_WIDTH: Final = {"unoptimized": 2.0, "optimized": 8.0}
"""Threads that rustc's codegen can use. One thread translates what the others then optimize. With -Ztime-passes on rustc 1.95, that
translation was half of codegen's processor time without optimization (ten crates, 0.43 to 0.55), so there is work for two; with it
0.08 to 0.12 (six crates), so there would be for ten, were the sixteen codegen units of one size, which they are not."""

_PACKING: Final = 0.03
"""Part of a library's codegen that is the packing of the .rlib; 0.01 to 0.04 in the same measurement."""

_SHORT: Final = 0.1
"""Seconds of front ends, all together, below which nothing is concluded from them: the clock of `cpu_early` ticks in hundredths."""


@frozen
class Costs:
    """What a build's units cost, and what was learned of the machine with them.

    Attributes:
        units: in a valid order of building.
        pace: see `Machine.pace`.
        crowding, crowd: see `Machine`; the units' times are those of one busy core.
        request: processor seconds of host and worker for each request.
    """

    units: tuple[Cost, ...]
    pace: float = 1.0
    crowding: float = 0.0
    crowd: int = 2
    request: float = 0.0

    def machine(
        self,
        cores: int,
        jobs: int | None = None,
        *,
        in_flight: int | None = None,
        remote: Remote | None = None,
        ordered: bool = True,
        look_ahead: bool = False,
    ) -> Machine:
        """One like that on which the build was measured, with so many cores; as many jobs, if nothing else is said."""
        jobs = cores if jobs is None else jobs
        learned = self.pace, self.crowding, self.crowd, self.request
        return Machine(cores, jobs, *learned, in_flight, remote, ordered, look_ahead)

    def export(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def above(self, name: str) -> frozenset[str]:
        """The names of a unit and of all that is compiled again when its interface changes."""
        needed = {cost.name: cost.needs for cost in self.units}
        found = {name}
        for cost in self.units:
            if not found.isdisjoint(needed[cost.name]):
                found.add(cost.name)
        return frozenset(found)


def read(document: Mapping[str, Any]) -> Costs:
    """The inverse of `Costs.export`; other attributes are passed over."""
    units = tuple(Cost(**{**unit, "needs": tuple(unit["needs"])}) for unit in document["units"])
    learned = {name: document[name] for name in ("pace", "crowding", "crowd", "request")}
    return Costs(units, **learned)


def of_build(
    build: Build, units: Units, *, requests_cpu: float = 0.0, sizes: Mapping[str, int] | None = None
) -> Costs:
    """Costs from a build of all units in mode worker.

    Args:
        build: as the traces tell it.
        units: what it built.
        requests_cpu: processor seconds that were not the compilers': the worker's, and the host's where it is known.
        sizes: bytes of sources and outputs by path in the workspace, outputs below `out`; None: unknown, which only remote executors mind.

    Raises:
        RequestError: the trace does not tell of all units.
    """
    by_label = {
        posixpath.basename(path): unit for unit in units for path in commands.outputs(unit, "out").all
    }
    found: dict[str, Compile] = {}
    for compile_ in build.compiles:
        if compile_.label in by_label and not compile_.exit_code:
            found[by_label[compile_.label].name] = compile_
    if missing := [unit.name for unit in units if unit.name not in found]:
        raise RequestError(
            f"the trace tells nothing of {missing[0]} ({len(missing)} of {len(units)} units are missing): make one with --trace=FILE "
            "of a clean build of all units in mode worker"
        )
    requests = sum(len(commands.phases(unit, "worker")) for unit in units)
    share = _front_share(units, found)
    return Costs(
        tuple(_cost(unit, found[unit.name], units, share, sizes or {}) for unit in units),
        pace=_pace(units, found),
        request=requests_cpu / requests,
    )


def middle(several: Sequence[Costs]) -> Costs:
    """The median of the same units' costs, number by number, as several builds had them.

    Args:
        several: at least one.
    """

    def of(things: Sequence[Any], name: str) -> float:
        return float(statistics.median(getattr(thing, name) for thing in things))

    same = zip(*(costs.units for costs in several), strict=True)
    units = [
        evolve(
            unit[0],
            memory=int(of(unit, "memory")),
            **{name: of(unit, name) for name in ("front", "codegen", "link")},
        )
        for unit in same
    ]
    return evolve(several[0], units=tuple(units), pace=of(several, "pace"), request=of(several, "request"))


def calibrated(costs: Costs, alone: float, together: float, busy: float, cores: int) -> Costs:
    """The same, knowing how much processor time a build takes with one job and with as many as there are cores.

    Args:
        costs: from the build with as many jobs as cores.
        alone: processor seconds of a build in mode worker with one job.
        together: of one with as many jobs as cores.
        busy: cores that were busy then, a mean.
        cores: of the machine.
    """
    if cores < 2 or busy <= 1 or together <= alone:
        return costs
    crowding = (together / alone - 1) * (cores - 1) / (min(busy, cores) - 1)
    machine = evolve(costs.machine(cores), crowding=crowding, crowd=cores)
    slower = machine.slowdown(busy)
    return evolve(
        costs,
        units=tuple(cost.scaled(1 / slower) for cost in costs.units),
        crowding=crowding,
        crowd=cores,
        request=costs.request / slower,
    )


def _until_early(compile_: Compile) -> float:
    """Processor seconds of the front end."""
    if compile_.early is None:
        return compile_.cpu
    known = compile_.early - compile_.start if compile_.cpu_early is None else compile_.cpu_early
    return min(known, compile_.cpu)


def _libraries(units: Units, found: Mapping[str, Compile]) -> Sequence[Compile]:
    """The compiles of libraries that told when their front end was done."""
    return [found[unit.name] for unit in units if unit.is_library and found[unit.name].early is not None]


def _front_share(units: Units, found: Mapping[str, Compile]) -> float:
    """Part of the libraries' processor time that their front ends are."""
    libraries = _libraries(units, found)
    return (
        sum(map(_until_early, libraries)) / (sum(one.cpu for one in libraries) or 1.0) if libraries else 0.5
    )


def _pace(units: Units, found: Mapping[str, Compile]) -> float:
    """Wall seconds of the front ends for each of their processor seconds."""
    walls = cpus = 0.0
    for one in _libraries(units, found):
        if one.early is not None and one.cpu_early is not None:
            walls += one.early - one.start
            cpus += one.cpu_early
    return max(1.0, walls / cpus) if cpus >= _SHORT else 1.0


def _cost(unit: Unit, compile_: Compile, units: Units, share: float, sizes: Mapping[str, int]) -> Cost:
    made = commands.outputs(unit, "out")
    is_pipelined = unit.is_library and compile_.early is not None
    front = _until_early(compile_) if is_pipelined else compile_.cpu * share
    rest = compile_.cpu - front
    return Cost(
        unit.name,
        tuple(needed.name for needed in units.needed(unit)),
        unit.is_library,
        front,
        rest * (1 - _PACKING),
        rest * _PACKING,
        _width(unit, units),
        compile_.peak_memory,
        sources=sum(sizes.get(path, 0) for path in {unit.root, *unit.inputs}),
        metadata=sizes.get(made.metadata or "", 0),
        code=sizes.get(made.code, 0),
    )


def _width(unit: Unit, units: Units) -> float:
    """Threads that the unit's codegen can use; one for the compiler of synthetic graphs (`bench.synthetic_rustc`)."""
    if "(synthetic)" in units.compiler:
        return 1.0
    options = _codegen_options(unit.args)
    is_optimized = options.get("opt-level", "0") != "0"
    width = _WIDTH["optimized" if is_optimized else "unoptimized"]
    return min(width, float(options.get("codegen-units", width)))


def _codegen_options(arguments: Sequence[str]) -> dict[str, str]:
    """The values of `-C`, in either spelling."""
    apart = [value for flag, value in pairwise(arguments) if flag == "-C"]
    joined = [argument.removeprefix("-C") for argument in arguments if argument.startswith("-C")]
    return dict(text.split("=", 1) for text in (*apart, *joined) if "=" in text)
