"""What a worker does besides serving: telling more, giving memory back, making room for a newer one."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.codec import host_codec_for
from headstart_worker.messages import Input, WorkRequest
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

START = "\nfrom headstart_worker.__main__ import main\nmain()\n"


async def test_C66_a_request_with_verbosity_is_told_on_stderr_and_every_line_names_it(
    worker: Worker, protocol: str
) -> None:
    async with worker(protocol) as host:
        await host.send(WorkRequest(7, sh("true\nexit 3"), verbosity=10))
        told = await host.next_response()
        assert (await host.work(sh("true"), request_id=8)).exit_code == 0
        ended = await host.finish()
    assert (told.exit_code, told.output) == (3, "")
    lines = ended.stderr.splitlines()
    assert all(line.startswith("process-wrapper: request 7: ") for line in lines), ended.stderr
    texts = [line.removeprefix("process-wrapper: request 7: ") for line in lines]
    assert texts[0].startswith("dialect generic: ")
    queued, started, answered = texts[-3:]
    assert queued == "queued as job 1, sh"
    assert started == "started in slot 0"
    seconds = float(answered.removeprefix("answered after ").partition(" s: ")[0])
    assert 0 < seconds < PATIENCE
    assert ": exit code 3, memory peak " in answered
    assert 0 < int(answered.removesuffix(" MiB").rpartition(" ")[2]) < 100


@pytest.mark.parametrize("verbosity", [0, -1])
async def test_C66_without_verbosity_nothing_is_told(worker: Worker, protocol: str, verbosity: int) -> None:
    async with worker(protocol) as host:
        await host.send(WorkRequest(1, sh("true"), verbosity=verbosity))
        await host.next_response()
        assert (await host.finish()).stderr == ""


async def test_C66_every_line_of_a_text_names_its_request(worker: Worker) -> None:
    async with worker() as host:
        await host.send(WorkRequest(5, sh("true", "--output=two\nlines", "--explain"), verbosity=1))
        await host.next_response()
        lines = (await host.finish()).stderr.splitlines()
    assert any(line.endswith(": lines") for line in lines)
    assert all(line.startswith("process-wrapper: request 5: ") for line in lines)


async def test_C66_what_became_of_cancelled_and_superseded_requests_is_told(
    worker: Worker, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    async with worker() as host:
        await host.send(WorkRequest(1, sh(f"echo > {ready}; exec sleep 1000"), verbosity=1))
        await ready.line()
        await host.send(WorkRequest(1, sh(f"echo > {ready}; exec sleep 1000"), verbosity=1))
        await ready.line()
        await host.cancel(1)
        assert (await host.next_response()).was_cancelled
        stderr = (await host.finish()).stderr
    assert " s: its id came again\n" in stderr
    assert " s: cancelled\n" in stderr


async def test_C66_I12_a_stderr_that_nobody_reads_stops_nobody(workspace: Path, state: Path) -> None:
    codec = host_codec_for("proto")
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "headstart_worker", "--persistent_worker", f"--state-dir={state}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=workspace,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert isinstance(process.stderr, trio.lowlevel.FdStream)
    fcntl.fcntl(process.stderr.fileno(), fcntl.F_SETPIPE_SZ, 4096)
    async with process.stdin, process.stdout, process.stderr:
        with trio.fail_after(PATIENCE):
            for number in range(1, 51):  # more than 200 bytes of lines for each
                await process.stdin.send_all(codec.encode(WorkRequest(number, sh("true"), verbosity=1)))
                codec.feed(bytes(await process.stdout.receive_some(4096)))
                assert [answer.request_id for answer in codec.responses()] == [number]
            await process.stdin.aclose()
            assert await process.wait() == 0


GARBAGE = """
import gc

class Garbage:
    def __init__(self):
        self.itself = self  # only a collection finds it
    def __del__(self):
        with open({collected!r}, "w") as collected:
            collected.write("collected\\n")
        Garbage()

gc.disable()
Garbage()
"""
"""A cycle that says when it is collected, and leaves another; Python itself does not collect."""


def with_garbage(collected: Fifo) -> tuple[str, ...]:
    return (sys.executable, "-c", GARBAGE.format(collected=str(collected)) + START)


async def test_C67_memory_is_given_back_once_in_each_time_without_work(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    collected, go, ready = fifo("collected"), fifo("go"), fifo("ready")
    async with worker(protocol, "--jobs=2", "--collect-when-idle=0", command=with_garbage(collected)) as host:
        await collected.line()  # before the first request
        for _ in range(3):
            await host.send(WorkRequest(1, sh(f"echo > {ready}; read x < {go}")))
            await ready.line()
            assert (await host.work(sh("true"))).exit_code == 0
            assert (await host.work(sh("true"))).exit_code == 0
            assert collected.silent()  # a job runs
            go.go()
            await host.next_response()
            await collected.line()
            assert collected.silent()
        await host.finish()
        assert collected.silent()


async def test_C67_a_compiler_that_goes_on_after_its_early_half_is_work(
    worker: Worker, fifo: MakeFifo
) -> None:
    collected, go = fifo("collected"), fifo("go")
    halves = ("--early-output=early", "--output=late")
    script = f"echo > early; read x < {go}; echo > late"
    async with worker("proto", "--jobs=2", "--collect-when-idle=0", command=with_garbage(collected)) as host:
        await collected.line()
        assert (await host.work(sh(script, "--phase=early", *halves))).exit_code == 0
        assert (await host.work(sh("true"))).exit_code == 0
        assert collected.silent()
        go.go()
        await collected.line()
        assert (await host.work(sh(script, "--phase=full", *halves))).exit_code == 0


async def test_C67_nothing_is_collected_unless_somebody_asked(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    collected = fifo("collected")
    async with worker(protocol, command=with_garbage(collected)) as host:
        for _ in range(3):
            assert (await host.work(sh("true"))).exit_code == 0
            await trio.sleep(
                0.1
            )  # nothing tells that nothing was done; a collection would take a tenth of this
        assert collected.silent()


def test_C67_free_memory_goes_back_to_the_system() -> None:
    # Blocks too small for mmap below one that is kept: the C library would hold them for ever.
    script = """
