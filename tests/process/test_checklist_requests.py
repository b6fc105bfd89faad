"""The conformance checklist, points 13 to 23: ids, and what a request's arguments become."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, response, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

ANSWER_TO_0 = {"proto": b"\x04\x12\x02x\n", "json": b'{"exitCode":0,"output":"x\\n"}\n'}
"""Whole frames: in protobuf the output's field 2 and nothing else."""


async def test_C13_the_answer_to_id_0_has_no_id(workspace: Path, state: Path, protocol: str) -> None:
    recording = f'{shlex.quote(sys.executable)} -m headstart_worker "$@" | tee received'
    command = ("/bin/sh", "-c", recording, "sh")
    async with FakeHost(protocol, (f"--state-dir={state}",), cwd=workspace, command=command) as host:
        await host.send(WorkRequest(0, ("--", "/bin/echo", "x")))
        assert await response(host) == WorkResponse(0, 0, "x\n")
        await host.finish()
    assert (workspace / "received").read_bytes() == ANSWER_TO_0[protocol]


async def test_C14_I1_an_id_comes_back_as_it_was_sent(worker: Worker, protocol: str) -> None:
    ids = (1, 127, 128, 65536, 2**31 - 1, -1, -(2**31))
    async with worker(protocol, "--jobs=4") as host:
        for number in ids:
            await host.send(WorkRequest(number, ("--", "/bin/echo", str(number))))
        answers = {answer.request_id: answer.output for answer in [await response(host) for _ in ids]}
        assert answers == {number: f"{number}\n" for number in ids}


async def test_C15_ids_come_in_any_order_and_a_fast_request_overtakes_a_slow_one(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol, "--jobs=2") as host:
        await host.send(WorkRequest(9, sh(f"echo > {ready}; read x < {go}; echo slow")))
        await ready.line()
        for number in (4, 7, 2):
            await host.send(WorkRequest(number, sh("echo fast")))
            assert await response(host) == WorkResponse(number, 0, "fast\n")
        go.go()
        assert await response(host) == WorkResponse(9, 0, "slow\n")


async def test_C16_I1_requests_with_id_0_are_served_in_order_and_never_together(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol, "--jobs=3") as host:
        scripts = [f"echo {number} > {ready}; read x < {go}; echo {number}" for number in range(3)]
        await host.send_bytes(b"".join(host.encode(WorkRequest(0, sh(script))) for script in scripts))
        for number in range(3):
            assert await ready.line() == str(number)
            # others are served meanwhile, so the one that waits waits for its turn and not for a slot
            assert (await host.work(sh("true"))).exit_code == 0
            assert ready.silent()
            go.go()
            assert await response(host) == WorkResponse(0, 0, f"{number}\n")
        await host.finish()
        assert len(host.responses) == 6


async def test_C17_ids_other_than_0_may_come_one_at_a_time(worker: Worker, protocol: str) -> None:
    """As from Bazel 4.2.3 with --worker_sandboxing."""
    async with worker(protocol) as host:
        for number in (3, 1, 2):
            await host.send(WorkRequest(number, sh(f"echo {number}")))
            assert await response(host) == WorkResponse(number, 0, f"{number}\n")
        await host.finish()
        assert len(host.responses) == 3


async def test_C18_I5_an_id_that_was_answered_is_a_new_request_when_it_comes_again(
    worker: Worker, protocol: str
) -> None:
    async with worker(protocol) as host:
        for text in ("a", "b", "c"):
            await host.send(WorkRequest(1, sh(f"echo {text}")))
            assert await response(host) == WorkResponse(1, 0, f"{text}\n")
        await host.finish()
        assert len(host.responses) == 3


@pytest.mark.parametrize("options", [(), ("--output=out",)], ids=["alone", "same output"])
async def test_C19_I5_an_active_id_that_comes_again_gets_the_new_work_alone(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo, options: tuple[str, ...]
) -> None:
    pids = fifo("pids")
    async with worker(protocol, "--jobs=2") as host:
        # It does not die at once, so whoever does not wait for its end meets it.
        tree = f"trap '' TERM; sleep 1000 & echo $! > {pids}; echo $$ > {pids}; wait; echo old | tee out"
        await host.send(WorkRequest(1, sh(tree, "--kill-delay=0.3", *options)))
        old = [await pids.pid(), await pids.pid()]
        # A killed process may stay a zombie for a moment until its new parent has reaped it.
        both = " ".join(f"/proc/{pid}/status" for pid in old)
        script = f"grep -hs ^State: {both} | grep -v Z; echo new | tee out"
        await host.send(WorkRequest(1, sh(script, *options)))
        assert await response(host) == WorkResponse(1, 0, "new\n")
        assert not list(filter(is_alive, old))
        assert (workspace / "out").read_text() == "new\n"
        await host.finish()
        assert len(host.responses) == 1


