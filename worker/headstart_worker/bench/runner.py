"""Runs an experiment: every host in turn, each round starting with another one, and the outputs compared after each build.

It decides about the order and about equality; how somebody builds is the host's business, what may be said of the figures that of `verdicts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Final, Protocol, TypeVar, final

from attrs import define, evolve, field, frozen

from headstart_worker.bench import graphs, machine, outputs
from headstart_worker.bench.hosts import BenchHost
from headstart_worker.bench.outputs import DifferentBytesError
from headstart_worker.bench.records import CLEAN, Bounds, Experiment, Taken
from headstart_worker.cargo.units import Unit, Units

_T = TypeVar("_T")


class Steps(Protocol):
    """What is told how far it is: `progress.Progress`."""

    def begin(self, what: str, /) -> None:
        """A step begins."""

    def done(self) -> None:
        """It is over."""


@frozen
class Plan:
    """What to measure.

    Attributes:
        workspace: its name.
        profile: see `Experiment`.
        jobs: see `Experiment`.
        units: what the hosts build.
        hosts: who builds them; nobody has prepared them yet.
        rounds: timed builds of each host in each scenario.
        edits: by what the unit's place is called ("low"), units to edit.
        clean: whether clean builds are measured.
        warm_up: whether one build comes before all that are timed, so that nobody is the first to read compilers and sources from disk.
        seen: is told of each timed build: the scenario, who built, and what it took.
    """

    workspace: str
    profile: str
    jobs: int
    units: Units
    hosts: tuple[BenchHost, ...]
    rounds: int = 5
    edits: Mapping[str, Unit] = field(factory=dict[str, Unit])
    clean: bool = True
    warm_up: bool = True
    seen: Callable[[str, BenchHost, Taken], None] = lambda _scenario, _host, _taken: None

    @property
    def scenarios(self) -> dict[str, Unit | None]:
        """By name, what is edited in each."""
        clean: dict[str, Unit | None] = {CLEAN: None} if self.clean else {}
        return clean | {f"edit of {unit.package} ({place})": unit for place, unit in self.edits.items()}

    @property
    def steps(self) -> int:
        """How often `run` begins something."""
        return len(self.hosts) * (1 + len(self.scenarios) * self.rounds) + self.warm_up


def order(things: Sequence[_T], number: int) -> list[_T]:
    """The order of a round: each starts with another one; when all have been first, they go the other way round.

    Args:
        things: at least one.
        number: of the round, from 0.
    """
    turn, first = divmod(number, len(things))
    rotated = [*things[first:], *things[:first]]
    return rotated if turn % 2 == 0 else [rotated[0], *rotated[:0:-1]]


Rounds = Generator[None, None, _T]
"""Something measured round by round: it stops after each, so that other things' rounds can come between, and returns what it found."""


def finish(rounds: Rounds[_T]) -> _T:
    """Carries out what is left of it."""
    while True:
        try:
            next(rounds)
        except StopIteration as end:
            found: _T = end.value
            return found


_STOPPED: Final = object()


def spread(several: Sequence[tuple[int, Rounds[_T]]]) -> list[_T]:
    """Carries out several, the rounds of each spread over the whole time: a machine whose speed wavers is not faster for one than for another.

    Args:
        several: each with the number of its rounds.
    """
    moments = sorted(
        ((number + 0.5) / count, which) for which, (count, _) in enumerate(several) for number in range(count)
    )
    with ExitStack() as stack:
        for _, rounds in several:
            stack.callback(rounds.close)
        for _, which in moments:
            if next(several[which][1], _STOPPED) is _STOPPED:
                raise AssertionError(f"number {which} has fewer rounds than was told")
        return [finish(rounds) for _, rounds in several]


def run(plan: Plan, progress: Steps) -> list[Experiment]:
    """Measures all scenarios; see `rounds_of`."""
    return finish(rounds_of(plan, progress))


def rounds_of(plan: Plan, progress: Steps) -> Rounds[list[Experiment]]:
    """Measures all scenarios; the hosts are prepared here, and closed by whoever made them.

    Raises:
        DifferentBytesError: two builds that must make the same files did not.
        HeadstartError: a build failed.
    """
    for host in plan.hosts:
        progress.begin(f"preparing: {host.name}")
        host.prepare()
        progress.done()
    if plan.warm_up:
        first = plan.hosts[0]
        progress.begin(f"a build that is not timed: {first.name}")
        first.clean()
        first.build()
        progress.done()
    experiments = []
    for name, edited in plan.scenarios.items():
        experiments.append((yield from _experiment(plan, name, edited, progress)))
    return experiments


def _experiment(plan: Plan, name: str, edited: Unit | None, progress: Steps) -> Rounds[Experiment]:
    results = _Results()
    for number in range(plan.rounds):
        for host in order(plan.hosts, number):
            progress.begin(f"{name}, round {number + 1}: {host.name}")
            if edited is None:
                host.clean()
            with nullcontext() if edited is None else host.edited(edited):
                taken = host.build()
                results.add(host, taken)
                plan.seen(name, host, taken)
            progress.done()
        yield
    compiled = len(plan.units) if edited is None else 1 + len(graphs.dependents(plan.units)[edited.name])
    return Experiment(
        workspace=plan.workspace,
        profile=plan.profile,
        scenario=name,
        jobs=plan.jobs,
        units=compiled,
        taken=tuple(results.taken),
        bounds=results.bounds(plan),
        equal=_equal(plan.hosts),
    )


def _equal(hosts: Sequence[BenchHost]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = {}
    for host in hosts:
        groups.setdefault(host.same_bytes_as, []).append(host.name)
    return tuple(tuple(group) for group in groups.values())


@final
@define
class _Results:
    """What the builds of one scenario gave so far."""

    taken: list[Taken] = field(factory=list[Taken])
    _first: dict[str, tuple[str, dict[str, str]]] = field(factory=dict[str, tuple[str, dict[str, str]]])
    _phases: dict[str, dict[str, tuple[float, float]]] = field(
        factory=dict[str, dict[str, tuple[float, float]]]
    )

    _work: dict[str, float] = field(factory=dict[str, float])

    def add(self, host: BenchHost, one: Taken) -> None:
        """Takes a build that has just ended."""
        digested = outputs.digests(host.outputs())
        before, known = self._first.setdefault(host.same_bytes_as, (host.name, digested))
        different = outputs.difference(known, digested)
        if different is not None:
            raise DifferentBytesError(
                f"{different} as {host.name} built it is not what {'it' if before == host.name else before} built before; "
                "find out why before you compare times (headstart verify helps)"
            )
        self.taken.append(evolve(one, outputs=outputs.together(digested)))
        if host.traced is not None:
            self._work[host.name] = min(self._work.get(host.name, math.inf), host.traced.cpu)
        fastest = self._phases.setdefault(host.name, {})
        for name, (early, whole) in host.phases.items():
            least_early, least = fastest.get(name, (early, whole))
            fastest[name] = min(least_early, early), min(least, whole)

    def bounds(self, plan: Plan) -> dict[str, Bounds]:
        """For each host whose traces tell: its compilers' least work, and the longest path through its fastest compiles."""
        found = {}
        processors = min(plan.jobs, machine.cores())
        for host in plan.hosts:
            work = self._work.get(host.name)
            if work is not None and host.mode is not None:
                path = graphs.longest_path(plan.units, self._phases[host.name], host.mode)
                found[host.name] = Bounds(work / processors, path)
        return found
