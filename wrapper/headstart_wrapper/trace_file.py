"""Where a trace goes, and the trace of one job on its own.

A job's events are few: they are kept until it has ended, and written at once. A trace that cannot be written is told, and
changes nothing else. Not here: what an event looks like (`trace_events`).
"""

from __future__ import annotations

import os
import time

from headstart_wrapper import stats_file
from headstart_wrapper.console import say
from headstart_wrapper.hints import TYPE_CHECKING, final
from headstart_wrapper.run import Early, Ended
from headstart_wrapper.running_process import processor_seconds
from headstart_wrapper.supervise import Started
from headstart_wrapper.trace_events import REQUESTS_TRACK, Moments, Trace

if TYPE_CHECKING:
    from headstart_wrapper.job import Job, Outcome
    from headstart_wrapper.run import RunEvent

_SLOT = 0
_NUMBER = 1


def place_of(path: str) -> str:
    """The place for a trace: `%p` becomes the process id, because a host may start several workers."""
    return path.replace("%p", str(os.getpid()))


def own_name() -> str:
    """What this process's trace is called in a directory."""
    return f"{time.time():.6f}-{os.getpid()}.json"


@final
class JobTrace:
    """What happens to the job of this process, from its planning on."""

    def __init__(self, path: str, job: Job) -> None:
        """The job is about to be planned.

        Args:
            path: where to write it.
            job: what is run.
        """
        self._path = path
        self._job = job
        self._began = time.monotonic()
        self._spawned: float | None = None
        self._early: float | None = None
        self._cpu_at_early: float | None = None
        self._ended: float | None = None
        self._pid = 0
        self._published: list[tuple[float, float, str]] = []

    def take(self, event: RunEvent) -> None:
        """Something happened to it just now."""
        if isinstance(event, Started):
            self._pid, self._spawned = event.pid, time.monotonic()
        elif isinstance(event, Early):
            self._early, self._cpu_at_early = time.monotonic(), processor_seconds(self._pid)
        elif isinstance(event, Ended):
            self._ended = time.monotonic()

    def published(self, since: float) -> None:
        """Some of its outputs are in their places just now."""
        half = "early" if self._ended is None else "full"
        self._published.append((since, time.monotonic(), half if self._early is not None else ""))

    def write(self, outcome: Outcome) -> None:
        """Writes the file, when all is over."""
        try:
            stats_file.deliver(place_of(self._path), self._text(outcome).encode("ascii"), name=own_name())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "that is no name of a file"
            say(f"the trace file {self._path} cannot be written ({reason}); name another with --trace")

    def _text(self, outcome: Outcome) -> str:
        usage, ended = outcome.usage, self._ended or time.monotonic()
        trace = Trace(os.getpid(), time.time() - time.monotonic())
        job, label = _NUMBER, self._job.label
        text = trace.begin(self._began, "process-wrapper")
        text += trace.track(REQUESTS_TRACK, "outputs", self._began) if self._published else ""
        handed_over = None if self._spawned is None else self._spawned - usage.spawn
        text += trace.job(
            _SLOT,
            Moments(
                began=self._began,
                spawned=self._spawned,
                early=self._early,
                exited=handed_over and handed_over + usage.wall,
                reaped=handed_over and handed_over + usage.gone,
                ended=ended,
                cpu_at_early=self._cpu_at_early,
            ),
            job=job,
            label=label,
            **detail_of(outcome),
        )
        for since, until, phase in self._published:
            text += trace.span(
                "publish", REQUESTS_TRACK, since, until, job=job, label=label, request=0, phase=phase
            )
        return text.removesuffix(",\n") + "\n]\n"


def detail_of(outcome: Outcome) -> dict[str, object]:
    """What a trace tells of a whole run."""
    detail: dict[str, object] = {
        "exit_code": outcome.exit_code,
        "cpu": round(outcome.usage.user + outcome.usage.system, 6),
        "peak_memory": outcome.usage.peak_memory,
    }
    if outcome.cancelled:
        detail["cancelled"] = True
    if outcome.assurance:
        detail |= {"sandbox": outcome.assurance, "findings": outcome.findings}
    return detail
