"""What one request gets: output, exit codes, messages; each beside another request that must not notice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, children, gone, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


async def test_both_streams_come_in_order_and_end_in_a_newline(worker: Worker) -> None:
    async with worker() as host:
        answer = await host.work(sh("echo 1; echo 2 >&2; echo 3; printf 4 >&2; exit 9"))
        assert (answer.exit_code, answer.output) == (9, "1\n2\n3\n4\n")


async def test_options_of_a_request_set_its_environment(worker: Worker, workspace: Path) -> None:
    async with worker() as host:
        answer = await host.work(
            ("--env=A=1 2", "--env=HERE=${dir}/x", "--subst=dir=${pwd}", *sh('echo "$A $HERE"'))
        )
        assert answer.output == f"1 2 {workspace}/x\n"


BAD = [
    pytest.param(("--no-such-option", "--", "true"), 125, "--no-such-option", id="unknown option"),
    pytest.param(("--timeout=soon", "--", "true"), 125, "--timeout", id="bad value"),
    pytest.param(("--jobs=3", "--", "true"), 125, "started", id="startup option"),
    pytest.param(("--dialect=cobol", "--", "true"), 125, "cobol", id="unknown dialect"),
    pytest.param(("--phase=early", "--", "true"), 125, "--early-output", id="phase alone"),
    pytest.param(("--timeout=0.05", "--", "sleep", "60"), 124, "--timeout", id="timed out"),
    pytest.param(("--", "/bin/echo", "x" * 300_000), 125, "longer", id="argument too long"),
]


@pytest.mark.parametrize(("arguments", "exit_code", "text"), BAD)
async def test_what_is_wrong_is_said_and_hurts_nobody_else(
    worker: Worker, fifo: MakeFifo, arguments: tuple[str, ...], exit_code: int, text: str
) -> None:
    go = fifo("go")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(900, sh(f"read x < {go}; echo fine")))
        answer = await host.work(arguments)
        assert answer.exit_code == exit_code, answer
        assert text in answer.output
        (line,) = answer.output.splitlines()
        assert line.startswith("process-wrapper: ")
        assert not answer.was_cancelled
        go.go()
        other = await host.next_response()
        assert (other.request_id, other.exit_code, other.output) == (900, 0, "fine\n")
        assert (await host.finish()).stderr == ""


async def test_a_compiler_that_closes_its_pipes_is_waited_for(worker: Worker, fifo: MakeFifo) -> None:
    closed, go = fifo("closed"), fifo("go")
    async with worker("proto", "--jobs=2") as host:
        await host.send(
            WorkRequest(1, sh(f"echo said; exec >&- 2>&-; echo $$ > {closed}; read x < {go}; exit 5"))
        )
        pid = await closed.pid()
        assert (await host.work(sh("echo other"))).output == "other\n"
        assert len(host.responses) == 1
        assert is_alive(pid)
        go.go()
        answer = await host.next_response()
        assert (answer.exit_code, answer.output) == (5, "said\n")


async def test_a_background_process_neither_delays_the_answer_nor_outlives_it_long(
    worker: Worker, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker() as host:
        with trio.fail_after(PATIENCE):
            answer = await host.work(sh(f"sleep 1000 & echo $! > {pids}; echo done; exit 3"))
        assert (answer.exit_code, answer.output) == (3, "done\n")
        await pids.pid()
        # that it is gone is what the guard of every test sees


async def test_the_helper_may_die_and_the_worker_goes_on(worker: Worker, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; exec sleep 1000")))
        job = await pids.pid()
        (helper,) = children(host.pid)
        os.kill(helper, signal.SIGKILL)
        await gone(helper)
        assert (await host.work(sh("echo on"))).output == "on\n"
        os.kill(job, signal.SIGKILL)  # its end is seen, its status is lost with the helper
        with trio.fail_after(PATIENCE):
            answer = await host.next_response()
        assert (answer.request_id, answer.exit_code) == (1, 125)
        assert "helper" in answer.output


async def test_statistics_are_true(worker: Worker, workspace: Path) -> None:

    async with worker() as host:
        script = "import time; x = bytearray(60_000_000); [None for _ in range(2_000_000)]"
        answer = await host.work(("--stats=s.json", "--", "/usr/bin/python3", "-I", "-S", "-c", script))
        assert answer.exit_code == 0
        stats = json.loads((workspace / "s.json").read_text())
        assert 60_000_000 < stats["peak_memory_bytes"] < 120_000_000
        assert 0 < stats["user_seconds"] <= stats["wall_seconds"] + 0.1
        small = await host.work(("--stats=t.json", "--", "/bin/true"))
        assert small.exit_code == 0
        # true of a child whatever its parent weighs: the worker has more than this
        assert json.loads((workspace / "t.json").read_text())["peak_memory_bytes"] < 20_000_000
