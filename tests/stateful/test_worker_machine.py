"""Ledger, pipelines and slots together, glued as the shell glues them, under any host and any compilers.

`shell` holds the model and what is asserted as things happen; here is who does what when.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from typing import Final

import pytest
from attrs import evolve
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from headstart_worker.memory import UNKNOWN
from headstart_worker.pipeline_states import Want
from stateful.long_mode import LONG, STEPS, Progress
from stateful.shell import Shell
from stateful.shell_parts import At, Compiler, Request, Shape

A, A2, B, B2, D, E, F = 1, 2, 4, 8, 16, 32, 64
"""Outputs: of crate a, whose compiler has a private directory, of crate b, whose compiler writes in place, and of others."""

HALVES: Final = [
    Shape(Want.EARLY, "a1", A),
    Shape(Want.FULL, "a1", A | A2),
    Shape(Want.EARLY, "a2", A),
    Shape(Want.FULL, "a2", A | A2),
    Shape(Want.ALONE, None, A2),
]
"""Of one crate, with two contents, and something else that makes a part of it: most that is delicate is among these."""

UNRELATED: Final = [
    Shape(Want.EARLY, "d1", D),
    Shape(Want.FULL, "d1", D),
    Shape(Want.EARLY, "e1", E),
    Shape(Want.EARLY, "e1", F),  # the same job, declared elsewhere
    Shape(Want.FULL, "e1", E | F),
    Shape(Want.ALONE, None, F),
    Shape(Want.FULL, "f1", F),
    Shape(Want.ALONE, None, 0),
]
"""Other crates, so that there is somebody to wait for a slot with."""

MORE_HALVES: Final = [
    *(evolve(half, sandboxed=True) for half in HALVES[:2]),
    *(
        Shape(want, content, outputs, in_place=True, made=B | B2)
        for content in ("b1", "b2")
        for want, outputs in ((Want.EARLY, B), (Want.FULL, B | B2))
    ),
]

OTHERS: Final = [
    Shape(Want.EARLY, "a1", A, wrong=True),
    Shape(Want.FULL, "a1", A | A2, guarded=True),
    Shape(Want.FULL, "a2", A | A2, guarded=True, sandboxed=True),
    Shape(Want.FULL, "a1", A | A2 | B),  # the same job, declared otherwise
    Shape(Want.EARLY, "c1", A2),
    Shape(Want.EARLY, "c1", A),
    Shape(Want.FULL, "c1", A2 | B),
    Shape(Want.ALONE, None, A | A2),
    Shape(Want.ALONE, None, A2, sandboxed=True),
    Shape(Want.ALONE, None, A | B),
    Shape(Want.ALONE, None, A | A2 | B | B2),
    Shape(Want.ALONE, None, B | B2, in_place=True, made=B | B2, sandboxed=True),
    Shape(Want.ALONE, None, 0, wrong=True),
]

LONG_RUN: Final = settings(
    max_examples=200,
    stateful_step_count=100,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

IDS: Final = st.integers(0, 7)
ANY: Final = st.integers(0, 2**16 - 1)
"""Chooses among whatever is there."""


class WorkerMachine(RuleBasedStateMachine):
    """What hosts, compilers and the scheduler do. A rule that finds nothing of its kind lets something else move."""

    steps = 0
    """Things that happened, in all runs of this process."""

    @initialize(
        capacity=st.sampled_from([1, 1, 2, 3]),
        retained=st.integers(0, 3),
        budget=st.none() | st.integers(1, 3),
        crowded=st.booleans(),
    )
    def begin(self, capacity: int, retained: int, budget: int | None, crowded: bool) -> None:
        self.crowded = crowded
        self.new_shell = partial(
            Shell,
            capacity=capacity,
            retained=retained,
            budget=None if budget is None else budget * UNKNOWN,
        )
        self.shell = self.new_shell()

    # The host

    @rule(request_id=IDS, shape=st.sampled_from(HALVES))
    def ask_for_a_half(self, request_id: int, shape: Shape) -> None:
        self._read(request_id, shape)

    @rule(request_id=IDS, shape=st.sampled_from(MORE_HALVES))
    def ask_for_another_half(self, request_id: int, shape: Shape) -> None:
        self._read(request_id, shape)

    @rule(request_id=IDS, shape=st.sampled_from(OTHERS))
    def ask_for_something_else(self, request_id: int, shape: Shape) -> None:
        self._read(request_id, shape)

    @rule(request_id=IDS, shape=st.sampled_from(UNRELATED))
    def ask_for_something_unrelated(self, request_id: int, shape: Shape) -> None:
        self._read(request_id, shape)

    @rule(request_id=IDS)
    def cancel(self, request_id: int) -> None:
        if self.shell.closing:
            self._move(request_id)
        else:
            self.shell.cancel(request_id)
            self._count()

    @rule(choice=ANY)
    def end_the_input(self, choice: int) -> None:
        """Seldom, or there would be little else."""
        if choice % 16 or self.shell.closing:
            self._move(choice)
        else:
            self.shell.close()
            self._count()

    def _read(self, request_id: int, shape: Shape) -> None:
        if self.shell.closing:
            self._move(request_id)
        else:
            self.shell.read(request_id, shape)
            self._count()

    # The scheduler

    @rule(choice=ANY)
    def move_one(self, choice: int) -> None:
        self._move(choice)

    @rule(choice=ANY)
    def move_another(self, choice: int) -> None:
        self._move(choice)

    @rule(choice=ANY)
    def move_everybody(self, choice: int) -> None:
        """Once, whoever can."""
        shell = self.shell
        for request in list(shell.requests):
            if shell.can_move(request):
                shell.move(request, slowly=bool(choice & 1))
                self._count()
        for compiler in list(shell.compilers):
            if shell.can_go(compiler):
                shell.go(compiler)
                self._count()

    @rule(choice=ANY)
    def take_outputs_away(self, choice: int) -> None:
        missing = [r for r in self.shell.requests if self.shell.may_miss_outputs(r)]
        if missing:
            self.shell.find_outputs_gone(missing[choice % len(missing)])
            self._count()
        else:
            self._move(choice)

    def _move(self, choice: int) -> None:
        if self._something_moves(choice):
            self._count()

    def _something_moves(self, choice: int) -> bool:
        shell = self.shell
        able: list[Request | Compiler] = [r for r in shell.requests if shell.can_move(r)]
        able += [c for c in shell.compilers if shell.can_go(c)]
        if able:
            moved = able[choice % len(able)]
            if isinstance(moved, Request):
                shell.move(moved, slowly=bool(choice & 1))
            else:
                shell.go(moved)
        elif shell.can_shut_down:
            shell.shut_down()
        elif shell.closing and not self._running():
            shell.check_ended()
            self.shell = self.new_shell()
        else:
            return False
        return True

    # Compilers

    @rule(choice=ANY)
    def complete_early_outputs(self, choice: int) -> None:
        if running := self._running():
            self.shell.early(running[choice % len(running)])
            self._count()
        else:
            self._move(choice)

    @rule(choice=ANY)
    def succeed(self, choice: int) -> None:
        self._end(choice, ok=True)

    @rule(choice=ANY)
    def die(self, choice: int) -> None:
        self._end(choice, ok=False)

    @rule(choice=ANY)
    def generate_code(self, choice: int) -> None:
        if running := self._running():
            self.shell.queue.take_another(running[choice % len(running)])
            self._count()
        else:
            self._move(choice)

    @rule(choice=ANY)
    def calm_down(self, choice: int) -> None:
        """The host is silent until nothing moves: what comes next meets what is kept. Seldom, or nothing would pile up."""
        if self.crowded or choice % 4:
            self._move(choice)
        else:
            self._settle(early=bool(choice & 4), ok=bool(choice & 8))

    def _end(self, choice: int, *, ok: bool) -> None:
        """In a crowded worker compilers take long, so that others wait for slots."""
        running = self._running()
        if not running or (self.crowded and choice % 4):
            self._move(choice)
        else:
            self.shell.end(running[choice % len(running)], ok=ok, peak=(choice >> 4) % 5 * UNKNOWN // 2)
            self._count()

    def _running(self) -> list[Compiler]:
        return [c for c in self.shell.compilers if c.runs]

    def _settle(self, *, early: bool, ok: bool) -> None:
        """Every compiler ends and everybody goes on, until nothing moves or another worker was started."""
        shell = self.shell
        moved = True
        while moved and self.shell is shell:
            moved = False
            for compiler in self._running():
                if early:
                    shell.early(compiler)
                shell.end(compiler, ok=ok, peak=UNKNOWN)
                self._count()
                moved = True
            if self._something_moves(0):
                self._count()
                moved = True

    # What holds

    def _count(self) -> None:
        """A step is one thing that happens; what holds after every step is looked at here."""
        WorkerMachine.steps += 1
        self.shell.check()

    def teardown(self) -> None:
        # After a failure nothing more can be said, and hypothesis would report what is said last.
        if hasattr(self, "shell") and sys.exc_info()[0] is None:
            self._settle(early=False, ok=True)
            if not self.shell.closing:
                self.shell.check_quiet()
                self.shell.close()
                self._settle(early=False, ok=True)


WorkerMachine.TestCase.settings = settings(
    max_examples=600, stateful_step_count=100, deadline=None, derandomize=True, database=None
)
TestI1I2I5I7Worker = WorkerMachine.TestCase


@pytest.mark.skipif(not LONG, reason="`make fuzz` runs it")
def test_I1_I2_I5_I7_a_million_steps_of_a_worker() -> None:
    progress = Progress("steps of the state machine", STEPS)
    number = random.SystemRandom().randrange(2**32)
    WorkerMachine.steps = 0
    while WorkerMachine.steps < STEPS:
        # Many short runs, each with a number of its own: hypothesis remembers all that it tried in one.
        number += 1
        run_state_machine_as_test(seed(number)(WorkerMachine), settings=LONG_RUN)
        progress.at(WorkerMachine.steps)
    progress.at(WorkerMachine.steps, last=True)
    assert WorkerMachine.steps >= STEPS


# In plain words, what chance seldom comes by.


def until_still(shell: Shell) -> None:
    """Everybody goes on but for compilers that run and requests that publish."""
    moved = True
    while moved:
        moved = False
        for request in list(shell.requests):
            if request.at is not At.PUBLISHING and shell.can_move(request):
                shell.move(request, slowly=False)
                moved = True
        for compiler in list(shell.compilers):
            if shell.can_go(compiler):
                shell.go(compiler)
                moved = True
        shell.check()


def test_I5_nobody_joins_a_job_while_somebody_else_publishes_one_of_the_outputs() -> None:
    shell = Shell(capacity=2, retained=2, budget=None)
    shell.read(1, Shape(Want.EARLY, "e1", E))
    shell.read(2, Shape(Want.FULL, "f1", F))
    until_still(shell)
    first, other = shell.compilers
    shell.end(other, ok=True, peak=0)
    until_still(shell)
    assert [request.at for request in shell.requests] == [At.WAITING, At.PUBLISHING]
    shell.read(3, Shape(Want.FULL, "e1", E | F))
    until_still(shell)
    assert len(shell.compilers) == 3, "its compiler is another one"
    assert first.killed


def test_a_job_that_an_early_request_joins_in_the_queue_is_moved_up() -> None:
    shell = Shell(capacity=1, retained=0, budget=None)
    shell.read(1, Shape(Want.ALONE, None, 0))
    shell.read(2, Shape(Want.FULL, "d1", D))
    shell.read(3, Shape(Want.FULL, "e1", E))
    until_still(shell)
    shell.read(4, Shape(Want.EARLY, "e1", E))
    until_still(shell)
    running, _d, e = shell.compilers
    shell.end(running, ok=True, peak=0)
    until_still(shell)
    assert e.runs


def test_an_early_half_that_went_well_is_told_though_the_compiler_failed_later() -> None:
    shell = Shell(capacity=1, retained=1, budget=None)
    shell.read(1, Shape(Want.FULL, "a1", A | A2))
    until_still(shell)
    (compiler,) = shell.compilers
    shell.early(compiler)
    shell.end(compiler, ok=False, peak=0)
    until_still(shell)
    shell.read(2, Shape(Want.EARLY, "a1", A))
    until_still(shell)
    assert [request.at for request in shell.requests] == [At.PUBLISHING]
