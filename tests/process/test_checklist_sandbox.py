"""The conformance checklist, points 50 to 55: where a request's relative paths lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import Fifo, entries, response, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

RUSTC = """#!/bin/sh
echo run >> {runs}
for word; do case $word in --emit=*)
  for kind in metadata dep-info; do echo $kind > "$(echo "$word" | sed "s/.*$kind=\\([^,]*\\).*/\\1/")"; done
esac; done
"""
EMIT = "--emit=metadata=out/libx.rmeta,dep-info=out/x.d"
OUTPUTS = ("--early-output=out/libx.rmeta", "--output=out/x.d")


@pytest.fixture
def rustc(tmp_path: Path) -> tuple[str, ...]:
    """A command whose outputs go to a private directory of the worker's first; `tmp_path / "runs"` counts its runs."""
    program = tmp_path / "rustc"
    program.write_text(RUSTC.format(runs=tmp_path / "runs"))
    program.chmod(0o755)
    return ("--dialect=rustc", "--", str(program), "--crate-name=x", "--crate-type=lib", EMIT, "x.rs")


def tree(directory: Path) -> dict[str, tuple[int, str]]:
    """Every file and directory below, with the time of its last change and its content."""
    found = {}
    for path in directory.rglob("*"):
        content = path.read_text() if path.is_file() else ""
        found[str(path.relative_to(directory))] = path.stat().st_mtime_ns, content
    return found


async def test_C50_I8_a_request_with_a_sandbox_reads_and_writes_there_and_nowhere_else(
    worker: Worker, workspace: Path, state: Path, protocol: str
) -> None:
    sandbox = workspace / "__sandbox/7/ws"
    for directory, text in ((workspace, "wrong\n"), (sandbox, "right\n")):
        (directory / "in").mkdir(parents=True)
        (directory / "in/file").write_text(text)
        (directory / "params").write_text(f"--env=PARAMS={text}--stats=stats.json\n--\n/bin/sh\nscript\n")
        (directory / "script").write_text(f"pwd; echo $PARAMS {text.strip()}; cat in/file | tee out/full")
    before = tree(workspace)
    async with worker(protocol) as host:
        answer = await host.work(
            ("--output=out/full", "@params"), (Input("in/file", b"digest"),), sandbox_dir="__sandbox/7/ws"
        )
        assert (answer.exit_code, answer.output) == (0, f"{sandbox}\nright right\nright\n")
    assert (sandbox / "out/full").read_text() == "right\n"
    assert entries(sandbox) == ["in", "out", "params", "script", "stats.json"]
    after = tree(workspace)
    inside = {name: entry for name, entry in after.items() if name.startswith("__sandbox/7/ws")}
    assert {name: after[name] for name in after.keys() - inside.keys()} == {
        name: before[name] for name in before.keys() - inside.keys()
    }
    assert entries(state) == []


async def test_C50_I8_outputs_that_a_private_directory_held_are_published_in_the_sandbox(
    worker: Worker, workspace: Path, rustc: tuple[str, ...], protocol: str
) -> None:
    (workspace / "slot").mkdir()
    async with worker(protocol) as host:
        answer = await host.work(("--phase=early", *OUTPUTS, *rustc), sandbox_dir="slot")
        assert answer.exit_code == 0, answer.output
        assert sorted(tree(workspace)) == ["slot", "slot/out", "slot/out/libx.rmeta"]


EMPTY_SANDBOX = {"proto": b"\x32\x00", "json": b'"sandboxDir":"",'}


@pytest.mark.parametrize("spelled", ["absent", "empty"])
async def test_C51_without_a_sandbox_the_workers_own_directory_is_the_place(
    worker: Worker, workspace: Path, protocol: str, spelled: str
) -> None:
    (workspace / "in").write_text("here\n")
    async with worker(protocol) as host:
        frame = host.encode(WorkRequest(3, sh("pwd; tee out < in", "--output=out")))
        if spelled == "empty" and protocol == "proto":
            frame = bytes([frame[0] + len(EMPTY_SANDBOX["proto"])]) + frame[1:] + EMPTY_SANDBOX["proto"]
        elif spelled == "empty":
            frame = frame.replace(b"{", b"{" + EMPTY_SANDBOX["json"], 1)
        await host.send_bytes(frame)
        assert await response(host) == WorkResponse(3, 0, f"{workspace}\nhere\n")
    assert (workspace / "out").read_text() == "here\n"


