"""A discrete-event simulation of one build: when each request is sent, admitted, answered, and what all of it takes.

What is assumed, beside what `plans` says of compiles:

- The host sends a unit's first request when all that the unit reads is there, in the order of readiness, and never has more than
  `Machine.requests` unanswered. A full request is sent when its early one was answered, as its inputs demand.
- Each request costs host and worker some processor time, which holds no slot but needs a core like any other thread.
- The worker admits as `slots` does: at most `jobs` compilers, first those whose early output somebody waits for, of these and of the
  rest those with the longest path if it looks ahead, then in the order of the requests' coming. A compiler holds its slot to its end. Memory keeps nobody waiting: its peak is told, so that one sees what
  budget it would need.
- Tokens: every compiler runs one thread, the tokens beyond that are divided evenly among those in codegen, up to their width. A
  starting compiler never waits for a token, because codegen gives one back after each piece of work (milliseconds).
- More threads than cores share them evenly. While other cores are busy, a thread waits (`Machine.pace`) and costs more processor time
  (`Machine.crowding`).

Not modelled: the disk's limits, incremental compilation, and compiles whose costs depend on the mode. Pure and without chance: the same
costs give the same build.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, final

from attrs import define, field, frozen

from headstart_worker.cargo.commands import Mode, Phase
from headstart_worker.model.plans import Action, Cost, Machine, Step, actions, reads_early

_SAME_MOMENT: Final = 1e-9
"""Part of a wait by which two ends may differ and still be one moment: floats do not meet exactly."""


@frozen
class Prediction:
    """What a build would take.

    Attributes:
        wall: seconds.
        cpu: processor seconds of compilers, host and worker.
        peak_memory: bytes of all compilers that run at once, each with its peak.
        peak_compilers: at once.
        compilers: how many are started.
    """

    wall: float
    cpu: float
    peak_memory: int
    peak_compilers: int
    compilers: int


def predict(
    costs: Sequence[Cost], mode: Mode, machine: Machine, compiled: Collection[str] | None = None
) -> Prediction:
    """What a build would take.

    Args:
        costs: of all units, dependencies before dependents.
        mode: how libraries are compiled.
        machine: where.
        compiled: names of the units that are compiled, the others' outputs being there; None: all.
    """
    chosen = costs if compiled is None else [cost for cost in costs if cost.name in compiled]
    return _Build(mode, machine, {cost.name: cost for cost in costs}).run(chosen)


@define(eq=False)
class _Activity:
    """Something that goes on: a step, how much of it is left, and what follows. A host's errand holds no slot and no token."""

    step: Step
    left: float
    then: Callable[[], None]
    is_errand: bool = False
    speed: float = 0.0


@define(eq=False)
class _Unit:
    """One unit's way through the build."""

    cost: Cost
    unsent: deque[Action]
    waits_for: int = 0
    has_ended: bool = False
    joined: bool = False
    path: float = 0.0
    for_early: list[_Unit] = field(factory=list)
    for_code: list[_Unit] = field(factory=list)


def _look_ahead(units: Sequence[_Unit]) -> None:
    """Sets by how many seconds the build lasts on at least once a unit's compile has started; dependencies come before dependents."""
    for unit in reversed(units):
        above = [
            *(unit.cost.front + waiting.path for waiting in unit.for_early),
            *(unit.cost.work + waiting.path for waiting in unit.for_code),
        ]
        unit.path = max([unit.cost.work, *above])


