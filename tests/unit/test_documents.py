"""The documents say what is there: rooms, invariants, commands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from headstart_worker.commands import bench_options
from headstart_worker.tools import COMMANDS
from headstart_wrapper.option_table import OPTIONS

ROOT = Path(__file__).parents[2]


def prose(document: str) -> str:
    """A document without its figures, which name options of the benchmarks."""
    return re.sub(
        r"<!-- figure:.*?<!-- /figure -->", "", (ROOT / document).read_text("utf-8"), flags=re.DOTALL
    )


DESIGN = prose("DESIGN.md")
README = prose("README.md")

NO_TESTS_YET = {"I10"}
"""There is no cache in this release."""


def rooms() -> list[str]:
    packages = (ROOT / "wrapper/headstart_wrapper", ROOT / "worker/headstart_worker")
    names = {path.stem for package in packages for path in package.glob("*.py")}
    folders = {path.parent.name for package in packages for path in package.glob("*/__init__.py")}
    return sorted((names | folders) - {"__init__", "__main__", "headstart_wrapper", "headstart_worker"})


@pytest.mark.parametrize("room", rooms())
def test_the_design_names_every_room(room: str) -> None:
    assert re.search(rf"`([a-z_]+\.)*{room}[`./]", DESIGN), f"DESIGN.md says nothing of {room}"


@pytest.mark.parametrize("invariant", [f"I{number}" for number in range(1, 14)])
def test_every_invariant_is_in_the_design_and_has_tests_that_carry_its_number(invariant: str) -> None:
    assert f"| {invariant} |" in DESIGN
    tests = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(rf"def test_(C\d\d_)*{invariant}_", path.read_text("utf-8"))
    ]
    assert bool(tests) is (invariant not in NO_TESTS_YET)


def test_what_the_documents_name_in_the_code_is_there() -> None:
    """`module.attribute` and `module.Class.attribute`, in the documents, of our own rooms."""
    missing = []
    known = set(rooms())
    for module, attribute in re.findall(r"`(?:headstart_\w+\.)?([a-z_]+)\.(\w+)(?:\.\w+)*(?:\(\))?`", DESIGN):
        if module not in known:
            continue
        found = [path for package in ("wrapper", "worker") for path in ROOT.glob(f"{package}/*/{module}.py")]
        found += [
            path for package in ("wrapper", "worker") for path in ROOT.glob(f"{package}/*/{module}/*.py")
        ]
        if not any(
            re.search(rf"\b{attribute}\b", path.read_text("utf-8")) or path.stem == attribute
            for path in found
        ):
            missing.append(f"{module}.{attribute}")
    assert not missing


def test_the_documents_name_only_options_that_there_are() -> None:
    benched = bench_options.parser().format_help()
    ours = (
        {option.name for option in OPTIONS} | {"--persistent_worker"} | set(re.findall(r"--[a-z-]+", benched))
    )
    theirs = {
        "--all-builds",  # of headstart timeline and explain
        "--emit",
        "--json",
        "--remap-path-prefix",
        "--strategy",
        "--worker_extra_flag",
        "--worker_sandboxing",
        "--out",
    }
    for document in (README, DESIGN):
        for option in set(re.findall(r"--[a-z][a-z_-]+", document)):
            assert option in ours | theirs or option.startswith("--experimental"), f"{option} is unknown"


def test_the_readme_names_only_commands_that_there_are() -> None:
    for command in re.findall(r"headstart ([a-z-]+)", README.split("## In your build")[1]):
        assert command in COMMANDS, f"headstart {command} is unknown"


def test_make_help_lists_the_targets_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("setup", "demo", "test", "lint", "bench", "help"):
        assert re.search(rf"^{target}: ## ", makefile, re.MULTILINE)
    assert sys.version_info >= (3, 11)


def test_both_documents_have_one_strategy_table() -> None:
    table = DESIGN[DESIGN.index("| strategy | `none` |") :].partition("\n\n")[0]
    assert len(table.splitlines()) == 9
    assert table in (ROOT / "README.md").read_text("utf-8")


LIMITS = {"50 ms", "100 ms", "93.75 %"}
"""What the code or the mathematics says, and nobody measured."""


@pytest.mark.parametrize("document", ["README.md", "DESIGN.md"])
def test_what_was_measured_stands_in_figures_alone(document: str) -> None:
    assert set(re.findall(r"\d[\d.]* (?:ms|µs|%)", prose(document))) <= LIMITS


@pytest.mark.parametrize("document", ["README.md", "DESIGN.md"])
def test_every_figure_names_its_file_of_results(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    figures = re.findall(r"<!-- figure:([\w-]+) -->(.*?)<!-- /figure -->", text, re.DOTALL)
    assert figures
    for name, figure in figures:
        named = re.findall(r"benchmarks/results/[\w-]+\.json", figure)
        assert named, f"{name} names no file"
        assert all((ROOT / path).is_file() for path in named)
