"""The worker protocol as a real Bazel speaks it: JSON, cancels in the middle of a job, compiles that fail early and late."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_worker import timeline
from host.bazel_workspace import HEADSTART, BazelWorkspace, bazel_workspace, copy_headstart
from process.support import PATIENCE
from survivors import await_exit

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
]

MNEMONICS = ["Rust", "RustMetadata"]

ROUNDS = 20


@pytest.fixture
def workspace() -> Iterator[BazelWorkspace]:
    with bazel_workspace() as scratch:
        yield scratch


def strategy(*mnemonics: str, trace: Path) -> list[str]:
    """Only the worker may run these, and it writes traces into a directory."""
    flags = [f"--strategy={mnemonic}=worker" for mnemonic in mnemonics]
    return flags + [f"--worker_extra_flag={mnemonic}=--trace={trace}/%p.json" for mnemonic in mnemonics]


def traced(workspace: BazelWorkspace, directory: Path) -> timeline.Build:
    """What the workers did; they are ended for it, so that their traces are complete."""
    workspace.bazel("shutdown")
    return timeline.read_build(path.read_text() for path in directory.iterdir())


# Bazel 4 reads BUILD files as Latin-1 and hands the bytes on: in the end they have to be what they were.
GREET = """\
load("@headstart//bazel/rust:defs.bzl", "rust_binary")

rust_binary(name = "greet", srcs = ["grüße.rs"], rustc_env = {"GREETING": "Grüße, 世界"})
"""


def hello_with(protocol: str, directory: Path) -> dict[str, bytes]:
    """Builds the example with rules that ask for a protocol; returns what was linked."""
    headstart, traces = directory / "headstart", directory / "traces"
    traces.mkdir(parents=True)
    copy_headstart(headstart)
    rules = headstart / "bazel" / "defs.bzl"
    default = '        protocol = "proto",\n'
    assert rules.read_text().count(default) == 1
    rules.write_text(rules.read_text().replace(default, default.replace('proto"', f'{protocol}"')))
    with bazel_workspace(headstart=headstart) as workspace:
        for crate in ["app", "base", "macros", "middle"]:
            shutil.copytree(HEADSTART / "examples" / "hello" / crate, workspace.root / crate)
        workspace.write("greet/BUILD.bazel", GREET)
        workspace.write("greet/grüße.rs", 'fn main() { println!("{}", env!("GREETING")); }\n')
        flags = strategy(*MNEMONICS, trace=traces)
        flags += ["--experimental_worker_allow_json_protocol", "--subcommands"]
        built = workspace.bazel("build", *flags, "//app")
        assert f"--worker-protocol={protocol}" in built.stderr
        assert workspace.bazel("run", *flags, "//app").stdout == "Hello, world! EARLY\n"
        assert workspace.bazel("run", *flags, "//greet").stdout == "Grüße, 世界\n"
        root = (workspace.root / "bazel-bin").resolve()
        made = {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.suffix in {".rlib", ".rmeta", ".so"}
        }
        trace = traced(workspace, traces)
        assert trace.joins == trace.pipelined == 2
        assert len(trace.compiles) == 5
        return made


def test_I6_json_builds_the_same_bytes_as_protobuf(tmp_path: Path) -> None:
    """Rules ask for protobuf unless their author chooses: here the default is another one."""
    found = {protocol: hello_with(protocol, tmp_path / protocol) for protocol in ("proto", "json")}
    assert len(found["proto"]) == 5  # two libraries with their metadata, and a macro
    assert found["json"] == found["proto"]


# Runs in both branches of dynamic execution at once; the worker gives its jobs a jobserver, which tells them apart.
# One branch arrives at the gate and stays there; the other waits for that, so that the cancel finds the job at work.
SCRIPT = """
read -r loser round <"$1"
where=sandboxed
[ -z "$CARGO_MAKEFLAGS" ] || where=worker
if [ "$where" = "$loser" ]; then
  exec 3<>"$3/never"
  echo arrived >"$3/begun"
  read -r _ <&3
fi
read -r _ <"$3/begun"
echo "$loser lost round $round" >"$2"
"""

RACE = """\
load("@headstart//bazel:defs.bzl", "WORKER_ATTRIBUTE", "compile_action")

def _race_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".out")
    compile_action(
        ctx,
        worker = ctx.attr._headstart_worker[DefaultInfo].files_to_run,
        command = ["/bin/sh", ctx.file.script, ctx.file.src, output, ctx.attr.gate],
        env = {"PATH": "/usr/bin:/bin"},
        inputs = [ctx.file.script, ctx.file.src],
        mnemonic = "Race",
        outputs = [output],
    )
    return [DefaultInfo(files = depset([output]))]

