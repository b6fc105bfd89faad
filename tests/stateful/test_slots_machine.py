"""Jobs ask, are admitted and leave in any order: never too many, never the wrong one first, nobody lost."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headstart_worker.slots import Slots


class SlotsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.capacity = 0
        self.jobs = 0
        self.queue: list[tuple[int, bool]] = []
        self.holders: dict[int, int] = {}

    @initialize(capacity=st.integers(1, 3))
    def begin(self, capacity: int) -> None:
        self.capacity = capacity
        self.slots = Slots(capacity)

    @rule(early=st.booleans())
    def ask(self, early: bool) -> None:
        self.jobs += 1
        self.slots.ask(self.jobs, early=early)
        self.queue.append((self.jobs, early))

    @rule()
    def admit(self) -> None:
        admitted = self.slots.admit()
        for job, slot in admitted:
            expected = min(self.queue, key=lambda entry: (not entry[1], entry[0]))
            assert job == expected[0]
            assert slot == min(set(range(self.capacity)) - set(self.holders.values()))
            self.queue.remove(expected)
            self.holders[job] = slot
        assert not self.queue or len(self.holders) == self.capacity, "a slot is free and somebody waits"

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        job = data.draw(st.integers(1, self.jobs))
        self.slots.withdraw(job)
        self.holders.pop(job, None)
        self.queue = [entry for entry in self.queue if entry[0] != job]

    @invariant()
    def never_more_than_there_are(self) -> None:
        assert len(self.holders) <= self.capacity
        assert len(set(self.holders.values())) == len(self.holders)
        if self.capacity:
            assert self.slots.running == len(self.holders)
            assert self.slots.waiting == len(self.queue)

    def teardown(self) -> None:
        while self.queue:
            for job in list(self.holders):
                self.slots.withdraw(job)
            self.holders.clear()
            self.admit()


SlotsMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestSlots = SlotsMachine.TestCase
