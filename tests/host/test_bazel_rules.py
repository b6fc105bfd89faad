"""The Starlark rules under a real Bazel: every mode builds, both phases reach one process, and any rule can use the worker."""

import hashlib
import json
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.bazel_workspace import HEADSTART, BazelWorkspace, bazel_workspace, copy_headstart

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
]

MODES = ["none", "two_invocation", "hollow", "worker"]

DYNAMIC = [
    "--internal_spawn_scheduler",
    "--dynamic_local_strategy=worker",
    "--dynamic_remote_strategy=sandboxed",
    "--experimental_local_execution_delay=0",
    "--experimental_worker_cancellation",
]


def strategy(name: str, *flags: str) -> list[str]:
    return [f"--strategy={mnemonic}={name}" for mnemonic in ["Rust", "RustMetadata"]] + list(flags)


# Nothing but the worker may run a compile: a build that cannot use it fails.
ONLY_WORKER = strategy("worker")

STRATEGIES = {
    "worker": ONLY_WORKER,
    # Bazel 4 then has a process for each slot: no two halves meet.
    "sandboxed worker": [*ONLY_WORKER, "--worker_sandboxing"],
    "sandboxed": strategy("sandboxed", "--nosandbox_debug"),
    "local": strategy("local"),
    "dynamic": strategy("dynamic", *DYNAMIC),  # the loser of each race is cancelled
}

CRATES = {
    "base/BUILD.bazel": """\
        load("@headstart//bazel/rust:defs.bzl", "rust_library", "rust_test")

        rust_library(
            name = "base-crate",
            srcs = glob(["src/**"]),
            visibility = ["//visibility:public"],
        )

        rust_test(
            name = "base_test",
            size = "small",
            srcs = glob(["src/**"]),
            data = ["expected.txt"],
        )
        """,
    "base/expected.txt": "base",
    "base/src/lib.rs": """\
        pub mod text;
        pub fn twice<T: Clone>(value: &T) -> (T, T) { (value.clone(), value.clone()) }
        #[test] fn has_its_data() {
            assert_eq!(std::fs::read_to_string("base/expected.txt").unwrap(), "base");
        }
        """,
    "base/src/text.rs": 'pub fn text() -> &\'static str { include_str!("text.txt") }\n',
    "base/src/text.txt": "included",
    "macros/BUILD.bazel": """\
        load("@headstart//bazel/rust:defs.bzl", "rust_proc_macro")

        rust_proc_macro(
            name = "macros",
            srcs = ["lib.rs"],
            deps = ["//base:base-crate"],
            visibility = ["//visibility:public"],
        )
        """,
    "macros/lib.rs": """\
        use proc_macro::TokenStream;
        #[proc_macro] pub fn answer(_: TokenStream) -> TokenStream {
            let (a, b) = base_crate::twice(&21);
            format!("{}", a + b).parse().unwrap()
        }
        """,
    "middle/BUILD.bazel": """\
        load("@headstart//bazel/rust:defs.bzl", "rust_library")

        rust_library(
            name = "middle",
            srcs = ["lib.rs"],
            aliases = {"//base:base-crate": "bottom"},
            proc_macro_deps = ["//macros"],
            rustc_env = {"GREETING": "good morning"},
            rustc_flags = ["--cfg=loud"],
            deps = ["//base:base-crate"],
            visibility = ["//visibility:public"],
        )
        """,
    "middle/lib.rs": """\
        pub fn middle() -> String {
            let end = if cfg!(loud) { "!" } else { "" };
            format!("{} {} {}{end}", env!("GREETING"), bottom::text::text(), macros::answer!())
        }
        """,
    # A crate of the same name as one of its dependencies: the labels set them apart.
    "other/BUILD.bazel": """\
        load("@headstart//bazel/rust:defs.bzl", "rust_library")

        rust_library(
            name = "middle",
            srcs = ["lib.rs"],
            aliases = {"//middle": "inner"},
            deps = ["//middle"],
            visibility = ["//visibility:public"],
        )
        """,
    "other/lib.rs": "pub fn outer() -> String { inner::middle() }\n",
    "app/BUILD.bazel": """\
        load("@headstart//bazel/rust:defs.bzl", "rust_binary")

        rust_binary(
            name = "app",
            srcs = ["main.rs"],
            aliases = {"//other:middle": "outermost"},
            deps = ["//other:middle"],
        )
        """,
    "app/main.rs": 'fn main() { println!("{}", outermost::outer()); }\n',
}


