"""One job's states as a literal transition table.

Everything that decides what may happen to a job's processes next is in this file; `run` carries it out.
The table is what DESIGN.md draws. An illegal event raises and leaves the state unchanged.
"""

from __future__ import annotations

from enum import StrEnum

from headstart_wrapper.hints import Final


class State(StrEnum):
    """Where a job's processes are."""

    STARTING = "starting"
    RUNNING = "running"
    TERMINATING = "terminating"
    KILLING = "killing"
    DRAINING = "draining"
    REAPED = "reaped"
    NOT_STARTED = "not started"


class Event(StrEnum):
    """What happened to a job's processes, or what somebody wants of them."""

    STARTED = "started"
    START_FAILED = "start failed"
    STOP = "stop"
    KILL = "kill"
    GRACE_OVER = "grace over"
    LEADER_EXITED = "leader exited"
    DRAINED = "drained"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.STARTING: {
        Event.STARTED: State.RUNNING,
        Event.START_FAILED: State.NOT_STARTED,
    },
    State.RUNNING: {
        Event.STOP: State.TERMINATING,
        Event.KILL: State.KILLING,
        Event.LEADER_EXITED: State.DRAINING,
    },
    State.TERMINATING: {
        Event.STOP: State.TERMINATING,
        Event.KILL: State.KILLING,
        Event.GRACE_OVER: State.KILLING,
        Event.LEADER_EXITED: State.DRAINING,
    },
    State.KILLING: {
        Event.STOP: State.KILLING,
        Event.KILL: State.KILLING,
        Event.LEADER_EXITED: State.DRAINING,
    },
    State.DRAINING: {
        Event.STOP: State.DRAINING,
        Event.KILL: State.DRAINING,
        Event.DRAINED: State.REAPED,
    },
    State.REAPED: {},
    State.NOT_STARTED: {},
}


class IllegalEventError(Exception):
    """We have a bug: an event came in a state that cannot have it."""


class Lifecycle:
    """Where one job is. It does not signal, wait or read clocks."""

    def __init__(self) -> None:
        self.state = State.STARTING

    def feed(self, event: Event) -> bool:
        """Moves on; True when the state changed.

        Raises:
            IllegalEventError: the table has no such row; the state is unchanged.
        """
        following = TRANSITIONS[self.state].get(event)
        if following is None:
            raise IllegalEventError(f"a job that is {self.state} cannot have the event {event!r}")
        changed = following is not self.state
        self.state = following
        return changed
