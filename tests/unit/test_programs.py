"""Commands that are known at a glance to need nothing of us: the dialect itself says so of each of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart_wrapper import dialects, programs

WORDS = st.sampled_from(
    [
        *(
            "--emit",
            "--emit=metadata",
            "--emit=link",
            "--emit=dep-info,metadata,link",
            "--emit=metadata=a.rmeta,link",
        ),
        *("metadata", "link", "metadata,link", "dep-info", "--emit=link,metadata", "--emit=obj", "--emit="),
        *(
            "--json",
            "--json=artifacts",
            "--json=diagnostic-short,artifacts",
            "--json=diagnostic-rendered-ansi",
        ),
        *(
            "artifacts",
            "--json=artifacts,future-incompat",
            "--json=unused-externs",
            "--json=",
            "--json=artifact",
        ),
        *(
            "--error-format",
            "--error-format=json",
            "--error-format=human",
            "--error-format=short",
            "json",
            "human",
        ),
        *("--color", "--color=always", "--color=never", "always", "--crate-type", "--crate-type=lib"),
        *(
            "--crate-type=bin",
            "--crate-type=rlib",
            "--crate-type=proc-macro",
            "--crate-type=lib,cdylib",
            "lib",
            "bin",
        ),
        *(
            "--crate-name=x",
            "--crate-name",
            "x",
            "lib.rs",
            "src/main.rs",
            "-",
            "-o",
            "libx.rlib",
            "--out-dir=out",
            "--out-dir",
        ),
        *(
            "--test",
            "--print=cfg",
            "--print",
            "cfg",
            "-vV",
            "--version",
            "-C",
            "metadata=abc",
            "-Cmetadata=abc",
            "-Zno-codegen",
        ),
        *(
            "--extern",
            "dep=libdep.rmeta",
            "--extern=dep=libdep.rlib",
            "--edition=2021",
            "-L",
            "dependency=out",
            "--cfg",
        ),
        *(
            "@response",
            "--",
            "--emitmetadata",
            "--cap-lints",
            "allow",
            "-O",
            "-g",
            "--help",
            "",
            "--emit metadata",
        ),
    ]
)
COMMANDS = st.lists(WORDS, max_size=9)


@settings(max_examples=3000, deadline=None, derandomize=True, database=None)
@given(COMMANDS)
@example(["--emit=metadata,link", "--error-format=json", "--json=artifacts", "--crate-type=lib", "lib.rs"])
@example(["--emit", "metadata", "--crate-type=lib", "lib.rs"])
@example(["--emit=metadata", "--crate-type=lib", "--", "--error-format=json", "--json=artifacts"])
@example(["--emit=metadata", "--crate-type=lib", "lib.rs", "--error-format=json", "-C", "--json=artifacts"])
@example(["--emit=metadata", "--crate-type=lib", "lib.rs", "--json=artifacts", "-o", "--error-format=json"])
@example(["--emit=metadata", "--error-format=json", "--error-format=json", "--json=artifacts", "lib.rs"])
def test_I6_a_command_that_is_left_alone_has_a_plan_that_changes_nothing(words: list[str]) -> None:
    command = ("rustc", *words)
    if not programs.is_left_alone(programs.RUSTC, command):
        return

    def read(path: str) -> str:
        raise AssertionError(f"{path} is read")

    plan = dialects.find(programs.RUSTC, command).plan(
        command, early_outputs=(), pipelined=False, stage=None, read=read, directory="/job"
    )
    assert plan.command == command
    assert plan.stderr is None


@pytest.mark.parametrize(
    "words",
    [
        ("-vV",),
        ("--crate-type=bin", "main.rs"),
        ("--emit=link", "--crate-type=lib", "lib.rs"),
        # as Cargo has it
        (
            "--emit=dep-info,metadata,link",
            "--error-format=json",
            "--json=diagnostic-rendered-ansi,artifacts",
            "lib.rs",
        ),
    ],
)
def test_what_is_common_is_left_alone(words: tuple[str, ...]) -> None:
    assert programs.is_left_alone(programs.RUSTC, ("rustc", *words))


@pytest.mark.parametrize(
    "words",
    [
        ("--emit=metadata", "--crate-type=lib", "lib.rs"),
        ("--emit", "link,metadata", "lib.rs"),
        ("--emit=metadata", "--json=artifacts", "lib.rs"),
        ("--emit=metadata", "--error-format=json", "--json=diagnostic-short", "lib.rs"),
        ("--emit=metadata", "--error-format=json", "--json=artifacts-of-tomorrow", "lib.rs"),
        ("@response",),
    ],
)
def test_in_doubt_the_dialect_is_asked(words: tuple[str, ...]) -> None:
    assert not programs.is_left_alone(programs.RUSTC, ("rustc", *words))


def test_every_command_of_no_known_compiler_is_left_alone() -> None:
    assert programs.is_left_alone(programs.GENERIC, ("cc", "@response", "--emit=metadata"))
    assert not programs.is_left_alone("another", ("cc",))


@pytest.mark.parametrize(
    ("program", "dialect"),
    [
        ("rustc", "rustc"),
        ("/usr/bin/rustc-1.63", "rustc"),
        ("rustc-mozilla-1.78", "rustc"),
        ("clippy-driver", "rustc"),
        ("rustc-", "generic"),
        ("rustcc", "generic"),
        ("rustdoc", "generic"),
        ("rustc/cc", "generic"),
        ("", "generic"),
    ],
)
def test_a_program_is_known_by_its_name(program: str, dialect: str) -> None:
    assert programs.spoken_by((program,)) == dialect
    assert programs.spoken_by(()) == "generic"