import ctypes, gc
from headstart_worker.idle import collect
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
blocks = [c.malloc(65536) for _ in range(1024)]
for block in blocks:
    ctypes.memset(block, 1, 65536)
for block in blocks[:-1]:
    c.free(block)
before = resident()
collect()
print(before - resident())
"""
    freed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(freed.stdout) > 32 * 1024  # of 64 MiB


OLD = (Input("bin/tool/a.py", b"1"), Input("bin/tool/b.py", b"1"), Input("src.c", b"1"))
NEW = (Input("bin/tool/a.py", b"1"), Input("bin/tool/b.py", b"2"), Input("src.c", b"1"))
RENEWS = ("--jobs=3", "--exit-when-changed", "--worker-files=bin/tool")
SAID = (
    "process-wrapper: request {}: the worker's own file bin/tool/b.py has changed since this worker was started: "
    "it ends when nothing is left to do, and the host starts another\n"
)


async def test_C68_a_worker_whose_files_changed_answers_and_ends(worker: Worker, protocol: str) -> None:
    async with worker(protocol, *RENEWS) as host:
        for inputs in (OLD, (*OLD[:2], Input("src.c", b"2")), OLD[:1], ()):
            assert (await host.work(sh("true"), inputs)).exit_code == 0
        answer = await host.work(sh("echo still"), NEW, request_id=9)
        assert (answer.exit_code, answer.output) == (0, "still\n")
        with trio.fail_after(PATIENCE):
            ended = await host.ended()
        assert ended.exit_code == 0
        assert ended.stderr == SAID.format(9)


async def test_C68_it_does_not_look_unless_a_rule_wants_it(worker: Worker) -> None:
    async with worker("proto", "--worker-files=bin/tool") as host:
        for inputs in (OLD, NEW, OLD):
            assert (await host.work(sh("true"), inputs)).exit_code == 0
        assert (await host.finish()).stderr == ""


async def test_C68_it_serves_until_nothing_is_unanswered_and_no_compiler_runs(
    worker: Worker, fifo: MakeFifo
) -> None:
    go, ready, tail = fifo("go"), fifo("ready"), fifo("tail")
    early = sh(f"echo > early; read x < {tail}", "--phase=early", "--early-output=early", "--output=late")
    async with worker("proto", *RENEWS) as host:
        await host.send(WorkRequest(1, sh(f"echo > {ready}; read x < {go}"), OLD))
        await ready.line()
        assert (await host.work(early, NEW, request_id=2)).exit_code == 0
        assert (await host.work(sh("true"), NEW)).exit_code == 0  # a request runs
        go.go()
        assert (await host.next_response()).request_id == 1
        assert (await host.work(sh("true"), NEW)).exit_code == 0  # a compiler runs
        tail.go()
        with trio.fail_after(PATIENCE):
            ended = await host.ended()
        assert ended.exit_code == 0
        assert ended.stderr == SAID.format(2)


LOOKED = """
from headstart_worker import stdio
original = stdio.holds_input
def holds_input(descriptor):
    held = original(descriptor)
    with open({looked!r}, "w") as looked:
        looked.write("looked\\n")
    return held
stdio.holds_input = holds_input
"""
"""A worker that says when it has looked at stdin for the last time."""


async def test_C68_I1_a_request_of_which_a_part_has_come_is_served_first(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    looked = fifo("looked")
    command = (sys.executable, "-c", LOOKED.format(looked=str(looked)) + START)
    async with worker(protocol, *RENEWS, command=command) as host:
        assert (await host.work(sh("true"), OLD)).exit_code == 0
        following = host.encode(WorkRequest(3, sh("true"), NEW)).rstrip(b"\n")
        await host.send_bytes(host.encode(WorkRequest(2, sh("true"), NEW)) + following[:-5])
        assert (await host.next_response()).request_id == 2
        await looked.line()
        await host.send_bytes(following[-5:])
        assert (await host.next_response()).request_id == 3
        with trio.fail_after(PATIENCE):
            assert (await host.ended()).exit_code == 0


LOOKS = """
from headstart_worker.outbox import Outbox
original = Outbox.emptied
async def emptied(outbox):
    await original(outbox)
    with open({looking!r}, "w") as looking:
        looking.write("looking\\n")
    with open({go!r}) as go:
        go.readline()
Outbox.emptied = emptied
"""
"""A worker that stands still for a while right before its last look at stdin."""


async def test_C68_I1_a_request_that_comes_while_it_is_about_to_end_is_served(
    worker: Worker, fifo: MakeFifo
) -> None:
    looking, go = fifo("looking"), fifo("go")
    command = (sys.executable, "-c", LOOKS.format(looking=str(looking), go=str(go)) + START)
    async with worker("proto", *RENEWS, command=command) as host:
        assert (await host.work(sh("true"), OLD)).exit_code == 0
        assert (await host.work(sh("true"), NEW)).exit_code == 0
        await looking.line()
        await host.send(WorkRequest(7, sh("echo late")))
        go.go()
        assert (await host.next_response()).output == "late\n"
        await looking.line()
        go.go()
        with trio.fail_after(PATIENCE):
            assert (await host.ended()).exit_code == 0
