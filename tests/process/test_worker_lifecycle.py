"""However the worker ends, its jobs end with it: before it, and within a second."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import Ended, FakeHost
from process.support import PATIENCE, Fifo, children, entries, sh
from survivors import await_none, is_alive, living

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

STUBBORN = "trap '' TERM INT HUP; sleep 1000 & echo $$ > {pids}; while :; do sleep 1000; done"


async def eof(host: FakeHost) -> None:
    await host.close_stdin()


async def sigterm(host: FakeHost) -> None:
    host.kill(signal.SIGTERM)


async def sigint(host: FakeHost) -> None:
    host.kill(signal.SIGINT)


async def sigterm_twice(host: FakeHost) -> None:
    host.kill(signal.SIGTERM)
    host.kill(signal.SIGTERM)


async def like_bazel(host: FakeHost) -> None:
    host.kill(signal.SIGTERM)
    await host.close_stdin()
    await host.close_stdout()


async def truncated(host: FakeHost) -> None:
    frame = host.encode(WorkRequest(9, ("--", "true")))
    await host.send_bytes(frame.rstrip()[:-1])
    await host.close_stdin()


async def nonsense(host: FakeHost) -> None:
    await host.send_bytes(b"\xff" * 64)


async def broken_stdout(host: FakeHost) -> None:
    await host.close_stdout()
    await host.send(WorkRequest(9, ("--", "true")))


async def sigkill(host: FakeHost) -> None:
    host.kill(signal.SIGKILL)


ENDS = [
    pytest.param(eof, 0, "", id="end of input"),
    pytest.param(sigterm, 0, "", id="SIGTERM"),
    pytest.param(sigint, 0, "", id="SIGINT"),
    pytest.param(sigterm_twice, 0, "", id="SIGTERM twice"),
    pytest.param(like_bazel, 0, "", id="as Bazel does"),
    pytest.param(truncated, 125, "process-wrapper: ", id="truncated frame"),
    pytest.param(nonsense, 125, "process-wrapper: ", id="no frame at all"),
    pytest.param(broken_stdout, 125, "process-wrapper: the host does not read", id="broken stdout"),
    pytest.param(sigkill, -signal.SIGKILL, "", id="SIGKILL"),
]


@pytest.mark.parametrize(("end", "exit_code", "message"), ENDS)
async def test_I3_no_process_outlives_the_worker(
    *,
    worker: Worker,
    protocol: str,
    state: Path,
    tag: str,
    fifo: MakeFifo,
    end: Callable[[FakeHost], Awaitable[None]],
    exit_code: int,
    message: str,
) -> None:
    pids = fifo("pids")
    async with worker(protocol, "--jobs=3") as host:
        # Two that run, one of them told to end and waiting out a long grace, and one that waits for its output.
        await host.send(WorkRequest(1, sh(STUBBORN.format(pids=pids), "--output=out/1", "--kill-delay=900")))
        await host.send(WorkRequest(2, sh(STUBBORN.format(pids=pids), "--kill-delay=900")))
        jobs = {await pids.pid(), await pids.pid()}
        await host.send(WorkRequest(3, sh("echo never", "--output=out/1")))
        await host.cancel(2)
        assert (await host.work(sh("true"))).exit_code == 0
        assert len(entries(state)) == 1
        await end(host)
        with trio.fail_after(PATIENCE):
            ended = await host.ended()
        if exit_code >= 0:
            # children first: when the worker is gone, they are
            assert not list(filter(is_alive, jobs))
            assert entries(state) == []
        assert ended.exit_code == exit_code
        assert ended.stderr.startswith(message)
        assert len(ended.stderr.splitlines()) == bool(message), ended.stderr
    assert await_none(tag) == {}


async def test_I3_an_idle_worker_ends_at_once_and_says_nothing(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        assert await host.finish() == Ended(0, "")
        assert host.responses == []


async def test_I3_a_worker_that_ends_before_it_serves_leaves_nothing(worker: Worker) -> None:
    async with worker() as host:
        host.kill(signal.SIGKILL)
        await host.ended()


async def test_SIGHUP_is_ignored(worker: Worker) -> None:
    async with worker() as host:
        await host.work(sh("true"))
        host.kill(signal.SIGHUP)
        assert (await host.work(sh("echo still"))).output == "still\n"


async def test_answers_that_were_given_are_written_before_the_end(worker: Worker, fifo: MakeFifo) -> None:
    ready = fifo("ready")
    async with worker("proto", "--jobs=1") as host:
        host.pause_reading()
        await host.send(WorkRequest(1, sh("head -c 300000 /dev/zero | tr '\\0' x")))
        # It starts when the first has ended and was answered, as far as the pipe could take the answer.
        await host.send(WorkRequest(2, sh(f"echo > {ready}; exec sleep 1000")))
        await ready.line()
        await host.close_stdin()
        host.resume_reading()
        assert len((await host.next_response()).output) == 300001
        assert (await host.ended()).exit_code == 0
        assert len(host.responses) == 1


async def test_I13_a_killed_workers_directory_is_swept_by_the_next(worker: Worker, state: Path) -> None:
    async with worker() as first:
        await first.work(sh("true"))
        first.kill(signal.SIGKILL)
        await first.ended()
    (left,) = entries(state)
    async with worker() as living_one, worker() as second:
        await living_one.work(sh("true"))
        await second.work(sh("true"))
        assert left not in entries(state)
        assert len(entries(state)) == 2
    assert entries(state) == []


@pytest.mark.rustc
async def test_I13_a_state_directory_that_vanishes_is_made_again(
    worker: Worker, workspace: Path, state: Path
) -> None:
    (workspace / "lib.rs").write_text("pub fn answer() -> u32 { 42 }")
    rustc = ("--", "rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "lib.rs")
    async with worker() as host:
        await host.work(sh("true"))
        await trio.to_thread.run_sync(shutil.rmtree, state)
        assert (await host.work(sh("echo again"))).output == "again\n"
        early = await host.work(("--phase=early", "--early-output=libx.rmeta", *rustc))
        full = await host.work(("--phase=full", "--early-output=libx.rmeta", "--output=libx.rlib", *rustc))
        assert (early.exit_code, full.exit_code) == (0, 0), early.output + full.output
    assert {"libx.rlib", "libx.rmeta"} <= set(entries(workspace))
    assert entries(state) == []


async def test_a_state_directory_that_cannot_be_made_is_said(worker: Worker) -> None:
    async with worker("proto", "--state-dir=/proc/none") as host:
        ended = await host.ended()
        assert ended.exit_code == 125
        assert "--state-dir" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


async def test_a_worker_never_signals_its_own_group(worker: Worker) -> None:
    async with worker() as host:
        await host.send(WorkRequest(1, sh("sleep 1000")))
        await host.cancel(1)
        await host.next_response()
        assert os.getpgid(host.pid) == os.getpgrp()
        (helper,) = children(host.pid)
        assert os.getpgid(helper) == helper


async def test_the_tag_reaches_jobs(worker: Worker, tag: str, fifo: MakeFifo) -> None:
    # what every test here relies on
    pids = fifo("pids")
    async with worker() as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; exec sleep 1000")))
        assert await pids.pid() in living(tag)


async def test_a_trace_that_cannot_be_written_costs_the_trace_only(worker: Worker) -> None:
    async with worker("proto", "--trace=/dev/full") as host:
        assert (await host.work(sh("echo on"))).output == "on\n"
        ended = await host.finish()
    assert ended.exit_code == 0
    assert "the trace ends here" in ended.stderr
