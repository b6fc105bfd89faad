"""The trace of a real worker: every kind of event, each in its place, whatever happens to the jobs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import Input, WorkRequest
from headstart_worker.testing import FakeHost
from process import queue_probe
from process.support import PATIENCE, Fifo, cancelled, response, sh
from process.trace_reading import arrows, check, events, named, parsed

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


def half(
    phase: str, name: str, script: str = "", *, reads: tuple[Input, ...] = (), word: str = ""
) -> tuple[tuple[str, ...], tuple[Input, ...]]:
    """A half of a job that makes NAME.e early and then, after `script`, NAME.f: arguments and inputs."""
    compiler = f"printf e > {name}.tmp && mv {name}.tmp {name}.e\n{script or ':'}\nprintf f > {name}.f"
    full = (f"--output={name}.f",) if phase == "full" else ()
    arguments = sh(compiler, f"--phase={phase}", f"--early-output={name}.e", *full)
    return (*arguments, *([word] if word else [])), (Input("source", b"1"), *reads)


async def work(host: FakeHost, job: tuple[tuple[str, ...], tuple[Input, ...]]) -> int:
    return (await host.work(job[0], inputs=job[1])).exit_code


async def test_a_build_with_everything_in_it(worker: Worker, trace: Path, fifo: MakeFifo) -> None:
    pids, go = fifo("pids"), fifo("go")
    held = f"echo $$ > {pids}; read x < {go}"
    async with worker("proto", f"--trace={trace}", "--jobs=2", "--memory=80%") as host:
        # 1: early, then 2 reads what is there while 1 goes on, then both are joined
        assert await work(host, half("early", "a", held)) == 0
        await pids.pid()
        assert await work(host, half("early", "b", reads=(Input("a.e", b"a"),))) == 0
        go.go()
        assert await work(host, half("full", "a", held)) == 0
        assert await work(host, half("full", "b", reads=(Input("a.e", b"a"),))) == 0
        # 3: a whole job that reads all of both
        link = sh("cat a.f b.f > program", "--output=program")
        assert (await host.work(link, inputs=(Input("a.f", b"f"), Input("b.f", b"f")))).exit_code == 0
        # 4: fails before its early output, 5: after it
        assert await work(host, half("early", "c", "exit 1")) == 0
        assert await work(host, half("full", "c", "exit 1")) == 1
        assert (await host.work(sh("exit 3"))).exit_code == 3
        # 6: cancelled while it runs
        await host.send(WorkRequest(9, sh(f"echo $$ > {pids}; exec sleep 1000")))
        await pids.pid()
        await host.send(WorkRequest(9, cancel=True))
        assert await response(host) == cancelled(9)
        assert (await host.finish()).exit_code == 0
    found = events(trace)
    check(found)
    assert arrows(found) == [("early", 1, 2), ("full", 1, 3), ("full", 2, 3)]
    runs = {event["args"]["job"]: event["args"]["exit_code"] for event in named(found, "codegen", "compile")}
    assert runs == {1: 0, 2: 0, 3: 0, 4: 1, 5: 3, 6: 128 + signal.SIGTERM}
    ended = {event["args"]["job"] for event in named(found, "compile") if event["args"].get("cancelled")}
    assert ended == {6}
    assert [event["args"]["job"] for event in named(found, "queue")] == [1, 2, 3, 4, 5, 6]
    for name in ("spawn", "reap"):
        assert {event["args"]["job"] for event in named(found, name)} == set(runs)
    joins = [(event["args"]["job"], event["args"]["want"]) for event in named(found, "join")]
    assert joins == [(1, "full"), (2, "full"), (4, "full")]
    assert not named(found, "alone")
    compilers = [event["args"]["compilers"] for event in named(found, "compilers")]
    assert (min(compilers), max(compilers), compilers[-1]) == (0, 2, 0)
    slots = [(event["args"]["running"], event["args"]["waiting"]) for event in named(found, "slots")]
    assert (max(slots)[0], slots[-1]) == (2, (0, 0))
    tokens = [event["args"]["free"] for event in named(found, "tokens")]
    assert (min(tokens), max(tokens), tokens[-1]) == (0, 2, 2)
    assert named(found, "memory")[-1]["args"]["memory"] == 0
    assert named(found, "rss")[-1]["args"]["rss"] == 0


async def test_what_was_used_at_the_early_output_is_told_to_the_millisecond(
    worker: Worker, trace: Path, workspace: Path, fifo: MakeFifo
) -> None:
    go = fifo("go")
    burn = "import time\nwhile time.process_time() < {}: pass\n"
    early = "print('e', file=open('t', 'w'), flush=True)\nimport os; os.rename('t', 'e')\n"
    wait = f"open({str(go)!r}).readline()\n"
    (workspace / "compiler.py").write_text(burn.format(0.2) + early + wait + burn.format(1.0))
    command = ("--", "/usr/bin/env", "python3", "-IS", "compiler.py")
    async with worker("proto", f"--trace={trace}") as host:
        for phase in ("early", "full"):
            answer = await host.work((f"--phase={phase}", "--early-output=e", *command))
            assert answer.exit_code == 0, answer.output
            go.go()
        await host.finish()
    (early_span,), (codegen,) = named(events(trace), "early"), named(events(trace), "codegen")
    assert 0.2 <= early_span["args"]["cpu"] <= codegen["args"]["cpu"] - 0.05
    assert codegen["args"]["cpu"] >= 1.0
    (held,) = {max(event["args"]["rss"] for event in named(events(trace), "rss"))}
    assert 1 << 20 < held < 1 << 30


async def test_publishing_names_request_and_half(worker: Worker, trace: Path, workspace: Path) -> None:
    (workspace / "lib.rs").write_text("pub fn answer() -> u32 { 42 }")
    rustc = ("--", "rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "lib.rs")
    halves = (
        WorkRequest(5, ("--phase=early", "--early-output=libx.rmeta", *rustc)),
        WorkRequest(6, ("--phase=full", "--early-output=libx.rmeta", "--output=libx.rlib", *rustc)),
    )
    async with worker("proto", f"--trace={trace}") as host:
        for request in halves:
            await host.send(request)
            assert (await response(host)).exit_code == 0
        await host.finish()
    found = events(trace)
    check(found)
    told = [
        (event["args"]["job"], event["args"]["request"], event["args"]["phase"])
        for event in named(found, "publish")
    ]
    assert told == [(1, 5, "early"), (1, 6, "full")]


async def test_who_gets_a_compiler_of_its_own_is_told_why(worker: Worker, trace: Path) -> None:
    async with worker("proto", f"--trace={trace}", "--jobs=2") as host:
        assert await work(host, half("full", "a")) == 0  # its early half came from a cache
        assert await work(host, half("early", "b")) == 0
        assert await work(host, half("full", "b", word="other")) == 0
        used = (Input("c.e", b"e"),)
        assert await work(host, half("full", "c", reads=used)) in {0, 70}
        await host.finish()
    found = events(trace)
    check(found)
    told = [
        (event["args"]["job"], event["args"]["want"], event["args"]["reason"])
        for event in named(found, "alone")
    ]
    assert [(job, want) for job, want, _ in told] == [(1, "full"), (3, "full"), (4, "full")]
    assert told[0][2].startswith("nothing ran for these outputs")
    assert told[1][2] == "job 2 for the same outputs is other work: its command has other at its end"


async def test_jobs_that_wait_at_once_lie_on_tracks_of_their_own(
    worker: Worker, trace: Path, fifo: MakeFifo
) -> None:
    pids, go = fifo("pids"), fifo("go")
    async with worker("proto", f"--trace={trace}", "--jobs=1") as host:
        await queue_probe.prepare(host)
        job = sh(f"echo $$ > {pids}; read x < {go}")
        await host.send(WorkRequest(1, job))
        await pids.pid()
        for number in (2, 3, 4):
            await host.send(WorkRequest(number, job))
        await queue_probe.all_attached(host)
        for _ in range(3):
            go.go()
            await pids.pid()
        go.go()
        assert [(await response(host)).exit_code for _ in range(4)] == [0, 0, 0, 0]
        await host.finish()
    found = events(trace)
    check(found)
    assert len({event["tid"] for event in named(found, "queue")}) >= 2
    assert max(event["args"]["waiting"] for event in named(found, "slots")) == 3


async def test_when_nothing_is_left_to_do_the_trace_is_whole_before_the_answer(
    worker: Worker, trace: Path
) -> None:
    async with worker("proto", f"--trace={trace}") as host:
        for job in range(1, 20):
            assert (await host.work(sh("exit 0"))).exit_code == 0
            assert [event["args"]["job"] for event in named(events(trace), "compile")][-1:] == [job]
            check(events(trace))
        names = {event["args"]["name"] for event in events(trace) if event["ph"] == "M"}
        assert names == {"headstart worker", "requests", "slot 0"}
        await host.finish()


async def test_a_killed_worker_leaves_what_is_older_than_its_last_moments(
    worker: Worker, fifo: MakeFifo
) -> None:
    written, lines = fifo("trace"), [""]
    async with worker("proto", f"--trace={written}") as host:
        assert (await host.work(sh("exit 0"))).exit_code == 0
        while '"compile"' not in lines[-1]:
            lines.append(await written.line())
        os.kill(host.pid, signal.SIGKILL)
        await host.ended()
    check(parsed("\n".join(lines)))


async def test_I12_a_trace_that_nobody_reads_holds_up_no_job(worker: Worker, fifo: MakeFifo) -> None:
    unread = fifo("trace")
    label = "x" * 200
    async with worker("json", f"--trace={unread}", "--jobs=2") as host:
        with trio.fail_after(PATIENCE):
            for _ in range(60):  # whose events are more than a pipe holds
                assert (await host.work(sh("exit 0", f"--output={label}"))).exit_code == 0
        assert (await host.finish()).exit_code == 0
    assert not unread.silent()


async def test_each_worker_has_its_own_file_in_a_directory(worker: Worker, tmp_path: Path) -> None:
    place = tmp_path / "traces"
    for _ in range(2):
        async with worker("proto", f"--trace={place}/") as host:
            assert (await host.work(sh("exit 0"))).exit_code == 0
            await host.finish()
    files = list(place.iterdir())
    assert len(files) == 2
    for file in files:
        check(events(file))
