"""`--@headstart//bazel:check` under a real Bazel: what a build declares is no finding, what it does not declare is told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from headstart_wrapper.errors import MachineError
from headstart_wrapper.job import Sandbox
from headstart_wrapper.sandbox import policy, probe, tracer
from host.bazel_workspace import BazelWorkspace, bazel_workspace

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
    pytest.mark.skipif(bool(tracer.can_trace()), reason=tracer.can_trace()),
]

FILES = {
    "BUILD.bazel": """\
load("@headstart//bazel/rust:defs.bzl", "rust_binary", "rust_library", "rust_proc_macro")

rust_proc_macro(name = "macros", srcs = ["macros.rs"])

rust_library(
    name = "base",
    srcs = ["base.rs", "included.txt", "data.txt"],
    proc_macro_deps = [":macros"],
)

rust_library(
    name = "forgetful",
    srcs = ["base.rs", "included.txt"],
    proc_macro_deps = [":macros"],
)

rust_binary(name = "app", srcs = ["app.rs"], deps = [":base"])
""",
    "macros.rs": """\
use proc_macro::TokenStream;
#[proc_macro] pub fn length(_: TokenStream) -> TokenStream {
    std::fs::read_to_string("data.txt").unwrap().len().to_string().parse().unwrap()
}
""",
    "base.rs": 'pub const N: usize = macros::length!() + include_str!("included.txt").len();\n',
    "app.rs": 'fn main() { println!("{}", base::N); }\n',
    "data.txt": "data",
    "included.txt": "included",
}

TELLS = "was read and is not declared"


@pytest.fixture(scope="module")
def workspace() -> Iterator[BazelWorkspace]:
    with bazel_workspace() as made:
        for path, text in FILES.items():
            made.write(path, text)
        yield made


def build(workspace: BazelWorkspace, check: str, strategy: str, target: str) -> str:
    """What Bazel says of a build from nothing."""
    workspace.bazel("clean")
    strategies = [f"--strategy={mnemonic}={strategy}" for mnemonic in ("Rust", "RustMetadata")]
    return workspace.bazel("build", f"--@headstart//bazel:check={check}", *strategies, target).stderr


@pytest.mark.parametrize("strategy", ["worker", "sandboxed"])
@pytest.mark.parametrize("check", ["audit", "trace"])
def test_a_build_that_declares_everything_is_told_nothing(
    workspace: BazelWorkspace, check: str, strategy: str
) -> None:
    said = build(workspace, check, strategy, "//:app")
    assert TELLS not in said, said
    assert "was written and is not declared" not in said, said


def test_what_a_macro_reads_undeclared_is_told_by_a_trace_alone(workspace: BazelWorkspace) -> None:
    assert TELLS not in build(workspace, "audit", "worker", "//:forgetful")
    assert f"data.txt {TELLS}" in build(workspace, "trace", "worker", "//:forgetful")


def test_a_check_changes_no_byte(workspace: BazelWorkspace) -> None:
    made = []
    for check in ("off", "trace"):
        build(workspace, check, "worker", "//:app")
        programs = [path for path in (workspace.root / "bazel-bin").glob("app-*") if not path.suffix]
        made.append([path.read_bytes() for path in programs])
    assert len(made[0]) == 1
    assert made[0] == made[1]


def test_another_value_is_refused(workspace: BazelWorkspace) -> None:
    failed = workspace.try_bazel("build", "--@headstart//bazel:check=some", "//:app")
    assert failed.code == 1
    assert '"some"; it can be audit, enforce, off, strict, trace.' in failed.stderr


@pytest.mark.parametrize("check", ["enforce", "strict"])
@pytest.mark.parametrize("strategy", ["worker", "sandboxed"])
def test_a_build_is_held_to_what_it_declares(workspace: BazelWorkspace, check: str, strategy: str) -> None:
    asked = Sandbox(check)
    try:
        policy.decide(asked, probe.available(asked), unavailable="fail")
    except MachineError as error:
        pytest.skip(str(error))
    build(workspace, check, strategy, "//:app")
    workspace.bazel("clean")
    strategies = [f"--strategy={mnemonic}={strategy}" for mnemonic in ("Rust", "RustMetadata")]
    failed = workspace.try_bazel("build", f"--@headstart//bazel:check={check}", *strategies, "//:forgetful")
    assert failed.code == 1
    if strategy == "worker":  # in a sandbox of Bazel's it is not there to be refused
        assert re.search(r"the sandbox kept the job of \S*libforgetful\S* from data\.txt \(", failed.stderr)
