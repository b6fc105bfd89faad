"""What the model says, beside what was measured: errors, curves to many cores, and what may honestly be read from them.

Pure. Costs come from clean builds in mode worker with as many jobs as cores, the crowding from the processor times of that mode with one job
and with as many as cores. So the walls of mode worker with all cores are near their own source; everything else is predicted, that mode's
builds with one job from costs that know of no crowding.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from headstart_worker.bench.records import CLEAN, Experiment, Taken
from headstart_worker.cargo.commands import MODES, Mode
from headstart_worker.model.costs import Costs, calibrated
from headstart_worker.model.plans import Machine
from headstart_worker.model.simulation import Prediction, predict

CORES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
GOAL: Final = 0.1
"""Error of a wall time up to which we call the model good."""

_SAME: Final = 0.02
"""Walls that differ by less are called the same: builds of one kind differ by as much."""

Place = tuple[str, str]
"""Workspace and profile."""


@frozen
class Point:
    """One mode of one experiment, measured and predicted.

    Attributes:
        workspace, profile, scenario, jobs, mode: as in `Experiment`.
        measured, predicted: wall seconds; the median of what was measured.
        cpu_measured, cpu_predicted: processor seconds, likewise.
        is_source: the costs were learned from these very builds, so that the error tells little.
    """

    workspace: str
    profile: str
    scenario: str
    jobs: int
    mode: Mode
    measured: float
    predicted: float
    cpu_measured: float
    cpu_predicted: float
    is_source: bool

    @property
    def error(self) -> float:
        """Of the wall: 0.1 is a tenth too long."""
        return self.predicted / self.measured - 1

    @property
    def cpu_error(self) -> float:
        """Of the processor time."""
        return self.cpu_predicted / self.cpu_measured - 1

    @property
    def error_per_work(self) -> float:
        """Of the wall for each second of processor time.

        What makes a build longer by the clock and by its processors alike falls out here: that the machine was slower than in the builds that
        the costs come from, and that the model errs about the processor time. The latter is `cpu_error`, with the former.
        """
        return (1 + self.error) / (1 + self.cpu_error) - 1

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.workspace}, {self.profile}, {self.scenario}, {self.jobs} jobs, {self.mode}"

    def export(self) -> dict[str, Any]:
        """For JSON."""
        errors = {"error": self.error, "cpu_error": self.cpu_error, "error_per_work": self.error_per_work}
        document = asdict(self) | errors
        return {
            name: round(value, 4) if isinstance(value, float) else value for name, value in document.items()
        }


def crowded(costs: Costs, place: Place, experiments: Sequence[Experiment], cores: int) -> Costs:
    """The costs, with the crowding that clean builds in mode worker with one job and with `cores` jobs tell."""
    by_jobs = {
        one.jobs: one.of("worker")
        for one in experiments
        if (one.workspace, one.profile) == place and one.scenario == CLEAN and one.of("worker")
    }
    if 1 not in by_jobs or cores not in by_jobs:
        return costs
    alone, together = _cpu(by_jobs[1]), _cpu(by_jobs[cores])
    return calibrated(costs, alone, together, together / _wall(by_jobs[cores]), cores)


def points(costs: Mapping[Place, Costs], experiments: Sequence[Experiment], cores: int) -> list[Point]:
    """Every measured build that the model has something to say of.

    Args:
        costs: by workspace and profile, not yet `crowded`.
        experiments: what was measured.
        cores: of the machine.
    """
    found = []
    for one in experiments:
        place = (one.workspace, one.profile)
        learned = costs.get(place)
        compiled = None if learned is None else _compiled(learned, one)
        if learned is None or compiled is None:
            continue
        known = crowded(learned, place, experiments, cores)
        for mode in MODES:
            if taken := one.of(mode):
                tells_crowding = mode == "worker" and one.jobs == 1 < cores
                source = learned if tells_crowding else known
                predicted = predict(source.units, mode, source.machine(cores, one.jobs), compiled)
                is_source = mode == "worker" and one.jobs == cores and one.scenario == CLEAN
                found.append(_point(one, mode, taken, predicted, is_source=is_source))
    return found


def _compiled(costs: Costs, experiment: Experiment) -> frozenset[str] | None:
    """The units that the experiment compiles; None when the costs are of another graph."""
    if experiment.scenario == CLEAN:
        return frozenset(cost.name for cost in costs.units) if len(costs.units) == experiment.units else None
    package = experiment.scenario.removeprefix("edit of ").rpartition(" (")[0]
    for cost in costs.units:
        is_it = cost.name == package or cost.name.startswith(f"{package}-")
        if is_it and len(above := costs.above(cost.name)) == experiment.units:
            return above
    return None


def _point(
    one: Experiment, mode: Mode, taken: Sequence[Taken], predicted: Prediction, *, is_source: bool
) -> Point:
    return Point(
        one.workspace,
        one.profile,
        one.scenario,
        one.jobs,
        mode,
        _wall(taken),
        predicted.wall,
        _cpu(taken),
        predicted.cpu,
        is_source,
    )


def _wall(taken: Sequence[Taken]) -> float:
    return statistics.median(one.wall for one in taken)


def _cpu(taken: Sequence[Taken]) -> float:
    return statistics.median(one.cpu for one in taken)


def curves(costs: Mapping[Place, Costs]) -> list[dict[str, Any]]:
    """Clean builds in every mode with 1 to 256 cores, as many jobs as cores."""
    found = []
    for (workspace, profile), known in costs.items():
        for mode in MODES:
            for cores in CORES:
                predicted = predict(known.units, mode, known.machine(cores))
                found.append(
                    {
                        "workspace": workspace,
                        "profile": profile,
                        "mode": mode,
                        "cores": cores,
                        "wall": round(predicted.wall, 3),
                        "cpu": round(predicted.cpu, 3),
                    }
                )
    return found


def reading(costs: Mapping[Place, Costs], found: Sequence[Point]) -> list[str]:
    """What may be said: how good the model is, and for each workspace where which mode is worth it."""
    sentences = [_goodness(found)] if found else []
    for (workspace, profile), known in costs.items():
        name = f"{workspace}, {profile}"
        machines = {cores: known.machine(cores) for cores in CORES}
        worker = {cores: predict(known.units, "worker", machine) for cores, machine in machines.items()}
        none = {cores: predict(known.units, "none", machine) for cores, machine in machines.items()}
        sentences += [
            _against_none(name, worker, none),
            _against_hollow(name, known, machines, worker),
            _with_look_ahead(name, known, worker),
        ]
    return sentences


def _goodness(found: Sequence[Point]) -> str:
    foretold = [point for point in found if not point.is_source] or found
    beyond = sum(abs(point.error) > GOAL for point in foretold)
    verdict = (
        f"{beyond} of them miss the goal of {GOAL:.0%}"
        if beyond
        else f"all are within the goal of {GOAL:.0%}"
    )
    walls = _errors([(abs(point.error), point.name) for point in foretold])
    rates = _errors([(abs(point.error_per_work), point.name) for point in foretold])
    return (
        f"Model against measurement: {len(foretold)} points, of the wall {walls}; {verdict}. Of the wall for each second of processor time, "
        f"from which the machine's wavering speed falls out (and errors of the processor time, which the table tells), {rates}."
    )


def _errors(errors: Sequence[tuple[float, str]]) -> str:
    worst, name = max(errors)
    return f"median error {statistics.median(error for error, _ in errors):.1%}, largest {worst:.1%} ({name})"


def _against_none(name: str, worker: Mapping[int, Prediction], none: Mapping[int, Prediction]) -> str:
    gains = {cores: none[cores].wall / worker[cores].wall for cores in worker}
    better = [cores for cores, gain in gains.items() if gain > 1 + _SAME]
    if not better:
        return f"{name}: with 1 to {CORES[-1]} cores, a clean build is no faster with one-process pipelining than without."
    best = max(better, key=lambda cores: gains[cores])
    equal = [cores for cores in gains if cores < better[0]]
    start = f"no pipelining is as good up to {_cores(equal[-1])}, and " if equal else ""
    return f"{name}: {start}mode worker gains most with {_cores(best)}, where a clean build is {gains[best]:.2f} times as fast as without."


def _against_hollow(
    name: str, costs: Costs, machines: Mapping[int, Machine], worker: Mapping[int, Prediction]
) -> str:
    ordered = {cores: predict(costs.units, "hollow", machine) for cores, machine in machines.items()}
    more = ordered[1].cpu / worker[1].cpu - 1
    met = _meeting(ordered, worker)
    if met is not None:
        return f"{name}: from {_cores(met)} on, hollow takes no longer than worker, for {more:.0%} more processor time."
    last = CORES[-1]
    apart = ordered[last].wall / worker[last].wall
    at_once = {
        cores: predict(costs.units, "hollow", costs.machine(cores, ordered=False)) for cores in machines
    }
    unordered = _meeting(at_once, worker)
    would = (
        "it would not, either, if both halves were sent at once"
        if unordered is None
        else f"sent both at once, it would from {_cores(unordered)} on"
    )
    return (
        f"{name}: hollow never meets worker: with {last} cores it takes {apart:.2f} times as long, for {more:.0%} more processor time. Its full "
        f"half waits for its early one; {would}."
    )


def _with_look_ahead(name: str, costs: Costs, worker: Mapping[int, Prediction]) -> str:
    gains = {
        cores: worker[cores].wall / predict(costs.units, "worker", costs.machine(cores, look_ahead=True)).wall
        - 1
        for cores in worker
    }
    best = max(gains, key=lambda cores: gains[cores])
    if gains[best] <= _SAME:
        return f"{name}: to look ahead would make mode worker no faster, with 1 to {CORES[-1]} cores."
    return f"{name}: to look ahead would make mode worker faster by {gains[best]:.0%} at best, with {_cores(best)}."


def _meeting(other: Mapping[int, Prediction], worker: Mapping[int, Prediction]) -> int | None:
    """The fewest cores from which on the other is as fast as worker."""
    met: int | None = None
    for cores in sorted(worker, reverse=True):
        if other[cores].wall > worker[cores].wall * (1 + _SAME):
            return met
        met = cores
    return met


def _cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


def section(costs: Mapping[Place, Costs], experiments: Sequence[Experiment], cores: int) -> dict[str, Any]:
    """The part of a benchmark's result that is the model's: points, curves, sentences, and the costs that they come from.

    Args:
        costs: by workspace and profile, from builds in mode worker with as many jobs as cores.
        experiments: what was measured.
        cores: of the machine.
    """
    known = {place: crowded(one, place, experiments, cores) for place, one in costs.items()}
    found = points(costs, experiments, cores)
    return {
        "cores": cores,
        "points": [point.export() for point in found],
        "curves": curves(known),
        "reading": reading(known, found),
        "costs": [
            {"workspace": workspace, "profile": profile, **one.export()}
            for (workspace, profile), one in costs.items()
        ],
    }
