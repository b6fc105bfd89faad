"""The Rust rules with `--worker_sandboxing` on Bazel 4.2.3, which is another thing than multiplex sandboxing.

What Bazel does then: no request names a `sandbox_dir` (Bazel 6 is the first that does, with a flag of its own). Each process has a
sandbox, which is its directory, and one request at a time, though with ids that are not 0; Bazel starts as many processes as
requests are in flight, and fills the directory anew for each. So multiplexing is off, and the two halves of a library meet only where
the same process happens to get both. Where they do not, the full half compiles anew, and its bytes are the same.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from host import small_graph
from host.bazel_workspace import BazelWorkspace, bazel_workspace
from host.search_example import tree

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler on PATH"),
]

LIBRARIES = ["native", "middle"]
COMPILES = 4
MNEMONICS = ["Rust", "RustMetadata"]

BUILD = """\
load("@headstart//bazel/rust:defs.bzl", "rust_binary", "rust_library", "rust_proc_macro")

rust_proc_macro(name = "macros", srcs = ["macros/macros.rs"])

rust_library(
    name = "native",
    srcs = ["native/lib/libanswer.a", "native/native.rs", "native/text.txt"],
    crate_root = "native/native.rs",
    native_dirs = ["native/lib"],
)

rust_library(
    name = "middle",
    srcs = ["middle/middle.rs"],
    proc_macro_deps = [":macros"],
    deps = [":native"],
)

rust_binary(name = "main", srcs = ["main/main.rs"], deps = [":middle"])
"""


@pytest.fixture(scope="module")
def workspace() -> Iterator[BazelWorkspace]:
    with bazel_workspace() as scratch:
        small_graph.write(scratch.root)
        scratch.write("BUILD.bazel", BUILD)
        yield scratch


@frozen
class Made:
    """One clean build in mode worker.

    Attributes:
        hashes: of what was linked and of the metadata.
        workers: the processes' kinds, as Bazel says them.
        compiled, joined: what the compilers made, and what full halves took over, by name.
    """

    hashes: dict[str, str]
    workers: list[str]
    compiled: Counter[str]
    joined: Counter[str]


def built(workspace: BazelWorkspace, traces: Path, *flags: str) -> Made:
    traces.mkdir()
    workspace.bazel("clean")
    said = workspace.bazel(
        "build",
        "--@headstart//bazel/rust:mode=worker",
        "--output_groups=+interface",
        "--worker_verbose",
        *(f"--strategy={mnemonic}=worker" for mnemonic in MNEMONICS),
        *(f"--worker_extra_flag={mnemonic}=--trace={traces}/%p.json" for mnemonic in MNEMONICS),
        *flags,
        "//:main",
        *(f"//:{name}" for name in LIBRARIES),
    ).stderr
    root = (workspace.root / "bazel-bin").resolve()
    hashes = {
        path: digest
        for path, digest in tree(root).items()
        if re.search(r"-[0-9a-f]{16}(\.(rlib|rmeta|so))?$", path) and ".runfiles" not in path
    }
    (program,) = (root / path for path in hashes if path.startswith("main-"))
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == small_graph.ANSWER
    workspace.bazel("shutdown")  # the workers end, and their traces are complete
    compiled: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for trace in traces.iterdir():
        lines = [line.rstrip(",") for line in trace.read_text().splitlines() if line.startswith("{")]
        for event in map(json.loads, lines):
            if event["name"] in {"compile", "codegen"}:
                compiled[event["args"]["label"]] += 1
            elif event["name"] == "join":
                joined[event["args"]["label"]] += 1
    return Made(hashes, re.findall(r"Created new (.*worker) \(id", said), compiled, joined)


def test_I6_I13_a_sandbox_for_each_process_gives_the_same_bytes_and_the_same_program(
    workspace: BazelWorkspace, tmp_path: Path
) -> None:
    plain = built(workspace, tmp_path / "plain")
    boxed = built(workspace, tmp_path / "boxed", "--worker_sandboxing")

    assert len(plain.hashes) == COMPILES + len(LIBRARIES)
    assert boxed.hashes == plain.hashes
    assert set(plain.workers) == {"non-sandboxed Headstart multiplex-worker"}
    assert set(boxed.workers) == {"sandboxed Headstart multiplex-worker"}
    assert len(list((tmp_path / "plain").iterdir())) == 1
    assert len(list((tmp_path / "boxed").iterdir())) == len(boxed.workers) > 1
    # In one process every full half joins; else it joins, or it is compiled again.
    assert (plain.compiled.total(), plain.joined.total()) == (COMPILES, len(LIBRARIES))
    assert boxed.compiled.total() + boxed.joined.total() == COMPILES + len(LIBRARIES)
