"""Bazel 4's `--worker_sandboxing`: the worker's own directory is the sandbox, filled anew for each action, and no `sandbox_dir` says so."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest
import trio

from headstart_worker.cargo.commands import Phase, outputs, request_inputs, request_lines
from headstart_worker.messages import Input, WorkResponse
from headstart_worker.testing import FakeHost
from host import small_graph
from process.stopped_rustc import stopped_at_metadata
from process.support import PATIENCE, Fifo

pytestmark = pytest.mark.rustc


FILL: Final[dict[str, Callable[[Path, Path], object]]] = {
    "symlink": os.symlink,
    "hardlink": os.link,
    "copy": shutil.copy2,
}


@pytest.mark.parametrize("kind", list(FILL))
@pytest.mark.parametrize("failed", ["before", "after"])
async def test_I5_a_failure_for_want_of_inputs_that_the_host_took_away_is_nobodys(
    tmp_path: Path, failed: str, kind: str
) -> None:
    """The compiler has failed before they are there once more, or its failure is seen only after that."""
    root, directory = tmp_path / "execroot/small", tmp_path / "worker/small"
    directory.mkdir(parents=True)
    units = small_graph.write(root)
    unit = units["native"]

    def fill(paths: Iterable[str]) -> None:
        for old in ("native", "boxed"):
            shutil.rmtree(directory / old, ignore_errors=True)
        for path in paths:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            FILL[kind](root / path, directory / path)

    with Fifo(tmp_path / "told") as told, Fifo(tmp_path / "go") as go:
        rustc = tmp_path / "rustc"
        stopped_at_metadata(rustc, units.rustc, go=go.path, told=told.path, at_end=True)
        async with FakeHost(options=[f"--state-dir={tmp_path}/state"], cwd=directory) as host:

            async def half(phase: Phase, *, when_filled: int) -> WorkResponse:
                paths = request_inputs(unit, units, mode="worker", phase=phase, outroot="boxed")
                fill(paths)
                go.go(when_filled)
                lines = request_lines(
                    unit, units, mode="worker", phase=phase, outroot="boxed", rustc=str(rustc)
                )
                inputs = [Input(path, hashlib.sha256((root / path).read_bytes()).digest()) for path in paths]
                return await host.work(lines, inputs)

            with trio.fail_after(PATIENCE):
                early = await half("early", when_filled=0)
                assert early.exit_code == 0, early.output
                await told.pid()
                metadata = outputs(unit, "boxed").metadata
                assert metadata is not None
                (root / metadata).parent.mkdir(parents=True)
                shutil.move(directory / metadata, root / metadata)
                fill(())  # for another action, while the compiler has a native library to read yet
                go.go()
                failed_one = await told.pid()  # it is over, and what runs it is not
                if failed == "before":
                    go.go()
                assert (await host.work(("--", "/bin/true"))).exit_code == 0
                full = await half("full", when_filled=2 if failed == "before" else 3)
                assert await told.pid() == await told.pid() != failed_one
    assert full.exit_code == 0, full.output
