"""`headstart doctor` as a person runs it, on this machine and on poorer ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headstart_worker.doctor import finding, installation, programs
from headstart_wrapper.errors import MachineError
from headstart_wrapper.job import Sandbox
from headstart_wrapper.sandbox import policy, probe

HEADSTART = str(Path(sys.executable).with_name("headstart"))
NEEDED = {"pidfd_open", "TMPDIR", "open files", "start-up"}


def doctor(
    *arguments: str, before: tuple[str, ...] = (), cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*before, HEADSTART, "doctor", *arguments],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    return done


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {each["what"]: each for each in json.loads(done.stdout)["findings"]}


def program(directory: Path, name: str, script: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory for a PATH of our own."""
    (tmp_path / "tools").mkdir()
    return tmp_path / "tools"


def test_what_jobs_need_works_here_and_the_rest_has_a_next_step() -> None:
    done = doctor("--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["version"], told["works"]) == (0, 1, True), done.stdout
    for each in told["findings"]:
        assert each["meaning"], each
        assert (each["verdict"] == "ok") == (each["next_step"] is None), each
        assert "could not be told" not in each["meaning"], each
    found = findings(done)
    assert found.keys() >= NEEDED | {"guard (F_SETOWN, F_SETSIG)", "helper, subreaper (prctl)", "inotify"}
    for tried in ("guard (F_SETOWN, F_SETSIG)", "helper, subreaper (prctl)", "inotify"):
        assert found[tried]["verdict"] == "ok", found[tried]
    assert "median" in found["start-up"]["meaning"]
    for mode in Sandbox:
        try:
            policy.decide(mode, probe.available(mode), unavailable="fail")
        except MachineError:
            assert found[f"--sandbox={mode}"]["verdict"] == "missing"
        else:
            assert found[f"--sandbox={mode}"]["verdict"] == "ok"


def test_a_person_reads_aligned_lines_without_colour(tools: Path) -> None:
    done = doctor(PATH=str(tools))
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    verdicts = {
        match.start(1) for line in lines if (match := re.match(r"  \S.*?  +(ok|weaker|missing) ", line))
    }
    assert len(verdicts) == 1
    assert {line.index("next: ") for line in lines if "  next: " in line} == {
        verdicts.pop() + len("missing") + 2
    }
    assert lines[-1] == "Everything that is needed to run jobs works."


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_without_NO_COLOR(
    tools: Path, environment: dict[str, str], coloured: bool
) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [HEADSTART, "doctor"], stdout=theirs, env={**os.environ, "PATH": str(tools), **environment}
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO: the other end is closed
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    assert process.returncode == 0
    assert (b"\x1b[32mok" in shown) is coloured


def test_nothing_on_PATH_is_no_reason_to_fail(tools: Path) -> None:
    found = findings(doctor("--json", PATH=str(tools)))
    for name in ("compilers", "bazel", "process-wrapper on PATH", "strace"):
        assert (found[name]["verdict"], found[name]["needed"]) == ("missing", False)


def test_no_PATH_at_all_is_no_reason_to_fail() -> None:
    bare = subprocess.run(
        [HEADSTART, "doctor", "--json"], env={}, cwd="/", capture_output=True, text=True, check=False
    )
    assert (bare.returncode, bare.stderr) == (0, "")


def test_a_compiler_that_hangs_is_told_and_killed_with_what_it_started(tools: Path) -> None:
    program(tools, "cc", "/bin/sleep 99 & exec /bin/sleep 99")
    began = time.monotonic()
    found = findings(doctor("--json", PATH=str(tools)))
    assert time.monotonic() - began < 60
    assert found["cc"]["verdict"] == "weaker"
    assert "does not tell its version within 5 s; it was killed" in found["cc"]["meaning"]


def test_a_program_whose_child_holds_its_output_holds_nobody_up(tools: Path) -> None:
    pid = tools / "pid"
    said = programs.ask(
        [str(program(tools, "cc", f"(exec /bin/sleep 99) & echo $! > {pid}; echo cc 1.2"))], seconds=20
    )
    try:
        assert (said.exit_code, said.line) == (0, "cc 1.2")
        assert said.seconds < 15
    finally:
        os.kill(int(pid.read_text()), 9)


def test_strange_programs_are_told_in_one_line_each(tools: Path) -> None:
    program(tools, "gcc", r"printf '\n\033[31mgcc\033[0m \377 1.2.3\nmore\n'")
    program(tools, "clang", "echo no such toolchain >&2; exit 7")
    program(tools, "ghc", "kill -9 $$")
    (tools / "g++").write_text("no program")
    (tools / "g++").chmod(0o755)
    program(tools, "rustc", "echo rustc 1.20.0")
    done = doctor("--json", PATH=str(tools))
    found = findings(done)
    assert done.returncode == 0
    assert found["gcc"]["meaning"].startswith(f"{tools}/gcc: [31mgcc[0m \ufffd 1.2.3; dialect generic, ")
    assert (found["clang"]["verdict"], "no such toolchain" in found["clang"]["meaning"]) == ("weaker", True)
    assert "exit code -9" in found["ghc"]["meaning"]
    assert "cannot be executed" in found["g++"]["meaning"]
    assert "dialect rustc, libraries answer early" in found["rustc"]["meaning"]
    assert "outside 1.63 to 1.95" in found["rustc"]["meaning"]


@pytest.mark.parametrize(
    ("script", "verdict", "text"),
    [
        ("echo bazel 4.2.3", "ok", "4.2.3, the release that our tests run on"),
        ("echo bazel 7.1.0", "weaker", "7.1.0; our tests run on 4.2.3"),
        ("echo bazel no_version", "weaker", "no_version"),
    ],
)
def test_bazels_version_is_compared_with_the_one_that_is_tested(
    tools: Path, script: str, verdict: str, text: str
) -> None:
    program(tools, "bazel", script)
    found = findings(doctor("--json", PATH=str(tools)))["bazel"]
    assert (found["verdict"], text in found["meaning"]) == (verdict, True), found


def test_bazelisk_is_not_asked_because_it_would_fetch(tools: Path) -> None:
    program(tools, "bazelisk", f"echo x > {tools}/asked")
    (tools / "bazel").symlink_to("bazelisk")
    found = findings(doctor("--json", PATH=str(tools)))["bazel"]
    assert "bazelisk" in found["meaning"]
    assert not (tools / "asked").exists()


def test_another_program_of_our_name_is_told(tools: Path) -> None:
    program(tools, "process-wrapper", "echo 'usage: bazel'; exit 1")
    found = findings(doctor("--json", PATH=str(tools)))
    assert found["process-wrapper on PATH"]["verdict"] == "weaker"
    assert "is another program of this name" in found["process-wrapper on PATH"]["meaning"]


def test_a_wrapper_of_ours_that_does_not_work_stops_jobs(tools: Path) -> None:
    program(
        tools,
        "process-wrapper",
        'test "$1" = --version && echo process-wrapper 0.1.0 && exit; echo broken; exit 5',
    )
    done = doctor("--json", PATH=str(tools))
    assert done.returncode == 1
    assert findings(done)["start-up"]["verdict"] == "missing"
    assert "broken" in findings(done)["start-up"]["meaning"]
    assert "Jobs cannot be run here: start-up." in doctor(PATH=str(tools)).stdout


@pytest.mark.parametrize(
    ("head", "how"),
    [
        ("#!/usr/bin/python3 -ESP\n# Written by: headstart launcher\n", "our launcher"),
        ("#!/usr/bin/python3 -IS\nimport x\n", "our launcher"),
        ("#!/usr/bin/python3\nfrom headstart_worker.__main__ import main\n", "the installer's script"),
        ("#!/opt/a-S/bin/python3\nfrom headstart_worker.__main__ import main\n", "the installer's script"),
        ("#!/usr/bin/env bash\nexec pyenv exec process-wrapper\n", "pyenv's shim"),
        ("\x7fELF", "a compiled launcher"),
    ],
)
def test_how_a_wrapper_starts_is_told_from_its_first_lines(tmp_path: Path, head: str, how: str) -> None:
    (tmp_path / "process-wrapper").write_text(head)
    assert installation._how(tmp_path / "process-wrapper").startswith(how)


def test_too_few_descriptors_stop_jobs(tools: Path) -> None:
    done = doctor("--json", before=("/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh"), PATH=str(tools))
    found = findings(done)
    assert (done.returncode, found["open files"]["verdict"]) == (1, "missing")
    assert "ulimit -n" in found["open files"]["next_step"]


def test_a_jobserver_that_make_did_not_hand_on_is_told(tools: Path, tmp_path: Path) -> None:
    lost = findings(doctor("--json", PATH=str(tools), MAKEFLAGS=" -j2 --jobserver-auth=77,78"))["jobserver"]
    assert (lost["verdict"], "put + before" in lost["next_step"]) == ("weaker", True)
    os.mkfifo(tmp_path / "fifo")
    flags = f" -j2 --jobserver-auth=fifo:{tmp_path}/fifo"
    assert findings(doctor("--json", PATH=str(tools), MAKEFLAGS=flags))["jobserver"]["verdict"] == "ok"
    found = findings(doctor("--json", PATH=str(tools), MAKEFLAGS="", CARGO_MAKEFLAGS=""))
    assert found["jobserver"]["meaning"].startswith("none around us")


def test_a_foreign_proc_is_told(tools: Path) -> None:
    unshare = ("/usr/bin/unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")
    found = findings(doctor("--json", before=unshare, PATH=str(tools)))
    assert (found["/proc"]["verdict"], found["helper, subreaper (prctl)"]["verdict"]) == ("weaker", "weaker")


def test_nothing_is_left_in_the_directories_that_were_tried(tmp_path: Path, tools: Path) -> None:
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    doctor(cwd=here, PATH=str(tools), TMPDIR=str(temporary))
    assert (list(here.iterdir()), list(temporary.iterdir())) == ([], [])


def test_a_reader_that_leaves_and_a_poor_encoding_are_no_failures(tools: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    left = subprocess.run(
        [HEADSTART, "doctor"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "PATH": str(tools)},
        check=False,
    )
    os.close(theirs)
    assert (left.returncode, left.stderr) == (0, b"")
    program(tools, "cc", "printf 'c\\303\\251 1.0\\n'")
    assert "c? 1.0" in doctor(PATH=str(tools), PYTHONIOENCODING="ascii").stdout


def test_a_probe_that_trips_is_a_finding_and_ends_no_other() -> None:
    def trips() -> list[finding.Finding]:
        """The thing."""
        raise OSError(13, "Permission denied")

    def works() -> list[finding.Finding]:
        return [finding.ok("x", "y")]

    probes: list[Callable[[], list[finding.Finding]]] = [trips, works]
    first, second = finding.found("group", probes)
    assert (first.what, first.verdict, second.verdict) == ("The thing", "weaker", "ok")
    assert "Permission denied" in first.meaning


def test_wrong_use_is_told() -> None:
    done = subprocess.run([HEADSTART, "doctor", "--no-such"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "--no-such" in done.stderr
