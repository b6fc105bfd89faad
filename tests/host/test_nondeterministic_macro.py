"""A procedural macro that gives another result in each run: fine in one process, and refused where two runs have to agree.

The macro is an honest one of its kind: it writes out a HashMap in the order in which the map's random keys happen to
put it. Its result becomes part of a library's interface, and a program meets that library through another one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator

import pytest

from host.bazel_workspace import BazelWorkspace, bazel_workspace

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
]

CRATES = {
    "BUILD.bazel": """\
        load("@headstart//bazel/rust:defs.bzl", "rust_binary", "rust_library", "rust_proc_macro")

        rust_proc_macro(name = "shuffle", srcs = ["shuffle.rs"])

        rust_library(name = "shuffled", srcs = ["shuffled.rs"], proc_macro_deps = [":shuffle"])

        rust_library(name = "sorted", srcs = ["sorted.rs"])

        [
            [
                rust_library(name = "through_" + crate, srcs = [crate + "_through.rs"], deps = [crate]),
                rust_binary(name = "show_" + crate, srcs = ["show_%s.rs" % crate], deps = ["through_" + crate]),
            ]
            for crate in ["shuffled", "sorted"]
        ]
        """,
    # 64 keys have 64! orders: two runs that agree by chance will not be seen.
    "shuffle.rs": """\
        use proc_macro::TokenStream;
        #[proc_macro] pub fn shuffle(_: TokenStream) -> TokenStream {
            let map: std::collections::HashMap<u32, ()> = (0..64).map(|key| (key, ())).collect();
            format!("{:?}", map.keys().map(u32::to_string).collect::<Vec<_>>().join(" ")).parse().unwrap()
        }
        """,
    "shuffled.rs": "pub const ORDER: &str = shuffle::shuffle!();\n",
    "sorted.rs": 'pub const ORDER: &str = "0 1 2 3";\npub fn generic<T: Clone>(value: &T) -> T { value.clone() }\n',
    "shuffled_through.rs": "pub fn order() -> &'static str { shuffled::ORDER }\n",
    "sorted_through.rs": "pub fn order() -> &'static str { sorted::generic(&sorted::ORDER) }\n",
    "show_shuffled.rs": 'fn main() { println!("{}", through_shuffled::order()); }\n',
    "show_sorted.rs": 'fn main() { println!("{}", through_sorted::order()); }\n',
}

BUILDS = 10

REFUSAL = re.compile(
    r"^process-wrapper: \S+/libshuffled-[0-9a-f]+\.(rmeta|rlib), which dependents were built with, differs from what this "
    r"run of the compiler made; its output is not deterministic: pipeline it in one process \(worker mode\) or not at all$",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def workspace() -> Iterator[BazelWorkspace]:
    with bazel_workspace() as scratch:
        for path, text in CRATES.items():
            scratch.write(path, textwrap.dedent(text))
        yield scratch


def flags(mode: str) -> list[str]:
    strategies = [f"--strategy={mnemonic}=worker" for mnemonic in ["Rust", "RustMetadata"]]
    return [f"--@headstart//bazel/rust:mode={mode}", *strategies]


def shown(workspace: BazelWorkspace, program: str) -> str:
    path = next(
        path
        for path in (workspace.root / "bazel-bin").glob(f"{program}-*")
        if re.fullmatch(r"[a-z_]+-[0-9a-f]{16}", path.name)
    )
    return subprocess.run([path], capture_output=True, text=True, check=True).stdout


def test_I9_one_process_builds_what_no_two_runs_agree_about(workspace: BazelWorkspace) -> None:
    orders = set()
    for _ in range(BUILDS):
        workspace.bazel("clean")
        workspace.bazel("build", *flags("worker"), "//:show_shuffled")
        order = shown(workspace, "show_shuffled")
        assert sorted(map(int, order.split())) == list(range(64))
        orders.add(order)
    assert len(orders) == BUILDS, "the macro is as nondeterministic as this test needs it"


@pytest.mark.parametrize("mode", ["two_invocation", "hollow"])
def test_I9_two_runs_that_disagree_are_refused_at_the_crate_that_is_to_blame(
    workspace: BazelWorkspace, mode: str
) -> None:
    for _ in range(2):
        workspace.bazel("clean")
        failed = workspace.try_bazel("build", *flags(mode), "//:show_shuffled")
        assert failed.code == 1, failed.stderr
        assert "Compiling Rust crate shuffled (full) failed: (Exit 70)" in failed.stderr
        assert REFUSAL.search(failed.stderr), failed.stderr
        assert "E0460" not in failed.stderr, "the compiler's riddle does not come first"


@pytest.mark.parametrize("mode", ["two_invocation", "hollow"])
def test_I9_two_runs_that_agree_are_accepted(workspace: BazelWorkspace, mode: str) -> None:
    """The check of both modes looks at what dependents were built with, and nothing that differs without harm."""
    workspace.bazel("clean")
    workspace.bazel("build", *flags(mode), "//:show_sorted")
    assert shown(workspace, "show_sorted") == "0 1 2 3\n"


def test_a_macro_of_this_kind_needs_no_pipelining_to_be_built(workspace: BazelWorkspace) -> None:
    workspace.bazel("clean")
    workspace.bazel("build", *flags("none"), "//:show_shuffled")
    assert len(shown(workspace, "show_shuffled").split()) == 64
