"""Carries out what `pipelines` decides: runs compilers in slots, wakes the requests that wait.

Each running compiler has a thread, because starting and watching processes blocks; the event loop never does. A
job's end is reported only when its processes are gone.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import final

import trio
from attrs import Factory, define

from headstart_worker import pipelines
from headstart_worker.ledger import Claim
from headstart_worker.pipelines import JobId, Pipelines
from headstart_worker.slots import Slots
from headstart_worker.trace import REQUESTS_TRACK
from headstart_worker.tracing import TraceFile
from headstart_wrapper.errors import HeadstartError
from headstart_wrapper.job import Outcome
from headstart_wrapper.jobserver import Jobserver
from headstart_wrapper.run import Early, Ended, Run
from headstart_wrapper.supervise import Text
from headstart_wrapper.text import BoundedText


@define(eq=False)
class Job:
    """One compiler run in the worker.

    Attributes:
        run: the wrapper's view of it.
        name: for pictures.
        stage: its private directory, if its plan has use for one; made with its parents when the job starts, because
            whoever cleans up temporary files may have taken them (I13).
        early_text: output until the early outputs were complete; None until then.
        text: the rest of its output.
        outcome: how it ended.
        holds_early: early requests are answered at the end only.
        after: it may start only then; None: at once.
        gone: set when no process of it is left, and nobody is being answered from it.
    """

    run: Run
    name: str
    stage: Path
    holds_early: bool
    after: trio.Event | None = None
    early_text: str | None = None
    text: str = ""
    outcome: Outcome = Factory(lambda: Outcome(exit_code=0))
    gone: trio.Event = Factory(trio.Event)
    admitted: trio.Event = Factory(trio.Event)
    queueing: trio.CancelScope = Factory(trio.CancelScope)
    slot: int = 0
    has_token: bool = False
    killed: bool = False

    def kill(self, *, at_once: bool) -> None:
        """Ends it, wherever it is."""
        self.killed = True
        self.queueing.cancel()
        self.run.stop(kill=at_once)


@final
class Jobs:
    """All jobs of a worker, and the answers that requests wait for."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        capacity: int,
        jobserver: Jobserver,
        trace: TraceFile,
    ) -> None:
        self.pipelines = Pipelines()
        self._nursery = nursery
        self._slots = Slots(capacity)
        self._jobserver = jobserver
        self._token_turn = trio.Lock()
        self._token_wait = trio.CancelScope()
        self._trace = trace
        self._jobs: dict[JobId, Job] = {}
        self._answers: dict[Claim, trio.MemorySendChannel[pipelines.Action]] = {}
        # A thread for each compiler that runs; more would wait for slots anyway.
        self._threads = trio.CapacityLimiter(capacity)
        self._closing = False

    def __getitem__(self, job: JobId) -> Job:
        return self._jobs[job]

    def submit(
        self,
        claim: Claim,
        want: pipelines.Want,
        fingerprint: str | None,
        outputs: Iterable[str],
        job: Job,
        *,
        home: bool,
    ) -> trio.MemoryReceiveChannel[pipelines.Action]:
        """Attaches a request; the channel will bring one action that answers it.

        Args:
            claim: the right to answer.
            want: see `Pipelines.request`.
            fingerprint: likewise.
            outputs: likewise.
            job: the run to start if there is none to join.
            home: see `Pipelines.request`.
        """
        sender, receiver = trio.open_memory_channel[pipelines.Action](1)
        self._answers[claim] = sender
        number, actions = self.pipelines.request(claim, want, fingerprint, frozenset(outputs), home=home)
        if number in self._jobs:
            self._jobs[number].holds_early |= job.holds_early
            self._trace.instant("join", job=number, label=job.name, want=want.value)
        else:
            self._jobs[number] = job
        self._perform(actions)
        return receiver

    def cancel(self, claim: Claim) -> None:
        """The host gave a request up."""
        self._perform(self.pipelines.cancel(claim))

    def answered(self, claim: Claim) -> None:
        """A request needs nothing of its job any more."""
        self._answers.pop(claim, None)
        self._perform(self.pipelines.answered(claim))

    def shut_down(self) -> None:
        """Kills everything at once; `nursery` ends when it is gone."""
        self._closing = True
        self._perform(self.pipelines.shut_down())
        for job in self._jobs.values():
            job.kill(at_once=True)  # one that was told to end before may have a long grace yet

    def _perform(self, actions: Iterable[pipelines.Action]) -> None:
        for action in actions:
            match action:
                case pipelines.Start(number, after):
                    own = self._jobs[number].after
                    waits_for = [
                        *(self._jobs[older].gone for older in after),
                        *([own] if own is not None else []),
                    ]
                    self._nursery.start_soon(self._execute, number, waits_for)
                case pipelines.Kill(number):
                    self._jobs[number].kill(at_once=self._closing)
                case pipelines.Forget(number):
                    forgotten = self._jobs.pop(number)
                    forgotten.gone.set()
                    if forgotten.run.plan.places:
                        self._nursery.start_soon(trio.to_thread.run_sync, _remove, forgotten.stage)
                case _ if action.claim in self._answers:
                    self._answers[action.claim].send_nowait(action)
                case _:
                    pass  # the request's own task ended before, with the worker

    async def _execute(self, number: JobId, after: Iterable[trio.Event]) -> None:
        job = self._jobs[number]
        for gone in after:
            await gone.wait()
        asked = time.monotonic()
        with job.queueing:
            self._slots.ask(number, early=self.pipelines.has_early_waiter(number))
            self._admit()
            await job.admitted.wait()
            await self._take_token()
            job.has_token = True
        self._trace.span("queue", REQUESTS_TRACK, asked, time.monotonic(), job=number, label=job.name)
        if job.has_token and not job.killed:
            await self._compile(number, job)
        else:
            job.outcome = Outcome(exit_code=1, cancelled=True)
        if job.has_token:
            self._jobserver.put_back()
            self._token_wait.cancel()  # the implicit token comes back without the fifo's telling
        self._slots.withdraw(number)
        self._admit()
        self._perform(self.pipelines.ended(number, ok=job.outcome.exit_code == 0))

    def _admit(self) -> None:
        for number, slot in self._slots.admit():
            job = self._jobs[JobId(number)]
            job.slot = slot
            job.admitted.set()

    async def _take_token(self) -> None:
        async with self._token_turn:
            while not self._jobserver.take():
                with trio.CancelScope() as self._token_wait:
                    await trio.lowlevel.wait_readable(self._jobserver.descriptor)

    async def _compile(self, number: JobId, job: Job) -> None:
        began = time.monotonic()
        self._perform(self.pipelines.started(number))
        self._trace.counter("compilers", began, self._slots.running)
        early_at: float | None = None

        def early(text: str) -> None:
            nonlocal early_at
            early_at = time.monotonic()
            job.early_text = text
            if not job.holds_early and not job.run.job.stop_after_early:
                self._perform(self.pipelines.early_complete(number))

        def run() -> tuple[Outcome, str]:
            return _run(job, lambda text: trio.from_thread.run_sync(early, text))

        job.outcome, job.text = await trio.to_thread.run_sync(run, limiter=self._threads)
        ended = time.monotonic()
        usage = job.outcome.usage
        detail = {
            "job": number,
            "label": job.name,
            "exit_code": job.outcome.exit_code,
            "cpu": round(usage.user + usage.system, 6),
            "peak_memory": usage.peak_memory,
        }
        if early_at is None:
            self._trace.span("compile", job.slot, began, ended, **detail)
        else:
            self._trace.span("early", job.slot, began, early_at, job=number, label=job.name)
            self._trace.span("codegen", job.slot, early_at, ended, **detail)
        self._trace.counter("compilers", ended, self._slots.running - 1)


def _run(job: Job, early: Callable[[str], None]) -> tuple[Outcome, str]:
    """Runs in a thread: the job's events from start to end; returns its outcome and the text that is left."""
    text = BoundedText()
    try:
        # Closed here: an exception would hold the generator, and the processes that it ends when it is closed.
        with contextlib.closing(job.run.events()) as events:
            for event in events:
                match event:
                    case Text():
                        text.append(event.data)
                    case Early():
                        early(text.result())
                        text = BoundedText()
                    case Ended():
                        return event.outcome, text.result()
    except HeadstartError as error:
        return Outcome(exit_code=error.exit_code, message=str(error)), text.result()
    except OSError as error:
        message = f"the job could not be run: {error}; is the disk full, or the state directory gone?"
        return Outcome(exit_code=125, message=message), text.result()
    except Exception:  # noqa: BLE001 - a bug of ours costs one job, not the worker
        return Outcome(exit_code=125, message=bug_report()), text.result()
    raise AssertionError("a run ends with Ended")


def bug_report() -> str:
    """What to say about the exception that is being handled."""
    return f"this is a bug in process-wrapper; please report it with\n{traceback.format_exc().rstrip()}"


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
