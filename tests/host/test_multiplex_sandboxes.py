"""Pipelining through sandboxes of a host that gives each to another action with the response: early, and the right bytes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import trio
from attrs import frozen

from headstart_worker import timeline
from headstart_worker.cargo.commands import Mode, Phase, outputs, request_inputs, request_lines
from headstart_worker.cargo.units import Units
from headstart_worker.messages import Input, WorkResponse
from headstart_worker.testing import FakeHost, Garbage, Sandboxes, build
from headstart_worker.testing.sandboxes import Kind
from host import search_example, small_graph
from host.search_example import hashed, tree
from host.small_graph import ANSWER
from process.stopped_rustc import stopped_at_metadata, stopped_at_start
from process.support import PATIENCE, Fifo

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo on PATH"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler on PATH"),
]

HALVES: Final[tuple[Phase, ...]] = ("early", "full")

KINDS: Final[tuple[Kind, ...]] = ("symlink", "hardlink", "copy")

REQUESTS = 8
"""Requests in flight, each in a slot."""


@frozen
class Small:
    """The small graph. Attributes: the execution root, its units, and what every output is in mode none."""

    root: Path
    units: Units
    expected: dict[str, str]


def built(
    units: Units, root: Path, mode: Mode, *, host: FakeHost, outroot: str, sandboxes: Sandboxes | None = None
) -> None:
    """A whole build, of which nothing may fail."""

    async def run() -> None:
        async with host:
            report = await build(
                units,
                workspace=root,
                outroot=outroot,
                mode=mode,
                jobs=REQUESTS,
                host=host,
                sandboxes=sandboxes,
            )
        assert report.failures == ()

    trio.run(run)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    root = tmp_path / "execroot" / "small"
    units = small_graph.write(root)
    built(units, root, "none", host=FakeHost(cwd=root), outroot="plain")
    return Small(root, units, hashed(units, root / "plain"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The worker's: it holds nothing but sandboxes, so that whoever looks there for an input finds none."""
    made = tmp_path / "worker"
    made.mkdir()
    return made


def test_I6_I8_a_real_graph_has_the_same_bytes_while_every_sandbox_is_overwritten(
    tmp_path: Path, directory: Path
) -> None:
    root, trace = tmp_path / "search", tmp_path / "trace.json"
    units = search_example.imported(root)
    built(units, root, "none", host=FakeHost(options=["--jobs=2"], cwd=root), outroot="plain")
    garbage = Garbage()
    sandboxes = Sandboxes(directory, root, slots=REQUESTS, garbage=garbage)
    host = FakeHost(options=["--jobs=2", f"--trace={trace}", f"--state-dir={tmp_path}/state"], cwd=directory)
    built(units, root, "worker", host=host, outroot="boxed", sandboxes=sandboxes)

    expected, found = hashed(units, root / "plain"), hashed(units, root / "boxed")
    assert [path for path in expected if found[path] != expected[path]] == []
    assert sandboxes.touched() == []
    libraries = sum(unit.is_library for unit in units)
    assert len(units) >= 80
    assert libraries >= 60
    assert sum(sandboxes.served.values()) == garbage.written + garbage.removed == len(units) + libraries
    assert all(sandboxes.served.values())
    told = timeline.read_build([trace.read_text()])
    assert len(told.compiles) == len(units), "no crate is compiled twice"
    assert told.joins == told.pipelined == libraries


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", ["proto", "json"])
def test_I6_I8_inputs_of_each_kind_give_the_same_bytes_and_the_next_action_is_left_alone(
    small: Small, directory: Path, tmp_path: Path, kind: Kind, protocol: str
) -> None:
    sources = tree(small.root)
    for seed in range(3):
        outroot = f"boxed-{seed}"
        sandboxes = Sandboxes(directory, small.root, slots=REQUESTS, kind=kind, garbage=Garbage(seed))
        host = FakeHost(protocol, [f"--state-dir={tmp_path}/state"], cwd=directory)
        built(small.units, small.root, "worker", host=host, outroot=outroot, sandboxes=sandboxes)
        assert hashed(small.units, small.root / outroot) == small.expected
        assert sandboxes.touched() == []
        for each in small.units:
            dep_info = outputs(each, outroot).dep_info
            assert dep_info is not None
            told = (small.root / dep_info).read_text()
            assert "__sandbox" not in told
            assert str(tmp_path) not in told
        program = small.root / outputs(small.units["main"], outroot).code
        assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == ANSWER
    assert {path: found for path, found in tree(small.root).items() if path in sources} == sources


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm, a file system of its own")
def test_I6_inputs_on_another_file_system_than_the_workers_state_give_the_same_bytes(
    small: Small, tmp_path: Path, tag: str
) -> None:
    directory = Path("/dev/shm", tag)
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the tests run in /dev/shm")
    directory.mkdir()
    try:
        shutil.copytree(small.root, root := directory / "small")
        sandboxes = Sandboxes(directory, root, slots=REQUESTS, garbage=Garbage())
        host = FakeHost(options=[f"--state-dir={tmp_path}/state"], cwd=directory)
        built(small.units, root, "worker", host=host, outroot="boxed", sandboxes=sandboxes)
        assert hashed(small.units, root / "boxed") == small.expected
        assert sandboxes.touched() == []
    finally:
        shutil.rmtree(directory)


