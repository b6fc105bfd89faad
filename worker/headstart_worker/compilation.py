"""One compiler run in the worker: what is known of it, and the thread that sees it through.

Whatever happens in that thread becomes the job's outcome. Not here: when it may start, and who is answered from it
(`jobs`); the processes (`run` and `supervise`, the wrapper's).
"""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Callable
from pathlib import Path

import trio
from attrs import Factory, define

from headstart_worker.faults import ENDS_OF_EVERYTHING, bug_report
from headstart_worker.identity import Identity
from headstart_worker.memory import Kind
from headstart_worker.messages import Input
from headstart_worker.notes import Notes
from headstart_wrapper.errors import HeadstartError, MachineError, files_are_in_the_way
from headstart_wrapper.job import Outcome
from headstart_wrapper.run import Early, Ended, Run
from headstart_wrapper.running_process import processor_seconds
from headstart_wrapper.streams import Text
from headstart_wrapper.supervise import Started
from headstart_wrapper.text import BoundedText
from headstart_wrapper.trace_events import Moments


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
        is_spoiled: it failed after its early outputs were told, and its inputs were not all there any more.
        notes: of the request that it was made for.
        root: the private root in which it runs, and what is to be in there; None: it runs where its request's files are.
        given: where these are.
        holds_early: early requests are answered at the end only.
        after: it may start only then; None: at once.
        reads: what the host says that it reads, for a trace, until it starts; (): nobody wants to know.
        makes: the outputs, beside early ones, that requests for it have declared so far.
        made_at: when these were there, on the monotonic clock; None: they are not.
        identity: what its fingerprint is made of; None: it has none, or nobody wants to know.
        because: why it joins nothing, when that was known before it came to the jobs.
        pid: its leader's process id; 0: it does not run.
        spawned: when its process existed, on the monotonic clock; None: it never did.
        cpu_at_early: processor seconds until its early outputs were complete; None: unknown.
        gone: set when no process of it is left, and nobody is being answered from it.
    """

    run: Run
    name: str
    stage: Path
    notes: Notes
    root: tuple[str, tuple[Input, ...]] | None
    given: str
    holds_early: bool
    after: trio.Event | None = None
    reads: tuple[Input, ...] = ()
    makes: frozenset[str] = frozenset()
    made_at: float | None = None
    identity: Identity | None = None
    because: str = ""
    pid: int = 0
    spawned: float | None = None
    cpu_at_early: float | None = None
    early_text: str | None = None
    text: str = ""
    is_spoiled: bool = False
    outcome: Outcome = Factory(lambda: Outcome(exit_code=0))
    gone: trio.Event = Factory(trio.Event)
    admitted: trio.Event = Factory(trio.Event)
    queueing: trio.CancelScope = Factory(trio.CancelScope)
    slot: int = 0
    has_token: bool = False
    killed: bool = False

    @property
    def kind(self) -> Kind:
        """What makes an earlier run one of the same job."""
        job = self.run.job
        output = next(iter((*job.early_outputs, *job.outputs)), "")
        return Kind(output, posixpath.basename(job.command[0]))

    def moments(self, began: float, early: float | None, ended: float) -> Moments:
        """When what happened to it, on the monotonic clock.

        Args:
            began: it was handed to its thread.
            ended: that was through with it.
            early: its early outputs were complete; None: they never were apart.
        """
        usage = self.outcome.usage
        handed_over = None if self.spawned is None or not usage.gone else self.spawned - usage.spawn
        return Moments(
            began=began,
            spawned=self.spawned,
            early=early,
            exited=None if handed_over is None else handed_over + usage.wall,
            reaped=None if handed_over is None else handed_over + usage.gone,
            ended=ended,
            cpu_at_early=self.cpu_at_early,
        )

    def kill(self, *, at_once: bool) -> None:
        """Ends it, wherever it is."""
        self.killed = True
        self.queueing.cancel()
        self.run.stop(kill=at_once)


def run(job: Job, early: Callable[[str], None], *, is_traced: bool) -> tuple[Outcome, str]:
    """Runs in a thread: the job's events from start to end; returns its outcome and the text that is left.

    Args:
        job: what to run.
        early: is given the text until the early outputs were complete, when they are.
        is_traced: somebody wants to know what it had used by then.
    """
    text = [BoundedText()]

    def compile_it() -> Outcome:
        # Closed here: an exception would hold the generator, and the processes that it ends when it is closed.
        with contextlib.closing(job.run.events()) as events:
            for event in events:
                match event:
                    case Started():
                        job.pid, job.spawned = event.pid, time.monotonic()
                    case Text():
                        text[-1].append(event.data)
                    case Early():
                        job.cpu_at_early = processor_seconds(job.pid) if is_traced else None
                        early(text[-1].result())
                        text.append(BoundedText())
                    case Ended():
                        job.pid = 0
                        return event.outcome
        raise AssertionError("a run ends with Ended")

    outcome = outcome_of(compile_it)
    job.is_spoiled = outcome.exit_code != 0 and job.early_text is not None and job.run.has_lost_inputs()
    return outcome, text[-1].result()


def outcome_of(act: Callable[[], Outcome]) -> Outcome:
    """What an act for one job comes to, whatever happens: its outcome, or the one that says what went wrong."""
    try:
        return act()
    except HeadstartError as error:
        return Outcome(exit_code=error.exit_code, message=str(error))
    except OSError as error:
        return Outcome(exit_code=125, message=files_are_in_the_way(error))
    except ENDS_OF_EVERYTHING:
        raise
    except BaseException:  # noqa: BLE001 - a bug of ours costs one job, not the worker
        return Outcome(exit_code=125, message=bug_report())


def no_thread(error: RuntimeError) -> Outcome:
    """What a job comes to that there was no thread for."""
    return Outcome(
        exit_code=MachineError.exit_code,
        message=f"the job could not be run: {error}; raise the limit of processes, or lower --jobs",
    )
