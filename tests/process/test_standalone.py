"""`process-wrapper` as a program in front of a compiler: exit codes, streams, signals, files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from process.support import Fifo, gone
from survivors import is_alive

MakeFifo = Callable[[str], Fifo]

WRAPPER = (sys.executable, "-m", "headstart_worker")
BESIDE = "--stay"
"""Nothing is left to do after many of these jobs; this keeps the wrapper, which is what is tested here, beside them."""


def wrapper(
    *arguments: str, cwd: Path | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*WRAPPER, BESIDE, *arguments], capture_output=True, check=False, cwd=cwd, input=stdin, timeout=60
    )


@contextlib.contextmanager
def running(*arguments: str, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*before, *WRAPPER, BESIDE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        yield process


def test_streams_stay_apart_and_bytes_stay_bytes() -> None:
    done = wrapper("--", "sh", "-c", r"cat; printf 'a\377\000b'; printf 'e\200' >&2; exit 3", stdin=b"in")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"ina\xff\x00b", b"e\x80")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--", "sh", "-c", "exit 42"), 42, ""),
        (("true",), 0, ""),
        (("--timeout=0.05", "--", "sleep", "60"), 124, "--timeout"),
        (("--timeout", "0.05", "--kill-delay", "0.05", "--", "sh", "-c", "trap '' TERM; sleep 60"), 124, ""),
        (("--no-such", "--", "true"), 125, "--no-such"),
        (("--",), 125, "no command"),
        ((), 125, "no command"),
        (("@none.params",), 125, "none.params"),
        (("--", "./plain"), 126, "chmod"),
        (("--", "no-such-command"), 127, "PATH"),
        (("--", "./no-such"), 127, "does not exist"),
        (("--", "sh", "-c", "kill -TERM $$"), -signal.SIGTERM, "SIGTERM"),
        (("--", "sh", "-c", "kill -SEGV $$"), -signal.SIGSEGV, "SIGSEGV"),
        (("--", "sh", "-c", "kill -KILL $$"), -signal.SIGKILL, "SIGKILL"),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: tuple[str, ...], code: int, text: str) -> None:
    (tmp_path / "plain").write_text("")
    done = wrapper(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert text in done.stderr.decode()
    if text:
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith("process-wrapper: ")


def test_params_files_are_more_of_the_same_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.params").write_text("--env=X=from params\n@b.params\n")
    (tmp_path / "b.params").write_text('--\nsh\n-c\nprintf \'%s|\' "$X" "$@"\nsh\n@c.params\n')
    done = wrapper("@a.params", "@@x", "--flagfile=z", cwd=tmp_path)
    assert done.stdout == b"from params|@c.params|@@x|--flagfile=z|"
    assert wrapper("--flagfile=a.params", cwd=tmp_path).stdout == b"from params|@c.params|"


def test_underscores_and_separate_values_are_accepted() -> None:
    assert wrapper("--kill_delay", "1", "--timeout=5", "--", "true").returncode == 0


async def test_the_job_has_a_group_of_its_own_and_it_is_swept(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    done = wrapper("--", "sh", "-c", f"sleep 99 & echo $! > {pids}; echo $(ps -o pgid= -p $$) $$")
    assert done.returncode == 0
    group, leader = done.stdout.split()
    assert group == leader
    await gone(await pids.pid())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
async def test_signals_reach_the_whole_group_and_its_death_is_ours(
    fifo: MakeFifo, number: signal.Signals
) -> None:
    pids = fifo("pids")
    # `exec sleep` and not a shell: shells do not die of INT before their child did
    with running(
        "--", "sh", "-c", f"sleep 99 & echo $! > {pids}; echo $$ > {pids}; exec sleep 99"
    ) as process:
        found = [await pids.pid(), await pids.pid()]
        process.send_signal(number)
        assert process.wait(20) == -number
    await gone(found[1])
    assert not is_alive(found[1])


async def test_a_job_that_handles_a_signal_decides_itself(fifo: MakeFifo) -> None:
    ready = fifo("ready")
    script = f"trap 'exit 9' TERM; echo > {ready}; while :; do sleep 99 & wait; done"
    with running("--", "sh", "-c", script) as process:
        await ready.line()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 9


def await_stopped(pid: int) -> None:
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


async def test_stop_and_continue_reach_the_job(fifo: MakeFifo) -> None:
    pids, go = fifo("pids"), fifo("go")
    with running("--", "sh", "-c", f"echo $$ > {pids}; read x < {go}; exit 5") as process:
        job = await pids.pid()
        process.send_signal(signal.SIGTSTP)
        await_stopped(process.pid)
        process.send_signal(signal.SIGCONT)
        go.go()
        assert process.wait(20) == 5
        assert not is_alive(job)


async def test_what_was_ignored_stays_ignored(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    with running("--", "sh", "-c", f"echo $$ > {pids}; exec sleep 99", before=("nohup",)) as process:
        job = await pids.pid()
        process.send_signal(signal.SIGHUP)
        assert is_alive(job)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM


def test_half_written_outputs_of_a_killed_job_are_removed(tmp_path: Path) -> None:
    script = "echo half > out; echo other > undeclared; kill -TERM $$"
    wrapper("--output=out", "--", "sh", "-c", script, cwd=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["undeclared"]


def test_a_pipelined_job_runs_whole(tmp_path: Path) -> None:
    for phase in ("early", "full"):
        done = wrapper(
            f"--phase={phase}",
            "--early-output=o/e",
            "--output=o/f",
            "--explain",
            "--",
            "sh",
            "-c",
            "echo e > o/e; echo f > o/f; echo said",
            cwd=tmp_path,
        )
        assert (done.returncode, done.stdout) == (0, b"said\n"), done
        assert b"process-wrapper: early outputs are told complete" in done.stderr
    assert (tmp_path / "o/f").read_text() == "f\n"


def test_a_reader_that_goes_away_ends_the_job() -> None:
    script = f"{' '.join(WRAPPER)} {BESIDE} -- yes | head -n 1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"y\n"


def test_one_job_pays_for_neither_trio_nor_protobuf() -> None:
    script = (
        "import sys; sys.argv = ['x', '--stay', '--', 'true']\n"
        "from headstart_worker.__main__ import main\n"
        "from headstart_wrapper import console\n"
        "console.leave = lambda code: print(code, *sys.modules)\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    code, *modules = done.stdout.split()
    assert code == "0"
    assert "headstart_wrapper.standalone" in modules
    assert not {"trio", "google", "google.protobuf", "asyncio", "elftools", "attrs", "attr"} & set(modules)


def test_help_and_version() -> None:
    shown = wrapper("--help")
    assert shown.returncode == 0
    assert b"usage: process-wrapper" in shown.stdout
    assert wrapper("--version").stdout.startswith(b"process-wrapper ")


@pytest.mark.parametrize("options", ["", BESIDE])
@pytest.mark.parametrize(("command", "code"), [("true", 0), ("no-such-command", 127)])
def test_nobody_needs_to_listen(options: str, command: str, code: int) -> None:
    closed = f'"{sys.executable}" -m headstart_worker {options} -- {command} <&- >&- 2>&-'
    assert subprocess.run(["/bin/sh", "-c", closed], check=False, timeout=60).returncode == code
