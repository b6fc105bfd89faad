"""Jobs ask, are admitted and leave in any order: never too many, never the wrong one first, nobody lost or starved."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headstart_worker.memory import UNKNOWN, Kind, Memory
from headstart_worker.slots import Slots

KINDS = [Kind(output, program) for output in ("", "a", "b", "c") for program in ("cc", "rustc")]
PATHS = st.sampled_from([0.0, 0.5, 1e9])
SIZES = st.sampled_from([1, 100, UNKNOWN // 2, UNKNOWN, 3 * UNKNOWN])


class SlotsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.capacity = 0
        self.budget: int | None = None
        self.memory: Memory | None = None
        self.numbers: set[int] = set()
        self.early: dict[int, bool] = {}
        self.paths: dict[int, float] = {}
        self.kinds: dict[int, Kind] = {}
        self.next: int | None = None
        self.holders: dict[int, int] = {}

    @initialize(capacity=st.integers(1, 3), budget=st.none() | SIZES)
    def begin(self, capacity: int, budget: int | None) -> None:
        self.capacity = capacity
        self.budget = budget
        self.memory = None if budget is None else Memory(budget)
        self.slots = Slots(capacity, self.memory)

    @rule(data=st.data(), early=st.booleans(), kind=st.sampled_from(KINDS), path=PATHS)
    def ask(self, data: st.DataObject, early: bool, kind: Kind, path: float) -> None:
        # Usually the next number; a job that has to wait for an older one asks after younger ones.
        job = data.draw(st.integers(1, len(self.numbers) + 3).filter(lambda n: n not in self.numbers))
        self.numbers.add(job)
        self.kinds[job] = kind
        self.paths[job] = path
        self.slots.ask(job, early=early, kind=kind, path=path)
        self.early[job] = early

    @precondition(lambda self: self.numbers)
    @rule(data=st.data())
    def expedite(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.numbers)))
        self.slots.expedite(job)
        if job in self.early:
            self.early[job] = True

    @precondition(lambda self: self.memory)
    @rule(kind=st.sampled_from(KINDS), peak=SIZES, ok=st.booleans())
    def learn(self, kind: Kind, peak: int, ok: bool) -> None:
        assert self.memory is not None
        self.memory.learn(kind, peak, ok=ok)

    def first(self) -> int:
        return min(self.early, key=lambda job: (job != self.next, not self.early[job], -self.paths[job], job))

    @rule()
    def admit(self) -> None:
        running = len(self.holders)
        for job, slot in self.slots.admit():
            assert job == self.first(), "somebody was overtaken"
            assert slot == min(set(range(self.capacity)) - set(self.holders.values()))
            del self.early[job]
            self.holders[job] = slot
            self.next = None
        if self.early and len(self.holders) < self.capacity:
            assert self.memory is not None, "a slot is free and somebody waits"
            assert self.budget is not None
            self.next = self.first()
            assert self.holders, "nothing runs and somebody waits"
            assert self.memory.taken + self.memory.need(self.kinds[self.next]) > self.budget, "it would fit"
        if self.memory is not None and self.budget is not None and len(self.holders) > running:
            assert self.memory.taken <= self.budget or len(self.holders) == 1

    @precondition(lambda self: self.numbers)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        self.leave(data.draw(st.sampled_from(sorted(self.numbers))))

    def leave(self, job: int) -> None:
        self.slots.withdraw(job)
        self.holders.pop(job, None)
        self.early.pop(job, None)
        if self.next == job:
            self.next = None

    @invariant()
    def never_more_than_there_are(self) -> None:
        assert len(self.holders) <= self.capacity
        assert len(set(self.holders.values())) == len(self.holders)
        if self.capacity:
            assert self.slots.running == len(self.holders)
            assert self.slots.waiting == len(self.early)

    @invariant()
    def never_over_the_budget_unless_alone(self) -> None:
        if self.memory is not None and self.budget is not None:
            assert self.memory.taken <= self.budget or len(self.holders) == 1
            assert self.memory.taken == sum(map(self.memory.taken_by, self.holders))

    def teardown(self) -> None:
        while self.early:
            for job in list(self.holders):
                self.leave(job)
            waiting = len(self.early)
            self.admit()
            assert len(self.early) < waiting, "nothing runs and nobody is admitted"


SlotsMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestSlots = SlotsMachine.TestCase


@given(early=st.lists(st.booleans(), min_size=1000, max_size=1000), moved=st.sets(st.integers(0, 999)))
@settings(max_examples=5, deadline=None)
def test_a_thousand_at_once_get_two_slots_in_the_stated_order(early: Sequence[bool], moved: set[int]) -> None:
    slots = Slots(2)
    for job, is_early in enumerate(early):
        slots.ask(job, early=is_early, kind=KINDS[0], path=job % 7)
    for job in moved:
        slots.expedite(job)
    order = []
    while admitted := slots.admit():
        order += [job for job, _ in admitted]
        slots.withdraw(order[-1])
    assert order == sorted(
        range(1000), key=lambda job: (not early[job] and job not in moved, -(job % 7), job)
    )


def test_small_jobs_that_fit_do_not_keep_a_big_one_out() -> None:
    memory = Memory(100)
    big, small = Kind("big", "cc"), Kind("small", "cc")
    memory.learn(big, 90, ok=True)
    memory.learn(small, 20, ok=True)
    slots = Slots(3, memory)
    slots.ask(1, early=True, kind=small)
    assert slots.admit() == [(1, 0)]
    slots.ask(9, early=False, kind=big)
    assert slots.admit() == []
    # Two slots are free, 80 bytes as well, others wait for what these make, their requests came earlier, and a long path lies ahead.
    slots.ask(3, early=True, kind=small, path=100.0)
    slots.ask(4, early=True, kind=small, path=100.0)
    slots.expedite(9)
    assert slots.admit() == []
    slots.withdraw(1)
    assert slots.admit() == [(9, 0)]
    slots.withdraw(9)
    assert slots.admit() == [(3, 0), (4, 1)]
