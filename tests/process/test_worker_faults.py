"""What goes wrong in one request costs that request; what goes wrong in the worker costs the worker, and nobody waits for ever.

Faults are put into the real executable: it is started with one function replaced.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.codec import host_codec_for
from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost, WorkerEndedError
from process.support import PATIENCE, Fifo, entries, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

FAULT = """
import argparse, os
import {module}

def with_a_fault(original, left=[1]):
    def broken(*args, **kwargs):
        if left and os.path.exists("trip"):
            left.pop()
            {fault}
        return original(*args, **kwargs)
    return broken

{module}.{name} = with_a_fault({module}.{name})
"""
"""Once the file `trip` is in the worker's directory, the function fails, once."""

START = "\nfrom headstart_worker.__main__ import main\nmain()\n"


def faulty(module: str, name: str, fault: str) -> tuple[str, ...]:
    """The command of a worker with a fault in it."""
    return (sys.executable, "-c", FAULT.format(module=module, name=name, fault=fault) + START)


PLACES = {
    "while it is prepared": ("headstart_worker.preparation", "Preparation.prepare"),
    "while it is planned": ("headstart_wrapper.run", "Run.__init__"),
    "before its compiler is started": ("headstart_wrapper.run", "Run.events"),
    "while its compiler runs": ("headstart_worker.compilation", "BoundedText.append"),
    "after its compiler": ("headstart_wrapper.run", "Run._outcome"),
    "while it is published": ("headstart_worker.requests", "Requests._publish"),
    "while it is answered": ("headstart_wrapper.stats_file", "write"),
}
FAULTS = {
    "an exception": ("raise ValueError('the fault')", "ValueError: the fault"),
    "short of memory": ("raise MemoryError('the fault')", "MemoryError: the fault"),
    "sys.exit": ("raise SystemExit(0)", "SystemExit: 0"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "argparse": ("argparse.ArgumentParser('odd').parse_args(['--odd'])", "SystemExit: 2"),
    "no exception of anybody's": ("raise BaseException('the fault')", "BaseException: the fault"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
async def test_C24_C25_what_one_request_raises_is_its_answer_and_the_next_one_works(
    worker: Worker, workspace: Path, place: str, fault: str
) -> None:
    raised, told = FAULTS[fault]
    async with worker("proto", command=faulty(*PLACES[place], raised)) as host:
        (workspace / "trip").touch()
        job = sh(
            "sleep 1000 & echo $0; test -e first && touch out; mkdir -p first", "--output=out", "--stats=s"
        )
        with trio.fail_after(PATIENCE):
            failed = await host.work(job)
            following = await host.work(job)
        assert failed.exit_code != 0
        assert not failed.was_cancelled
        assert "Traceback (most recent call last)" in failed.output
        assert failed.output.endswith(f"{told}\n")
        assert following.exit_code == 0
        assert following.output == "/bin/sh\n"
        assert (await host.finish()).exit_code == 0


@pytest.mark.rustc
async def test_C25_a_request_that_exits_in_the_thread_that_publishes(worker: Worker, workspace: Path) -> None:
    (workspace / "lib.rs").write_text("pub fn answer() -> u32 { 42 }")
    rustc = ("--", "rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "lib.rs")
    halves = ("--early-output=libx.rmeta", "--output=libx.rlib")
    async with worker(
        "proto", command=faulty("headstart_wrapper.run", "Run.publish", "raise SystemExit(0)")
    ) as host:
        (workspace / "trip").touch()
        early = await host.work(("--phase=early", *halves, *rustc))
        assert early.exit_code != 0
        assert "SystemExit: 0" in early.output
        full = await host.work(("--phase=full", *halves, *rustc))
        assert full.exit_code == 0, full.output


STUBBORN = "trap '' TERM; echo $$ > {pids}; while :; do sleep 1000; done"

EVERYBODYS = {
    "the decoder": ("headstart_worker.codec", "messages.WorkRequest"),
    "the ledger, taking a request": ("headstart_worker.ledger", "Ledger.request"),
    "the ledger, at a request's end": ("headstart_worker.ledger", "Ledger.finish"),
    "the pipelines, taking a request": ("headstart_worker.pipelines", "Pipelines.request"),
    "the pipelines, at a job's end": ("headstart_worker.pipelines", "Pipelines.ended"),
    "the pipelines, at an answer": ("headstart_worker.pipelines", "Pipelines.answered"),
    "the slots": ("headstart_worker.slots", "Slots.admit"),
    "the encoder": ("headstart_worker.codec", "Codec.encode"),
    "the writer": ("headstart_worker.outbox", "Outbox._write_some"),
    "the event loop": ("trio._core._io_epoll", "EpollIOManager.process_events"),
}


@pytest.mark.parametrize("place", EVERYBODYS)
@pytest.mark.parametrize("fault", ["raise MemoryError('the fault')", "raise SystemExit(0)"])
async def test_C26_I1_a_defect_of_the_worker_answers_everybody_when_everything_is_dead(
    *, worker: Worker, protocol: str, workspace: Path, state: Path, fifo: MakeFifo, place: str, fault: str
) -> None:
    pids = fifo("pids")
    stubborn = sh(STUBBORN.format(pids=pids), "--kill-delay=900")
    async with worker(protocol, "--jobs=9", command=faulty(*EVERYBODYS[place], fault)) as host:
        for number in (1, 0, 3, 4):
            await host.send(WorkRequest(number, stubborn))
        jobs = {await pids.pid() for _ in range(4)}
        await host.send(WorkRequest(0, stubborn))  # waits for the first with id 0
        await host.send(WorkRequest(3, stubborn))  # the host has forgotten the first with id 3
        await host.cancel(4)
        assert (await host.work(sh("true"), request_id=5)).exit_code == 0
        (workspace / "trip").touch()
        await host.send(WorkRequest(9, sh("true")))

        with trio.fail_after(PATIENCE):
            answers = [await host.next_response()]
            assert not list(filter(is_alive, jobs))
            ended = await host.ended()
            while True:
                try:
                    answers.append(await host.next_response())
                except WorkerEndedError:
                    break
        read = [0, 0, 1, 3, 4, 9]
        if place in {"the decoder", "the event loop"}:
            read.remove(9)  # nobody knew of it
        if place == "the writer" and (answers[0].request_id, answers[0].exit_code) == (9, 0):
            read.remove(9)  # it had been answered
            answers.pop(0)
        assert sorted(answer.request_id for answer in answers) == read
        for answer in answers:
            assert answer.exit_code == 125
            assert answer.output.startswith("process-wrapper: this worker has met a bug")
            assert answer.output.count("\n") == 1
            assert not answer.was_cancelled
        assert ended.exit_code == 125
        assert "Traceback (most recent call last)" in ended.stderr
        assert fault.removeprefix("raise ").partition("(")[0] in ended.stderr
        assert entries(state) == []


async def test_C26_I1_a_defect_met_in_a_jobs_thread_is_the_workers(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    fault = faulty("headstart_worker.pipelines", "Pipelines.early_complete", "raise ValueError('the fault')")
    async with worker("proto", command=fault) as host:
        (workspace / "trip").touch()
        job = sh(f"echo $$ > {pids}; echo early > early; sleep 1000", "--phase=early", "--early-output=early")
        with trio.fail_after(PATIENCE):
            answer = await host.work(job)
            assert not is_alive(await pids.pid())
            ended = await host.ended()
        assert (answer.exit_code, ended.exit_code) == (125, 125)
        assert answer.output.startswith("process-wrapper: this worker has met a bug")
        assert "ValueError: the fault" in ended.stderr


async def test_C24_a_job_without_a_thread_is_answered_and_the_next_one_works(
    worker: Worker, workspace: Path
) -> None:
    no_thread = "left.append(1)\n            if 'limiter' in kwargs: left.clear(); raise RuntimeError('no new thread')"
    async with worker("proto", command=faulty("trio.to_thread", "run_sync", no_thread)) as host:
        (workspace / "trip").touch()
        answer = await host.work(sh("true"))
        assert answer.exit_code == 125
        assert "no new thread" in answer.output
        assert answer.output.count("\n") == 1
        assert (await host.work(sh("true"))).exit_code == 0


async def test_C26_a_worker_that_cannot_even_say_so_ends(worker: Worker, workspace: Path) -> None:
    always = "left.append(1); raise ValueError('the fault')"
    async with worker("proto", command=faulty("headstart_worker.codec", "Codec.encode", always)) as host:
        (workspace / "trip").touch()
        await host.send(WorkRequest(1, sh("true")))
        with trio.fail_after(PATIENCE):
            ended = await host.ended()
        assert ended.exit_code == 125
        assert "ValueError: the fault" in ended.stderr
        assert host.responses == []


async def test_I1_books_that_do_not_balance_are_said_at_the_end(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    second = fifo("second")
    loses = faulty("headstart_worker.correspondence", "Correspondence.answer", "return")
    async with worker("proto", command=loses) as host:
        (workspace / "trip").touch()
        await host.send(WorkRequest(0, sh("true")))
        await host.send(WorkRequest(0, sh(f"echo > {second}")))
        await second.line()  # the first was answered, as far as the worker knows
        await host.next_response()
        ended = await host.finish()
    assert ended.exit_code == 125
    assert ended.stderr == (
        "process-wrapper: the books do not balance, this is a bug in process-wrapper, please report it: "
        "2 requests were read, 1 responses given; the ledger counts 2 answered, 0 dropped and 0 open\n"
    )


async def test_C61_a_broken_stdout_is_noticed_at_once(worker: Worker, protocol: str, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    async with worker(protocol) as host:
        await host.send(WorkRequest(1, sh(STUBBORN.format(pids=pids))))
        job = await pids.pid()
        await host.close_stdout()
        with trio.fail_after(PATIENCE):
            ended = await host.ended()
        assert not is_alive(job)
        assert ended.exit_code == 125
        assert (
            ended.stderr
            == "process-wrapper: the host does not read responses any more; every job was ended\n"
        )


async def test_C61_a_full_stdout_is_not_a_broken_one(worker: Worker, fifo: MakeFifo) -> None:
    ready = fifo("ready")
    async with worker("proto") as host:
        host.pause_reading()
        await host.send(WorkRequest(1, sh("head -c 300000 /dev/zero | tr '\\0' x")))
        await host.send(WorkRequest(0, sh("true")))
        await host.send(WorkRequest(0, sh(f"echo > {ready}")))
        await ready.line()
        host.resume_reading()
        assert {(await host.next_response()).request_id for _ in range(3)} == {0, 1}
        assert (await host.finish()).exit_code == 0


async def test_C61_whoever_writes_to_a_stdout_that_is_a_socket_does_not_break_it(
    workspace: Path, state: Path
) -> None:
    ours, theirs = trio.socket.socketpair()
    codec = host_codec_for("proto")
    command = (sys.executable, "-m", "headstart_worker", "--persistent_worker", f"--state-dir={state}")
    with ours:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=theirs.fileno(), stderr=subprocess.PIPE, cwd=workspace
        )
        theirs.close()
        assert process.stdin is not None
        assert process.stderr is not None
        async with process.stdin, process.stderr:
            await ours.send(b"hello")
            for number in (1, 2):
                await process.stdin.send_all(codec.encode(WorkRequest(number, sh("true"))))
                with trio.fail_after(PATIENCE):
                    codec.feed(await ours.recv(4096))
                assert list(codec.responses()) == [WorkResponse(number)]
            ours.close()
            await process.stdin.send_all(codec.encode(WorkRequest(3, sh("true"))))
            with trio.fail_after(PATIENCE):
                said = b"".join([part async for part in process.stderr])
                assert await process.wait() == 125
            assert said.startswith(b"process-wrapper: the host does not read")


async def test_a_stdout_that_is_a_file_is_written_to(workspace: Path, state: Path) -> None:
    codec = host_codec_for("json")
    requests = b"".join(codec.encode(WorkRequest(number, sh("echo on"))) for number in (1, 2))
    (workspace / "requests").write_bytes(requests + codec.encode(WorkRequest(0, sh("sleep 1000"))))
    command = (*(sys.executable, "-m", "headstart_worker", "--persistent_worker"), f"--state-dir={state}")
    with (workspace / "responses").open("wb") as responses, (workspace / "requests").open("rb") as sent:
        ended = await trio.run_process(
            [*command, "--worker-protocol=json"],
            stdin=sent,
            stdout=responses,
            capture_stderr=True,
            cwd=workspace,
        )
    assert ended.stderr == b""


async def test_a_worker_without_a_stdout_says_so(state: Path) -> None:
    command = f"exec {sys.executable} -m headstart_worker --persistent_worker --state-dir={state} >&-"
    ended = await trio.run_process(["/bin/sh", "-c", command], check=False, capture_stderr=True)
    assert ended.returncode == 125
    assert ended.stderr == (
        b"process-wrapper: a worker serves a host on stdin and stdout, and one of them is closed\n"
    )


async def test_a_worker_without_a_stderr_serves(worker: Worker) -> None:
    command = ("/bin/sh", "-c", f'exec {sys.executable} -m headstart_worker "$@" 2>&-', "sh")
    async with worker("proto", command=command) as host:
        await host.send(WorkRequest(1, sh("echo out; echo err >&2", "--explain"), verbosity=1))
        assert (await host.next_response()).output == "out\nerr\n"
        assert (await host.finish()).exit_code == 0
