"""The end of a worker that is in the middle of everything, and what must hold then whatever brought it about."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import Ended, FakeHost
from process.support import PATIENCE, Fifo, entries, sh
from survivors import GONE_SECONDS, is_alive

STUBBORN = "trap '' TERM INT HUP; sleep 1000 & echo $$ > {pids}; while :; do sleep 1000; done"

End = Callable[[FakeHost], Awaitable[None]]
"""What brings the end about."""


async def close_stdin(host: FakeHost) -> None:
    """The host closes our input."""
    await host.close_stdin()


async def sigterm(host: FakeHost) -> None:
    """We are told to end."""
    host.kill(signal.SIGTERM)


async def sigint(host: FakeHost) -> None:
    """We are interrupted."""
    host.kill(signal.SIGINT)


async def sigkill(host: FakeHost) -> None:
    """We are killed."""
    host.kill(signal.SIGKILL)


async def unwritable_answer(host: FakeHost) -> None:
    """Nobody reads any more, which is noticed at the latest when there is something to say."""
    await host.close_stdout()
    await host.send(WorkRequest(9, ("--", "true")))


async def occupied(host: FakeHost, pids: Fifo) -> set[int]:
    """Gives a worker with three slots two jobs that run and one that waits; returns the leaders that run.

    One of the two is told to end and waits out a long grace; the one that waits does so for the other's output.
    """
    await host.send(WorkRequest(1, sh(STUBBORN.format(pids=pids), "--output=out/1", "--kill-delay=900")))
    await host.send(WorkRequest(2, sh(STUBBORN.format(pids=pids), "--kill-delay=900")))
    leaders = {await pids.pid(), await pids.pid()}
    await host.send(WorkRequest(3, sh("echo never", "--output=out/1")))
    await host.cancel(2)
    assert (await host.work(sh("true"))).exit_code == 0
    return leaders


async def ends_with_its_jobs(host: FakeHost, end: End, *, state: Path, pids: Fifo) -> Ended:
    """Brings an occupied worker to its end and sees that its jobs are dead by then, and that this takes no second."""
    leaders = await occupied(host, pids)
    assert len(entries(state)) == 1
    began = trio.current_time()
    await end(host)
    with trio.fail_after(PATIENCE):
        await host.process.wait()
    took = trio.current_time() - began
    # Children first: when the worker is gone, they are.
    assert not list(filter(is_alive, leaders))
    assert entries(state) == []
    assert took < GONE_SECONDS
    assert {answer.request_id for answer in host.responses} <= {1, 2, 1001}
    return await host.ended()
