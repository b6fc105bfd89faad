"""Carries out what `pipelines` decides: runs compilers in slots, wakes the requests that wait.

Each running compiler has a thread, because starting and watching processes blocks; the event loop never does. A
job's end is reported only when its processes are gone. Not here: what goes on in that thread (`compilation`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import final

import trio
from attrs import asdict

from headstart_worker import alone
from headstart_worker.compilation import Job, no_thread, outcome_of, run
from headstart_worker.directories import remove
from headstart_worker.faults import fatal
from headstart_worker.idle import Activity
from headstart_worker.job_events import JobEvents
from headstart_worker.ledger import Claim
from headstart_worker.memory import Memory
from headstart_worker.messages import Input
from headstart_worker.pipeline_states import Action, Forget, JobId, Kill, Start, Want
from headstart_worker.pipelines import Pipelines
from headstart_worker.roots import Roots
from headstart_worker.slots import Slots
from headstart_worker.tracing import TraceFile
from headstart_wrapper.job import Outcome
from headstart_wrapper.jobserver import Jobserver
from headstart_wrapper.option_values import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from headstart_worker.look_ahead import LookAhead


@final
class Jobs:
    """All jobs of a worker, and the answers that requests wait for.

    Attributes:
        pipelines: see there.
        events: what the trace is told of jobs.
        activity: what goes on; jobs are counted here, whoever else does something counts it too.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        capacity: int,
        jobserver: Jobserver,
        trace: TraceFile,
        roots: Roots,
        memory: Size | None = None,
        look_ahead: LookAhead | None = None,
    ) -> None:
        """Nothing runs.

        Args:
            nursery: ends when the last job is gone.
            capacity: compilers that may run at once.
            jobserver: the tokens that they share.
            trace: where to tell what happens.
            roots: where sandboxed jobs run.
            memory: the budget of all compilers together; None: there is none.
            look_ahead: the jobs' paths in an earlier build; None: none are known.
        """
        self.pipelines = Pipelines()
        self.activity = Activity()
        self._nursery = nursery
        self._memory = None if memory is None else Memory(memory.of(_machine_memory()))
        self._slots = Slots(capacity, self._memory)
        self._look_ahead = look_ahead
        self._jobserver = jobserver
        self._token_turn = trio.Lock()
        self._token_wait = trio.CancelScope()
        self._trace = trace
        self.events = JobEvents(trace, slots=self._slots, jobserver=jobserver, memory=self._memory)
        self._roots = roots
        self._jobs: dict[JobId, Job] = {}
        self._answers: dict[Claim, trio.MemorySendChannel[Action]] = {}
        # A thread for each compiler that runs; more would wait for slots anyway.
        self._threads = trio.CapacityLimiter(capacity)
        self._closing = False

    def __getitem__(self, job: JobId) -> Job:
        return self._jobs[job]

    @fatal
    def submit(
        self,
        claim: Claim,
        want: Want,
        fingerprint: str | None,
        outputs: Iterable[str],
        job: Job,
        *,
        home: bool,
    ) -> trio.MemoryReceiveChannel[Action]:
        """Attaches a request; the channel will bring one action that answers it.

        Args:
            claim: the right to answer.
            want: see `Pipelines.request`.
            fingerprint: likewise.
            outputs: likewise.
            job: the run to start if there is none to join.
            home: see `Pipelines.request`.
        """
        receiver = self._expect(claim)
        declared = frozenset(outputs)
        reason = self._why_alone(want, fingerprint, declared, job)
        number, actions = self.pipelines.request(claim, want, fingerprint, declared, home=home)
        if number in self._jobs:
            known = self._jobs[number]
            known.holds_early |= job.holds_early
            if want is Want.EARLY:
                self._slots.expedite(number)
            self.events.joined(number, known, job, want)
            job.notes.tell(f"joins job {number}, {job.name}")
        else:
            self._jobs[number] = job
            job.notes.tell(f"queued as job {number}, {job.name}")
            if reason:
                self.events.alone(number, job, reason)
                job.notes.tell(f"joins nothing: {reason}")
        self._perform(actions)
        return receiver

    def _why_alone(self, want: Want, fingerprint: str | None, outputs: frozenset[str], job: Job) -> str:
        """Why a request for a half joins nothing; "" for one that does, and where nobody wants to know."""
        if job.run.job.phase is None or not (self._trace.is_on or job.notes.verbose):
            return ""
        if fingerprint is None:
            return job.because
        if self.pipelines.joinable(fingerprint, want, outputs):
            return ""
        obstacle, number = self.pipelines.obstacle(fingerprint, want, outputs)
        other = None if number is None else self._jobs[number].identity
        return alone.reason(want, obstacle, number, job.identity, other)

    @fatal
    def withdraw(
        self, claim: Claim, want: Want, fingerprint: str | None
    ) -> trio.MemoryReceiveChannel[Action]:
        """Ends what goes on for a request alone that was given up before it came; the channel is `submit`'s."""
        receiver = self._expect(claim)
        self._perform(self.pipelines.withdraw(claim, want, fingerprint))
        return receiver

    def _expect(self, claim: Claim) -> trio.MemoryReceiveChannel[Action]:
        self._answers[claim], receiver = trio.open_memory_channel[Action](1)
        return receiver

    def cancel(self, claim: Claim) -> None:
        """The host gave a request up."""
        self._perform(self.pipelines.cancel(claim))

    @fatal
    def answered(self, claim: Claim) -> None:
        """A request needs nothing of its job any more."""
        self._answers.pop(claim, None)
        self._perform(self.pipelines.answered(claim))
        self.events.settled()

    def shut_down(self) -> None:
        """Kills everything at once; `nursery` ends when it is gone."""
        self._closing = True
        try:
            self._perform(self.pipelines.shut_down())
        finally:  # also when it is a defect in there that ends us
            for job in self._jobs.values():
                job.kill(at_once=True)  # one that was told to end before may have a long grace yet

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(number, after):
                    own = self._jobs[number].after
                    waits_for = [
                        *(self._jobs[older].gone for older in after),
                        *([own] if own is not None else []),
                    ]
                    self.activity.begin()
                    self._nursery.start_soon(self._counted, number, waits_for)
                case Kill(number):
                    self._jobs[number].kill(at_once=self._closing)
                case Forget(number):
                    forgotten = self._jobs.pop(number)
                    forgotten.gone.set()
                    if forgotten.run.plan.places:
                        self._nursery.start_soon(_remove, forgotten.stage)
                    if forgotten.root is not None:
                        for outdated in self._roots.give_back(forgotten.root[0]):
                            self._nursery.start_soon(_remove, outdated)
                case _ if action.claim in self._answers:
                    self._answers[action.claim].send_nowait(action)
                case _:
                    pass  # the request's own task ended before, with the worker

    async def _counted(self, number: JobId, after: Iterable[trio.Event]) -> None:
        try:
            await self._execute(number, after)
        finally:
            self.activity.end()

    async def _execute(self, number: JobId, after: Iterable[trio.Event]) -> None:
        job = self._jobs[number]
        for gone in after:
            await gone.wait()
        if job.root is not None and not job.killed:
            await self._stage(number, job, *job.root)
        asked = self._trace.now()
        with job.queueing:
            path = 0.0 if self._look_ahead is None else self._look_ahead.path(job.name)
            early = self.pipelines.has_early_waiter(number)
            self._slots.ask(number, early=early, kind=job.kind, path=path)
            self._admit()
            if not job.admitted.is_set():
                self.events.count()
            await job.admitted.wait()
            await self._take_token()
            job.has_token = True
        self.events.queued(number, job, asked)
        if job.killed or not job.has_token:
            job.outcome = Outcome(exit_code=1, cancelled=True)
        elif not job.outcome.exit_code:
            await self._compile(number, job)
        if job.has_token:
            self._jobserver.put_back()
            self._token_wait.cancel()  # the implicit token comes back without the fifo's telling
        for finding in job.outcome.findings:
            job.notes.tell(f"audit: {finding}")
        self._slots.withdraw(number)
        if self._memory is not None:
            ended_by_itself = job.outcome.exit_code == 0 and not job.outcome.stopped_early
            self._memory.learn(job.kind, job.outcome.usage.peak_memory, ok=ended_by_itself)
        self._admit()
        self.events.count()
        self._perform(self.pipelines.ended(number, ok=job.outcome.exit_code == 0))

    async def _stage(self, number: JobId, job: Job, path: str, inputs: tuple[Input, ...]) -> None:
        """Brings the job's inputs to its private root; from then on it has no use for the sandbox of its request."""
        began = self._trace.now()
        detail: dict[str, int] = {}

        def stage() -> Outcome:
            job.run.look_around()
            staged = self._roots.use(path).stage(job.given, inputs)
            detail.update(asdict(staged))
            return job.outcome

        # Half a root is none: it is finished even while the worker ends.
        try:
            job.outcome = await trio.to_thread.run_sync(outcome_of, stage)
        except RuntimeError as error:
            job.outcome = no_thread(error)
        self.events.staged(number, job, began, detail)
        self._perform(self.pipelines.moved_out(number))

    def _admit(self) -> None:
        admitted = self._slots.admit()
        for number, slot in admitted:
            job = self._jobs[JobId(number)]
            job.slot = slot
            job.admitted.set()

    async def _take_token(self) -> None:
        async with self._token_turn:
            while not self._jobserver.take():
                with trio.CancelScope() as self._token_wait:
                    await trio.lowlevel.wait_readable(self._jobserver.descriptor)

    async def _compile(self, number: JobId, job: Job) -> None:
        self.events.begins(number, job)
        self._perform(self.pipelines.started(number))

        @fatal
        def early(text: str) -> None:
            self.events.early(number)
            job.early_text = text
            if not job.holds_early and not job.run.job.stop_after_early:
                self._perform(self.pipelines.early_complete(number))

        def compile_it() -> tuple[Outcome, str]:
            return run(job, lambda text: trio.from_thread.run_sync(early, text), is_traced=self._trace.is_on)

        job.notes.tell(f"started in slot {job.slot}")
        try:
            job.outcome, job.text = await trio.to_thread.run_sync(compile_it, limiter=self._threads)
        except RuntimeError as error:
            job.outcome = no_thread(error)
        self.events.ends(number)


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


async def _remove(directory: Path | str) -> None:
    # No thread to do it in: it goes with the state directory.
    with contextlib.suppress(RuntimeError, OSError):
        await trio.to_thread.run_sync(remove, str(directory))