@frozen
class Stopping:
    """A compiler that stops.

    Attributes:
        path: its program.
        told: says its process id when it has stopped.
        go: lets it go on.
    """

    path: Path
    told: Fifo
    go: Fifo

    def program(self, rustc: str, phase: Phase) -> str:
        """Writes it: a real rustc that stops within that half of its work."""
        write = stopped_at_start if phase == "early" else stopped_at_metadata
        write(self.path, rustc, go=self.go.path, told=self.told.path)
        return str(self.path)


@pytest.fixture
def stopping(tmp_path: Path) -> Iterator[Stopping]:
    with Fifo(tmp_path / "told") as told, Fifo(tmp_path / "go") as go:
        yield Stopping(tmp_path / "rustc", told, go)


@frozen
class Requests:
    """The two halves of the library with native code, in sandboxes of a host that takes them away."""

    small: Small
    rustc: str
    host: FakeHost
    sandboxes: Sandboxes

    async def half(self, phase: Phase, request_id: int | None = None) -> WorkResponse:
        units, each = self.small.units, self.small.units["native"]
        made = outputs(each, "boxed")
        paths = request_inputs(each, units, mode="worker", phase=phase, outroot="boxed")
        return await self.sandboxes.work(
            self.host,
            request_lines(each, units, mode="worker", phase=phase, outroot="boxed", rustc=self.rustc),
            [Input(path, hashlib.sha256((self.small.root / path).read_bytes()).digest()) for path in paths],
            outputs=made.of(phase),
            request_id=request_id,
        )

    def made(self) -> dict[str, str]:
        """SHA-256 of what is there."""
        return {
            path: hashlib.sha256((self.small.root / "boxed" / path).read_bytes()).hexdigest()
            for path in self.expected
            if (self.small.root / "boxed" / path).exists()
        }

    @property
    def expected(self) -> dict[str, str]:
        made = outputs(self.small.units["native"], "")
        return {path: self.small.expected[path] for path in (made.code, made.metadata or "")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", ["proto", "json"])
async def test_I8_the_early_half_is_answered_early_and_a_static_library_is_read_after_its_sandbox_is_gone(
    small: Small, directory: Path, stopping: Stopping, kind: Kind, protocol: str
) -> None:
    sandboxes = Sandboxes(directory, small.root, slots=1, kind=kind, garbage=Garbage())
    options = [f"--state-dir={directory.with_name('state')}"]
    async with FakeHost(protocol, options, cwd=directory) as host:
        rustc = stopping.program(small.units.rustc, "full")
        requests = Requests(small, rustc, host, sandboxes)
        with trio.fail_after(PATIENCE):
            early = await requests.half("early")
            assert early.exit_code == 0, early.output
            pid = await stopping.told.pid()
            # Its metadata is with the host, and the compiler has not begun to make code.
            assert status(pid)["State"] == "T (stopped)"
            metadata = outputs(small.units["native"], "").metadata
            assert requests.made() == {metadata: requests.expected[metadata or ""]}
            assert names_a_sandbox(pid, directory) == []
            stopping.go.go()
            full = await requests.half("full")
            assert full.exit_code == 0, full.output
        assert requests.made() == requests.expected
    assert sandboxes.touched() == []


def status(pid: int) -> dict[str, str]:
    """What the kernel tells of a process; nothing when there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split(":\t", 1) for line in lines)


def names_a_sandbox(pid: int, directory: Path) -> list[str]:
    """What a process holds of the worker's directory: its own directory, descriptors and mappings."""
    process = Path("/proc", str(pid))
    held = [str(link.readlink()) for link in (process / "cwd", *(process / "fd").iterdir())]
    held += [line.split(maxsplit=5)[-1] for line in (process / "maps").read_text().splitlines()]
    return [path for path in held if path.startswith(f"{directory}/")]


@pytest.mark.parametrize("phase", HALVES)
async def test_I2_I8_what_is_cancelled_in_a_sandbox_is_dead_and_the_next_attempt_is_right(
    small: Small, directory: Path, tmp_path: Path, stopping: Stopping, phase: Phase
) -> None:
    rustc = stopping.program(small.units.rustc, phase)
    sandboxes = Sandboxes(directory, small.root, slots=2, garbage=Garbage())
    async with FakeHost(options=[f"--state-dir={tmp_path}/state"], cwd=directory) as host:
        requests = Requests(small, rustc, host, sandboxes)
        for _ in range(3):
            with trio.fail_after(PATIENCE):
                await cancelled(requests, stopping, phase)
        stopping.go.go()
        with trio.fail_after(PATIENCE):
            for half in HALVES:
                answer = await requests.half(half)
                assert answer.exit_code == 0, answer.output
        assert requests.made() == requests.expected
    assert sandboxes.touched() == []


async def cancelled(requests: Requests, stopping: Stopping, phase: Phase) -> None:
    """One half is cancelled while its compiler stands still."""
    host, sandboxes = requests.host, requests.sandboxes
    if phase == "full":
        assert (await requests.half("early")).exit_code == 0
        pid = await stopping.told.pid()
    before, number = sum(sandboxes.served.values()), host.new_id()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(requests.half, phase, number)
        if phase == "early":
            pid = await stopping.told.pid()
        while sum(sandboxes.served.values()) == before:
            await trio.lowlevel.checkpoint()
        await host.cancel(number)  # nothing comes between the filling of a sandbox and the sending
    assert host.responses[-1] == WorkResponse(number, was_cancelled=True)
    assert status(pid) == {}
    assert requests.made().keys() <= {outputs(requests.small.units["native"], "").metadata}
