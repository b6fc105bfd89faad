"""Finding a dialect; the generic one; plans: where an output really is, and texts that name outputs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import headstart_wrapper.dialects
from headstart_wrapper.dialects import EarlySignal, Plan, find, names
from headstart_wrapper.errors import RequestError


def unread(path: str) -> str:
    raise AssertionError(path)


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("rustc", "rustc"),
        ("/usr/bin/rustc", "rustc"),
        ("rustc-1.63", "rustc"),
        ("../bin/rustc-mozilla-1.78", "rustc"),
        ("clippy-driver", "rustc"),
        ("rustcat", "generic"),
        ("rustc-/x", "generic"),
        ("gcc", "generic"),
        ("/rustc/true", "generic"),
    ],
)
def test_program_name_decides(program: str, name: str) -> None:
    assert find(None, [program, "x"]).name == name


def test_named_dialect_wins_over_the_program() -> None:
    assert find("generic", ["rustc"]).name == "generic"
    assert find("rustc", ["/opt/wrapped-compiler"]).name == "rustc"
    assert find(None, []).name == "generic"


def test_unknown_dialect_names_the_known() -> None:
    with pytest.raises(RequestError, match=r"'rust'.*generic, rustc"):
        find("rust", ["rustc"])
    assert names() == ("generic", "rustc")


@pytest.mark.parametrize(
    ("early", "pipelined", "signal"),
    [(["x"], True, EarlySignal.WATCH), (["x"], False, EarlySignal.NONE), ([], True, EarlySignal.NONE)],
)
def test_generic_leaves_the_command_alone(early: list[str], pipelined: bool, signal: EarlySignal) -> None:
    command = ["cc", "@file", "-o", "x"]
    plan = find(None, command).plan(
        command, early_outputs=early, pipelined=pipelined, stage="/s", read=unread
    )
    assert plan == Plan(("cc", "@file", "-o", "x"), signal)
    assert plan.private("x") is None
    assert plan.restore(b"/s/x") == b"/s/x"


@pytest.mark.parametrize(
    ("output", "private"),
    [
        ("out/a.rlib", "/s/out/a.rlib"),
        ("./out//a.rlib", "/s/out/a.rlib"),
        ("/job/out/a.rlib", "/s/out/a.rlib"),
        ("out/m.rmeta", "/s/metadata/m.rmeta"),
        ("elsewhere/m.rmeta", None),
        ("out/deeper/x", None),
        ("out", "/s/out"),
        ("x.d", "/s/here/x.d"),
    ],
)
def test_private_place_of_an_output(output: str, private: str | None) -> None:
    places = (("out", "/s/out"), ("out/m.rmeta", "/s/metadata/m.rmeta"), (".", "/s/here"))
    plan = Plan(("x",), EarlySignal.NONE, places=places, directory="/job")
    assert plan.private(output) == private


def test_dialects_are_pure() -> None:
    forbidden = {"os", "subprocess", "trio", "pathlib", "time", "google"}
    for module in Path(headstart_wrapper.dialects.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            imported: list[str | None] = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module]
            assert not forbidden & {(name or "").partition(".")[0] for name in imported}, module
