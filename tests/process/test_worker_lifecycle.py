"""However the worker ends, its jobs end with it: before it, and within a second."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from process.ends import occupied
from process.support import Fifo, entries, sh
from survivors import await_none, living

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


async def test_I3_a_killed_workers_jobs_end_though_it_could_not_end_them(
    worker: Worker, protocol: str, tag: str, fifo: MakeFifo
) -> None:
    async with worker(protocol, "--jobs=3") as host:
        await occupied(host, fifo("pids"))
        host.kill(signal.SIGKILL)
        await host.ended()
        assert await_none(tag) == {}


async def test_I3_a_worker_that_ends_before_it_serves_leaves_nothing(worker: Worker) -> None:
    async with worker() as host:
        host.kill(signal.SIGKILL)
        await host.ended()


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


@pytest.mark.rustc
async def test_I13_private_outputs_that_were_deleted_are_made_anew(
    worker: Worker, workspace: Path, state: Path, fifo: Callable[[str], Fifo]
) -> None:
    (workspace / "lib.rs").write_text("pub fn answer() -> u32 { 42 }")
    rustc = ("--", "rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "lib.rs")
    trace = fifo("trace")
    async with worker("proto", f"--trace={trace}") as host:
        early = await host.work(("--phase=early", "--early-output=libx.rmeta", *rustc))
        while '"codegen"' not in await trace.line():
            pass  # the job ends with that
        await trio.to_thread.run_sync(shutil.rmtree, state)
        full = await host.work(("--phase=full", "--early-output=libx.rmeta", "--output=libx.rlib", *rustc))
        assert (early.exit_code, full.exit_code) == (0, 0), early.output + full.output
    assert {"libx.rlib", "libx.rmeta"} <= set(entries(workspace))


async def test_a_state_directory_that_cannot_be_made_is_said(worker: Worker) -> None:
    async with worker("proto", "--state-dir=/proc/none") as host:
        ended = await host.ended()
        assert ended.exit_code == 125
        assert "--state-dir" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


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