@final
@define
class _Build:
    mode: Mode
    machine: Machine
    costs: dict[str, Cost]
    now: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    running: int = 0
    compilers: int = 0
    peak_memory: int = 0
    peak_compilers: int = 0
    unanswered: int = 0
    numbers: int = 0
    active: list[_Activity] = field(factory=list)
    ready: deque[tuple[_Unit, Action]] = field(factory=deque)
    queue: list[tuple[bool, float, int, _Unit, Action]] = field(factory=list)

    def run(self, costs: Sequence[Cost]) -> Prediction:
        """From the first request to the last answer."""
        units = {cost.name: _Unit(cost, deque(self._actions(cost))) for cost in costs}
        for unit in units.values():
            for needed in (units[name] for name in unit.cost.needs if name in units):
                unit.waits_for += 1
                early = reads_early(unit.cost, needed.cost, self.mode)
                (needed.for_early if early else needed.for_code).append(unit)
        if self.machine.look_ahead:
            _look_ahead(list(units.values()))
        for unit in units.values():
            if not unit.waits_for:
                self._ready(unit)
        self._send()
        while self.active:
            self._advance()
        return Prediction(self.now, self.cpu, self.peak_memory, self.peak_compilers, self.compilers)

    def _actions(self, cost: Cost) -> tuple[Action, ...]:
        return actions(cost, self.mode, self.machine, self.costs)

    # The host.

    def _send(self) -> None:
        while self.ready and self.unanswered < self.machine.requests:
            unit, action = self.ready.popleft()
            self.unanswered += 1
            self._begin(Step(self.machine.request), partial(self._arrive, unit, action), is_errand=True)

    def _ready(self, unit: _Unit) -> None:
        """The unit's next request may be sent, and those that are sent with it."""
        self.ready.append((unit, unit.unsent.popleft()))
        while unit.unsent and not unit.unsent[0].follows:
            self.ready.append((unit, unit.unsent.popleft()))

    def _answer(self, unit: _Unit, phase: Phase | None) -> None:
        self.unanswered -= 1
        if unit.unsent:
            self._ready(unit)
        for waiting in unit.for_early if phase == "early" else unit.for_code:
            waiting.waits_for -= 1
            if not waiting.waits_for:
                self._ready(waiting)
        self._send()

    # The worker.

    def _arrive(self, unit: _Unit, action: Action) -> None:
        if action.steps:
            self.numbers += 1
            heapq.heappush(self.queue, (not action.is_urgent, -unit.path, self.numbers, unit, action))
            self._admit()
        elif unit.has_ended:
            self._answer(unit, action.phase)
        else:
            unit.joined = True

    def _admit(self) -> None:
        while self.queue and self.running < self.machine.jobs:
            *_, unit, action = heapq.heappop(self.queue)
            self.running += 1
            self.compilers += 1
            self.memory += unit.cost.memory
            self.peak_compilers = max(self.peak_compilers, self.running)
            self.peak_memory = max(self.peak_memory, self.memory)
            self._go_on(unit, action, 0)

    def _go_on(self, unit: _Unit, action: Action, done: int) -> None:
        if done == len(action.steps):
            self._end(unit, action)
            return
        if done == action.early_after:
            self._answer(unit, action.phase)
        self._begin(action.steps[done], partial(self._go_on, unit, action, done + 1))

    def _end(self, unit: _Unit, action: Action) -> None:
        self.running -= 1
        self.memory -= unit.cost.memory
        unit.has_ended = True
        if action.early_after is None:
            self._answer(unit, action.phase)
        elif unit.joined:
            self._answer(unit, "full")
        self._admit()

    # The machine.

    def _begin(self, step: Step, then: Callable[[], None], *, is_errand: bool = False) -> None:
        self.active.append(_Activity(step, step.seconds, then, is_errand))

    def _advance(self) -> None:
        """Goes to the next end of a step, and does what follows."""
        slowdown = self._set_speeds()
        passed = min(one.left / one.speed for one in self.active)
        self.now += passed
        ended = []
        for one in self.active:
            before = one.left
            one.left -= one.speed * passed
            if one.left <= _SAME_MOMENT * before:
                one.left = 0.0
                ended.append(one)
            if one.step.is_work:
                self.cpu += (before - one.left) * slowdown
        self.active = [one for one in self.active if one.left]
        for one in ended:
            one.then()

    def _set_speeds(self) -> float:
        """How fast each step goes on from now on; returns by how much the crowd slows all of them down."""
        works = [one for one in self.active if one.step.is_work]
        compilers = [one for one in works if not one.is_errand]
        threads = {id(one): 1.0 for one in works}
        remote = self.machine.remote
        if remote is not None:
            threads.update((id(one), one.step.width) for one in compilers)
        else:
            spare = max(0.0, self.machine.jobs - len(compilers))
            wide = sorted((one for one in compilers if one.step.width > 1), key=lambda one: one.step.width)
            for left, one in zip(range(len(wide), 0, -1), wide, strict=True):
                more = min(one.step.width - 1, spare / left)
                threads[id(one)] += more
                spare -= more
        wanted = sum(threads.values())
        cores = wanted if remote is not None else self.machine.cores
        share = min(1.0, cores / wanted) if wanted else 1.0
        busy = 1.0 if remote is not None else min(wanted, cores)
        slowdown = self.machine.slowdown(busy)
        for one in self.active:
            working = threads.get(id(one), 0.0) * share / (slowdown * self.machine.waiting(busy))
            one.speed = working if one.step.is_work else 1.0
        return slowdown
