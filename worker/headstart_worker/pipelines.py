"""Joins the two halves of pipelined jobs, and decides who owns an output.

Theory of operation
-------------------
A *job* is one compiler run. Requests attach to it with what they want of it: the early half, the full half, or all of
it alone. The early and the full request of one compile are found to be the same job by its fingerprint and nothing
else: if any input, argument or variable differs, the fingerprint differs, and there is nothing to join (I7). The halves
may come in any order, any number of times; `TRANSITIONS` (`pipeline_states`) says what each means in each state.

Ownership: a job owns the output paths of the requests that attached to it. A request for a path that a job with another
fingerprint owns says that the older job's result is not wanted any more: it is superseded. Its processes are
killed, requests that still wait for it are told so, and the new job starts when the old one's processes are gone and
nobody is being answered from it any more, who could still publish its outputs over the new ones (I5). So a request joins
nothing while such a job writes one of its outputs, unless what it would join waits for that job's end itself: the
joined compiler may have written already what the other one writes last.

Memory: a finished job is kept until both halves were answered. A failure is told once to each half, so that it is
not compiled twice; the same half asked again is a new try. What nobody comes for (an early half whose full half was
cancelled, a build that was interrupted) is kept until it is superseded, or until `retained` younger ones are there.

A request that is *being answered* still needs the job's private files, so a job is forgotten only when no request is
attached any more. This room does no I/O; it is told events and returns actions, in the order in which to do them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from typing import Final, final

from attrs import Factory, define

from headstart_worker.ledger import Claim
from headstart_worker.pipeline_states import (
    ENDED,
    REQUEST_EVENTS,
    TRANSITIONS,
    Action,
    AnswerCancelled,
    AnswerEarly,
    AnswerEnd,
    AnswerSuperseded,
    Event,
    Forget,
    JobId,
    Kill,
    Obstacle,
    Reaction,
    Start,
    State,
    Want,
)

RETAINED: Final = 1024
"""Finished jobs kept for a half that has not come. Each costs its private outputs on disk, mostly links to published
files; the number is above the widest build graph that asks for all early halves before any full one."""

REMEMBERED: Final = 4096
"""Outputs of forgotten jobs whose newest request is known: an older one may come late (id 0, work that is done anew), while
hardly so many others pass."""


class IllegalEventError(Exception):
    """We have a bug: an event came in a state that cannot have it."""


@define
class _Job:
    id: JobId
    fingerprint: str | None
    home: Claim | None = None
    after: tuple[JobId, ...] = ()
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
        # Who asked last for an output: for those that are owned, and the past ones.
        self._newest: dict[str, Claim] = {}
        self._attached: dict[Claim, _Job] = {}
        self._idle: list[JobId] = []  # ended, and nobody there: oldest first
        self._last = 0
        self.joins = 0

    def state(self, job: JobId) -> State:
        """Where a job is; GONE for one that is not known any more."""
        known = self._jobs.get(job)
        return known.state if known else State.GONE

    def joinable(self, fingerprint: str, want: Want, outputs: Collection[str] = ()) -> bool:
        """True when a request with this fingerprint, for these outputs, would join a job instead of making one."""
        return self._joined(fingerprint, want, outputs) is not None

    def obstacle(
        self, fingerprint: str, want: Want, outputs: Collection[str]
    ) -> tuple[Obstacle, JobId | None]:
        """What keeps a request, which is not attached yet and will not join, from joining, and the job that is in its way."""
        twin = self._joinable.get(fingerprint)
        if twin is not None and want in twin.answered and twin.state in {State.FAILED, State.FAILED_LATE}:
            return Obstacle.FAILED_BEFORE, twin.id
        owner = next(
            (owner for path in outputs if (owner := self._owners.get(path)) is not twin and owner), None
        )
        if owner is None:
            return Obstacle.NOTHING_RAN, None
        if twin is not None:
            return Obstacle.OTHER_WRITES, owner.id
        return (Obstacle.ENDING if owner.fingerprint == fingerprint else Obstacle.OTHER), owner.id

    def _joined(self, fingerprint: str | None, want: Want, outputs: Collection[str] = ()) -> _Job | None:
        if fingerprint is None or want is Want.ALONE:
            return None
        job = self._joinable.get(fingerprint)
        if job is None or (job.state in {State.FAILED, State.FAILED_LATE} and want in job.answered):
            return None
        writers = {
            owner.id
            for path in outputs
            if (owner := self._owners.get(path)) and owner is not job and _lives(owner)
        }
        return job if writers <= self._awaited(job, writers) else None

    def _awaited(self, job: _Job, among: set[JobId]) -> set[JobId]:
        """Those of some jobs whose end this one's start waits for, itself or through others."""
        found: set[JobId] = set()
        unseen = list(job.after) if among else []
        while unseen:
            if (number := unseen.pop()) in self._jobs and number not in found:
                found.add(number)
                unseen += self._jobs[number].after
        return found & among

    def overtaken(self, claim: Claim, outputs: Collection[str]) -> bool:
        """True when a newer request than this one has come for one of its outputs."""
        return any(self._newest.get(path, claim) > claim for path in outputs)

    def has_tails(self) -> bool:
        """True when a compiler goes on after its early outputs, and nobody waits for it."""
        return any(_is_tail(job) for job in self._joinable.values())

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
        joined = self._joined(fingerprint, want, outputs)
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
            job.after = tuple(after)
            self._jobs[job.id] = job
            if job.fingerprint is not None:
                if (twin := self._joinable.get(job.fingerprint)) is not None:
                    actions += self._abandon(twin, superseded=True)
                self._joinable[job.fingerprint] = job
            actions.append(Start(job.id, job.after))
        else:
            job = joined
            self.joins += 1
        for path in outputs:
            self._newest[path] = max(self._newest.get(path, claim), claim)
            self._owners[path] = job
            job.outputs.add(path)
        self._attached[claim] = job
        job.waiting[claim] = want
        return job.id, actions + self._feed(job, REQUEST_EVENTS[want], claim)

    def moved_out(self, job: JobId) -> list[Action]:
        """The job needs the directory of the request that it was made for no longer; a cancel of that one waits for nothing any more."""
        known = self._jobs[job]
        home, known.home = known.home, None
        if home is None or home not in known.cancelled or not known.waiting:
            return []
        known.cancelled.remove(home)
        del self._attached[home]
        return [AnswerCancelled(home)]

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

    def withdraw(self, claim: Claim, want: Want, fingerprint: str | None) -> list[Action]:
        """The host gave a request up before it came: as if it had come and was cancelled then.

        The tail that it would have waited for is wanted by nobody any more; it ends, and the cancel is acknowledged when
        its processes are gone. What others wait for, or what they are retained for, goes on.
        """
        job = self._joined(fingerprint, want)
        if want is not Want.FULL or job is None or not _is_tail(job):
            return [AnswerCancelled(claim)]
        self._attached[claim] = job
        job.cancelled.append(claim)
        return self._abandon(job, superseded=False)

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

    def _forget_the_past(self) -> None:
        while len(self._newest) > len(self._owners) + REMEMBERED:
            path = next(iter(self._newest))
            newest = self._newest.pop(path)
            if path in self._owners:
                self._newest[path] = newest

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
                    self._newest[path] = self._newest.pop(path)  # behind those that were forgotten before
            self._forget_the_past()
            del self._jobs[job.id]
            actions.append(Forget(job.id))
        self._note_idle(job)
        while len(self._idle) > self._retained:
            actions += self._abandon(self._jobs[self._idle[0]], superseded=False)
        return actions

    def _note_idle(self, job: _Job) -> None:
        """Keeps the list of idle jobs, which every event would have to look for otherwise."""
        place = bisect_left(self._idle, job.id)
        known = place < len(self._idle) and self._idle[place] == job.id
        idle = job.state in ENDED and not job.waiting and not job.answering
        if idle and not known:
            insort(self._idle, job.id)
        elif known and not idle:
            del self._idle[place]


def _lives(job: _Job) -> bool:
    """True when it writes its outputs, will, or somebody does from its files: when forgetting it has to wait."""
    return job.state not in ENDED or bool(job.answering)


def _is_tail(job: _Job) -> bool:
    return job.state is State.EARLY and not job.waiting
