"""The modes that run the compiler twice have the same bytes under Bazel and under the embedded host."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from attrs import frozen

from headstart_worker.cargo import starlark
from headstart_worker.cargo.commands import Mode, outputs
from headstart_worker.cargo.units import Units
from headstart_worker.testing import FakeHost, build
from host import small_graph
from host.bazel_workspace import BazelWorkspace, bazel_workspace

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler on PATH"),
]


@frozen
class Small:
    """The small graph as a workspace. Attributes: it, and its units."""

    workspace: BazelWorkspace
    units: Units


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    made: list[Units] = []

    def write(root: Path, headstart: Path) -> None:
        made.append(small_graph.write(root))
        texts = {
            **starlark.build_files(made[0]),
            "WORKSPACE": starlark.workspace_file(str(headstart)),
            "MODULE.bazel": starlark.module_file(str(headstart)),
        }
        for path, text in texts.items():
            (root / path).write_text(text)

    with bazel_workspace(write=write) as workspace:
        yield Small(workspace, made[0])


def hashed(small: Small, outroot: Path, mode: Mode) -> dict[str, str]:
    """SHA-256 of every output but the dep-info."""
    made = [outputs(unit, "", mode) for unit in small.units]
    paths = [path for each in made for path in each.all if path != each.dep_info]
    return {path: hashlib.sha256((outroot / path).read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("mode", ["hollow", "two_invocation"])
def test_I6_the_embedded_host_makes_what_bazel_makes(small: Small, mode: Mode) -> None:
    strategies = [f"--strategy={mnemonic}=worker" for mnemonic in ("Rust", "RustMetadata")]
    workspace = small.workspace
    workspace.bazel("build", f"--@headstart//bazel/rust:mode={mode}", *strategies, "//:all_crates")
    expected = hashed(small, (workspace.root / "bazel-bin").resolve(), mode)

    async def embedded() -> None:
        async with FakeHost(cwd=workspace.root) as host:
            report = await build(
                small.units, workspace=workspace.root, outroot=mode, mode=mode, jobs=2, host=host
            )
        assert report.failures == ()

    trio.run(embedded)
    assert hashed(small, workspace.root / mode, mode) == expected
    assert len(expected) == len(small.units) + sum(unit.is_library for unit in small.units)
