"""How far an import is, at a terminal: Cargo's own steps, and as many as there were to be."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from headstart_worker.cargo import watching
from headstart_worker.cargo.capture import find_toolchain
from process.pty_shell import Terminal

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(shutil.which("cargo") is None, reason="needs a real cargo"),
]

HELLO = Path(__file__).resolve().parents[2] / "examples" / "hello"


def test_every_package_is_a_step_and_the_last_one_is_the_last(tmp_path: Path) -> None:
    script = (
        "import os; os.environ['TERM'] = 'xterm'; os.environ['NO_COLOR'] = '1'\n"
        "from headstart_worker.cargo.importer import main\n"
        f"print('code', main([{str(HELLO)!r}, '--out', 'out']))"
    )
    with Terminal(sys.executable, "-c", script, cwd=tmp_path) as terminal:
        terminal.shows("code 0")
        steps = re.findall(r"import-cargo: (\d+) of (\d+), compiling (\w+)", terminal.shown)
        assert {total for _, total, _ in steps} == {"4"}
        assert [int(number) for number, _, _ in dict.fromkeys(steps)] == [1, 2, 3, 4]
        assert {name for *_, name in steps} == {"base", "macros", "middle", "app"}
        assert "4 units of 4 packages are in out" in terminal.shown


@pytest.mark.parametrize(("development", "expected"), [(False, 2), (True, 3)])
def test_what_tests_and_other_platforms_need_is_counted_where_it_is_built(
    tmp_path: Path, development: bool, expected: int
) -> None:
    needs = {
        "app": '[dependencies]\nused = {path = "../used"}\n'
        '[target."cfg(windows)".dependencies]\nelsewhere = {path = "../elsewhere"}\n'
        '[dev-dependencies]\nfor-tests = {path = "../for-tests"}\n'
    }
    for name in ("app", "used", "elsewhere", "for-tests"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src/lib.rs").touch()
        (tmp_path / name / "Cargo.toml").write_text(
            f'[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\n{needs.get(name, "")}'
        )
    app = tmp_path / "app"
    assert watching.packages(app, find_toolchain(app), locked=False, development=development) == expected


def test_nobody_knows_how_many_where_cargo_does_not(tmp_path: Path) -> None:
    (tmp_path / "Cargo.toml").write_text("[package]\n")
    assert watching.packages(tmp_path, find_toolchain(HELLO), locked=False, development=False) is None