@pytest.fixture(scope="module")
def workspace() -> Iterator[BazelWorkspace]:
    with bazel_workspace() as scratch:
        for path, text in CRATES.items():
            scratch.write(path, textwrap.dedent(text))
        yield scratch


def mode_flag(mode: str) -> str:
    return f"--@headstart//bazel/rust:mode={mode}"


def actions(workspace: BazelWorkspace, query: str, *flags: str) -> list[dict[str, Any]]:
    """What aquery finds; an action's `arguments` hold the lines of its params file in place of its name."""
    answer = workspace.bazel("aquery", *flags, "--output=jsonproto", query)
    found = json.loads(answer.stdout).get("actions", [])
    assert isinstance(found, list)
    return found


def startup_and_request(action: dict[str, Any]) -> tuple[list[str], list[str]]:
    arguments: list[str] = action["arguments"]
    first = next(i for i, argument in enumerate(arguments) if argument.startswith("--subst="))
    return arguments[:first], arguments[first:]


def built_bytes(workspace: BazelWorkspace) -> dict[str, str]:
    """What every compile linked: path below bazel-bin to its SHA-256."""
    root = (workspace.root / "bazel-bin").resolve()
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if re.fullmatch(r"lib[a-z_]+-[0-9a-f]{16}\.(rlib|so|rmeta)|app-[0-9a-f]{16}", path.name)
        and ".runfiles" not in path.parent.as_posix()
    }


@pytest.mark.parametrize("mode", MODES)
def test_the_program_and_the_test_run_in_mode(workspace: BazelWorkspace, mode: str) -> None:
    workspace.bazel("clean")
    workspace.bazel("test", mode_flag(mode), *ONLY_WORKER, "//...")
    ran = workspace.bazel("run", mode_flag(mode), *ONLY_WORKER, "//app")
    assert ran.stdout == "good morning included 42!\n"


def test_I6_modes_without_hollow_give_the_same_bytes(workspace: BazelWorkspace) -> None:
    results = {}
    for mode in ["none", "two_invocation", "worker"]:
        workspace.bazel("clean")
        interfaces = "--output_groups=+interface"
        workspace.bazel("build", mode_flag(mode), *ONLY_WORKER, interfaces, "//...")
        results[mode] = built_bytes(workspace)
    # 3 libraries with their metadata, a macro, a program.
    assert len(results["none"]) == 8
    assert results["none"] == results["two_invocation"]
    assert results["none"] == results["worker"]


@pytest.mark.parametrize("mode", MODES)
def test_I6_no_strategy_changes_the_bytes(workspace: BazelWorkspace, mode: str) -> None:
    results = {}
    for name, flags in STRATEGIES.items():
        workspace.bazel("clean")
        interfaces = "--output_groups=+interface"
        workspace.bazel("build", mode_flag(mode), *flags, interfaces, "//...")
        results[name] = built_bytes(workspace)
    # 3 libraries with their metadata (each a hollow library in mode hollow), a macro, a program.
    assert len(results["worker"]) == 8
    for name, made in results.items():
        assert made == results["worker"], name


def test_both_phases_start_the_worker_alike(workspace: BazelWorkspace) -> None:
    found = actions(workspace, 'mnemonic("Rust.*", deps(//app))', mode_flag("worker"))
    assert {action["mnemonic"] for action in found} == {"Rust", "RustMetadata"}
    kinds = set()
    for action in found:
        startup, _ = startup_and_request(action)
        requirements = {pair["key"]: pair["value"] for pair in action["executionInfo"]}
        assert requirements["worker-key-mnemonic"] == "Headstart"
        environment = action.get("environmentVariables", [])
        kinds.add(json.dumps([startup, environment, requirements], sort_keys=True))
    assert len(kinds) == 1, "one process serves them all"


