"""How long a cancel takes: from writing it until the last process of the job is gone, and until the answer is read.

The jobs: one that sleeps, one that ignores TERM and so lives until the worker's patience ends, and one of nine processes. Processes are watched
through their pidfds, so that nothing is asked of /proc while the clock runs. A process that is dead and not yet reaped is gone.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from measure import Sample
from sections import Section, entry, turns
from worker_client import Client

JOBS: Final = {
    "sleeping": 'echo $$ > "$0"; exec sleep 1000',
    "ignoring TERM": 'trap "" TERM; echo $$ > "$0"; exec sleep 1000',
    "nine processes": 'for each in 1 2 3 4 5 6 7 8; do sleep 1000 & all="$all $!"; done; echo $$ $all > "$0"; wait',
}
"""Shell scripts; each writes its process ids to the fifo that it is called with."""

PATIENCE: Final = 5.0
"""Seconds after which a process counts as left alive. Our worker kills after half a second what ignores TERM; the rest is for a busy machine."""

_START_SECONDS: Final = 10.0
"""In which a shell says its process id on any machine; without an end a worker that lost the request would be waited for for ever."""


@frozen
class Cancelled:
    """What followed a cancel.

    Attributes:
        answered: seconds until the answer was read.
        gone: seconds until the last process was; None when some stayed.
        left: how many stayed.
        early: whether the answer came while one still lived.
    """

    answered: float
    gone: float | None
    left: int
    early: bool


def cancelling(
    clients: Sequence[Client], scratch: Path, *, rounds: int, patience: float = PATIENCE
) -> Section:
    """Every job, given up by every worker that can give one up."""
    things = {
        f"{job}, {asked.worker.name}": (asked, script) for asked in clients for job, script in JOBS.items()
    }
    taken: dict[str, list[Cancelled]] = {name: [] for name in things}
    numbers = itertools.count(
        1
    )  # never used again, because not every worker is done with a request that it answered
    with fifo(scratch / "pids") as pids:
        for name in turns([*things], rounds):
            if taken[name] and taken[name][-1].left:
                continue  # it is told; again and again it would take its patience
            taken[name].append(cancelled(*things[name], pids, number=next(numbers), patience=patience))
    results, sentences = [], []
    for name, several in taken.items():
        early = sum(one.early for one in several)
        gone = [one.gone for one in several if one.gone is not None]
        if len(gone) == len(several):
            results.append(entry(Sample(f"{name}: all gone", tuple(gone)), answered_before=early))
        else:
            most = max(one.left for one in several)
            sentences.append(f"{name}: {most} left alive {patience:g} s after the cancel.")
        results.append(entry(Sample(f"{name}: answered", tuple(one.answered for one in several))))
        if early:
            sentences.append(
                f"{name}: answered while a process of the job lived, in {early} of {len(several)} cancels."
            )
    for asked in clients:
        cancels = [one for name, several in taken.items() if things[name][0] is asked for one in several]
        if not any(one.early for one in cancels):
            sentences.append(
                f"{asked.worker.name}: in {len(cancels)} cancels no answer came before the job's last process was gone."
            )
    return Section("from a cancel to a dead job", tuple(results), tuple(sentences))


def cancelled(asked: Client, script: str, pids: Fifo, *, number: int, patience: float) -> Cancelled:
    """Starts a job, gives it up, and watches; whatever a worker leaves alive is killed afterwards.

    Args:
        asked: the worker.
        script: a shell script that writes the ids of all its processes to the file that it is called with.
        pids: that file.
        number: of the request.
        patience: seconds after which whoever lives is left.
    """
    cancel = asked.cancel_frame(number)
    with ExitStack() as stack:
        asked.send(asked.frame(number, "/bin/sh", "-c", script, pids.path))
        alive = {stack.enter_context(_pidfd(int(pid))) for pid in pids.line().split()}
        poll = select.poll()
        for descriptor in (asked.answers, *alive):
            poll.register(descriptor, select.POLLIN)
        answered = gone = None
        early = False
        began = time.perf_counter()
        asked.send(cancel)
        while (answered is None or alive) and (left := began + patience - time.perf_counter()) > 0:
            ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
            now = time.perf_counter() - began
            if asked.answers in ready:
                # What poll told is a moment old: whoever lives now lived when the answer was there.
                ready |= {descriptor for descriptor, _ in poll.poll(0)}
                asked.answer()
                answered, early = now, not alive <= ready
                poll.unregister(asked.answers)
            for descriptor in alive & ready:
                poll.unregister(descriptor)
                gone = now
            alive -= ready
        for descriptor in alive:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if answered is None:
            raise SystemExit(
                f"{asked.worker.name} did not answer a cancel in {patience:g} s; it cannot be measured"
            )
    return Cancelled(answered, None if alive else gone, len(alive), early)


@contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@frozen
class Fifo:
    """A named pipe. Attributes: path; descriptor, open at both ends, so that no job waits for the other end."""

    path: str
    descriptor: int

    def line(self) -> bytes:
        """The next line, which its writer wrote at once."""
        if not select.select([self.descriptor], [], [], _START_SECONDS)[0]:
            raise SystemExit(f"a job did not start in {_START_SECONDS:g} s; its cancel cannot be measured")
        return os.read(self.descriptor, select.PIPE_BUF)


@contextmanager
def fifo(path: Path) -> Iterator[Fifo]:
    """Makes one and opens it."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield Fifo(str(path), descriptor)
    finally:
        os.close(descriptor)
