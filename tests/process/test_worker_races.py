"""Orders of events that are rare, and must not matter."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, gone, links, response, sh, waiting_for_term
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
        assert await response(host) == WorkResponse(1, was_cancelled=True)
        # It goes on for the other request, and not in the directory that the host may take back now.
        assert is_alive(pid)
        assert not [link for link in links(pid) if "sandbox-1" in link]
        go.go()
        assert not (await pids.line()).startswith(str(workspace))
        assert (await response(host)).request_id == 2


EARLY = "printf interface > early.tmp && mv early.tmp early"
"""What a scripted compiler does for its early half."""

HALVES = {
    "early": ("--phase=early", "--early-output=early", "--output=full"),
    "full": ("--phase=full", "--early-output=early", "--output=full"),
}


async def test_I5_a_full_request_is_not_answered_while_another_compiler_may_write_its_output(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    pids, go, late = (fifo(name) for name in ("pids", "go", "late"))
    early, full = ((f"--phase={phase}", "--early-output=early") for phase in ("early", "full"))
    script = f"{EARLY}; echo $$ > {pids}; read x < {go}; printf code > full"
    stubborn = waiting_for_term(
        f"print(os.getpid(), file=open('{pids}', 'w'))",
        f"open('{late}').readline(); open('full', 'w').write('old')",
    )
    async with worker("proto", "--jobs=3") as host:
        assert (await host.work(sh(script, *early))).exit_code == 0
        compiler = await pids.pid()
        await host.send(WorkRequest(1, ("--output=full", "--kill-delay=1000", "--", *stubborn)))
        older = await pids.pid()
        await host.send(WorkRequest(2, sh(script, *full, "--output=full")))
        assert (await host.work(sh("true"))).exit_code == 0  # so the full request has its place
        go.go(2)
        await gone(compiler)
        for _ in range(3):
            assert (await host.work(sh("true"))).exit_code == 0  # whoever can be answered is by then
        assert not any(answer.request_id == 2 for answer in host.responses)
        late.go()
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(2)]}
        assert not is_alive(older)
        assert answers[2] == WorkResponse(2)
        assert "superseded" in answers[1].output
        assert (workspace / "full").read_text() == "code"


async def test_I5_a_request_with_id_0_that_waited_for_its_turn_does_not_supersede_a_newer_one(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    pids, first, newer = fifo("pids"), fifo("first"), fifo("newer")
    async with worker("proto", "--jobs=3") as host:
        await host.send(WorkRequest(0, sh(f"read x < {first}")))
        await host.send(WorkRequest(0, sh("echo old > out", "--output=out")))
        await host.send(
            WorkRequest(5, sh(f"echo $$ > {pids}; read x < {newer}; echo new > out", "--output=out"))
        )
        running = await pids.pid()
        first.go()
        assert await response(host) == WorkResponse(0)
        waited = await response(host)
        assert (waited.request_id, waited.exit_code) == (0, 125)
        assert "superseded by a newer request" in waited.output
        assert is_alive(running)
        newer.go()
        assert await response(host) == WorkResponse(5)
        assert (workspace / "out").read_text() == "new\n"


async def test_I5_a_request_with_id_0_that_waited_does_not_overwrite_what_a_newer_one_made(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    first = fifo("first")
    async with worker("proto", "--jobs=3") as host:
        await host.send(WorkRequest(0, sh(f"read x < {first}")))
        await host.send(WorkRequest(0, sh("echo old > out", "--output=out")))
        assert (await host.work(sh("echo new > out", "--output=out"))).exit_code == 0
        first.go()
        assert await response(host) == WorkResponse(0)
        waited = await response(host)
        assert (waited.request_id, waited.exit_code) == (0, 125)
        assert "superseded by a newer request" in waited.output
        assert (workspace / "out").read_text() == "new\n"


async def test_I2_a_full_request_that_is_cancelled_before_it_finds_its_compiler_ends_it_all_the_same(
    worker: Worker, protocol: str, workspace: Path, fifo: MakeFifo
) -> None:
    pids, go = fifo("pids"), fifo("go")
    script = f"{EARLY}; echo $$ > {pids}; read x < {go}; printf code > full"
    async with worker(protocol) as host:
        assert (await host.work(sh(script, *HALVES["early"]))).exit_code == 0
        compiler = await pids.pid()
        full = WorkRequest(2, sh(script, *HALVES["full"]))
        await host.send_bytes(host.encode(full) + host.encode(WorkRequest(2, cancel=True)))
        assert await response(host) == WorkResponse(2, was_cancelled=True)
        assert not is_alive(compiler)
        assert (workspace / "early").read_text() == "interface"
        assert not (workspace / "full").exists()


async def test_a_cancelled_request_that_is_wrong_besides_is_a_cancelled_one(
    worker: Worker, fifo: MakeFifo
) -> None:
    go = fifo("go")
    async with worker("proto") as host:
        assert (await host.work(sh(f"{EARLY}; read x < {go}", *HALVES["early"]))).exit_code == 0
        wrong = WorkRequest(2, ("--no-such-option",))
        await host.send_bytes(host.encode(wrong) + host.encode(WorkRequest(2, cancel=True)))
        assert await response(host) == WorkResponse(2, was_cancelled=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("--env=V=1", "--env=V=2"), ("--env=V=2", "--env=V=1")),
        (("--env=V=1",), ("--env=V=",)),
        (("--env=V=",), ()),
    ],
)
async def test_I7_the_last_value_of_a_variable_is_part_of_the_job(
    worker: Worker, workspace: Path, one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    script = f'{EARLY}; printf %s "${{V-none}}" > full'
    async with worker() as host:
        for phase, options in (("early", one), ("full", other)):
            answer = await host.work(sh(script, *HALVES[phase], *options), inputs=(Input("source", b"1"),))
            assert answer.exit_code == 0
        last = other[-1].removeprefix("--env=V=") if other else "none"
        assert (workspace / "full").read_text() == last


async def test_I7_a_params_file_that_the_command_itself_reads_is_an_input(
    worker: Worker, workspace: Path
) -> None:
    params = workspace / "full-0.params"
    script = f"read x < full-0.params; {EARLY}; echo $x > full"
    async with worker() as host:
        for phase, content in (("early", "one"), ("full", "two")):
            await trio.to_thread.run_sync(params.write_text, f"{content}\n")
            inputs = (Input("full-0.params", content.encode()),)
            assert (await host.work(sh(script, *HALVES[phase]), inputs=inputs)).exit_code == 0
        assert (workspace / "full").read_text() == "two\n"


async def test_I7_how_the_command_is_understood_is_part_of_the_job(
    worker: Worker, workspace: Path, tmp_path: Path, fifo: MakeFifo
) -> None:
    pids, go = fifo("pids"), fifo("go")
    rustc = tmp_path / "rustc"
    rustc.write_text(RUSTC.format(pids=pids, go=go))
    rustc.chmod(0o755)
    emit = "--emit=metadata=libx.rmeta,link=libx.rlib"
    command = ("--", str(rustc), "--crate-name=x", "--crate-type=lib", emit, "x.rs")
    outputs = ("--early-output=libx.rmeta", "--output=libx.rlib")
    async with worker() as host:
        go.go(2)
        for phase, dialect in (("early", "generic"), ("full", "rustc")):
            options = (f"--phase={phase}", f"--dialect={dialect}", *outputs)
            await host.work((*options, *command), inputs=(Input("x.rs", b"1"),))
            await pids.pid()
            assert await pids.line() == str(workspace)


async def test_I7_what_is_in_an_input_directory_counts_where_the_host_gives_no_digest(
    worker: Worker, workspace: Path
) -> None:
    source = workspace / "data/deep/file"
    source.parent.mkdir(parents=True)
    script = f"read x < data/deep/file; {EARLY}; echo $x > full"
    async with worker() as host:
        for phase, content in (("early", "one"), ("full", "two")):
            await trio.to_thread.run_sync(source.write_text, f"{content}\n")
            answer = await host.work(sh(script, *HALVES[phase]), inputs=(Input("data", b""),))
            assert answer.exit_code == 0
        assert (workspace / "full").read_text() == "two\n"


async def test_an_input_that_has_no_content_is_not_waited_for(worker: Worker, workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")
    (workspace / "zero").symlink_to("/dev/zero")
    inputs = (Input("pipe", b""), Input("zero", b""))
    async with worker() as host:
        for phase in ("early", "full"):
            with trio.fail_after(PATIENCE):
                answer = await host.work(sh(f"{EARLY}; printf code > full", *HALVES[phase]), inputs=inputs)
            assert answer.exit_code == 0
        assert (await host.finish()).exit_code == 0


@pytest.mark.parametrize("spelling", ["link/out", "link/./out", "link/../real/out", "{workspace}/link/out"])
async def test_I5_an_output_has_one_owner_however_it_is_spelled(
    worker: Worker, workspace: Path, fifo: MakeFifo, spelling: str
) -> None:
    pids = fifo("pids")
    (workspace / "real").mkdir()
    (workspace / "link").symlink_to("real")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; exec sleep 1000", "--output=real/out")))
        older = await pids.pid()
        output = spelling.format(workspace=workspace)
        newer = await host.work(sh(f"echo new > {output}; test -d /proc/{older}", f"--output={output}"))
        assert newer.exit_code == 1
        assert "superseded" in (await response(host)).output


async def test_I12_statistics_that_nobody_reads_hold_up_nobody(worker: Worker, workspace: Path) -> None:
    os.mkfifo(workspace / "stats")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(1, sh("echo first", "--stats=stats")))
        with trio.fail_after(PATIENCE):
            assert (await host.work(sh("sleep 0; echo second"))).output == "second\n"
            await host.work(sh("true"))
            ended = await host.finish()
        assert ended.exit_code == 0


async def test_a_job_is_joined_though_its_command_names_its_own_outputs(
    worker: Worker, workspace: Path, tmp_path: Path, fifo: MakeFifo
) -> None:
    runs = fifo("runs")
    script = tmp_path / "cc"
    script.write_text(f"printf i > $1.tmp; mv $1.tmp $1; printf code > $2; echo run > {runs}")
    command = ("--", "/bin/sh", str(script), "early", "full")
    async with worker() as host:
        assert (await host.work((*HALVES["early"], *command))).exit_code == 0
        assert await runs.line() == "run"
        assert (await host.work((*HALVES["full"], *command))).exit_code == 0
        assert (workspace / "full").read_text() == "code"
        assert runs.silent()


async def test_I9_dependents_are_known_by_any_spelling_of_the_early_output(
    worker: Worker, workspace: Path
) -> None:
    (workspace / "early").write_text("of another process")
    options = ("--phase=full", f"--early-output={workspace}/early", "--output=full")
    async with worker() as host:
        answer = await host.work(
            sh(f"{EARLY}; printf code > full", *options), inputs=(Input("early", b"1"), Input("x", b"1"))
        )
        assert answer.exit_code == 70
        assert "dependents were built with" in answer.output


async def test_an_output_where_a_directory_is_gets_a_sentence(worker: Worker, workspace: Path) -> None:
    (workspace / "out").mkdir()
    async with worker() as host:
        answer = await host.work(sh("true", "--output=out"))
        assert answer.exit_code == 125
        assert "is a directory" in answer.output
        assert "declare the files in it" in answer.output
        assert (workspace / "out").is_dir()