def test_the_halves_of_a_library_ask_for_the_same_job(workspace: BazelWorkspace) -> None:
    """All that may differ between the two params files is which half is asked for, and its outputs."""
    for mode in ["worker", "two_invocation"]:
        found = actions(workspace, 'mnemonic("Rust.*", //middle)', mode_flag(mode))
        halves = {}
        for action in found:
            _, request = startup_and_request(action)
            command = request[request.index("--") :]
            own = {"--phase=early", "--phase=full", "--stop-after-early"}
            options = [
                line
                for line in request[: -len(command)]
                if line not in own and not line.startswith("--output=")
            ]
            halves[action["mnemonic"]] = (options, command)
        assert sorted(halves) == ["Rust", "RustMetadata"]
        assert halves["Rust"] == halves["RustMetadata"]


def test_libraries_wait_for_interfaces_and_programs_for_code(workspace: BazelWorkspace) -> None:
    def reads(target: str, pattern: str) -> int:
        query = f'inputs("{pattern}", mnemonic("Rust.*", {target}))'
        return len(actions(workspace, query, mode_flag("worker")))

    assert reads("//middle", ".*/_meta/libbase_crate-.*[.]rmeta") == 2
    assert (
        reads("//middle", ".*/_meta/libmiddle-.*[.]rmeta") == 1
    )  # the full half waits for its own early half
    assert reads("//middle", ".*[.]rlib") == 0
    assert reads("//app", ".*/libbase_crate-.*[.]rlib") == 1
    assert reads("//app", ".*[.]rmeta") == 0
    assert reads("//macros", ".*[.]rmeta") == 0


def test_one_process_serves_a_whole_build_and_compiles_every_crate_once(
    workspace: BazelWorkspace, tmp_path: Path
) -> None:
    workspace.bazel("clean")
    trace = tmp_path / "trace.json"
    flags = ["--worker_verbose", "--subcommands"]
    flags += [f"--worker_extra_flag={mnemonic}=--trace={trace}" for mnemonic in ["Rust", "RustMetadata"]]
    said = workspace.bazel("build", mode_flag("worker"), *ONLY_WORKER, *flags, "//...").stderr
    logs = set(re.findall(r"Created new .*worker .*logging to (\S+)", said))
    assert len(logs) == 1, said

    commands = re.findall(r"/process-wrapper/process-wrapper (.*)\)", said)
    assert len(commands) == 9  # 3 libraries in two halves, a macro, a program, a test
    for command in commands:
        assert re.fullmatch(r"'?--worker-protocol=proto'? @\S+[.]params", command), (
            "one params file, and last"
        )

    workspace.bazel("shutdown")  # the worker ends, and its trace is complete
    events = [json.loads(line.rstrip(",")) for line in trace.read_text().splitlines() if line.startswith("{")]
    joins = [event["args"]["label"] for event in events if event["name"] == "join"]
    assert len(joins) == 3, joins
    assert len({event["args"]["job"] for event in events if "job" in event.get("args", {})}) == 6


def test_an_edit_of_an_input_reaches_the_program(workspace: BazelWorkspace) -> None:
    """`include_str!` changes the metadata or only the code: both have to arrive."""
    text = workspace.root / "base" / "src" / "text.txt"
    try:
        text.write_text("changed")
        assert workspace.bazel("run", *ONLY_WORKER, "//app").stdout == "good morning changed 42!\n"
    finally:
        text.write_text("included")
    assert workspace.bazel("run", *ONLY_WORKER, "//app").stdout == "good morning included 42!\n"


def test_the_launcher_runs_one_job_for_people(workspace: BazelWorkspace) -> None:
    ran = workspace.bazel("run", "@headstart//bazel:process-wrapper", "--", "--", "/bin/echo", "hello")
    assert ran.stdout == "hello\n"


