"""Requests, ids that come again, cancels and ends in any order, against a naive model of what a host may expect."""

from __future__ import annotations

import pytest
from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headstart_worker.ledger import TRANSITIONS, Claim, Event, IllegalEventError, Ledger, State

IDS = st.integers(0, 3)


@define
class Request:
    """What a host remembers of one request, and whether the worker works on it."""

    request_id: int
    works: bool
    was_cancelled: bool = False
    superseded: bool = False
    over: bool = False
    answers: int = 0


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.requests: dict[Claim, Request] = {}

    def _open(self, request_id: int) -> list[Claim]:
        """Claims for an id that the host still waits for, oldest first."""
        return [
            claim
            for claim, r in self.requests.items()
            if r.request_id == request_id and not r.over and not r.superseded
        ]

    @rule(request_id=IDS)
    def request(self, request_id: int) -> None:
        before = self._open(request_id)
        admission = self.ledger.request(request_id)
        assert admission.claim not in self.requests, "a claim is never used again"
        if request_id == 0:
            assert admission.supersedes is None
            assert admission.starts == (not before)
        else:
            assert admission.starts
            assert admission.supersedes == (before[0] if before else None)
            assert len(before) <= 1
            for older in before:
                self.requests[older].superseded = True
        self.requests[admission.claim] = Request(request_id, admission.starts)

    @rule(request_id=st.integers(0, 4))
    def cancel(self, request_id: int) -> None:
        candidates = [claim for claim in self._open(request_id) if not self.requests[claim].was_cancelled]
        stopped = self.ledger.cancel(request_id)
        if not candidates:
            assert stopped is None
            return
        request = self.requests[candidates[0]]
        request.was_cancelled = True
        assert stopped == (candidates[0] if request.works else None)

    @precondition(lambda self: self._working())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self._finish(data.draw(st.sampled_from(self._working())))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def finish_what_does_not_work(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(sorted(self.requests)))
        if claim not in self._working():
            with pytest.raises(IllegalEventError):
                self.ledger.finish(claim)

    def _working(self) -> list[Claim]:
        return [claim for claim, r in self.requests.items() if r.works and not r.over]

    def _finish(self, claim: Claim) -> None:
        request = self.requests[claim]
        settlement = self.ledger.finish(claim)
        request.over = True
        request.answers += settlement.answer
        assert settlement.answer == (not request.superseded), "I5"
        assert settlement.answer is False or settlement.cancelled == request.was_cancelled, "I1"
        waiting = self._open(0) if request.request_id == 0 else []
        assert settlement.next == (waiting[0] if waiting else None)
        if settlement.next is not None:
            assert not self.requests[settlement.next].works
            self.requests[settlement.next].works = True

    @invariant()
    def states_are_what_the_host_would_say(self) -> None:
        for claim, r in self.requests.items():
            if r.over:
                with pytest.raises(KeyError):
                    self.ledger.state(claim)
            elif r.superseded:
                assert self.ledger.state(claim) is State.SUPERSEDED
            elif r.works:
                assert self.ledger.state(claim) is (State.CANCELLING if r.was_cancelled else State.ACTIVE)
            else:
                assert self.ledger.state(claim) is (State.DOOMED if r.was_cancelled else State.WAITING)

    @invariant()
    def I1_at_most_one_request_with_id_0_works(self) -> None:
        assert sum(self.requests[claim].request_id == 0 for claim in self._working()) <= 1

    @invariant()
    def counts_add_up(self) -> None:
        assert self.ledger.unanswered == sum(not r.over for r in self.requests.values())
        assert self.ledger.counts[State.ANSWERED] == sum(r.answers for r in self.requests.values())
        assert sum(self.ledger.counts.values()) == sum(r.over for r in self.requests.values())

    def teardown(self) -> None:
        while working := self._working():
            self._finish(working[0])
        assert all(r.over for r in self.requests.values())
        assert all(r.answers == (0 if r.superseded else 1) for r in self.requests.values()), "I1"
        assert self.ledger.unanswered == 0
        assert not self.ledger._ids
        assert not self.ledger._current
        assert not self.ledger._serial


LedgerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestI1I5Ledger = LedgerMachine.TestCase


def test_I5_an_id_that_comes_again_is_answered_for_the_newest_alone() -> None:
    ledger = Ledger()
    first, second, third = (ledger.request(7) for _ in range(3))
    assert (second.supersedes, third.supersedes) == (first.claim, second.claim)
    assert not ledger.finish(first.claim).answer
    assert ledger.finish(third.claim).answer
    assert not ledger.finish(second.claim).answer
    assert ledger.request(7).supersedes is None


def test_an_illegal_event_leaves_the_state_unchanged() -> None:
    ledger = Ledger()
    ledger.request(0)
    waiting = ledger.request(0).claim
    with pytest.raises(IllegalEventError, match="waiting"):
        ledger.finish(waiting)
    assert ledger.state(waiting) is State.WAITING
    assert ledger.unanswered == 2


def test_every_state_can_come_and_can_end() -> None:
    reached = {State.ACTIVE, State.WAITING}
    while new := {state for old in reached for state in TRANSITIONS[old].values()} - reached:
        reached |= new
    assert reached == set(State) == set(TRANSITIONS)
    ending = {State.ANSWERED, State.DROPPED}
    while new := {s for s, row in TRANSITIONS.items() if ending & set(row.values())} - ending:
        ending |= new
    assert ending == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)
