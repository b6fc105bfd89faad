"""The executable `headstart`, as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from headstart_worker import tools
from headstart_wrapper.trace_events import Trace

HEADSTART = str(Path(sys.executable).with_name("headstart"))


def headstart(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HEADSTART, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def write_trace(path: Path, label: str = "liba.rlib") -> Path:
    made = Trace(7, 1_700_000_000.0)
    told = {"label": label, "cpu": 0.5, "peak_memory": 1 << 20, "exit_code": 0}
    path.write_text(made.begin(0) + made.span("compile", 0, 1.0, 2.0, job=1, **told), encoding="utf-8")
    return path


def test_help_names_every_command() -> None:
    told = headstart("--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == tools.usage()
    for name in tools.COMMANDS:
        assert f"  {name} " in told.stdout


def test_no_command_is_a_question_of_use() -> None:
    told = headstart()
    assert (told.returncode, told.stdout) == (2, tools.usage())


def test_version_is_one_line() -> None:
    told = headstart("--version")
    assert told.returncode == 0
    assert told.stdout.startswith("headstart ")
    assert told.stdout.count("\n") == 1


def test_an_unknown_command_is_named() -> None:
    told = headstart("fly")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "headstart: there is no command fly; headstart --help lists them\n"


@pytest.mark.parametrize("name", tools.COMMANDS)
def test_every_command_has_help_with_its_name(name: str) -> None:
    told = headstart(name, "--help")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"usage: headstart {name} ")


def test_timeline_writes_a_page_with_a_panel_for_each_trace(tmp_path: Path) -> None:
    first, second = write_trace(tmp_path / "first.json"), write_trace(tmp_path / "second.json", "libb.rlib")
    told = headstart("timeline", first, second, cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    page = (tmp_path / "timeline.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    for part in ("<h2>first</h2>", "<h2>second</h2>", "liba.rlib", "libb.rlib"):
        assert part in page


def test_timeline_writes_the_picture_alone_when_the_name_says_so(tmp_path: Path) -> None:
    told = headstart("timeline", write_trace(tmp_path / "build.json"), "-o", tmp_path / "build.svg")
    assert told.returncode == 0, told.stderr
    root = ET.parse(tmp_path / "build.svg").getroot()  # noqa: S314 - made here
    assert root.tag.endswith("}svg")


def test_a_trace_that_is_missing_is_one_sentence_of_ours(tmp_path: Path) -> None:
    told = headstart("timeline", tmp_path / "none.json", cwd=tmp_path)
    assert told.returncode == 125
    assert told.stderr.startswith(f"headstart: the trace {tmp_path / 'none.json'} cannot be read")
    assert told.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_trace_is_one_sentence_of_ours(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no trace", encoding="utf-8")
    told = headstart("timeline", tmp_path / "notes.txt", cwd=tmp_path)
    assert told.returncode == 125
    assert told.stderr.startswith("headstart: this is no trace of a worker")
    assert told.stderr.count("\n") == 1
