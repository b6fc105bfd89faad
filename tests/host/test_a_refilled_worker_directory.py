"""Bazel 4's `--worker_sandboxing`: the worker's own directory is the sandbox, filled anew for each action, and no `sandbox_dir` says so."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from headstart_worker.cargo.commands import Phase, outputs, request_inputs, request_lines
from headstart_worker.messages import Input, WorkResponse
from headstart_worker.testing import FakeHost
from host import small_graph
from host.stopped_compiler import STOPPED_AT_METADATA, Stopping
from process.support import PATIENCE, Fifo

pytestmark = pytest.mark.rustc


async def test_I5_a_failure_for_want_of_inputs_that_the_host_took_away_is_nobodys(tmp_path: Path) -> None:
    root, directory = tmp_path / "execroot/small", tmp_path / "worker/small"
    directory.mkdir(parents=True)
    units = small_graph.write(root)
    unit = units["native"]

    def fill(paths: Iterable[str]) -> None:
        for old in ("native", "boxed"):
            shutil.rmtree(directory / old, ignore_errors=True)
        for path in paths:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).symlink_to(root / path)

    with Fifo(tmp_path / "told") as told, Fifo(tmp_path / "go") as go:
        rustc = Stopping(tmp_path / "rustc", told, go).program(units.rustc, STOPPED_AT_METADATA)
        async with FakeHost(options=[f"--state-dir={tmp_path}/state"], cwd=directory) as host:

            async def half(phase: Phase) -> WorkResponse:
                paths = request_inputs(unit, units, mode="worker", phase=phase, outroot="boxed")
                fill(paths)
                lines = request_lines(unit, units, mode="worker", phase=phase, outroot="boxed", rustc=rustc)
                inputs = [Input(path, hashlib.sha256((root / path).read_bytes()).digest()) for path in paths]
                return await host.work(lines, inputs)

            with trio.fail_after(PATIENCE):
                early = await half("early")
                assert early.exit_code == 0, early.output
                await told.pid()
                metadata = outputs(unit, "boxed").metadata
                assert metadata is not None
                (root / metadata).parent.mkdir(parents=True)
                shutil.move(directory / metadata, root / metadata)
                fill(())  # for another action, while the compiler has a native library to read yet
                go.go(2)
                assert (await host.work(("--", "/bin/true"))).exit_code == 0
                full = await half("full")
    assert full.exit_code == 0, full.output
