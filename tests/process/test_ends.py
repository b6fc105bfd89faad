"""Ends from outside, and a machine that runs out of something, while jobs of many processes run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from process.ends import End, close_stdin, sigint, sigkill, sigterm, unwritable_answer
from process.support import PATIENCE, Fifo, cancelled, entries, gone, response, sh
from survivors import await_none, is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

TREE = """
echo $$ > {pids}
trap '' TERM INT HUP
if [ $1 -gt 0 ]; then
  sh "$0" $(($1 - 1)) &
  setsid sh "$0" 0 &
  sh "$0" $(($1 - 1)) &
fi
while :; do sleep 1000; done
"""
"""Every process but those at the last level starts three more, one of which leaves the group; none minds a signal."""

DEEP = 3

PROCESSES = 22
"""A tree of that depth: 1 + 3 * (1 + 2 + 4) shells."""


@pytest.fixture
def tree(tmp_path: Path, fifo: MakeFifo) -> tuple[tuple[str, ...], Fifo]:
    """A request for a deep tree, and where its processes tell their ids."""
    pids = fifo("tree")
    script = tmp_path / "tree.sh"
    script.write_text(TREE.format(pids=pids))
    return ("--kill-delay=900", "--", "/bin/sh", str(script), str(DEEP)), pids


async def grown(pids: Fifo) -> list[int]:
    """Waits until the whole tree runs."""
    found = [await pids.pid() for _ in range(PROCESSES)]
    assert all(map(is_alive, found))
    return found


@pytest.mark.parametrize(
    ("end", "exit_code"),
    [(close_stdin, 0), (sigterm, 0), (sigint, 0), (unwritable_answer, 125), (sigkill, -signal.SIGKILL)],
)
async def test_I3_a_deep_tree_is_gone_within_a_second_of_the_workers_end(
    *,
    worker: Worker,
    protocol: str,
    tag: str,
    tree: tuple[tuple[str, ...], Fifo],
    end: End,
    exit_code: int,
) -> None:
    request, pids = tree
    async with worker(protocol) as host:
        await host.send(WorkRequest(1, request))
        found = await grown(pids)
        await end(host)
        with trio.fail_after(PATIENCE):
            assert await host.process.wait() == exit_code
        if exit_code >= 0:
            assert not list(filter(is_alive, found))
        assert await_none(tag) == {}


HOST = """
import subprocess, sys
worker = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdin.write(open(sys.argv[1], "rb").read())
worker.stdin.flush()
worker.stdout.read()
"""
"""A host that is to be killed: it sends what it is given, and reads."""


async def test_I3_a_deep_tree_is_gone_within_a_second_of_the_hosts_death(
    tmp_path: Path, state: Path, protocol: str, tag: str, tree: tuple[tuple[str, ...], Fifo]
) -> None:
    request, pids = tree
    sent = tmp_path / "sent"
    sent.write_bytes(FakeHost(protocol).encode(WorkRequest(1, request)))
    program = ("-m", "headstart_worker", "--persistent_worker", f"--worker-protocol={protocol}")
    command = (sys.executable, *program, f"--state-dir={state}")
    host = await trio.lowlevel.open_process([sys.executable, "-c", HOST, str(sent), *command], cwd=tmp_path)
    await grown(pids)
    host.kill()
    await host.wait()
    assert await_none(tag) == {}
    assert entries(state) == []


LONG = os.environ.get("HEADSTART_LONG") == "1"
"""A minute instead of a moment."""


async def test_I12_cancels_are_carried_out_while_stdout_is_full_for_long(
    worker: Worker, protocol: str, fifo: MakeFifo, tree: tuple[tuple[str, ...], Fifo]
) -> None:
    request, pids = tree
    done = fifo("done")
    cancels = range(100, 160 if LONG else 105)
    async with worker(protocol, "--jobs=3") as host:
        host.pause_reading()
        big = range(1, 7)  # together far more than the pipe and one read of the host take
        for number in big:
            await host.send(WorkRequest(number, sh(f"head -c 200000 /dev/zero | tr '\\0' x; echo > {done}")))
        for _ in big:
            await done.line()
        for number in cancels:
            began = trio.current_time()
            await host.send(WorkRequest(number, ("--kill-delay=0", *request[1:])))
            found = await grown(pids)
            await host.cancel(number)
            for pid in found:
                await gone(pid)
            if LONG:
                await trio.sleep_until(began + 1)
        assert len(host.responses) <= 1
        host.resume_reading()
        answers = [await response(host) for _ in (*big, *cancels)]
        assert len(answers) == len({answer.request_id for answer in answers})
        assert all(answer == cancelled(answer.request_id) for answer in answers if answer.request_id >= 100)
        assert {len(answer.output) for answer in answers if answer.request_id < 100} == {200001}
        await host.finish()
        assert len(host.responses) == len(answers)


# A compiler with a private directory

RUSTC = """#!/bin/sh
for word; do case $word in --emit=metadata=*)
  metadata=${{word#--emit=metadata=}}; metadata=${{metadata%%,*}}; link=${{word##*,link=}}
esac; done
metadata() {{ printf 'rust\\0\\0\\0\\tinterface'; }}
set -e
echo begun > {says}; read x < {go}
metadata > "$metadata"
printf '{{"$message_type":"artifact","artifact":"%s","emit":"metadata"}}\\n' "$metadata" >&2
echo early > {says}; read x < {go}
printf '!<arch>\\n%-16s%-12s%-6s%-6s%-8s%-10s`\\n' lib.rmeta/ 0 0 0 644 17 > "$link"
metadata >> "$link"
echo ended > {says}
"""

METADATA = b"rust\0\0\0\tinterface"

LIBRARY = b"!<arch>\n" + f"{'lib.rmeta/':<16}{0:<12}{0:<6}{0:<6}{644:<8}{17:<10}`\n".encode() + METADATA


class Rustc:
    """A rustc that says where it is, and goes on when it is told."""

    def __init__(self, path: Path, says: Fifo, go: Fifo) -> None:
        self.says = says
        self.go = go
        self._path = path
        path.write_text(RUSTC.format(says=says, go=go))
        path.chmod(0o755)

    def half(self, phase: str, name: str = "libx") -> tuple[str, ...]:
        """The arguments of a request."""
        emit = f"--emit=metadata={name}.rmeta,link={name}.rlib"
        outputs = (f"--output={name}.rlib",) if phase == "full" else ()
        options = (f"--phase={phase}", f"--early-output={name}.rmeta", *outputs, "--dialect=rustc")
        return (*options, "--", str(self._path), f"--crate-name={name[3:]}", "--crate-type=lib", emit, "x.rs")

    async def is_at(self, place: str) -> None:
        assert await self.says.line() == place


@pytest.fixture
def rustc(tmp_path: Path, fifo: MakeFifo) -> Rustc:
    return Rustc(tmp_path / "rustc", fifo("says"), fifo("go"))


async def both_halves(host: FakeHost, rustc: Rustc, workspace: Path, name: str = "libx") -> None:
    """Asks for both halves and sees that they are right."""
    rustc.go.go(2)
    for phase in ("early", "full"):
        with trio.fail_after(PATIENCE):
            answer = await host.work(rustc.half(phase, name))
        assert answer.exit_code == 0, answer.output
    assert [await rustc.says.line() for _ in range(3)] == ["begun", "early", "ended"]
    assert (workspace / f"{name}.rmeta").read_bytes() == METADATA
    assert (workspace / f"{name}.rlib").read_bytes() == LIBRARY


def lose(state: Path) -> None:
    """What a cleaner of temporary files does; the worker may remove the same things meanwhile."""
    while state.exists():
        shutil.rmtree(state, ignore_errors=True)


@pytest.mark.parametrize("moment", ["before early", "between early and full", "before full is asked for"])
async def test_I13_a_state_directory_that_is_deleted_under_a_job_costs_that_job_at_most(
    *,
    worker: Worker,
    workspace: Path,
    state: Path,
    tmp_path: Path,
    protocol: str,
    fifo: MakeFifo,
    rustc: Rustc,
    moment: str,
) -> None:
    async with worker(protocol) as host:
        await host.send(WorkRequest(1, rustc.half("early")))
        await rustc.is_at("begun")
        if moment == "before early":
            lose(state)
        rustc.go.go()
        early = await response(host)
        assert (early.exit_code == 0) == (moment != "before early")
        if early.exit_code == 0:
            assert (workspace / "libx.rmeta").read_bytes() == METADATA
            await rustc.is_at("early")
            if moment == "before full is asked for":
                rustc.go.go()
                await rustc.is_at("ended")
            lose(state)
            await host.send(WorkRequest(2, rustc.half("full")))
            rustc.go.go(1 if moment == "between early and full" else 2)
            full = await response(host)
            if full.exit_code == 0:
                assert (workspace / "libx.rlib").read_bytes() == LIBRARY
            assert (workspace / "libx.rmeta").read_bytes() == METADATA
        for answer in host.responses:
            assert answer.exit_code == 0 or answer.output
            assert "bug" not in answer.output
        if moment == "before full is asked for":  # it may have run once more, or not
            rustc = Rustc(tmp_path / "again", fifo("says-again"), fifo("go-again"))
        await both_halves(host, rustc, workspace)
        await both_halves(host, rustc, workspace, "liby")
    with contextlib.suppress(FileNotFoundError):
        assert entries(state) == []


@pytest.mark.parametrize("end", [close_stdin, sigkill])
async def test_I13_a_second_worker_on_the_state_directory_comes_and_goes_and_hurts_nobody(
    *,
    worker: Worker,
    workspace: Path,
    state: Path,
    tmp_path: Path,
    fifo: MakeFifo,
    rustc: Rustc,
    end: End,
) -> None:
    other = Rustc(tmp_path / "other", fifo("other-says"), fifo("other-go"))
    async with worker() as first:
        await first.send(WorkRequest(1, rustc.half("early")))
        await rustc.is_at("begun")
        async with worker("json") as second:
            await both_halves(second, other, workspace, "liby")
            await second.send(WorkRequest(7, other.half("early", "libz")))
            await other.is_at("begun")
            await end(second)
            await second.ended()
        async with worker("json") as third:  # it sweeps what the second left
            assert (await third.work(sh("echo swept"))).output == "swept\n"
            assert len(entries(state)) == 2
            rustc.go.go()
            assert (await response(first)).exit_code == 0
            await rustc.is_at("early")
        rustc.go.go()
        assert (await first.work(rustc.half("full"))).exit_code == 0
        assert (workspace / "libx.rlib").read_bytes() == LIBRARY
        assert len(entries(state)) == 1
    assert entries(state) == []


# A full disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB and few files."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "headstart-test", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(
            f"a file system of our own is needed, and this user cannot mount one: {mounted.stderr.strip()}"
        )
    try:
        yield place
    finally:
        # Lazily: a test that failed may have left somebody in there.
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> None:
    """Takes every byte and every inode that is left."""
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        _touch_many(place)


def _touch_many(place: Path) -> None:
    for number in range(1000):
        (place / f"filler-{number}").touch()


def free(place: Path) -> None:
    """Gives it all back."""
    for filler in place.glob("filler*"):
        filler.unlink()


async def test_a_full_disk_costs_the_job_that_needs_it_and_is_said(
    worker: Worker, workspace: Path, small: Path, protocol: str, rustc: Rustc
) -> None:
    state = small / "state"
    async with worker(protocol, f"--state-dir={state}") as host:
        await host.work(
            sh("true")
        )  # it has all that it needs for itself; nothing of a job is there that could go and make room
        await trio.to_thread.run_sync(fill, small)
        with trio.fail_after(PATIENCE):
            failed = await host.work(rustc.half("early"))
        assert failed.exit_code == 125
        (sentence,) = failed.output.splitlines()
        assert str(state) in sentence
        assert "No space left on device" in sentence
        assert "disk" in sentence
        assert (await host.work(sh("echo others go on"))).output == "others go on\n"
        await trio.to_thread.run_sync(free, small)
        await both_halves(host, rustc, workspace)
    assert entries(state) == []


async def test_a_disk_that_is_full_at_the_start_is_said(worker: Worker, small: Path) -> None:
    await trio.to_thread.run_sync(fill, small)
    async with worker("proto", f"--state-dir={small}/state") as host:
        ended = await host.ended()
    assert ended.exit_code == 125
    (sentence,) = ended.stderr.splitlines()
    assert str(small) in sentence
    assert "No space left on device" in sentence
    assert "--state-dir" in sentence
