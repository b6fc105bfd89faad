"""The embedded host's build, and rustc's dialect under the worker, with real crates."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from headstart_worker.cargo.commands import MODES, Mode, outputs, phases
from headstart_worker.cargo.units import Extern, Unit, Units
from headstart_worker.messages import Input
from headstart_worker.testing import BuildReport, FakeHost, build
from process.support import PATIENCE, entries, sh

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


def bytes_of(workspace: Path, units: Units, mode: Mode = "none") -> dict[str, bytes]:
    """Every output but the dep-info: dependents of a library name its metadata in some modes and its code in others."""
    made = [outputs(unit, "out", mode) for unit in units]
    paths = [path for each in made for path in each.all if path != each.dep_info]
    return {path: (workspace / path).read_bytes() for path in paths}


async def built(
    worker: Worker, workspace: Path, units: Units, mode: Mode, *options: str, up_to_date: tuple[str, ...] = ()
) -> BuildReport:
    async with worker("proto", "--jobs=2", *options) as host:
        return await build(
            units,
            workspace=workspace,
            outroot="out",
            mode=mode,
            jobs=2,
            host=host,
            up_to_date=up_to_date,
        )


def traced(trace: Path) -> tuple[int, int]:
    """How many jobs the worker had, and how many requests joined one."""
    lines = trace.read_text().splitlines()
    events = [json.loads(line.rstrip(",")) for line in lines if line.startswith("{")]
    jobs = {event["args"]["job"] for event in events if "job" in event.get("args", {})}
    return len(jobs), sum(event["name"] == "join" for event in events)


@pytest.mark.parametrize(
    ("mode", "counted"),
    [("none", (4, 4, 0)), ("two_invocation", (6, 6, 0)), ("hollow", (6, 6, 0)), ("worker", (6, 4, 2))],
)
async def test_every_mode_builds_what_works(
    worker: Worker, workspace: Path, rustc: str, mode: Mode, counted: tuple[int, int, int]
) -> None:
    units = units_in(workspace, rustc)
    trace = workspace.parent / "trace.json"
    report = await built(worker, workspace, units, mode, f"--trace={trace}")
    assert report.failures == ()
    assert (report.requests, *traced(trace)) == counted
    assert set(report.units) == set(SOURCES)
    program = workspace / outputs(units["main"], "out", mode).code
    assert (await trio.run_process([str(program)], capture_stdout=True)).stdout == b"10\n"


@pytest.mark.parametrize("mode", ["two_invocation", "hollow", "worker"])
async def test_libraries_start_at_the_early_output_and_what_links_at_the_code(
    worker: Worker, workspace: Path, rustc: str, mode: Mode
) -> None:
    made = (await built(worker, workspace, units_in(workspace, rustc), mode)).units
    low, high = made["low"], made["high"]
    assert low.early is not None
    assert high.early is not None
    assert low.started < low.early <= high.ready <= high.started < high.early <= high.ended
    assert low.early < low.ended
    assert made["main"].early is made["macros"].early is None
    assert made["main"].started >= high.ended


async def test_I6_the_same_bytes_in_every_mode_but_hollow(
    worker: Worker, workspace: Path, rustc: str
) -> None:
    units = units_in(workspace, rustc)
    found = {}
    for mode in MODES:
        assert (await built(worker, workspace, units, mode)).failures == ()
        found[mode] = bytes_of(workspace, units, mode)
        await trio.to_thread.run_sync(shutil.rmtree, workspace / "out")
    assert len(found["none"]) == 4 + 2
    assert found["none"] == found["two_invocation"] == found["worker"]
    low = outputs(units["low"], "out").code
    assert found["hollow"][low] != found["none"][low]


async def test_I6_hollow_has_the_same_bytes_each_time(worker: Worker, workspace: Path, rustc: str) -> None:
    units = units_in(workspace, rustc)
    found = []
    for _ in range(2):
        assert (await built(worker, workspace, units, "hollow")).failures == ()
        found.append(bytes_of(workspace, units, "hollow"))
        await trio.to_thread.run_sync(shutil.rmtree, workspace / "out")
    assert found[0] == found[1]
    made = outputs(units["low"], "out", "hollow")
    # A library without code: the one that others are compiled against, and only that one.
    assert made.metadata is not None
    assert 0 < len(found[0][made.metadata]) < len(found[0][made.code])


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_up_to_date_is_not_asked_for(
    worker: Worker, workspace: Path, rustc: str, mode: Mode
) -> None:
    units = units_in(workspace, rustc)
    await built(worker, workspace, units, mode)
    again = await built(worker, workspace, units, mode, up_to_date=("macros", "low"))
    assert again.failures == ()
    assert set(again.units) == {"high", "main"}
    assert again.requests == (2 if mode == "none" else 3)


async def test_a_failure_is_reported_once_and_stops_its_dependents(
    worker: Worker, workspace: Path, rustc: str
) -> None:
    units = units_in(workspace, rustc, {**SOURCES, "low": 'pub fn add() -> u32 { "no" }\n'})
    for mode in MODES:
        phase = phases(units["low"], mode)[0]
        report = await built(worker, workspace, units, mode)
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
        with trio.fail_after(PATIENCE):
            while len(entries(state / own)) > 2 + 2:  # noqa: ASYNC110 - nobody is told when a directory is gone
                await trio.sleep(0.01)
