"""Every row of the table of a job's processes, and what the table as a whole promises."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.lifecycle import TRANSITIONS, Event, IllegalEventError, Lifecycle, State

ENDS = {State.REAPED, State.NOT_STARTED}

# How each state is reached, in the words of a job's life.
WAYS = {
    State.STARTING: [],
    State.RUNNING: [Event.STARTED],
    State.TERMINATING: [Event.STARTED, Event.STOP],
    State.KILLING: [Event.STARTED, Event.STOP, Event.GRACE_OVER],
    State.DRAINING: [Event.STARTED, Event.LEADER_EXITED],
    State.REAPED: [Event.STARTED, Event.LEADER_EXITED, Event.DRAINED],
    State.NOT_STARTED: [Event.START_FAILED],
}


def at(state: State) -> Lifecycle:
    lifecycle = Lifecycle()
    for event in WAYS[state]:
        lifecycle.feed(event)
    assert lifecycle.state is state
    return lifecycle


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_row(state: State, event: Event) -> None:
    lifecycle = at(state)
    following = TRANSITIONS[state].get(event)
    if following is None:
        with pytest.raises(IllegalEventError, match=f"{state} cannot have"):
            lifecycle.feed(event)
        assert lifecycle.state is state
    else:
        assert lifecycle.feed(event) == (following is not state)
        assert lifecycle.state is following


def test_every_state_is_reached_and_can_end() -> None:
    reached = {State.STARTING}
    while new := {s for old in reached for s in TRANSITIONS[old].values()} - reached:
        reached |= new
    assert reached == set(State) == set(TRANSITIONS)
    ending = {state for state, row in TRANSITIONS.items() if not row}
    assert ending == ENDS
    while new := {s for s, row in TRANSITIONS.items() if ending & set(row.values())} - ending:
        ending |= new
    assert ending == set(State)


def test_I2_no_end_of_a_started_job_but_after_its_leaders_exit() -> None:
    assert [s for s, row in TRANSITIONS.items() if State.REAPED in row.values()] == [State.DRAINING]
    into_draining = {e for row in TRANSITIONS.values() for e, s in row.items() if s is State.DRAINING}
    assert into_draining == {Event.LEADER_EXITED, Event.STOP, Event.KILL}
    assert {s for s, row in TRANSITIONS.items() if row.get(Event.LEADER_EXITED)} == {
        State.RUNNING,
        State.TERMINATING,
        State.KILLING,
    }


@given(st.lists(st.sampled_from([Event.STOP, Event.KILL, Event.GRACE_OVER]), max_size=8))
def test_a_job_that_is_being_ended_never_gets_milder(wishes: list[Event]) -> None:
    order = [State.RUNNING, State.TERMINATING, State.KILLING]
    lifecycle = at(State.RUNNING)
    for wish in wishes:
        before = order.index(lifecycle.state)
        try:
            lifecycle.feed(wish)
        except IllegalEventError:
            assert wish is Event.GRACE_OVER
            assert lifecycle.state is not State.TERMINATING
        assert order.index(lifecycle.state) >= before
        assert wish is not Event.KILL or lifecycle.state is State.KILLING
    lifecycle.feed(Event.LEADER_EXITED)
    lifecycle.feed(Event.DRAINED)
    assert lifecycle.state is State.REAPED
