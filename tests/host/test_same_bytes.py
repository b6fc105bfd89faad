"""One real graph of crates, built in five ways: under Bazel, under the embedded host, and by standalone processes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from attrs import frozen

from headstart_worker import timeline
from headstart_worker.cargo.commands import Mode, outputs, request_lines
from headstart_worker.cargo.units import Unit, Units
from headstart_worker.testing import FakeHost, build
from host import search_example
from host.bazel_workspace import BazelWorkspace, bazel_workspace
from host.search_example import hashed

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo on PATH"),
]

JOBS = 2
"""Compilers at once, in every way of building."""

REQUESTS = 8
"""Requests in flight: early answers come while compilers still run."""

MNEMONICS = ["Rust", "RustMetadata"]

WAYS = ["Bazel, worker", "embedded, none", "embedded, worker", "standalone"]
"""What is compared with "Bazel, none"."""


@frozen
class Imported:
    """The example as a workspace. Attributes: it, and its units."""

    workspace: BazelWorkspace
    units: Units


@frozen
class Made:
    """One build.

    Attributes:
        hashes: of everything but the dep-info, which is text with paths: path below the outputs to SHA-256.
        trace: what the worker tells of it; None when there was none.
    """

    hashes: dict[str, str]
    trace: timeline.Build | None = None


@pytest.fixture(scope="module")
def imported() -> Iterator[Imported]:
    units: list[Units] = []

    def write(root: Path, headstart: Path) -> None:
        units.append(search_example.imported(root, headstart))

    with bazel_workspace(write=write) as workspace:
        yield Imported(workspace, units[0])


class Builds:
    """The builds that were made so far; each is made when it is asked for, and once."""

    def __init__(self, imported: Imported, traces: Path) -> None:
        self._imported = imported
        self._traces = traces
        self._made: dict[str, Made] = {}

    def __getitem__(self, way: str) -> Made:
        if way not in self._made:
            self._made[way] = self._make(way)
        return self._made[way]

    def _make(self, way: str) -> Made:
        match way.split(", "):
            case ["Bazel", ("none" | "worker") as mode]:
                return with_bazel(self._imported, mode, self._traces)
            case ["embedded", ("none" | "worker") as mode]:
                return with_embedded_host(self._imported, mode, self._traces)
            case _:
                return with_standalone_processes(self._imported)


@pytest.fixture(scope="module")
def made(imported: Imported, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return Builds(imported, tmp_path_factory.mktemp("traces"))


def with_bazel(imported: Imported, mode: Mode, traces: Path) -> Made:
    directory = traces / f"bazel-{mode}"
    directory.mkdir()
    startup = [f"--trace={directory}/%p.json", f"--jobs={JOBS}"]
    flags = [f"--@headstart//bazel/rust:mode={mode}", f"--jobs={REQUESTS}"]
    flags += [f"--local_cpu_resources={REQUESTS}"]  # Bazel takes a core for each request, whoever computes
    flags += [f"--experimental_worker_max_multiplex_instances=Headstart={REQUESTS}"]
    for mnemonic in MNEMONICS:  # both alike: the two halves of a crate must reach one process
        flags += [f"--strategy={mnemonic}=worker"]
        flags += [f"--worker_extra_flag={mnemonic}={option}" for option in startup]
    workspace = imported.workspace
    workspace.bazel("clean")
    workspace.bazel("build", *flags, "//:all_crates")
    hashes = hashed(imported.units, (workspace.root / "bazel-bin").resolve())
    workspace.bazel("clean")  # ends the worker, and its trace is complete
    texts = [path.read_text() for path in directory.iterdir()]
    assert len(texts) == 1, "one process served them all"
    return Made(hashes, timeline.read_build(texts))


def with_embedded_host(imported: Imported, mode: Mode, traces: Path) -> Made:
    trace = traces / f"embedded-{mode}.json"
    root, outroot = imported.workspace.root, f"embedded-{mode}"

    async def run() -> None:
        async with FakeHost(options=[f"--jobs={JOBS}", f"--trace={trace}"], cwd=root) as host:
            report = await build(
                imported.units, workspace=root, outroot=outroot, mode=mode, jobs=REQUESTS, host=host
            )
        assert report.failures == ()

    trio.run(run)
    return Made(hashed(imported.units, root / outroot), timeline.read_build([trace.read_text()]))


def with_standalone_processes(imported: Imported) -> Made:
    root, outroot = imported.workspace.root, "standalone"
    units = imported.units
    done = {unit.name: trio.Event() for unit in units}
    slots = trio.CapacityLimiter(JOBS)

    async def compile_one(unit: Unit) -> None:
        for needed in units.direct(unit):
            await done[needed.name].wait()
        for path in outputs(unit, outroot).all:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        lines = request_lines(unit, units, mode="none", phase=None, outroot=outroot, rustc=units.rustc)
        async with slots:
            await trio.run_process([sys.executable, "-m", "headstart_worker", *lines], cwd=root)
        done[unit.name].set()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for unit in units:
                nursery.start_soon(compile_one, unit)

    trio.run(run)
    return Made(hashed(units, root / outroot))


def test_the_graph_has_every_kind_of_output(imported: Imported, made: Builds) -> None:
    libraries = sum(unit.is_library for unit in imported.units)
    assert len(imported.units) >= 80
    assert libraries >= 60
    kinds = [Path(path).suffix for path in made["Bazel, none"].hashes]
    assert kinds.count(".rlib") == kinds.count(".rmeta") == libraries
    assert kinds.count(".so") >= 3
    assert len(kinds) == len(imported.units) + libraries


@pytest.mark.parametrize("way", WAYS)
def test_I6_the_same_bytes_as_bazel_without_pipelining(made: Builds, way: str) -> None:
    expected, found = made["Bazel, none"].hashes, made[way].hashes
    assert sorted(found) == sorted(expected)
    differing = [path for path in expected if found[path] != expected[path]]
    assert differing == []


@pytest.mark.parametrize("host", ["Bazel", "embedded"])
def test_every_crate_is_compiled_once_and_every_pipeline_is_joined(
    imported: Imported, made: Builds, host: str
) -> None:
    trace = made[f"{host}, worker"].trace
    assert trace is not None
    assert len(trace.compiles) == len(imported.units)
    assert trace.joins == trace.pipelined == sum(unit.is_library for unit in imported.units)
    assert trace.peak_compilers <= JOBS