race = rule(
    implementation = _race_impl,
    attrs = dict(
        WORKER_ATTRIBUTE,
        gate = attr.string(),
        script = attr.label(allow_single_file = True),
        src = attr.label(allow_single_file = True),
    ),
)
"""

DYNAMIC = [
    "--internal_spawn_scheduler",
    "--strategy=Race=dynamic",
    "--dynamic_local_strategy=Race=worker",
    "--dynamic_remote_strategy=Race=sandboxed",
    "--experimental_local_execution_delay=0",
    "--experimental_worker_cancellation",
    "--local_cpu_resources=4",  # both branches are local in truth, and Bazel takes a core for each
]


def test_I2_the_loser_of_a_race_is_cancelled_in_the_middle_of_its_work(
    workspace: BazelWorkspace, tmp_path: Path
) -> None:
    """Dynamic execution, each branch losing in turn. A cancel without an answer would keep a worker for ever, and
    Bazel has four: the build would hang.
    """
    traces, gate = tmp_path / "traces", tmp_path / "gate"
    traces.mkdir()
    gate.mkdir()
    os.mkfifo(gate / "begun")
    os.mkfifo(gate / "never")
    workspace.write("race.bzl", RACE)
    workspace.write("race.sh", SCRIPT)
    workspace.write(
        "BUILD.bazel",
        'load(":race.bzl", "race")\n\n'
        f'race(name = "race", gate = "{gate}", script = "race.sh", src = "round.txt")\n',
    )
    flags = [*DYNAMIC, f"--worker_extra_flag=Race=--trace={traces}/%p.json"]
    losers = ["worker", "sandboxed"] * (ROUNDS // 2)
    for number, loser in enumerate(losers):
        workspace.write("round.txt", f"{loser} {number}\n")
        workspace.bazel("build", *flags, "//:race")
        # Bazel does not wait for the loser's end.
        assert await_exit(workspace.compilers(), PATIENCE), f"the {loser} branch of round {number} is alive"
        output = (workspace.root / "bazel-bin" / "race.out").read_text()
        assert output == f"{loser} lost round {number}\n"
    assert len(list(traces.iterdir())) <= 4, "a cancelled worker serves again"
    codes = [compile_.exit_code for compile_ in traced(workspace, traces).compiles]
    assert sum(code != 0 for code in codes) == losers.count("worker"), codes
    assert sum(code == 0 for code in codes) == losers.count("sandboxed"), codes


FAILING = """\
load("@headstart//bazel/rust:defs.bzl", "rust_library")

rust_library(name = "early", srcs = ["early.rs"])

rust_library(name = "above_early", srcs = ["above_early.rs"], deps = ["early"])

rust_library(name = "late", srcs = ["late.rs"])

rust_library(name = "above_late", srcs = ["above_late.rs"], deps = ["late"])

rust_library(name = "fine", srcs = ["fine.rs"])
"""


@pytest.fixture
def failing(workspace: BazelWorkspace) -> BazelWorkspace:
    workspace.write("BUILD.bazel", FAILING)
    workspace.write("early.rs", "pub fn early() -> u32 { true }\n")
    workspace.write("above_early.rs", "pub fn above() -> u32 { early::early() }\n")
    workspace.write(
        "late.rs",
        '#[link(name = "nowhere", kind = "static")]\nunsafe extern "C" {}\npub fn late() -> u32 { 1 }\n',
    )
    workspace.write("above_late.rs", "pub fn above() -> u32 { late::late() }\n")
    workspace.write("fine.rs", "pub fn fine() {}\n")
    return workspace


def built(workspace: BazelWorkspace) -> set[str]:
    """The libraries and metadata that exist, without their hashes."""
    root = (workspace.root / "bazel-bin").resolve()
    return {
        path.name.rpartition("-")[0] + path.suffix
        for path in root.rglob("*")
        if path.suffix in {".rlib", ".rmeta"}
    }


def test_a_crate_that_fails_early_is_compiled_once(failing: BazelWorkspace, tmp_path: Path) -> None:
    """The early half gets the failure. Bazel does not ask for the full one then, whose input the early output is."""
    flags = [*strategy(*MNEMONICS, trace=tmp_path), "--keep_going", "--output_groups=+interface"]
    failed = failing.try_bazel("build", *flags, "//:early", "//:above_early", "//:fine")
    assert failed.code == 1
    assert failed.stderr.count("error[E0308]: mismatched types") == 1
    assert failed.stderr.count("early.rs:1:25") == 1
    assert "Compiling Rust crate early (early) failed: (Exit 1)" in failed.stderr
    assert built(failing) == {"libfine.rlib", "libfine.rmeta"}
    compiles = traced(failing, tmp_path).compiles
    assert sorted((compile_.label[:6], compile_.exit_code) for compile_ in compiles) == [
        ("libear", 1),
        ("libfin", 0),
    ]


def test_a_crate_that_fails_late_has_its_dependents_compiled(failing: BazelWorkspace, tmp_path: Path) -> None:
    """rustc looks for a static library when the metadata is written already and was handed on."""
    flags = [*strategy(*MNEMONICS, trace=tmp_path), "--keep_going", "--output_groups=+interface"]
    failed = failing.try_bazel("build", *flags, "//:late", "//:above_late")
    assert failed.code == 1
    assert "Compiling Rust crate late (full) failed: (Exit 1)" in failed.stderr
    assert failed.stderr.count("could not find native static library `nowhere`") == 1
    assert built(failing) == {"liblate.rmeta", "libabove_late.rmeta", "libabove_late.rlib"}
    compiles = traced(failing, tmp_path).compiles
    assert sorted((compile_.exit_code, compile_.early is not None) for compile_ in compiles) == [
        (0, True),
        (1, True),
    ]
