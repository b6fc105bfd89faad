"""Joins the two halves of pipelined jobs, and decides who owns an output.

Theory of operation
-------------------
A *job* is one compiler run. Requests attach to it with what they want of it: the early half, the full half, or all of
it alone. The early and the full request of one compile are found to be the same job by its fingerprint and nothing
else: if any input, argument or variable differs, the fingerprint differs, and there is nothing to join (I7). The halves
may come in any order, any number of times; `TRANSITIONS` says what each means in each state.

Ownership: a job owns the output paths of the requests that attached to it. A request for a path that a job with another
fingerprint owns says that the older job's result is not wanted any more: it is superseded. Its processes are
killed, requests that still wait for it are told so, and the new job starts when the old one's processes are gone and
nobody is being answered from it any more, who could still publish its outputs over the new ones (I5).

Memory: a finished job is kept until both halves were answered. A failure is told once to each half, so that it is
not compiled twice; the same half asked again is a new try. What nobody comes for (an early half whose full half was
cancelled, a build that was interrupted) is kept until it is superseded, or until `retained` younger ones are there.

A request that is *being answered* still needs the job's private files, so a job is forgotten only when no request is
attached any more. This room does no I/O; it is told events and returns actions, in the order in which to do them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Final, NewType, final

from attrs import Factory, define, frozen

from headstart_worker.ledger import Claim

JobId = NewType("JobId", int)
"""Names one compiler run; never used again."""

RETAINED: Final = 1024
"""Finished jobs kept for a half that has not come. Each costs its private outputs on disk, mostly links to published
files; the number is above the widest build graph that asks for all early halves before any full one."""


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

_REQUEST = {Want.EARLY: Event.EARLY_REQUEST, Want.FULL: Event.FULL_REQUEST, Want.ALONE: Event.ALONE_REQUEST}


class IllegalEventError(Exception):
    """We have a bug: an event came in a state that cannot have it."""


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


@define
class _Job:
    id: JobId
    fingerprint: str | None
    home: Claim | None = None
    state: State = State.QUEUED
    waiting: dict[Claim, Want] = Factory(dict)
    answering: dict[Claim, Want] = Factory(dict)
    cancelled: list[Claim] = Factory(list)
    superseded: list[Claim] = Factory(list)
    answered: set[Want] = Factory(set)
    outputs: set[str] = Factory(set)


@final
class Pipelines:
    """All jobs that run or are kept, by fingerprint and by output."""

    def __init__(self, *, retained: int = RETAINED) -> None:
        self._retained = retained
        self._jobs: dict[JobId, _Job] = {}
        self._joinable: dict[str, _Job] = {}
        self._owners: dict[str, _Job] = {}
        self._attached: dict[Claim, _Job] = {}
        self._last = 0
        self.joins = 0

    def state(self, job: JobId) -> State:
        """Where a job is; GONE for one that is not known any more."""
        known = self._jobs.get(job)
        return known.state if known else State.GONE

    def joinable(self, fingerprint: str, want: Want) -> bool:
        """True when a request with this fingerprint would join a job instead of making one."""
        return self._joined(fingerprint, want) is not None

    def _joined(self, fingerprint: str | None, want: Want) -> _Job | None:
        if fingerprint is None or want is Want.ALONE:
            return None
        job = self._joinable.get(fingerprint)
        if job is not None and job.state in {State.FAILED, State.FAILED_LATE} and want in job.answered:
            return None
        return job

    def has_early_waiter(self, job: JobId) -> bool:
        """True when an early request waits for this job."""
        known = self._jobs.get(job)
        return known is not None and Want.EARLY in known.waiting.values()

    def request(
        self,
        claim: Claim,
        want: Want,
        fingerprint: str | None,
        outputs: Collection[str],
        *,
        home: bool = False,
    ) -> tuple[JobId, list[Action]]:
        """Attaches a request to a job, a new one if there is none to join.

        Args:
            claim: the right to answer it.
            want: the half that it wants.
            fingerprint: of the job; None for work that is never joined (ALONE).
            outputs: every path that the request declares, in one canonical spelling.
            home: a new job runs in this request's own directory, which is taken away with its answer (I8).
        """
        joined = self._joined(fingerprint, want)
        actions: list[Action] = []
        after: list[JobId] = []
        for older in {id(owner): owner for path in outputs if (owner := self._owners.get(path))}.values():
            if older is not joined:
                actions += self._abandon(older, superseded=True)
                if older.id in self._jobs:  # it ends, or somebody is still being answered from it
                    after.append(older.id)
        if joined is None:
            self._last += 1
            job = _Job(JobId(self._last), fingerprint if want is not Want.ALONE else None)
            job.home = claim if home else None
            self._jobs[job.id] = job
            if job.fingerprint is not None:
                if (twin := self._joinable.get(job.fingerprint)) is not None:
                    actions += self._abandon(twin, superseded=True)
                self._joinable[job.fingerprint] = job
            actions.append(Start(job.id, tuple(after)))
        else:
            job = joined
            self.joins += 1
        for path in outputs:
            self._owners[path] = job
            job.outputs.add(path)
        self._attached[claim] = job
        job.waiting[claim] = want
        return job.id, actions + self._feed(job, _REQUEST[want], claim)

    def started(self, job: JobId) -> list[Action]:
        """The job's compiler is about to be started."""
        return self._feed(self._jobs[job], Event.STARTED)

    def early_complete(self, job: JobId) -> list[Action]:
        """The job's early outputs are complete."""
        return self._feed(self._jobs[job], Event.EARLY_COMPLETE)

    def ended(self, job: JobId, *, ok: bool) -> list[Action]:
        """The job's compiler has ended and all its processes are gone, or it was never started."""
        return self._feed(self._jobs[job], Event.SUCCEEDED if ok else Event.FAILED)

    def cancel(self, claim: Claim) -> list[Action]:
        """The host does not want this request any more.

        The job goes on when another request waits for it; otherwise it is killed, and the cancel is acknowledged
        when its processes are gone. So is the cancel of the request in whose directory the job runs, always.
        """
        job = self._attached.get(claim)
        if job is None or claim not in job.waiting:
            return []
        del job.waiting[claim]
        if job.state in ENDED or (job.waiting and claim != job.home):
            del self._attached[claim]
            return [AnswerCancelled(claim)]
        job.cancelled.append(claim)
        return [] if job.waiting else self._abandon(job, superseded=False)

    def answered(self, claim: Claim) -> list[Action]:
        """A request that was told to be answered needs the job's files no longer."""
        job = self._attached.pop(claim, None)
        if job is None or claim not in job.answering:
            return []
        job.answered.add(job.answering.pop(claim))
        return self._tidy(job)

    def shut_down(self) -> list[Action]:
        """Everything is abandoned."""
        return [action for job in list(self._jobs.values()) for action in self._abandon(job, superseded=True)]

    def _feed(self, job: _Job, event: Event, claim: Claim | None = None) -> list[Action]:
        row = TRANSITIONS[job.state].get(event)
        if row is None:
            raise IllegalEventError(f"a job that is {job.state} cannot have the event {event!r}")
        job.state, reaction = row
        return list(self._react(job, reaction, claim)) + self._tidy(job)

    def _react(self, job: _Job, reaction: Reaction, claim: Claim | None) -> Iterator[Action]:
        match reaction:
            case Reaction.ANSWER if claim is not None:
                yield self._answer(job, claim)
            case Reaction.ANSWER_EARLY:
                for waiting in [c for c, want in job.waiting.items() if want is Want.EARLY]:
                    yield self._answer(job, waiting)
            case Reaction.ANSWER_ALL:
                for waiting in list(job.waiting):
                    yield self._answer(job, waiting)
                yield from self._settle(job)
            case Reaction.KILL:
                yield Kill(job.id)
            case Reaction.SETTLE:
                yield from self._settle(job)
            case _:
                pass

    def _settle(self, job: _Job) -> Iterator[Action]:
        for settled in (*job.cancelled, *job.superseded):
            self._attached.pop(settled, None)
        yield from map(AnswerCancelled, job.cancelled)
        yield from map(AnswerSuperseded, job.superseded)

    def _answer(self, job: _Job, claim: Claim) -> Action:
        want = job.answering[claim] = job.waiting.pop(claim)
        early = want is Want.EARLY and job.state in {State.EARLY, State.DONE, State.FAILED_LATE}
        return AnswerEarly(claim, job.id) if early else AnswerEnd(claim, job.id)

    def _abandon(self, job: _Job, *, superseded: bool) -> list[Action]:
        if superseded:
            job.superseded += job.waiting
            job.waiting.clear()
        self._disown(job)
        return self._feed(job, Event.ABANDONED) if job.state is not State.GONE else []

    def _disown(self, job: _Job) -> None:
        """New requests neither join it nor find it as an owner, but for one that is ending: it is to be waited for."""
        if job.fingerprint is not None and self._joinable.get(job.fingerprint) is job:
            del self._joinable[job.fingerprint]

    def _tidy(self, job: _Job) -> list[Action]:
        """Forgets what nobody comes for any more, once nobody is being answered from it."""
        if (
            job.state in ENDED
            and not job.waiting
            and (
                job.fingerprint is None
                or {Want.EARLY, Want.FULL} <= job.answered | set(job.answering.values())
            )
        ):
            self._disown(job)
            job.state = State.GONE
        actions: list[Action] = []
        if job.state is State.GONE and not job.answering and job.id in self._jobs:
            self._disown(job)
            for path in job.outputs:
                if self._owners.get(path) is job:
                    del self._owners[path]
            del self._jobs[job.id]
            actions.append(Forget(job.id))
        return actions + self._evict()

    def _evict(self) -> list[Action]:
        idle = [
            job for job in self._jobs.values() if job.state in ENDED and not job.waiting and not job.answering
        ]
        return [
            a
            for job in idle[: max(0, len(idle) - self._retained)]
            for a in self._abandon(job, superseded=False)
        ]
