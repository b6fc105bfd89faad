"""The flags of Bazel's process-wrapper: the same command lines given to it and to ours, side by side.

Where the two differ on purpose, the difference is in the table of the test.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from execution_statistics import decoded
from process.support import PATIENCE, Fifo, entries, gone

MakeFifo = Callable[[str], Fifo]

BAZELS: Final = shutil.which("process-wrapper", path=":".join(map(str, Path("/usr/libexec").glob("*/bazel"))))
OURS: Final = "ours"

FOR_EVER: Final = "while :; do sleep 0.05; done"
"""For a shell with a trap: what comes while it starts a process is seen at the next turn, which a `wait` may miss."""


class Wrapper:
    """One of the two programs."""

    def __init__(self, name: str, directory: Path) -> None:
        self.is_ours = name == OURS
        self._directory = directory
        self._command = [sys.executable, "-m", "headstart_worker"] if self.is_ours else [str(BAZELS)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            [*self._command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._directory,
            timeout=60,
        )

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Starts it."""
        with subprocess.Popen(
            [*self._command, *arguments], cwd=self._directory, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()  # a job that does not end ends a test, not the tests


def terminate(process: subprocess.Popen[str]) -> None:
    """Sends TERM to a wrapper that handles it: Bazel's starts its job before it is ready for signals."""
    deadline = time.monotonic() + PATIENCE
    while not _handles_term(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)


def _handles_term(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


@pytest.fixture(
    params=[
        OURS,
        pytest.param(
            "Bazel's",
            marks=pytest.mark.skipif(BAZELS is None, reason="Bazel's process-wrapper is not installed"),
        ),
    ]
)
def wrapper(request: pytest.FixtureRequest, tmp_path: Path) -> Wrapper:
    """Each of the two, in a directory of the test's."""
    return Wrapper(request.param, tmp_path)


SPELLINGS = [
    *(["-t", "5"], ["-t5"], ["-t", "7.5"], ["-t", "7."], ["--timeout=5"], ["--timeout", "5"], ["-t", "0"]),
    *(["-k", "2"], ["-k.25"], ["--kill_delay=1"], ["--kill_delay", "1.5"]),
    *(["-g"], ["--graceful_sigterm"], ["-gt5"], ["-gk2", "-t", "5"]),
    *(["-o", "-"], ["--stdout=-"], ["-e-"], ["--stderr", "-"]),
]


@pytest.mark.parametrize("separator", [["--"], []], ids=["--", "without --"])
def test_every_spelling_runs_the_command(wrapper: Wrapper, separator: list[str]) -> None:
    for flags in SPELLINGS:
        done = wrapper.run(*flags, *separator, "sh", "-c", "echo out; echo err >&2; exit 3")
        assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n"), flags


@pytest.mark.parametrize("flag", ["-d", "--debug"])
def test_debug_talks_on_stderr_only(wrapper: Wrapper, flag: str) -> None:
    done = wrapper.run(flag, "-k1", "--", "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")


@pytest.mark.parametrize("flags", [["-t"], ["-t", "x"], ["-k", "x"], ["-x"], ["--nothing"], ["-o"], []])
def test_bad_use_runs_nothing(wrapper: Wrapper, tmp_path: Path, flags: list[str]) -> None:
    command = ["--", "touch", "ran"] if flags and flags[-1] not in {"-t", "-o"} else []
    done = wrapper.run(*flags, *command)
    assert done.returncode == (125 if wrapper.is_ours else 1)
    assert done.stdout == ""
    assert done.stderr
    assert entries(tmp_path) == []


@pytest.mark.parametrize("out", ["-o", "--stdout"])
@pytest.mark.parametrize("err", ["-e", "--stderr"])
def test_redirections_replace_what_was_there(wrapper: Wrapper, tmp_path: Path, out: str, err: str) -> None:
    for name in ("out", "err"):
        (tmp_path / name).write_text("something longer than what is written now\n")
    done = wrapper.run(out, "out", err, "err", "--", "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "")
    assert [(tmp_path / name).read_text() for name in ("out", "err")] == ["out\n", "err\n"]


def test_both_streams_in_one_file_keep_their_order(wrapper: Wrapper, tmp_path: Path) -> None:
    script = "for x in 1 2 3; do echo out $x; echo err $x >&2; done"
    assert wrapper.run("-o", "log", "-e", "log", "--", "sh", "-c", script).returncode == 0
    assert (tmp_path / "log").read_text() == "".join(f"out {x}\nerr {x}\n" for x in "123")


def test_a_redirection_that_cannot_be_runs_nothing(wrapper: Wrapper, tmp_path: Path) -> None:
    done = wrapper.run("-o", "none/out", "--", "touch", "ran")
    assert done.returncode == (125 if wrapper.is_ours else 1)
    assert "none/out" in done.stderr
    assert entries(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_death_by_signal_is_died_again(wrapper: Wrapper, number: signal.Signals) -> None:
    for flags in ([], ["-k1"], ["-g"], ["-t9"]):
        assert wrapper.run(*flags, "--", "sh", "-c", f"kill -{number} $$").returncode == -number


@pytest.mark.parametrize("flags", [["-t2.9", "-k9"], ["--timeout=2.9", "--kill_delay=9"]])
def test_a_timeout_is_a_term_to_the_group(wrapper: Wrapper, flags: list[str]) -> None:
    script = f"trap 'echo TERM; exit 7' TERM; {FOR_EVER}"
    done = wrapper.run(*flags, "--", "sh", "-c", script)
    assert done.stdout == "TERM\n"
    # A timeout has an exit code of its own with us; Bazel's dies of its alarm clock.
    assert done.returncode == (124 if wrapper.is_ours else -signal.SIGALRM)


async def test_a_timeout_is_a_kill_after_the_delay(wrapper: Wrapper, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    script = (
        f"trap '' TERM; sh -c 'echo $$ > {pids}; while :; do sleep 99; done' & while :; do sleep 99; done"
    )
    done = wrapper.run("-t", "2.9", "-k", "0.1", "--", "sh", "-c", script)
    assert done.returncode == (124 if wrapper.is_ours else -signal.SIGALRM)
    await gone(await pids.pid())


@pytest.mark.parametrize("flag", ["-g", "--graceful_sigterm"])
@pytest.mark.parametrize("code", [0, 7])
def test_a_graceful_term_is_passed_on_and_is_our_end(wrapper: Wrapper, flag: str, code: int) -> None:
    script = f"trap 'echo TERM; exit {code}' TERM; echo ready; {FOR_EVER}"
    with wrapper.running(flag, "-k9", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        terminate(process)
        assert process.communicate(timeout=20)[0] == "TERM\n"
        assert process.wait(20) == -signal.SIGTERM


async def test_a_graceful_term_is_a_kill_after_the_delay(wrapper: Wrapper, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    script = (
        f"trap '' TERM; sh -c 'echo $$ > {pids}; while :; do sleep 99; done' & while :; do sleep 99; done"
    )
    with wrapper.running("-g", "-k0.3", "--", "sh", "-c", script) as process:
        child = await pids.pid()
        terminate(process)
        assert process.wait(20) == -signal.SIGTERM
    await gone(child)


def test_a_term_that_is_not_graceful(wrapper: Wrapper) -> None:
    script = f"trap 'echo TERM; exit 7' TERM; echo ready; {FOR_EVER}"
    with wrapper.running(
        "-k9", *(["--stay"] if wrapper.is_ours else []), "--", "sh", "-c", script
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        terminate(process)
        # We pass it on, and the job decides; Bazel's kills at once.
        assert process.communicate(timeout=20)[0] == ("TERM\n" if wrapper.is_ours else "")
        assert process.wait(20) == (7 if wrapper.is_ours else -signal.SIGTERM)


async def test_what_the_job_leaves_running_is_ended(wrapper: Wrapper, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    done = wrapper.run("-t9", "--", "sh", "-c", f"sleep 99 & echo $! > {pids}")
    assert done.returncode == 0
    await gone(await pids.pid())


@pytest.mark.parametrize("flag", [["-s", "usage"], ["-susage"]])
def test_statistics_are_bazels_message(wrapper: Wrapper, tmp_path: Path, flag: list[str]) -> None:
    assert wrapper.run(*flag, "--", "sh", "-c", "exit 3").returncode == 3
    assert decoded((tmp_path / "usage").read_bytes())["maxrss"] > 0


def test_long_statistics_are_json_unless_bazels_are_asked_for(tmp_path: Path) -> None:
    ours = Wrapper(OURS, tmp_path)
    assert ours.run("--stats=usage", "--", "true").returncode == 0
    assert (tmp_path / "usage").read_text().startswith("{")
    assert ours.run("--stats=usage", "--stats-format=bazel", "--", "true").returncode == 0
    assert decoded((tmp_path / "usage").read_bytes())["maxrss"] > 0


def test_of_a_job_that_is_ended_no_output_stays(tmp_path: Path) -> None:
    script = "echo half > out; echo ready; sleep 99"
    with Wrapper(OURS, tmp_path).running("-g", "--output=out", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        terminate(process)
        assert process.wait(20) == -signal.SIGTERM
    assert entries(tmp_path) == []


def test_a_term_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    ignoring = ("sh", "-c", 'trap "" TERM; exec "$@"', "sh")
    script = "echo ready; read x; echo $x"
    with subprocess.Popen(
        [*ignoring, sys.executable, "-m", "headstart_worker", "-g", "-k0", "--", "sh", "-c", script],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        process.stdin.write("went on\n")
        process.stdin.flush()
        assert process.stdout.read() == "went on\n"
        assert process.wait(20) == 0