async def test_C20_I5_an_output_that_is_asked_for_again_supersedes_the_older_request(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker(protocol, "--jobs=2") as host:
        stubborn = f"trap '' TERM; echo $$ > {pids}; sleep 1000; echo old > out"
        await host.send(WorkRequest(1, sh(stubborn, "--kill-delay=0.3", "--output=out")))
        old = await pids.pid()
        await host.send(
            WorkRequest(2, sh(f"test -d /proc/{old} && echo both; echo new > out", "--output=./out"))
        )
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(2)]}
        assert answers[1].exit_code == 125
        assert "superseded" in answers[1].output
        assert not answers[1].was_cancelled
        assert answers[2] == WorkResponse(2)
        assert not is_alive(old)
        assert (workspace / "out").read_text() == "new\n"


@pytest.mark.parametrize("arguments", [(), ("--",), ("--env=A=1",)])
async def test_C21_a_request_without_a_command_is_told_so(
    worker: Worker, protocol: str, arguments: tuple[str, ...]
) -> None:
    async with worker(protocol) as host:
        for number in (0, 5):
            await host.send(WorkRequest(number, arguments))
            answer = await response(host)
            assert (answer.request_id, answer.exit_code) == (number, 125)
            (line,) = answer.output.splitlines()
            assert line.startswith("process-wrapper: ")
            assert "command" in line
        assert (await host.work(sh("echo next"))).output == "next\n"


SPELLINGS = ["@{}", "--flagfile={}", "-flagfile={}"]


@pytest.mark.parametrize("sandbox", ["", "__sandbox/1/ws"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_C22_params_files_are_read_where_the_request_runs(
    worker: Worker, workspace: Path, protocol: str, spelling: str, sandbox: str
) -> None:
    for place in ("", "__sandbox/1/ws"):
        directory = workspace / place / "bin"
        directory.mkdir(parents=True)
        (directory / "outer").write_text("--env=A=of the params\n" + spelling.format("bin/inner") + "\n")
        (directory / "inner").write_text(f"--\n/bin/echo\nread in\n[{place}]\n\n@bin/outer\n")
    async with worker(protocol) as host:
        with trio.fail_after(PATIENCE):
            answer = await host.work((spelling.format("bin/outer"), "last"), sandbox_dir=sandbox)
        # What stands behind the command's own `--` is the compiler's to read.
        assert answer.output == f"read in [{sandbox}]  @bin/outer last\n"
        assert answer.exit_code == 0


async def test_C22_what_only_looks_like_a_params_file_stays(worker: Worker, protocol: str) -> None:
    words = ("@@bin/outer", "@repository//bin:outer", "@//bin:outer", "@")
    async with worker(protocol) as host:
        answer = await host.work(("/bin/echo", *words))
        assert (answer.exit_code, answer.output) == (0, " ".join(words) + "\n")


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_C22_a_params_file_that_is_missing_is_named(
    worker: Worker, protocol: str, spelling: str
) -> None:
    async with worker(protocol) as host:
        answer = await host.work((spelling.format("bin/missing.params"), "--", "/bin/true"))
        assert answer.exit_code == 125
        (line,) = answer.output.splitlines()
        assert "bin/missing.params" in line
        assert "declare it as an input" in line
        assert (await host.work(sh("echo next"))).output == "next\n"


async def test_C23_words_reach_the_command_verbatim(worker: Worker, protocol: str) -> None:
    words = ("", " ", "a b", '"', "\\", "\\n", "'", "$HOME", "@x", "--", "*", "ü", "\n", "{}", "%s")
    script = "import sys; print(ascii(sys.argv[1:]))"
    async with worker(protocol) as host:
        answer = await host.work(("--", "/usr/bin/python3", "-I", "-S", "-c", script, *words))
        assert answer.output == f"{list(words)!a}\n"
