"""What holds under a sandbox directory, and for requests that are held to their declaration."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart_worker.messages import Input, WorkRequest
from headstart_worker.testing import FakeHost
from headstart_wrapper.job import Sandbox
from headstart_wrapper.sandbox import tracer
from process.support import HELD_MODES, sh

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


held = pytest.mark.parametrize("mode", HELD_MODES)
TEXT = (
    *("rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link"),
    *("src/lib.rs", "--remap-path-prefix=${pwd}=."),
)


@held
@pytest.mark.rustc
@pytest.mark.parametrize("slots", [("", ""), ("slot-1", "slot-2")], ids=["unsandboxed", "sandboxed"])
async def test_I6_I11_both_halves_of_a_job_that_is_held_are_one_run_with_the_same_bytes(
    worker: Worker, workspace: Path, mode: Sandbox, slots: tuple[str, str]
) -> None:
    for place in {*slots, "bare"}:
        (workspace / place / "src").mkdir(parents=True)
        (workspace / place / "src/lib.rs").write_text('pub const TEXT: &str = include_str!("text");')
        (workspace / place / "src/text").write_text("text")
    inputs = (Input("src/lib.rs", b"digest"), Input("src/text", b"digest"))
    options = (f"--sandbox={mode}", *REMAP, "--early-output=libx.rmeta")
    async with worker() as host:
        early = await host.work((*options, "--phase=early", "--", *TEXT), inputs, sandbox_dir=slots[0])
        assert (early.exit_code, early.output) == (0, "")
        if slots[0]:
            refill(workspace, slots[0])
        full = await host.work(
            (*options, "--phase=full", "--output=libx.rlib", "--", *TEXT), inputs, sandbox_dir=slots[1]
        )
        assert (full.exit_code, full.output) == (0, "")
        bare = await host.work(
            ("--sandbox=off", *REMAP, "--output=libx.rmeta", "--output=libx.rlib", "--", *TEXT),
            inputs,
            sandbox_dir="bare",
        )
        assert bare.exit_code == 0, bare.output
    assert (workspace / slots[1] / "libx.rlib").read_bytes() == (workspace / "bare/libx.rlib").read_bytes()


@held
@pytest.mark.rustc
@pytest.mark.parametrize("slot", ["", "slot"], ids=["unsandboxed", "sandboxed"])
async def test_I11_what_a_request_does_not_declare_it_cannot_read(
    worker: Worker, workspace: Path, mode: Sandbox, slot: str
) -> None:
    (workspace / slot / "src").mkdir(parents=True)
    (workspace / slot / "src/lib.rs").write_text('pub const TEXT: &str = include_str!("text");')
    (workspace / slot / "src/text").write_text("text")
    options = (f"--sandbox={mode}", *REMAP, "--early-output=libx.rmeta", "--phase=early")
    async with worker() as host:
        refused = await host.work(
            (*options, "--", *TEXT), (Input("src/lib.rs", b"digest"),), sandbox_dir=slot
        )
        assert refused.exit_code == 1
        if not slot:  # in a private root it is not even there
            assert "process-wrapper: the sandbox kept the job of libx.rmeta from src/text (" in refused.output
        assert "src/text" in refused.output
        assert (await host.work(sh("echo on"))).output == "on\n"
    assert not (workspace / slot / "libx.rmeta").exists()


@pytest.mark.skipif(bool(tracer.can_trace()), reason="strace injects the fault")
async def test_I11_a_worker_without_landlock_refuses_or_warns_and_goes_on(
    workspace: Path, state: Path
) -> None:
    inject = ("--trace=landlock_create_ruleset", "--inject=landlock_create_ruleset:error=ENOSYS")
    command = ("strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-m", "headstart_worker")
    async with FakeHost(options=(f"--state-dir={state}",), cwd=workspace, command=command) as host:
        refused = await host.work(("--sandbox=enforce", *sh("touch ran")))
        assert refused.exit_code == 125
        assert "--sandbox=enforce cannot be had on this machine: Landlock" in refused.output
        assert not (workspace / "ran").exists()
        warned = await host.work(("--sandbox=enforce", "--sandbox-unavailable=warn", *sh("touch ran")))
        assert warned.exit_code == 0
        assert warned.output.endswith("this job runs with audit\n")
        assert (workspace / "ran").exists()
    options = (f"--state-dir={state}", "--sandbox=strict")
    async with FakeHost(options=options, cwd=workspace, command=command) as host:
        refused = await host.work(sh("touch ran again"))
        allowed = await host.work(("--sandbox=off", *sh("echo on")))
        ended = await host.finish()
    assert (refused.exit_code, allowed.output) == (125, "on\n")
    # It was tried when the worker was started, and its log says so.
    assert ended.stderr == refused.output


async def test_I11_a_job_that_is_held_to_more_joins_none_that_was_held_to_less(
    worker: Worker, workspace: Path
) -> None:
    arguments = sh("echo run >> runs; echo interface > early; echo code > full", "--early-output=early")
    async with worker() as host:
        early = await host.work(("--sandbox=off", "--phase=early", *arguments))
        full = await host.work(("--sandbox=audit", "--phase=full", "--output=full", *arguments))
    assert (early.exit_code, full.exit_code) == (0, 0), early.output + full.output
    assert (workspace / "runs").read_text() == "run\nrun\n"


async def test_an_audit_that_nobody_asked_for_changes_no_answer_and_is_in_the_statistics(
    worker: Worker, workspace: Path
) -> None:
    (workspace / "in").write_text("in")
    (workspace / "undeclared").write_text("more")
    script = "cat in undeclared > out; echo 'out: in undeclared' > out.d"
    arguments = sh(script, "--output=out", "--output=out.d", "--stats=stats.json")
    async with worker() as host:
        answer = await host.work(arguments, (Input("in", b"digest"),))
        assert (answer.exit_code, answer.output) == (0, "")
        told = json.loads((workspace / "stats.json").read_text())
        assert (told["sandbox"], told["sandbox_assurance"]) == ("audit", "audit")
        (found,) = told["sandbox_findings"]
        assert found.startswith("undeclared was read and is not declared (out.d names it)")
        asked = await host.work(("--sandbox=audit", *arguments), (Input("in", b"digest"),))
        assert (asked.exit_code, asked.output) == (0, f"process-wrapper: {found}\n")
        failed = await host.work(
            ("--sandbox=audit", "--sandbox-audit=error", *arguments), (Input("in", b"digest"),)
        )
        assert failed.exit_code == 125
        assert "the audit found 1 thing" in failed.output
        declared = (Input("in", b"digest"), Input("undeclared", b"digest"))
        assert (await host.work(("--sandbox-audit=error", *arguments), declared)).exit_code == 0


async def test_a_word_that_no_process_can_take_costs_its_request_only(worker: Worker) -> None:
    async with worker("json") as host:
        for wrong in (("--", "echo", "a\0b"), ("--output=a\0b", "--", "true"), ("--env=A\0=1", "--", "true")):
            await host.send(WorkRequest(7, wrong))
            refused = await host.next_response()
            assert (refused.request_id, refused.exit_code) == (7, 125)
            assert "holds a NUL" in refused.output
        assert (await host.work(sh("echo on"))).output == "on\n"
