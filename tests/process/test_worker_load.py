"""Many requests: every one answered, never more compilers than slots, and nothing that grows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from attrs import frozen

from headstart_worker.testing import FakeHost
from process.support import children, entries, sh

Worker = Callable[..., FakeHost]


async def many(host: FakeHost, requests: Sequence[tuple[str, ...]], in_flight: int) -> None:
    """Sends the requests, so many at once, and sees that each succeeds."""
    slots = trio.CapacityLimiter(in_flight)

    async def one(arguments: tuple[str, ...]) -> None:
        async with slots:
            answer = await host.work(arguments)
        assert answer.exit_code == 0, answer

    async with trio.open_nursery() as nursery:
        for arguments in requests:
            nursery.start_soon(one, arguments)


async def test_two_hundred_requests_never_run_more_than_two_compilers(
    worker: Worker, workspace: Path, protocol: str
) -> None:
    # Each says under a lock that it came and that it went, so the file is the order in which things were.
    script = "exec 3>> lock; flock 3; echo + >> log; flock -u 3; : $(echo work); flock 3; echo - >> log; flock -u 3"
    async with worker(protocol, "--jobs=2") as host:
        await many(host, [sh(script)] * 200, 200)
        assert len(host.responses) == 200
    running = most = 0
    log = await trio.to_thread.run_sync((workspace / "log").read_text)
    for sign in log.split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert (running, most) == (0, 2)


@frozen
class Size:
    """What a process holds.

    Attributes:
        descriptors, threads: how many.
        memory: resident, KiB.
    """

    descriptors: int
    threads: int
    memory: int


def size(pid: int) -> Size:
    directory = Path("/proc", str(pid))
    resident = re.search(r"VmRSS:\s+(\d+)", (directory / "status").read_text())
    assert resident
    return Size(len(entries(directory / "fd")), len(entries(directory / "task")), int(resident[1]))


async def test_C69_ten_thousand_requests_leave_nothing_behind(
    worker: Worker, state: Path, protocol: str
) -> None:
    async with worker(protocol, "--jobs=4") as host:
        true = ("--", "/bin/true")
        await many(host, [true] * 1000, 64)
        (helper,) = children(host.pid)
        before = {pid: size(pid) for pid in (host.pid, helper)}
        await many(host, [true] * 9000, 64)
        assert len(host.responses) == 10_000
        after = {pid: size(pid) for pid in (host.pid, helper)}
        (own,) = entries(state)
        # a directory that is being removed may be seen yet
        assert len(entries(state / own)) <= 2 + 8
    assert after[helper].descriptors == before[helper].descriptors
    assert after[host.pid].descriptors <= before[host.pid].descriptors + 8  # of jobs that end just now
    for pid, early in before.items():
        # The threads are a pool whose size follows the load; it has a bound.
        assert after[pid].threads <= early.threads + 8
        # 9,000 requests that kept but 400 bytes each would show.
        assert after[pid].memory - early.memory < 3_500, (before, after)
