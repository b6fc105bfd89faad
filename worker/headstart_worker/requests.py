"""One request from its arguments to its answer.

A request is prepared, attached to a job, and answered when the job says so. Whatever goes wrong becomes an answer that
says what and what to do; only the end of the worker leaves a request unanswered. Not here: how it is prepared
(`preparation`), and who joins whom (`pipelines`).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from typing import final

import trio
from attrs import frozen

from headstart_worker.compilation import Job
from headstart_worker.faults import ENDS_OF_EVERYTHING, bug_report
from headstart_worker.jobs import Jobs
from headstart_worker.ledger import Claim
from headstart_worker.messages import WorkRequest
from headstart_worker.notes import Notes
from headstart_worker.pipeline_states import Action, AnswerCancelled, AnswerEarly, AnswerEnd, JobId, Want
from headstart_worker.preparation import Preparation, Prepared
from headstart_worker.tracing import TraceFile
from headstart_wrapper import after_success, outputs, stats_file
from headstart_wrapper import job as wrapper_job
from headstart_wrapper.errors import HeadstartError, RequestError
from headstart_wrapper.job import Outcome
from headstart_wrapper.run import Run
from headstart_wrapper.text import message_line


@frozen
class Answer:
    """What a request is answered with.

    Attributes:
        exit_code, output: as the interface has them; the output is valid text, newline-terminated or empty.
        cancelled: its work was ended because somebody asked for it.
        peak_memory: of the compiler that has ended, in bytes; 0: there is none.
    """

    exit_code: int
    output: str = ""
    cancelled: bool = False
    peak_memory: int = 0


@frozen
class Admission:
    """What the server says of a request's place.

    Attributes:
        claim: the right to answer it.
        turn: set when every request that was read before is attached to its job.
        attached: to be set when this one is, or never will be.
        after: its job may start only then; None: at once.
        is_wanted: False once it was cancelled or superseded.
        notes: what is told about it.
    """

    claim: Claim
    notes: Notes
    turn: trio.Event
    attached: trio.Event
    after: trio.Event | None
    is_wanted: Callable[[], bool]


@final
class Requests:
    """Answers requests."""

    def __init__(self, jobs: Jobs, preparation: Preparation, trace: TraceFile) -> None:
        self._jobs = jobs
        self._preparation = preparation
        self._trace = trace

    async def answer(self, request: WorkRequest, admission: Admission) -> Answer:
        """Does what the request wants, and says how it went. Raises only what ends the worker (`faults`)."""
        try:
            prepared = await self._attach(request, admission)
            if prepared is None:
                return Answer(exit_code=0, cancelled=True)
            return await self._settle(*prepared, admission)
        except HeadstartError as error:
            return Answer(error.exit_code, message_line(str(error)))
        except ENDS_OF_EVERYTHING:
            raise
        except BaseException:  # noqa: BLE001 - a bug of ours costs one request, not the worker
            return Answer(RequestError.exit_code, message_line(bug_report()))

    async def _attach(
        self, request: WorkRequest, admission: Admission
    ) -> tuple[Prepared, trio.MemoryReceiveChannel[Action] | None] | None:
        try:
            # A cancelled one goes on while a compiler may run on for it alone: it has to be known which that is.
            if not admission.is_wanted() and not self._jobs.pipelines.has_tails():
                return None
            # It only reads, and what it reads may never end: the worker's own end does not wait for it (I3).
            prepared = await trio.to_thread.run_sync(
                self._preparation.prepare,
                request,
                admission.claim,
                admission.notes,
                abandon_on_cancel=True,
            )
            await admission.turn.wait()
            if not admission.is_wanted():
                return prepared, self._jobs.withdraw(admission.claim, prepared.want, prepared.fingerprint)
            prepared = self._unless_nobody_comes(prepared)
            return prepared, self._submit(prepared, admission.claim, admission.after)
        except HeadstartError:
            if admission.is_wanted():
                raise
            return None
        finally:
            admission.attached.set()

    def _unless_nobody_comes(self, prepared: Prepared) -> Prepared:
        """A full request whose early half was answered by another process, or from a cache, is a job of its own."""
        name = prepared.fingerprint
        if prepared.want is not Want.FULL or name is None or not prepared.run.dependents_used:
            return prepared
        joins = self._jobs.pipelines.joinable(name, Want.FULL, prepared.outputs)
        if joins:
            return prepared
        return prepared.alone("its early outputs were made by another process, or came from a cache")

    def _submit(
        self, prepared: Prepared, claim: Claim, after: trio.Event | None
    ) -> trio.MemoryReceiveChannel[Action] | None:
        """Attaches it; None when a newer request has come for one of its outputs already, which it must not supersede (I5).

        Requests come in the order in which they were read, but for one that had to wait for its turn (id 0), and for
        one whose work has to be done anew.
        """
        room, name = self._jobs.pipelines, prepared.fingerprint
        joins = name is not None and room.joinable(name, prepared.want, prepared.outputs)
        if not joins and room.overtaken(claim, prepared.outputs):
            return None
        # Kept for as long as the job is, which can be long: only where somebody wants to hear of it.
        tells = self._trace.is_on or prepared.notes.verbose
        job = Job(
            run=prepared.run,
            name=prepared.job.label,
            stage=prepared.stage,
            notes=prepared.notes,
            root=prepared.private_root,
            given=prepared.root,
            holds_early=prepared.holds_early,
            after=after,
            reads=prepared.reads if self._trace.is_on else (),
            makes=frozenset(prepared.job.outputs),
            identity=prepared.identity if tells else None,
            because=prepared.because,
        )
        return self._jobs.submit(
            claim, prepared.want, prepared.fingerprint, prepared.outputs, job, home=prepared.home
        )

    async def _settle(
        self,
        prepared: Prepared,
        actions: trio.MemoryReceiveChannel[Action] | None,
        admission: Admission,
    ) -> Answer:
        claim = admission.claim
        answer = await self._settled(prepared, actions, claim)
        if answer is None:
            if not admission.is_wanted():
                return Answer(exit_code=0, cancelled=True)
            prepared = prepared.alone(
                "what the job that it joined made is not there any more, or its inputs were not"
            )
            answer = await self._settled(prepared, self._submit(prepared, claim, None), claim)
        if answer is None:
            raise AssertionError("a job that joined nothing has no outputs of another's")
        return answer

    async def _settled(
        self, prepared: Prepared, actions: trio.MemoryReceiveChannel[Action] | None, claim: Claim
    ) -> Answer | None:
        """The answer; None when the job that was joined cannot give its outputs, and the work is to be done anew."""
        if actions is None:
            return _superseded()
        try:
            match await actions.receive():
                case AnswerEarly(_, number):
                    job = self._jobs[number]
                    if _taken_away(prepared, job):
                        return None
                    return await self._answer_early(prepared, number, job)
                case AnswerEnd(_, number):
                    job = self._jobs[number]
                    # A failure is told as it is, unless the host itself may be its cause; an early half that went well before it
                    # is not its affair (above).
                    spoiled = job.is_spoiled and job.run is not prepared.run
                    redo = spoiled if job.outcome.exit_code else _taken_away(prepared, job)
                    return None if redo else await self._answer_end(prepared, number, job)
                case AnswerCancelled():
                    return Answer(exit_code=0, cancelled=True)
                case _:
                    return _superseded()
        finally:
            self._jobs.answered(claim)

    async def _answer_early(self, prepared: Prepared, number: JobId, job: Job) -> Answer:
        await self._publish(prepared, number, job, prepared.job.early_outputs)
        return Answer(0, job.early_text or "")

    async def _answer_end(self, prepared: Prepared, number: JobId, job: Job) -> Answer:
        outcome = job.outcome
        if outcome.exit_code == 0:
            await self._publish(prepared, number, job, _made(prepared.job, job.run))
            if prepared.job.copies or prepared.job.touched is not None:
                outcome = await trio.to_thread.run_sync(_after_success, prepared, outcome)
        if prepared.job.stats:
            # In a thread, and left alone at the worker's end: somebody may have to read it first (I12, I3).
            outcome = await trio.to_thread.run_sync(
                stats_file.record, prepared.run.job, outcome, prepared.root, abandon_on_cancel=True
            )
        return Answer(
            outcome.exit_code,
            _text_at_end(prepared, job, outcome),
            peak_memory=outcome.usage.peak_memory,
        )

    async def _publish(self, prepared: Prepared, number: JobId, job: Job, declared: tuple[str, ...]) -> None:
        if not job.run.publishes:
            return
        began = self._trace.now()

        def publish() -> None:
            job.run.publish(declared, root=prepared.root)

        # Half a publication is none: it is finished even while the worker ends.
        await trio.to_thread.run_sync(publish)
        self._trace.span(
            "publish",
            began,
            self._trace.now(),
            job=number,
            label=job.name,
            request=prepared.notes.request_id,
            phase=prepared.job.phase or "",
        )


def _made(asked: wrapper_job.Job, run: Run) -> tuple[str, ...]:
    """What is brought to the host at the end: what it asked for, and of a job that is whole what it leaves where it runs for the host."""
    streams = (path for path in (asked.stdout, asked.stderr, asked.raw_stderr) if path is not None)
    more = [] if asked.phase is not None else list(outputs.written(run.plan.places))
    found = (path for path in (*streams, *more) if os.path.isfile(run.place(path)))  # noqa: PTH113 - hot path
    return tuple(dict.fromkeys((*asked.wanted, *found)))


def _after_success(prepared: Prepared, outcome: Outcome) -> Outcome:
    try:
        after_success.see_to(prepared.job, root=prepared.root)
    except RequestError as error:
        return outcome.spoiled(error.exit_code, str(error))
    return outcome


def _superseded() -> Answer:
    text = "superseded by a newer request for the same output; the host has to wait for one before the next"
    return Answer(RequestError.exit_code, message_line(text), cancelled=True)


def _taken_away(prepared: Prepared, job: Job) -> bool:
    """True when what a joined compiler made is not there any more.

    Build tools delete an action's outputs before they ask for it, and a compiler without a private directory may have written
    the full half's by then. A private directory may have been deleted by whoever cleans up temporary files (I13).
    """
    if job.run is prepared.run:
        return False
    declared = {path: posixpath.join(prepared.root, path) for path in prepared.job.wanted}
    if job.run.publishes:
        places = [private for path, place in declared.items() if (private := job.run.place(path)) != place]
    else:
        places = list(declared.values())
    return not all(map(os.path.exists, places))


def _text_at_end(prepared: Prepared, job: Job, outcome: Outcome) -> str:
    before, after = job.early_text or "", job.text
    after += "".join(map(message_line, filter(None, (*outcome.remarks, outcome.message))))
    if outcome.exit_code == 0:
        # The two halves together are the text of the whole job; each half has its own part once.
        if prepared.want is Want.EARLY:
            return before
        if prepared.want is Want.FULL:
            return after
    return before + after
