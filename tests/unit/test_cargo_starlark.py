"""The generated Bazel files, read back: Starlark's literals and calls are Python's, so Python is the foreign implementation."""

from __future__ import annotations

import ast
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.cargo.starlark import build_files, module_file, package_of, quote, workspace_file
from headstart_worker.cargo.units import BUILD_SCRIPT, LIBRARY, PROC_MACRO, Extern, Unit, Units

LOW = Unit(
    name="low-1.0.0-1",
    package="low",
    version="1.0.0",
    directory="vendor/low-1.0.0",
    crate_name="low",
    kind=LIBRARY,
    edition="2021",
    root="vendor/low-1.0.0/src/lib.rs",
    args=("--cfg", 'feature="std"'),
    metadata="m1",
    extra_filename="-1",
    env={"CARGO_PKG_AUTHORS": 'Zoë "Z" \\', "OUT_DIR": "${pwd}/vendor/low-1.0.0/out-9"},
    inputs=("vendor/low-1.0.0/out-9/liblow.a", "vendor/low-1.0.0/src/lib.rs"),
    externs=(),
    native=("vendor/low-1.0.0/out-9",),
)
MACRO = evolve(
    LOW, name="macro-1.0.0-1", directory="vendor/macro", crate_name="macro", kind=PROC_MACRO, inputs=()
)
SCRIPT = evolve(LOW, name="low-1.0.0-build-script-2", kind=BUILD_SCRIPT, inputs=())
TOP = evolve(
    LOW,
    name="top-1.0.0-1",
    directory="crates/top",
    crate_name="top",
    root="crates/top/src/lib.rs",
    inputs=("crates/top/src/lib.rs", "crates/words.txt", "vendor/low-1.0.0/out-9/liblow.a"),
    externs=(Extern("below", LOW.name), Extern("macro", MACRO.name), Extern("alloc")),
)
FILES = build_files(Units("", "", (LOW, SCRIPT, MACRO, TOP)))


def calls(text: str) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """(function, positional, named) of each call of a BUILD file."""
    found = []
    for statement in ast.parse(text).body:
        assert isinstance(statement, ast.Expr)
        call = statement.value
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        named = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in call.keywords}
        found.append((call.func.id, [ast.literal_eval(value) for value in call.args], named))
    return found


def target(path: str, name: str) -> tuple[str, dict[str, Any]]:
    return next((rule, named) for rule, _, named in calls(FILES[path]) if named.get("name") == name)


def test_each_package_has_one_file_and_the_workspace_one() -> None:
    assert sorted(FILES) == [
        "BUILD.bazel", "crates/top/BUILD.bazel", "vendor/low-1.0.0/BUILD.bazel", "vendor/macro/BUILD.bazel",
    ]  # fmt: skip


def test_a_unit_is_a_target_with_all_that_it_has() -> None:
    assert target("vendor/low-1.0.0/BUILD.bazel", "low-1.0.0-1") == (
        "rust_library",
        {
            "name": "low-1.0.0-1",
            "srcs": ["out-9/liblow.a", "src/lib.rs"],
            "crate_name": "low",
            "crate_root": "src/lib.rs",
            "edition": "2021",
            "extra_filename": "-1",
            "metadata": "m1",
            "native_dirs": ["vendor/low-1.0.0/out-9"],
            "rustc_env": {"CARGO_PKG_AUTHORS": 'Zoë "Z" \\', "OUT_DIR": "${pwd}/vendor/low-1.0.0/out-9"},
            "rustc_flags": ["--cfg", 'feature="std"'],
        },
    )


def test_dependencies_are_sorted_out_by_what_they_are() -> None:
    _, top = target("crates/top/BUILD.bazel", "top-1.0.0-1")
    assert top["deps"] == ["//vendor/low-1.0.0:low-1.0.0-1"]
    assert top["aliases"] == {"//vendor/low-1.0.0:low-1.0.0-1": "below"}
    assert top["proc_macro_deps"] == ["//vendor/macro:macro-1.0.0-1"]
    assert top["extern_prelude"] == ["alloc"]


def test_a_macro_without_proc_macro_says_so_because_the_rule_adds_it() -> None:
    assert target("vendor/macro/BUILD.bazel", "macro-1.0.0-1")[1]["extern_prelude"] == []


def test_a_build_script_is_a_tagged_program() -> None:
    rule, script = target("vendor/low-1.0.0/BUILD.bazel", SCRIPT.name)
    assert (rule, script["tags"]) == ("rust_binary", ["build-script"])


def test_files_of_other_packages_are_named_and_exported() -> None:
    _, top = target("crates/top/BUILD.bazel", "top-1.0.0-1")
    assert top["srcs"] == ["src/lib.rs", "//:crates/words.txt", "//vendor/low-1.0.0:out-9/liblow.a"]
    assert ("exports_files", [["crates/words.txt"]], {}) in calls(FILES["BUILD.bazel"])
    assert ("exports_files", [["out-9/liblow.a"]], {}) in calls(FILES["vendor/low-1.0.0/BUILD.bazel"])


def test_only_the_rules_that_a_package_uses_are_loaded() -> None:
    rules = {path: calls(text)[0] for path, text in FILES.items()}
    assert rules["vendor/low-1.0.0/BUILD.bazel"] == (
        "load", ["@headstart//bazel/rust:defs.bzl", "rust_binary", "rust_library"], {},
    )  # fmt: skip


def test_one_target_names_all() -> None:
    crates = target("BUILD.bazel", "all_crates")[1]["srcs"]
    assert len(crates) == 4
    assert "//crates/top:top-1.0.0-1" in crates


def test_the_nearest_package_owns_a_file() -> None:
    assert package_of("a/b/c/x", {"a", "a/b"}) == "a/b"
    assert package_of("other/x", {"a"}) == ""


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))) | st.text('\n\r\t"\\a'))
def test_any_text_is_quoted(text: str) -> None:
    assert ast.literal_eval(quote(text)) == text


def test_the_workspace_finds_headstart() -> None:
    assert ("local_repository", [], {"name": "headstart", "path": "../h"}) in calls(workspace_file("../h"))
    assert ("local_path_override", [], {"module_name": "headstart", "path": "../h"}) in calls(
        module_file("../h")
    )
