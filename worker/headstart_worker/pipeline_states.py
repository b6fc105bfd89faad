"""What may happen to a job, and what is to be done about it, as literal tables.

Everything that the states of a job depend on stands here: `pipelines` feeds events to the table and carries the reactions
out as actions. Not here: which requests a job has, who owns an output, how long a job is kept.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Final, NewType

from attrs import frozen

from headstart_worker.ledger import Claim

JobId = NewType("JobId", int)
"""Names one compiler run; never used again."""


class Want(StrEnum):
    """What a request wants of a job."""

    EARLY = "early"
    FULL = "full"
    ALONE = "alone"


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    EARLY = "early complete"
    DONE = "done"
    FAILED = "failed"
    FAILED_LATE = "failed late"
    ENDING = "ending"
    GONE = "gone"


class Event(StrEnum):
    """What happens to a job."""

    EARLY_REQUEST = "early request"
    FULL_REQUEST = "full request"
    ALONE_REQUEST = "alone request"
    STARTED = "started"
    EARLY_COMPLETE = "early complete"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Reaction(StrEnum):
    """What is to be done about an event."""

    NOTHING = "-"
    WAIT = "request waits"
    ANSWER = "answer the request"
    ANSWER_EARLY = "answer early requests"
    ANSWER_ALL = "answer all"
    KILL = "kill"
    SETTLE = "cancelled and superseded are told"
    FORGET = "forget"


TRANSITIONS: Final[dict[State, dict[Event, tuple[State, Reaction]]]] = {
    State.QUEUED: {
        Event.EARLY_REQUEST: (State.QUEUED, Reaction.WAIT),
        Event.FULL_REQUEST: (State.QUEUED, Reaction.WAIT),
        Event.ALONE_REQUEST: (State.QUEUED, Reaction.WAIT),
        Event.STARTED: (State.RUNNING, Reaction.NOTHING),
        Event.FAILED: (State.FAILED, Reaction.ANSWER_ALL),
        Event.ABANDONED: (State.ENDING, Reaction.KILL),
    },
    State.RUNNING: {
        Event.EARLY_REQUEST: (State.RUNNING, Reaction.WAIT),
        Event.FULL_REQUEST: (State.RUNNING, Reaction.WAIT),
        Event.EARLY_COMPLETE: (State.EARLY, Reaction.ANSWER_EARLY),
        Event.SUCCEEDED: (State.DONE, Reaction.ANSWER_ALL),
        Event.FAILED: (State.FAILED, Reaction.ANSWER_ALL),
        Event.ABANDONED: (State.ENDING, Reaction.KILL),
    },
    State.EARLY: {
        Event.EARLY_REQUEST: (State.EARLY, Reaction.ANSWER),
        Event.FULL_REQUEST: (State.EARLY, Reaction.WAIT),
        Event.SUCCEEDED: (State.DONE, Reaction.ANSWER_ALL),
        Event.FAILED: (State.FAILED_LATE, Reaction.ANSWER_ALL),
        Event.ABANDONED: (State.ENDING, Reaction.KILL),
    },
    State.DONE: {
        Event.EARLY_REQUEST: (State.DONE, Reaction.ANSWER),
        Event.FULL_REQUEST: (State.DONE, Reaction.ANSWER),
        Event.ABANDONED: (State.GONE, Reaction.FORGET),
    },
    State.FAILED: {
        Event.EARLY_REQUEST: (State.FAILED, Reaction.ANSWER),
        Event.FULL_REQUEST: (State.FAILED, Reaction.ANSWER),
        Event.ABANDONED: (State.GONE, Reaction.FORGET),
    },
    State.FAILED_LATE: {
        Event.EARLY_REQUEST: (State.FAILED_LATE, Reaction.ANSWER),
        Event.FULL_REQUEST: (State.FAILED_LATE, Reaction.ANSWER),
        Event.ABANDONED: (State.GONE, Reaction.FORGET),
    },
    State.ENDING: {
        Event.STARTED: (State.ENDING, Reaction.KILL),
        Event.EARLY_COMPLETE: (State.ENDING, Reaction.NOTHING),
        Event.SUCCEEDED: (State.GONE, Reaction.SETTLE),
        Event.FAILED: (State.GONE, Reaction.SETTLE),
        Event.ABANDONED: (State.ENDING, Reaction.NOTHING),
    },
    State.GONE: {},
}

ENDED: Final = frozenset({State.DONE, State.FAILED, State.FAILED_LATE})
"""The compiler has ended by itself, its result is kept."""

REQUEST_EVENTS: Final = {
    Want.EARLY: Event.EARLY_REQUEST,
    Want.FULL: Event.FULL_REQUEST,
    Want.ALONE: Event.ALONE_REQUEST,
}
"""What a request is to the job that it attaches to."""


class Obstacle(Enum):
    """Why a request for a half of a job joins nothing."""

    NOTHING_RAN = auto()
    OTHER = auto()
    ENDING = auto()
    FAILED_BEFORE = auto()
    OTHER_WRITES = auto()


@frozen
class Start:
    """Run this job's compiler, when the jobs in `after` are forgotten: gone, and nobody publishes their outputs."""

    job: JobId
    after: tuple[JobId, ...]


@frozen
class Kill:
    """End this job's compiler, or take it out of the queue; report its end as a failure."""

    job: JobId


@frozen
class AnswerEarly:
    """Answer with the early half of a job that goes on, or went well that far."""

    claim: Claim
    job: JobId


@frozen
class AnswerEnd:
    """Answer with how the job ended."""

    claim: Claim
    job: JobId


@frozen
class AnswerCancelled:
    """Answer that the request was cancelled: nothing of it runs any more."""

    claim: Claim


@frozen
class AnswerSuperseded:
    """Answer that a newer request for the same output took its place."""

    claim: Claim


@frozen
class Forget:
    """Nobody needs this job's private files any more."""

    job: JobId


Action = Start | Kill | AnswerEarly | AnswerEnd | AnswerCancelled | AnswerSuperseded | Forget
