"""The embedded host's build, and rustc's dialect under the worker, with real crates."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from headstart_worker.cargo.commands import Mode, outputs
from headstart_worker.cargo.units import Extern, Unit, Units
from headstart_worker.messages import Input
from headstart_worker.testing import BuildReport, FakeHost, build
from process.support import entries, sh

Worker = Callable[..., FakeHost]

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
]

SOURCES = {
    "macros": 'use proc_macro::TokenStream;\n#[proc_macro] pub fn seven(_: TokenStream) -> TokenStream { "7".parse().unwrap() }\n',
    "low": "/// Adds.\npub fn add(a: u32, b: u32) -> u32 { let unused = 1; a + b }\n",
    "high": "pub fn ten() -> u32 { low::add(3, macros::seven!()) }\n",
    "main": 'fn main() { println!("{}", high::ten()) }\n',
}
NEEDS = {"macros": (), "low": (), "high": ("low", "macros"), "main": ("high",)}
KINDS = {"macros": "proc-macro", "main": "bin"}


@pytest.fixture(scope="session")
def rustc() -> str:
    found = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True)
    return f"{found.stdout.strip()}/bin/rustc"


def units_in(workspace: Path, rustc: str, sources: dict[str, str] = SOURCES) -> Units:
    made = []
    for name, source in sources.items():
        directory = f"crates/{name}"
        (workspace / directory).mkdir(parents=True, exist_ok=True)
        root = f"{directory}/{name}.rs"
        (workspace / root).write_text(source)
        externs = [Extern(need, need) for need in NEEDS[name]]
        if name == "macros":
            externs.append(Extern("proc_macro"))
        made.append(
            Unit(
                name=name,
                package=name,
                version="0.1.0",
                directory=directory,
                crate_name=name,
                kind=KINDS.get(name, "lib"),
                edition="2021",
                root=root,
                args=("-C", "opt-level=1"),
                metadata=f"meta-{name}",
                extra_filename="-0",
                env={"CARGO_MANIFEST_DIR": f"${{pwd}}/{directory}"},
                inputs=(root,),
                externs=tuple(externs),
                native=(),
            )
        )
    return Units("rustc", rustc, tuple(made))


def bytes_of(workspace: Path, units: Units) -> dict[str, bytes]:
    found = {}
    for unit in units:
        for path in outputs(unit, "out").all:
            if (workspace / path).exists():
                found[path] = (workspace / path).read_bytes()
    return found


async def built(worker: Worker, workspace: Path, units: Units, mode: Mode) -> BuildReport:
    async with worker("proto", "--jobs=2") as host:
        return await build(units, workspace=workspace, outroot="out", mode=mode, jobs=2, host=host)


async def test_both_modes_build_and_the_same_bytes(worker: Worker, workspace: Path, rustc: str) -> None:
    units = units_in(workspace, rustc)
    program = workspace / outputs(units["main"], "out").code
    plain = await built(worker, workspace, units, "none")
    assert plain.failures == ()
    assert plain.requests == 4
    assert (await trio.run_process([str(program)], capture_stdout=True)).stdout == b"10\n"
    first = bytes_of(workspace, units)
    await trio.to_thread.run_sync(shutil.rmtree, workspace / "out")
    pipelined = await built(worker, workspace, units, "worker")
    assert pipelined.failures == ()
    assert pipelined.requests == 6
    assert set(pipelined.units) == set(SOURCES)
    high = pipelined.units["high"]
    assert high.early is not None
    assert 0 <= high.ready <= high.started < high.early <= high.ended <= pipelined.seconds
    assert pipelined.units["main"].early is None
    # it was linked against code, so after that was made
    assert pipelined.units["main"].started >= high.ended
    second = bytes_of(workspace, units)
    # Dependents of a library name its metadata in the one mode and its code in the other: that may be in dep-info.
    assert {path for path in first if first[path] != second[path]} <= {
        path for path in first if path.endswith(".d")
    }


async def test_a_failure_is_reported_once_and_stops_its_dependents(
    worker: Worker, workspace: Path, rustc: str
) -> None:
    units = units_in(workspace, rustc, {**SOURCES, "low": 'pub fn add() -> u32 { "no" }\n'})
    for mode, phase in (("none", None), ("worker", "early")):
        report = await built(worker, workspace, units, mode)  # type: ignore[arg-type]
        (failure,) = report.failures
        assert (failure.unit, failure.phase, failure.exit_code) == ("low", phase, 1)
        assert "mismatched types" in failure.output
        assert set(report.units) == {"macros"}


def rustc_request(rustc: str, phase: str, *, source: str = "lib.rs") -> tuple[str, ...]:
    full = ("--output=out/liblib.rlib", "--output=out/lib.d") if phase == "full" else ()
    command = (
        *(rustc, "--crate-name=lib", "--crate-type=lib", "--edition=2021", source),
        "--emit=dep-info=out/lib.d,metadata=out/meta/liblib.rmeta,link=out/liblib.rlib",
    )
    return (f"--phase={phase}", "--early-output=out/meta/liblib.rmeta", *full, "--", *command)


async def test_I9_rustc_answers_early_and_publishes_each_half_with_its_request(
    worker: Worker, workspace: Path, rustc: str
) -> None:
    (workspace / "lib.rs").write_text("pub fn f() { let warned = 1; }\n")
    inputs = (Input("lib.rs", b"1"),)
    async with worker() as host:
        early = await host.work(rustc_request(rustc, "early"), inputs)
        assert early.exit_code == 0
        assert "unused variable" in early.output
        assert "$message_type" not in early.output
        metadata = (workspace / "out/meta/liblib.rmeta").read_bytes()
        assert metadata
        assert not (workspace / "out/liblib.rlib").exists()
        full = await host.work(rustc_request(rustc, "full"), (*inputs, Input("out/meta/liblib.rmeta", b"m")))
        assert full.exit_code == 0
        # what rustc says only at its end; nothing is told twice
        assert full.output.strip() == "warning: 1 warning emitted"
        assert (workspace / "out/liblib.rlib").stat().st_size > 0
        # no private path in it; rustc names the library without its directory
        assert (workspace / "out/lib.d").read_text() == (
            "out/lib.d: lib.rs\n\nliblib.rlib: lib.rs\n\nout/meta/liblib.rmeta: lib.rs\n\nlib.rs:\n"
        )
        assert (workspace / "out/meta/liblib.rmeta").read_bytes() == metadata


async def test_a_broken_crate_is_compiled_once_for_both_halves(
    worker: Worker, workspace: Path, tmp_path: Path, rustc: str
) -> None:
    (workspace / "lib.rs").write_text('pub fn f() -> u32 { "no" }\n')
    counting = tmp_path / "rustc"
    counting.write_text(f'#!/bin/sh\necho run >> {tmp_path}/runs\nexec {rustc} "$@"\n')
    counting.chmod(0o755)
    async with worker() as host:
        answers = [await host.work(rustc_request(str(counting), phase)) for phase in ("early", "full")]
        assert [answer.exit_code for answer in answers] == [1, 1]
        assert answers[0].output == answers[1].output
        assert "mismatched types" in answers[0].output
        assert (tmp_path / "runs").read_text() == "run\n"


async def test_I2_a_cancelled_rustc_leaves_no_output_and_no_private_one(
    worker: Worker, workspace: Path, state: Path, rustc: str
) -> None:
    (workspace / "lib.rs").write_text("pub fn f() {}\n")
    async with worker("proto", "--jobs=1") as host:
        for number in range(1, 9):
            work = host.new_id()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(host.work, rustc_request(rustc, "full"), request_id=work))
                # From before its start to about its end.
                await trio.sleep(number * 0.01)
                await host.cancel(work)
            left = [path for path in ("out/liblib.rlib", "out/lib.d") if (workspace / path).exists()]
            assert len(left) in {0, 2}
            if host.responses[-1].was_cancelled:
                assert not left
            shutil.rmtree(workspace / "out", ignore_errors=True)
        assert (await host.work(sh("true"))).exit_code == 0
        (own,) = entries(state)
        assert len(entries(state / own)) <= 2 + 2