async def test_C52_a_sandbox_that_does_not_exist_is_named_with_the_hosts_option_for_it(
    worker: Worker, workspace: Path, protocol: str
) -> None:
    async with worker(protocol) as host:
        answer = await host.work(sh("touch ran"), sandbox_dir="__sandbox/7/ws")
        assert answer.exit_code == 125
        (line,) = answer.output.splitlines()
        assert "__sandbox/7/ws" in line
        assert "--experimental_worker_multiplex_sandboxing" in line
        assert (await host.work(sh("echo on"))).output == "on\n"
    assert entries(workspace) == []


async def test_C53_absolute_paths_are_not_moved_into_the_sandbox(
    worker: Worker, workspace: Path, tmp_path: Path, protocol: str
) -> None:
    (workspace / "slot").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "in").write_text("from elsewhere\n")
    (elsewhere / "params").write_text(f"--\n/bin/sh\n-c\ncp $1 $2; echo $1 $2 $3\nsh\n{elsewhere}/in\n")
    words = (f"{elsewhere}/out/file", f"-L{elsewhere}/lib")
    async with worker(protocol) as host:
        answer = await host.work(
            (f"--output={elsewhere}/out/file", f"@{elsewhere}/params", *words), sandbox_dir="slot"
        )
        assert answer.output == f"{elsewhere}/in {words[0]} {words[1]}\n"
        assert answer.exit_code == 0
    assert (elsewhere / "out/file").read_text() == "from elsewhere\n"
    assert entries(workspace / "slot") == []


def directory_of(pid: int) -> Path:
    """Where a process is."""
    return Path("/proc", str(pid), "cwd").readlink()


async def test_C54_requests_at_one_time_see_each_its_own_sandbox(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    slots = [f"slot-{number}" for number in range(4)]
    for slot in slots:
        (workspace / slot).mkdir()
        (workspace / slot / "in").write_text(f"{slot}\n")
        (workspace / slot / "params").write_text(f"--env=PARAMS={slot}\n--stats=stats.json\n")
    async with worker(protocol, "--jobs=4") as host:

        async def one(slot: str, before: str) -> None:
            # The same words for each: which is whose tells the directory alone.
            arguments = ("@params", *sh(f"{before}; echo $PARAMS; cat in | tee -a out; pwd"))
            answer = await host.work(arguments, sandbox_dir=slot)
            assert answer.output == f"{slot}\n{slot}\n{workspace / slot}\n"

        async with trio.open_nursery() as nursery:
            for slot in slots:
                nursery.start_soon(one, slot, f"echo > {ready}; read x < {go}")
            for _ in slots:
                await ready.line()
            go.go(len(slots))
        async with trio.open_nursery() as nursery:
            for _ in range(25):
                for slot in slots:
                    nursery.start_soon(one, slot, ":")
        assert directory_of(host.pid) == workspace
    for slot in slots:
        assert (workspace / slot / "out").read_text() == f"{slot}\n" * 26
        assert entries(workspace / slot) == ["in", "out", "params", "stats.json"]
    assert entries(workspace) == slots


def empty(directory: Path) -> None:
    """What a host does to a sandboxed worker's directory before it fills it for the next action."""
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


async def test_C55_I13_nothing_is_kept_in_the_workers_directory(
    worker: Worker, workspace: Path, tmp_path: Path, rustc: tuple[str, ...], protocol: str
) -> None:
    inputs = (Input("x.rs", b"digest"), Input("params", b"digest"))
    async with worker(protocol) as host:
        for _ in range(2):
            for phase, made in (("early", "libx.rmeta"), ("full", "x.d")):
                assert entries(workspace) == []
                (workspace / "x.rs").write_text("source")
                (workspace / "params").write_text("\n".join((f"--phase={phase}", *OUTPUTS)))
                answer = await host.work(("@params", *rustc), inputs)
                assert answer.exit_code == 0, answer.output
                assert sorted(tree(workspace)) == ["out", f"out/{made}", "params", "x.rs"]
                empty(workspace)
    # One compiler made both halves, though nothing of the first was there any more when the second was asked for.
    assert (tmp_path / "runs").read_text() == "run\nrun\n"
