"""`headstart launcher`: a program that starts Python without what the environment adds, and is the same otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from headstart_worker.testing import FakeHost
from process.support import sh

HEADSTART = (sys.executable, "-c", "from headstart_worker.tools import main; main()")


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("bin") / "process-wrapper"
    subprocess.run([*HEADSTART, "launcher", program], check=True, capture_output=True)
    return program


def test_it_runs_a_command_and_becomes_it(launcher: Path) -> None:
    done = subprocess.run([launcher, "sh", "-c", "echo $PPID; exit 7"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (7, b"")
    beside = subprocess.run(
        [launcher, "--stay", "--", "sh", "-c", "echo $PPID; exit 7"], capture_output=True, check=False
    )
    assert (beside.returncode, beside.stderr) == (7, b"")
    assert beside.stdout != done.stdout


def test_it_starts_without_site_and_variables(launcher: Path, tmp_path: Path) -> None:
    """A module that an environment would put before ours does no harm, and is not even looked for."""
    for name in ("sitecustomize", "headstart_wrapper", "os"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('loaded')")
    done = subprocess.run(
        [launcher, "--stay", "--", "sh", "-c", "echo $PYTHONPATH"],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.decode() == f"{tmp_path}\n"


def test_a_pipelined_job_finds_the_libraries(launcher: Path, tmp_path: Path) -> None:
    script = "echo e > e; echo f > f"
    options = ("--phase=early", "--early-output=e", "--output=f", "--stats=s.json")
    done = subprocess.run([launcher, *options, "--", "sh", "-c", script], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "s.json").read_text())["early_seconds"] is not None


async def test_it_serves(launcher: Path, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with FakeHost("proto", cwd=tmp_path, command=(str(launcher),)) as host:
            assert (await host.work(sh("echo served; exit 3"))).output == "served\n"
            assert (await host.finish()).exit_code == 0


def test_what_was_there_is_replaced_at_once_and_only_if_all_is_well(launcher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("old")
    subprocess.run([*HEADSTART, "launcher", other], check=True, capture_output=True)
    assert other.read_text() == launcher.read_text()
    for nowhere in (tmp_path / "none" / "x", tmp_path, ".", "/"):
        done = subprocess.run(
            [*HEADSTART, "launcher", nowhere], check=False, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 125
        assert done.stderr.startswith("headstart: the launcher ")
        assert len(done.stderr.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]


def test_others_may_run_it_whatever_the_umask(tmp_path: Path) -> None:
    program = tmp_path / "process-wrapper"
    subprocess.run([*HEADSTART, "launcher", program], check=True, capture_output=True, umask=0o077)
    assert program.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("place", ["a b", "a\tb", os.fsdecode(b"a\xffb"), "a" * 250])
def test_an_interpreter_that_no_first_line_can_name_is_told(tmp_path: Path, place: str) -> None:
    python = tmp_path / place / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    script = "import sys; sys.path[:0] = sys.argv[2:]; del sys.argv[2:]; sys.argv[1:1] = ['launcher']\n"
    done = subprocess.run(
        [python, "-c", script + HEADSTART[2], tmp_path / "x", *sys.path],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 125
    assert "cannot stand in a script's first line" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()
