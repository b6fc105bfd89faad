"""Carries out one benchmark: each profile with each number of jobs in turn. How one of them runs is the business of `runner`.

What is finished is handed on after each, so that nothing is lost when a later one fails or is broken off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from headstart_worker.bench import competitors, graphs, machine, runner, subjects
from headstart_worker.bench.hosts import BenchHost, Setting
from headstart_worker.bench.records import CLEAN, Experiment, Taken
from headstart_worker.bench.result import Result
from headstart_worker.bench.runner import Plan, Rounds
from headstart_worker.bench.subjects import RELEASE, Subject
from headstart_worker.bench.worker_peer import Peer
from headstart_worker.cargo.units import Unit, Units
from headstart_worker.model import costs, validation
from headstart_worker.model.costs import Costs
from headstart_worker.model.validation import Place
from headstart_worker.progress import Progress


@frozen
class Order:
    """What a user asked for.

    Attributes:
        subject: what is built; see `subjects`.
        modes: names of hosts; see `competitors`.
        peers: other workers.
        jobs: numbers of compilers that may run at once.
        profiles: of a Cargo workspace; none: its usual one.
        edits: places of crates to edit: "low", "middle", "top".
        rounds: timed builds of each mode in each scenario.
        only, without: packages.
        command: the command line, for the record.
    """

    subject: str
    modes: tuple[str, ...]
    peers: tuple[Peer, ...]
    jobs: tuple[int, ...]
    profiles: tuple[str, ...]
    edits: tuple[str, ...]
    rounds: int
    only: tuple[str, ...]
    without: tuple[str, ...]
    command: str


@frozen
class Turn:
    """Experiments of one workspace with one number of jobs.

    Attributes:
        subject: what is built.
        jobs: compilers at once.
        modes, peers, rounds, edits: see `Order`.
        clean: whether clean builds are measured.
        warm_up: see `Plan`.
    """

    subject: Subject
    jobs: int
    modes: tuple[str, ...]
    peers: tuple[Peer, ...]
    rounds: int
    edits: tuple[str, ...]
    clean: bool = True
    warm_up: bool = True

    @property
    def edited(self) -> dict[str, Unit]:
        """By place, the units to edit; a small graph has not all places."""
        found = graphs.edits(self.subject.units)
        return {place: found[place] for place in self.edits if place in found}

    @property
    def all_rounds(self) -> int:
        """Of clean builds and of each edit together."""
        return (self.clean + len(self.edited)) * self.rounds

    @property
    def steps(self) -> int:
        """How many builds it takes, as `Plan.steps` counts them."""
        hosts = len(self.modes) + len(self.peers)
        return hosts * (1 + self.all_rounds) + self.warm_up


@frozen
class Done:
    """What a turn gave. Attributes: place, what it built; experiments; notes, who was left out; costs, for the model, None: nothing was learned."""

    place: Place
    experiments: tuple[Experiment, ...]
    notes: tuple[str, ...]
    costs: Costs | None


def begun(command: str) -> Result:
    """A result without experiments: the machine, and its condition now."""
    now = _now()
    return Result(machine.machine(), machine.tools(), machine.condition(), command, now, now, ())


def measure(order: Order, place: Path, keep: Callable[[Result], None]) -> Result:
    """Measures everything.

    Args:
        order: what.
        place: an empty directory for workspaces and outputs.
        keep: takes what is finished so far, after each profile and number of jobs.

    Raises:
        HeadstartError: it cannot be done, or builds that must make the same bytes did not.
    """
    result = first = begun(order.command)
    with Progress("import") as progress:
        found = subjects.subjects(
            order.subject,
            place,
            profiles=order.profiles,
            only=order.only,
            without=order.without,
            progress=progress,
        )
    turns_done: list[Done] = []
    with Progress("bench") as progress:
        turns = [_turn(order, subject, jobs) for subject in found for jobs in order.jobs]
        for number, turn in enumerate(turns):
            if progress.total is None:
                progress.total = len(turns) * turn.steps
            turns_done.append(runner.finish(carry_out(turn, place / f"turn-{number}", progress)))
            result = with_turns(first, turns_done)
            keep(result)
    return result


def _turn(order: Order, subject: Subject, jobs: int) -> Turn:
    return Turn(subject, jobs, order.modes, order.peers, order.rounds, order.edits)


def carry_out(turn: Turn, scratch: Path, progress: Progress) -> Rounds[Done]:
    """Runs the builds of one turn, round by round.

    Args:
        turn: what to build.
        scratch: a directory that is not there yet.
        progress: is told how far it is.

    Raises:
        HeadstartError: see `runner.run`.
    """
    subject, lessons = turn.subject, list[Costs]()
    setting = Setting(
        units=subject.units,
        workspace=subject.workspace,
        scratch=scratch,
        jobs=turn.jobs,
        source=subject.source,
        release=subject.profile == RELEASE,
    )
    with competitors.opened(turn.modes, setting, turn.peers) as (hosts, notes):
        plan = Plan(
            workspace=subject.name,
            profile=subject.profile,
            jobs=turn.jobs,
            units=subject.units,
            hosts=hosts,
            rounds=turn.rounds,
            edits=turn.edited,
            clean=turn.clean,
            warm_up=turn.warm_up,
            seen=partial(_learn, subject.units, lessons),
        )
        made = yield from runner.rounds_of(plan, progress)
    missing = [place for place in turn.edits if place not in turn.edited]
    notes += (f"{subject.name} is too small for edits at: {', '.join(missing)}",) if missing else ()
    learns = lessons and turn.jobs == machine.cores()
    return Done(
        (subject.name, subject.profile), tuple(made), notes, costs.middle(lessons) if learns else None
    )


def with_turns(first: Result, several: Sequence[Done]) -> Result:
    """A result that has `begun`, with what turns gave, and the model over all of them."""
    known = tuple(experiment for done in several for experiment in done.experiments)
    learned = {done.place: done.costs for done in several if done.costs is not None}
    return evolve(
        first,
        experiments=known,
        ended=_now(),
        model=validation.section(learned, known, machine.cores()) if learned else None,
        notes=tuple(dict.fromkeys(note for done in several for note in done.notes)),
    )


def _learn(units: Units, lessons: list[Costs], scenario: str, host: BenchHost, taken: Taken) -> None:
    """The model learns what units cost from clean builds in mode worker."""
    if scenario == CLEAN and host.name == "worker" and host.traced is not None:
        used = max(taken.cpu - host.traced.cpu, 0.0)
        lessons.append(costs.of_build(host.traced, units, requests_cpu=used))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
