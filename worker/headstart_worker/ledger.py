"""Every request is answered exactly once, whatever happens; ids may be used again.

Theory of operation
-------------------
A request's id is the host's name for it, and real hosts use one name for many requests: Bazel up to 8.2 counts
from 1 again in every build, while work of the interrupted build before is still running here. A worker that
answers by id then reports the old work as the new request's result, and the build "succeeds" with old bytes.
So the ledger gives every request that it reads a *claim* of its own, never used again. A claim is the right
to answer, and it is spent by answering.

-   An id that is active and comes again *supersedes* the older claim: the host has forgotten the older request. Its work
    is stopped, it is never answered, and the newer one starts after the older one's processes are gone (I5).
-   Id 0 is singleplex: the host sends one request at a time. Should two come, the second waits for its turn.
-   A cancel marks the claim. It does not answer: the claim is answered when its work has ended (I2), and says
    `was_cancelled` only then (I1). A cancel for an id without an unanswered claim is nobody's: ignored. A cancel
    of id 0 means the oldest claim that is not cancelled yet.
-   An id that comes again after a cancel, before that is answered, supersedes as well: none for the old, one for the new.

The ledger does no I/O and knows nothing of work; it is told what happened and says what may be done. An illegal event
raises and leaves the state unchanged.
"""

from __future__ import annotations

from collections import defaultdict, deque
from enum import StrEnum
from typing import Final, NewType, final

from attrs import frozen

Claim = NewType("Claim", int)
"""The right to answer one request."""


class State(StrEnum):
    """Where a claim is."""

    WAITING = "waiting"
    DOOMED = "doomed"
    ACTIVE = "active"
    CANCELLING = "cancelling"
    SUPERSEDED = "superseded"
    ANSWERED = "answered"
    DROPPED = "dropped"


class Event(StrEnum):
    """What happens to a claim."""

    TURN = "turn"
    CANCEL = "cancel"
    SUPERSEDE = "supersede"
    FINISH = "finish"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.WAITING: {
        Event.TURN: State.ACTIVE,
        Event.CANCEL: State.DOOMED,
    },
    State.DOOMED: {
        Event.TURN: State.CANCELLING,
    },
    State.ACTIVE: {
        Event.CANCEL: State.CANCELLING,
        Event.SUPERSEDE: State.SUPERSEDED,
        Event.FINISH: State.ANSWERED,
    },
    State.CANCELLING: {
        Event.CANCEL: State.CANCELLING,
        Event.SUPERSEDE: State.SUPERSEDED,
        Event.FINISH: State.ANSWERED,
    },
    State.SUPERSEDED: {
        Event.FINISH: State.DROPPED,
    },
    State.ANSWERED: {},
    State.DROPPED: {},
}


class IllegalEventError(Exception):
    """We have a bug: an event came in a state that cannot have it."""


@frozen
class Admission:
    """What becomes of a request that was read.

    Attributes:
        claim: its claim.
        starts: it may start (after `supersedes` has ended); False: it waits for its turn.
        supersedes: the claim whose work must be stopped first, or None.
    """

    claim: Claim
    starts: bool
    supersedes: Claim | None


@frozen
class Settlement:
    """What becomes of a claim whose work has ended.

    Attributes:
        answer: the response is to be written; False: the host has forgotten the request.
        cancelled: a cancel was read before.
        next: the claim whose turn it is now, or None.
    """

    answer: bool
    cancelled: bool
    next: Claim | None


@final
class Ledger:
    """Claims by id. `unanswered` is what the host still waits for."""

    def __init__(self) -> None:
        self._states: dict[Claim, State] = {}
        self._ids: dict[Claim, int] = {}
        self._current: dict[int, Claim] = {}
        self._serial: deque[Claim] = deque()
        self._last = 0
        self.counts: dict[State, int] = defaultdict(int)

    @property
    def unanswered(self) -> int:
        """Claims that are neither answered nor dropped."""
        return len(self._states)

    def state(self, claim: Claim) -> State:
        """Where an unanswered claim is."""
        return self._states[claim]

    def request(self, request_id: int) -> Admission:
        """Admits a request that was read."""
        self._last += 1
        claim = Claim(self._last)
        self._ids[claim] = request_id
        if request_id == 0:
            starts = not self._serial
            self._serial.append(claim)
            self._states[claim] = State.ACTIVE if starts else State.WAITING
            return Admission(claim, starts, None)
        older = self._current.get(request_id)
        if older is not None:
            self._feed(older, Event.SUPERSEDE)
        self._current[request_id] = claim
        self._states[claim] = State.ACTIVE
        return Admission(claim, starts=True, supersedes=older)

    def cancel(self, request_id: int) -> Claim | None:
        """Marks a claim as cancelled; returns it when its running work must be stopped for that."""
        if request_id == 0:
            claim = next((c for c in self._serial if self._states[c] in {State.ACTIVE, State.WAITING}), None)
        else:
            claim = self._current.get(request_id)
        if claim is None or self._states[claim] is State.CANCELLING:
            return None
        self._feed(claim, Event.CANCEL)
        return claim if self._states[claim] is State.CANCELLING else None

    def finish(self, claim: Claim) -> Settlement:
        """Settles a claim whose work has ended, with every process of it.

        Raises:
            IllegalEventError: it was settled before, or never began.
        """
        before = self._states.get(claim, State.ANSWERED)
        self._feed(claim, Event.FINISH)
        request_id = self._ids[claim]
        following = None
        if request_id == 0:
            self._serial.popleft()
            if self._serial:
                following = self._serial[0]
                self._feed(following, Event.TURN)
        elif before is not State.SUPERSEDED:
            del self._current[request_id]
        self._retire(claim)
        return Settlement(
            answer=before is not State.SUPERSEDED,
            cancelled=before is State.CANCELLING,
            next=following,
        )

    def _feed(self, claim: Claim, event: Event) -> None:
        state = self._states.get(claim, State.ANSWERED)
        following = TRANSITIONS[state].get(event)
        if following is None:
            raise IllegalEventError(f"a claim that is {state} cannot have the event {event!r}")
        self._states[claim] = following

    def _retire(self, claim: Claim) -> None:
        """Ended claims are only counted: a worker lives for millions of requests."""
        self.counts[self._states.pop(claim)] += 1
        del self._ids[claim]
