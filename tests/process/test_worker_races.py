"""Orders of events that are rare, and must not matter."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import trio

from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

RUSTC = """#!/bin/sh
for word; do case $word in --emit=*)
  metadata=$(echo "$word" | sed 's/.*metadata=\\([^,]*\\).*/\\1/'); link=$(echo "$word" | sed 's/.*link=\\([^,]*\\).*/\\1/')
esac; done
echo $$ > {pids}; read x < {go}
printf meta > "$metadata"; printf code > "$link"; pwd > {pids}
"""


async def response(host: FakeHost) -> WorkResponse:
    with trio.fail_after(PATIENCE):
        return await host.next_response()


async def test_I5_the_newer_of_two_requests_wins_though_one_between_them_failed(
    worker: Worker, workspace: Path, tmp_path: Path
) -> None:
    params = tmp_path / "params"
    os.mkfifo(params)
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(1, (f"@{params}",)))
        with await trio.to_thread.run_sync(params.open, "w") as slow:  # the first is being prepared
            await host.send(WorkRequest(2, ("--no-such-option",)))
            await host.send(WorkRequest(3, sh("echo new > out", "--output=out")))
            assert (await response(host)).request_id == 2
            slow.write("--output=out\n--\n/bin/sh\n-c\necho old > out")
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(2)]}
        assert answers[3] == WorkResponse(3)
        assert "superseded" in answers[1].output
        assert (workspace / "out").read_text() == "new\n"


async def test_I5_the_last_of_three_with_one_id_waits_for_the_first(worker: Worker, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    async with worker("proto", "--jobs=2") as host:
        stubborn = f"trap '' TERM; echo $$ > {pids}; while :; do sleep 1000; done"
        await host.send(WorkRequest(1, sh(stubborn, "--kill-delay=0.4")))
        old = await pids.pid()
        second, third = sh("echo second"), sh(f"test -d /proc/{old} && echo both; echo third")
        await host.send_bytes(host.encode(WorkRequest(1, second)) + host.encode(WorkRequest(1, third)))
        assert await response(host) == WorkResponse(1, 0, "third\n")
        await host.finish()
        assert len(host.responses) == 1


async def test_I3_a_request_that_cannot_be_prepared_does_not_hold_the_end(
    worker: Worker, tmp_path: Path, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    params = tmp_path / "params"
    os.mkfifo(params)
    async with worker() as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; sleep 1000")))
        running = await pids.pid()
        await host.send(WorkRequest(2, (f"@{params}",)))
        with await trio.to_thread.run_sync(params.open, "w"):
            ended = await host.finish()
            assert ended.exit_code == 0
            assert not is_alive(running)


async def test_I7_values_of_substitutions_are_part_of_the_job(worker: Worker, workspace: Path) -> None:
    script = "printf ${v} > full; printf ${v} > early.tmp; mv early.tmp early"
    async with worker() as host:
        for number, phase in ((1, "early"), (2, "full")):
            options = (f"--phase={phase}", "--early-output=early", "--output=full", f"--subst=v={number}")
            answer = await host.work(sh(script, *options), inputs=(Input("source", b"1"),))
            assert answer.exit_code == 0
        assert (workspace / "full").read_text() == "2"


async def test_lines_of_params_files_are_raw(worker: Worker, workspace: Path) -> None:
    (workspace / "params").write_bytes(b"--env=V=a\rb\r\n--\n/bin/sh\n-c\n" + b'printf %s "$V" | od -An -c')
    async with worker() as host:
        assert (await host.work(("@params",))).output.split() == ["a", r"\r", "b", r"\r"]


async def test_words_that_no_command_can_have_hurt_nobody_else(worker: Worker, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(1, sh(f"echo > {ready}; read x < {go}; echo fine")))
        await ready.line()
        for words in (("--", "/bin/echo", "a\0b"), ("--env=A=a\0b", "--", "/bin/echo")):
            answer = await host.work(words)
            assert answer.exit_code == 125
            assert "NUL" in answer.output
        go.go()
        assert await response(host) == WorkResponse(1, 0, "fine\n")


def halves(workspace: Path, command: tuple[str, ...], *more: str) -> tuple[WorkRequest, WorkRequest]:
    """An early and a full request, each with a sandbox of its own."""
    requests = []
    for number, phase in ((1, "early"), (2, "full")):
        (workspace / f"sandbox-{number}").mkdir()
        options = (f"--phase={phase}", "--early-output=libx.rmeta", "--output=libx.rlib", *more)
        arguments = (*options, "--", *command)
        requests.append(
            WorkRequest(number, arguments, (Input("x.rs", b"1"),), sandbox_dir=f"sandbox-{number}")
        )
    return requests[0], requests[1]


async def test_outputs_of_a_command_that_we_do_not_know_are_made_in_each_sandbox(
    worker: Worker, workspace: Path
) -> None:
    script = ("/bin/sh", "-c", "printf meta > libx.rmeta; printf code > libx.rlib")
    async with worker() as host:
        for request in halves(workspace, script):
            await host.send(request)
        assert {(await response(host)).exit_code for _ in range(2)} == {0}
    assert (workspace / "sandbox-1/libx.rmeta").read_text() == "meta"
    assert (workspace / "sandbox-2/libx.rlib").read_text() == "code"


async def test_I8_a_cancel_is_answered_when_its_sandbox_is_used_no_more(
    worker: Worker, workspace: Path, tmp_path: Path, fifo: MakeFifo
) -> None:
    pids, go, ready = fifo("pids"), fifo("go"), fifo("ready")
    rustc = tmp_path / "rustc"
    rustc.write_text(RUSTC.format(pids=pids, go=go))
    rustc.chmod(0o755)
    emit = "--emit=metadata=libx.rmeta,link=libx.rlib"
    early, full = halves(
        workspace, (str(rustc), "--crate-name=x", "--crate-type=lib", emit, "x.rs"), "--dialect=rustc"
    )
    async with worker("proto", "--jobs=2") as host:
        await host.send(early)
        pid = await pids.pid()
        await host.send(full)
        await host.send(WorkRequest(3, sh(f"echo > {ready}")))
        await ready.line()  # so the full request has joined
        assert (await response(host)).request_id == 3
        await host.cancel(1)
        await host.send(WorkRequest(4, sh("true")))
        assert (await response(host)).request_id == 4
        assert is_alive(pid)
        go.go()
        assert await pids.line() == str(workspace / "sandbox-1")
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(2)]}
        assert answers[1] == WorkResponse(1, was_cancelled=True)
        assert answers[2].request_id == 2
