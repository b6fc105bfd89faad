"""The trace of a job on its own: the same events as a worker's, and never at the job's expense."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from process.trace_reading import Event, check, events, named

ROOT = Path(__file__).parents[2]
WRAPPER = (sys.executable, "-m", "headstart_worker")
EARLY = "printf e > tmp && mv tmp out.e && printf f > out.f"


def wrapper(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WRAPPER, *arguments], capture_output=True, text=True, check=False, cwd=cwd, env=env, timeout=60
    )


def spans(found: list[Event]) -> set[str]:
    check(found)
    assert {event["args"]["job"] for event in found if event["ph"] == "X"} == {1}
    return {event["name"] for event in found if event["ph"] == "X"}


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
def test_a_whole_job(tmp_path: Path, script: str, code: int) -> None:
    done = wrapper("--trace=t.json", "--", "sh", "-c", script, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    found = events(tmp_path / "t.json")
    assert spans(found) == {"compile", "spawn", "reap"}
    (run,) = named(found, "compile")
    assert run["args"]["exit_code"] == (code if code >= 0 else 128 - code)
    assert run["args"]["label"] == "sh"


def test_a_job_with_early_outputs_has_both_halves(tmp_path: Path) -> None:
    outputs = ("--early-output=out.e", "--output=out.f")
    done = wrapper("--trace=t.json", *outputs, "--", "sh", "-c", EARLY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = events(tmp_path / "t.json")
    assert spans(found) >= {"early", "codegen", "spawn", "reap"}
    assert {event["args"]["label"] for event in named(found, "early", "codegen")} == {"out.e"}
    assert named(found, "early")[0]["args"]["cpu"] > 0


@pytest.mark.rustc
def test_publishing_is_told_for_each_half(tmp_path: Path) -> None:
    (tmp_path / "lib.rs").write_text("pub fn answer() -> u32 { 42 }")
    rustc = ("rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "lib.rs")
    outputs = ("--early-output=libx.rmeta", "--output=libx.rlib")
    done = wrapper("--trace=t.json", *outputs, "--", *rustc, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = events(tmp_path / "t.json")
    assert "publish" in spans(found)
    assert [event["args"]["phase"] for event in named(found, "publish")] == ["early", "full"]


def test_a_job_that_never_started_is_in_its_trace(tmp_path: Path) -> None:
    done = wrapper("--trace=t.json", "--", "no-such-command", cwd=tmp_path)
    assert done.returncode == 127
    assert spans(events(tmp_path / "t.json")) == {"compile"}


@pytest.mark.parametrize("place", ["/dev/full", "/proc/none/t.json", "missing/t.json"])
def test_I13_a_trace_that_cannot_be_written_changes_nothing_else(tmp_path: Path, place: str) -> None:
    done = wrapper(f"--trace={place}", "--", "sh", "-c", "echo out; exit 3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "out\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"process-wrapper: the trace file {place} cannot be written")
    assert line.endswith("name another with --trace")


def test_each_job_has_its_own_file_in_a_directory(tmp_path: Path) -> None:
    for _ in range(2):
        assert wrapper("--trace=d/", "--", "true", cwd=tmp_path).returncode == 0
    assert wrapper("--trace=d", "--", "true", cwd=tmp_path).returncode == 0
    files = sorted((tmp_path / "d").iterdir())
    assert len(files) == 3
    processes = [events(file)[0]["pid"] for file in files]
    assert len(set(processes)) == 3


def test_the_process_id_can_be_in_the_name(tmp_path: Path) -> None:
    assert wrapper("--trace=t-%p.json", "--", "true", cwd=tmp_path).returncode == 0
    (file,) = tmp_path.glob("t-*.json")
    assert file.name == f"t-{events(file)[0]['pid']}.json"


def test_a_variable_asks_for_it_and_nobody_becomes_the_compiler_then(tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HEADSTART_TRACE": "d/"}
    done = wrapper("--explain", "--", "true", cwd=tmp_path, env=env)
    assert done.returncode == 0
    assert "stays beside the compiler: --trace" in done.stderr
    assert len(list((tmp_path / "d").iterdir())) == 1


def test_a_trace_and_another_file_of_ours_are_two(tmp_path: Path) -> None:
    done = wrapper("--trace=x", "--stats=x", "--", "true", cwd=tmp_path)
    assert done.returncode == 125
    assert "--stats and --trace name one file, x; give each its own" in done.stderr


@pytest.mark.parametrize("dear", ["typing", "json", "re", "pathlib", "attr", "subprocess", "trio"])
def test_a_traced_job_starts_without(dear: str, tmp_path: Path) -> None:
    script = (
        "import sys\nfor path in sys.argv[1:]: sys.path.append(path)\n"
        "from headstart_wrapper.command_line import main\n"
        f"code = main(['--trace=t.json', '--', 'true']); sys.exit(code or {dear!r} in sys.modules)"
    )
    packages = (ROOT / "wrapper", ROOT / "worker")
    done = subprocess.run([sys.executable, "-E", "-S", "-c", script, *packages], check=False, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "t.json").exists()