def test_a_compile_error_reaches_the_user(workspace: BazelWorkspace) -> None:
    workspace.write(
        "broken/BUILD.bazel", CRATES["app/BUILD.bazel"].replace("        ", "").replace("app", "broken")
    )
    workspace.write("broken/main.rs", "fn main() { let x: u32 = outermost::outer(); }\n")
    try:
        failed = workspace.try_bazel("build", *ONLY_WORKER, "//broken")
    finally:
        shutil.rmtree(workspace.root / "broken")
    assert failed.code == 1
    assert "Compiling Rust crate broken (bin) failed" in failed.stderr
    assert "error[E0308]: mismatched types" in failed.stderr
    assert "broken/main.rs:1:26" in failed.stderr


def test_an_unknown_mode_is_refused_with_the_known_ones(workspace: BazelWorkspace) -> None:
    failed = workspace.try_bazel("build", mode_flag("fast"), "//app")
    assert failed.code == 1
    assert '"fast"; it can be hollow, none, two_invocation, worker.' in failed.stderr


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("HEADSTART_PYTHON", "set HEADSTART_PYTHON to a Python 3.11 or later that has attrs"),
        ("HEADSTART_RUSTC", "HEADSTART_RUSTC names /nonexistent, which does not exist: set it to a rustc."),
    ],
)
def test_a_missing_tool_is_named_with_its_variable(
    workspace: BazelWorkspace, variable: str, sentence: str
) -> None:
    failed = workspace.try_bazel("build", "//app", environment={variable: "/nonexistent"})
    assert failed.code == 1
    assert sentence in failed.stderr


def test_the_rule_in_the_documentation_compiles_c(workspace: BazelWorkspace) -> None:
    """The example at the head of defs.bzl, as a rule author would copy it."""
    documentation = (HEADSTART / "bazel" / "defs.bzl").read_text()
    example = documentation[documentation.index("    load(") : documentation.index("**Pipelining.**")]
    workspace.write("c/object.bzl", textwrap.dedent(example))
    workspace.write("c/BUILD.bazel", 'load(":object.bzl", "object")\n\nobject(name = "o", src = "o.c")\n')
    workspace.write("c/o.c", "int answer(void) { return 42; }\n")
    try:
        workspace.bazel("build", "--strategy=ObjectCompile=worker", "//c:o")
        assert (workspace.root / "bazel-bin" / "c" / "o.o").read_bytes().startswith(b"\x7fELF")
        failing = "#error no such luck\n"
        workspace.write("c/o.c", failing)
        failed = workspace.try_bazel("build", "--strategy=ObjectCompile=worker", "//c:o")
    finally:
        shutil.rmtree(workspace.root / "c")
    assert failed.code == 1
    assert "no such luck" in failed.stderr


def test_an_edit_of_the_worker_starts_a_new_one(tmp_path: Path) -> None:
    copy = tmp_path / "headstart"
    copy_headstart(copy)
    with bazel_workspace(headstart=copy) as scratch:
        scratch.write("lib.rs", "pub fn nothing() {}\n")
        scratch.write(
            "BUILD.bazel",
            'load("@headstart//bazel/rust:defs.bzl", "rust_library")\n\n'
            'rust_library(name = "lib", srcs = ["lib.rs"])\n',
        )
        first = scratch.bazel("build", "--worker_verbose", *ONLY_WORKER, "//:lib").stderr
        assert "Created new" in first
        unchanged = scratch.bazel("build", "--worker_verbose", *ONLY_WORKER, "//:lib").stderr
        assert "Created new" not in unchanged

        edited = copy / "wrapper" / "headstart_wrapper" / "__init__.py"
        edited.write_text(edited.read_text() + "\n# edited\n")
        second = scratch.bazel("build", "--worker_verbose", *ONLY_WORKER, "//:lib").stderr
        assert "its files have changed on disk" in second
        assert "headstart_wrapper/__init__.py" in second
        assert "Created new" in second
