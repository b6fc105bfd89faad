"""What holds under a sandbox directory, and what is said about sandboxes that this release does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart_worker.messages import Input, WorkRequest
from headstart_worker.testing import FakeHost
from process.support import sh

Worker = Callable[..., FakeHost]

RUSTC = ("rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "src/lib.rs")
SOURCE = "pub fn answer() -> u32 { 42 }\n"
REMAP = ("--subst=pwd=${pwd}",)


def sandbox(workspace: Path, name: str) -> str:
    """A directory as a host makes it for one request."""
    source = workspace / name / "src" / "lib.rs"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    return name


def refill(workspace: Path, name: str) -> None:
    """What a host does right after an answer: outputs are moved away, and the next action's files are put there."""
    for path in sorted((workspace / name).rglob("*"), reverse=True):
        if path.is_file():
            path.write_bytes(b"garbage of another action")


@pytest.mark.rustc
async def test_I8_after_the_early_answer_nothing_of_its_sandbox_is_needed(
    worker: Worker, workspace: Path
) -> None:
    command = ("--", *RUSTC, "--remap-path-prefix=${pwd}=.")
    inputs = (Input("src/lib.rs", b"digest"),)
    async with worker() as host:
        early = await host.work(
            (*REMAP, "--phase=early", "--early-output=libx.rmeta", *command),
            inputs,
            sandbox_dir=sandbox(workspace, "slot-1"),
        )
        assert early.exit_code == 0, early.output
        interface = (workspace / "slot-1/libx.rmeta").read_bytes()
        refill(workspace, "slot-1")
        full = await host.work(
            (*REMAP, "--phase=full", "--early-output=libx.rmeta", "--output=libx.rlib", *command),
            inputs,
            sandbox_dir=sandbox(workspace, "slot-2"),
        )
        assert full.exit_code == 0, full.output
        alone = await host.work(
            (*REMAP, "--output=libx.rmeta", "--output=libx.rlib", *command),
            inputs,
            sandbox_dir=sandbox(workspace, "slot-3"),
        )
        assert alone.exit_code == 0, alone.output
    assert (workspace / "slot-2/libx.rlib").read_bytes() == (workspace / "slot-3/libx.rlib").read_bytes()
    assert interface == (workspace / "slot-3/libx.rmeta").read_bytes()
    assert not (workspace / "slot-2/libx.rmeta").exists()
    assert (workspace / "slot-1/src/lib.rs").read_bytes() == b"garbage of another action"


async def test_I8_a_compiler_that_writes_in_place_is_joined_by_nobody_under_a_sandbox(
    worker: Worker, workspace: Path
) -> None:
    script = "echo run >> ../runs; echo interface > early; echo code > full"
    arguments = sh(script, "--early-output=early")
    async with worker() as host:
        early = await host.work(("--phase=early", *arguments), sandbox_dir=sandbox(workspace, "slot-1"))
        full = await host.work(
            ("--phase=full", "--output=full", *arguments), sandbox_dir=sandbox(workspace, "slot-2")
        )
    assert (early.exit_code, full.exit_code) == (0, 0), early.output + full.output
    assert (workspace / "slot-2/full").read_text() == "code\n"
    assert (workspace / "runs").read_text() == "run\nrun\n"


async def test_outputs_that_the_host_removed_before_it_asked_for_them_are_made_anew(
    worker: Worker, workspace: Path
) -> None:
    script = "echo run >> runs; echo code > full; echo interface > early"
    arguments = sh(script, "--early-output=early")
    async with worker() as host:
        early = await host.work(("--phase=early", *arguments))
        (workspace / "full").unlink()
        full = await host.work(("--phase=full", "--output=full", *arguments))
    assert (early.exit_code, full.exit_code) == (0, 0), early.output + full.output
    assert (workspace / "full").read_text() == "code\n"
    assert (workspace / "runs").read_text() == "run\nrun\n"


@pytest.mark.parametrize("mode", ["audit", "enforce", "strict"])
async def test_I11_a_sandbox_that_is_not_there_fails_the_job(
    worker: Worker, workspace: Path, mode: str
) -> None:
    async with worker() as host:
        response = await host.work((f"--sandbox={mode}", *sh("touch ran")))
    assert response.exit_code == 125
    assert f"--sandbox={mode} is not available" in response.output
    assert not (workspace / "ran").exists()


async def test_I11_a_weaker_sandbox_is_told_when_that_was_allowed(worker: Worker, workspace: Path) -> None:
    async with worker() as host:
        response = await host.work(("--sandbox=strict", "--sandbox-unavailable=warn", *sh("touch ran")))
    assert response.exit_code == 0
    assert "this job runs without a sandbox" in response.output
    assert (workspace / "ran").exists()


async def test_a_word_that_no_process_can_take_costs_its_request_only(worker: Worker) -> None:
    async with worker("json") as host:
        for wrong in (("--", "echo", "a\0b"), ("--output=a\0b", "--", "true"), ("--env=A\0=1", "--", "true")):
            await host.send(WorkRequest(7, wrong))
            refused = await host.next_response()
            assert (refused.request_id, refused.exit_code) == (7, 125)
            assert "holds a NUL" in refused.output
        assert (await host.work(sh("echo on"))).output == "on\n"
