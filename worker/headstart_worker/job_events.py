"""What a trace tells of a worker's jobs: each compile with what it waited for, and how much of everything is taken.

It is told what happens and decides nothing; without a trace it does nothing. Not here: what an event looks like
(`trace_events`, the wrapper's), and when it is written (`tracing`).
"""

from __future__ import annotations

from typing import final

from attrs import define

from headstart_worker.compilation import Job
from headstart_worker.memory import Memory
from headstart_worker.pipeline_states import JobId, Want
from headstart_worker.producers import Producers
from headstart_worker.slots import Slots
from headstart_worker.tracing import TraceFile
from headstart_wrapper.jobserver import Jobserver
from headstart_wrapper.running_process import resident_bytes
from headstart_wrapper.trace_events import Arrow
from headstart_wrapper.trace_file import detail_of


@define(eq=False)
class _Compile:
    job: Job
    began: float
    needs: list[Arrow]
    early: float | None = None


@final
class JobEvents:
    """Tells of the jobs of one worker."""

    def __init__(
        self, trace: TraceFile, *, slots: Slots, jobserver: Jobserver, memory: Memory | None
    ) -> None:
        """Nothing is told yet.

        Args:
            trace: where to tell it.
            slots: looked at to count what is taken, likewise the next two.
            jobserver: see above.
            memory: see above; None: there is no budget.
        """
        self._trace = trace
        self._slots = slots
        self._jobserver = jobserver
        self._memory = memory
        self._compiles: dict[JobId, _Compile] = {}
        self._producers = Producers()

    def joined(self, number: JobId, job: Job, newcomer: Job, want: Want) -> None:
        """A request joined a job; its own declaration may name outputs that nobody named before."""
        job.makes |= newcomer.makes
        if job.made_at is not None:
            self._made(number, job, job.made_at, early=False)
        self._trace.instant("join", job=number, label=newcomer.name, want=want.value)

    def alone(self, number: JobId, job: Job, reason: str) -> None:
        """A request for a half got a compiler of its own."""
        self._trace.instant("alone", job=number, label=job.name, want=job.run.job.phase or "", reason=reason)

    def queued(self, number: JobId, job: Job, since: float) -> None:
        """A job got its slot, or was taken out of the queue."""
        expected = {} if self._memory is None else {"memory": self._memory.taken_by(number)}
        self._trace.span("queue", since, self._trace.now(), job=number, label=job.name, **expected)

    def staged(self, number: JobId, job: Job, since: float, detail: dict[str, int]) -> None:
        """A job's inputs are in its private root."""
        self._trace.span("stage", since, self._trace.now(), job=number, label=job.name, **detail)

    def begins(self, number: JobId, job: Job) -> None:
        """A job is handed to its thread."""
        needs = self._producers.of((item.path, item.digest) for item in job.reads)
        job.reads = ()
        self._compiles[number] = _Compile(job, self._trace.now(), needs)
        self.count()

    def early(self, number: JobId) -> None:
        """A job's early outputs are complete."""
        compile_ = self._compiles[number]
        compile_.early = self._trace.now()
        if not compile_.job.holds_early:
            self._made(number, compile_.job, compile_.early, early=True)

    def ends(self, number: JobId) -> None:
        """A job's outcome is known."""
        compile_ = self._compiles.pop(number)
        job, ended = compile_.job, self._trace.now()
        if job.outcome.exit_code == 0:
            if compile_.early is None or job.holds_early:
                self._made(number, job, ended, early=True)
            self._made(number, job, ended, early=False)
            job.made_at = ended
        self._trace.job(
            job.slot,
            job.moments(compile_.began, compile_.early, ended),
            compile_.needs,
            job=number,
            label=job.name,
            **detail_of(job.outcome),
        )

    def count(self) -> None:
        """How much of everything is taken now."""
        if not self._trace.is_on:
            return
        self._trace.counter("slots", running=self._slots.running, waiting=self._slots.waiting)
        self._trace.counter("compilers", compilers=len(self._compiles))
        self._trace.counter("tokens", free=self._jobserver.free)
        if not self._compiles:
            self._trace.counter("rss", rss=0)  # whoever looks only now and then may not come to see it
        if self._memory is not None:
            self._trace.counter("memory", memory=self._memory.taken)

    def sampled(self) -> bool:
        """The memory that the running compilers hold now; False when none runs."""
        held = (resident_bytes(compile_.job.pid) for compile_ in self._compiles.values())
        self._trace.counter("rss", rss=sum(held))
        return bool(self._compiles)

    def settled(self) -> None:
        """A request is about to be answered: whoever has the last answer finds a whole trace."""
        if not self._compiles and not self._slots.waiting:
            self._trace.flush()

    def _made(self, number: JobId, job: Job, at: float, *, early: bool) -> None:
        if self._trace.is_on:
            made = job.run.job.early_outputs if early else job.makes
            self._producers.made(made, Arrow(of=number, track=job.slot, at=at, early=early))
