"""Early outputs of a job on its own are told once: by a line to a descriptor or into a fifo, by a command that is run."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from process.support import PATIENCE, Fifo, gone, until_it_waits

MakeFifo = Callable[[str], Fifo]

WRAPPER = (sys.executable, "-m", "headstart_worker")
EARLY = "--early-output=o/e"


@contextlib.contextmanager
def running(*arguments: str, cwd: Path, give: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*WRAPPER, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=give,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # harmless when it has ended; else a failed test would wait for it


def done(*arguments: str, cwd: Path, give: tuple[int, ...] = ()) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*WRAPPER, *arguments], cwd=cwd, capture_output=True, check=False, pass_fds=give, timeout=60
    )


def until_closed(descriptor: int) -> bytes:
    """All that comes until the last writer is gone."""
    said = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        assert poll.poll(PATIENCE * 1000), f"nothing more came after {said!r}"
        data = os.read(descriptor, 4096)
        if not data:
            return said
        said += data


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):  # the test closed it
            os.close(end)


def sh(script: str) -> tuple[str, ...]:
    return ("--", "sh", "-c", script)


def lines(text: bytes) -> list[str]:
    return text.decode().splitlines()


async def test_a_descriptor_is_told_and_closed_while_the_job_goes_on(
    tmp_path: Path, fifo: MakeFifo, pipe: tuple[int, int]
) -> None:
    """That it is closed shows too that the compiler, which still runs, has not got it."""
    go, (reader, writer) = fifo("go"), pipe
    script = f"echo e > o/e; read x < {go}; echo f > o/f"
    with running(f"--early-fd={writer}", EARLY, *sh(script), cwd=tmp_path, give=(writer,)) as process:
        os.close(writer)
        assert until_closed(reader) == b"0\n"
        assert (tmp_path / "o/e").read_text() == "e\n"
        assert not (tmp_path / "o/f").exists()
        go.go()
        assert process.wait(20) == 0
    assert (tmp_path / "o/f").read_text() == "f\n"


@pytest.mark.parametrize(
    ("options", "command", "code"),
    [
        ((), sh("exit 4"), 4),
        ((), sh("kill -KILL $$"), 137),
        (("--timeout=0.05",), sh("sleep 60"), 124),
        ((), ("--", "./none"), 127),
        ((), ("--", "./plain"), 126),
        ((), sh(":"), 125),
        ((), sh(": > o/e"), 0),
        ((), sh("echo e > o/e"), 0),
        (("--phase=early",), sh("echo e > o/e"), 0),
        (("--phase=early", "--stop-after-early"), sh("echo e > o/e; sleep 60"), 0),
        (("--stats=none/s",), sh("exit 4"), 4),
    ],
)
def test_the_line_is_the_early_halfs_exit_code(
    tmp_path: Path, options: tuple[str, ...], command: tuple[str, ...], code: int
) -> None:
    """An empty early output is none: what is told then is the end."""
    (tmp_path / "plain").write_text("")
    with (tmp_path / "told").open("wb") as told:
        ended = done(
            f"--early-fd={told.fileno()}", EARLY, *options, *command, cwd=tmp_path, give=(told.fileno(),)
        )
    assert (tmp_path / "told").read_text() == f"{code}\n"
    assert ended.returncode == (128 - code if code > 128 else code)


def test_who_is_told_of_a_failure_finds_all_that_was_said_of_it(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    with (tmp_path / "log").open("wb") as log:
        command = [
            *WRAPPER,
            f"--early-fd={writer}",
            EARLY,
            "--stats=stats",
            *sh("echo no >&2; kill -KILL $$"),
        ]
        with subprocess.Popen(command, cwd=tmp_path, stderr=log, pass_fds=(writer,)) as process:
            os.close(writer)
            assert until_closed(reader) == b"137\n"
            said, stats = (tmp_path / "log").read_text(), (tmp_path / "stats").read_text()
            process.wait(20)
    assert lines(said.encode()) == ["no", "process-wrapper: sh was killed by signal 9 (SIGKILL)"]
    assert '"exit_code": 137' in stats


def test_a_failure_after_the_early_outputs_is_the_jobs_and_not_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    for script, code in (("exit 4", 4), ("echo f > o/e", 70)):
        with (tmp_path / "told").open("wb") as told:
            ended = done(
                f"--early-fd={told.fileno()}",
                EARLY,
                "--on-early=echo > go",
                *sh(f"echo e > o/e; read x < go; {script}"),
                cwd=tmp_path,
                give=(told.fileno(),),
            )
        assert ended.returncode == code
        assert (tmp_path / "told").read_text() == "0\n"


def test_a_job_that_told_nothing_can_be_ended_while_its_statistics_have_no_reader(
    tmp_path: Path, pipe: tuple[int, int]
) -> None:
    os.mkfifo(tmp_path / "stats")
    options = (EARLY, f"--early-fd={pipe[1]}", "--stats=stats")
    with running(*options, *sh("exit 4"), cwd=tmp_path, give=pipe[1:]) as process:
        os.close(pipe[1])
        until_it_waits(process.pid, where="wait_for_partner")  # fifo(7)
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM


def test_a_reader_that_is_gone_costs_nothing(tmp_path: Path, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    ended = done(f"--early-fd={writer}", EARLY, *sh("echo e > o/e"), cwd=tmp_path, give=(writer,))
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_full_disk_is_no_reader_that_is_gone(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = done(
            f"--early-fd={full.fileno()}", EARLY, *sh("echo e > o/e"), cwd=tmp_path, give=(full.fileno(),)
        )
    assert ended.returncode == 125
    (line,) = lines(ended.stderr)
    assert line.startswith("process-wrapper: --early-fd=")
    assert "cannot be written: No space left" in line


async def test_a_full_pipe_does_not_hold_up_the_job(
    tmp_path: Path, fifo: MakeFifo, pipe: tuple[int, int]
) -> None:
    pids, (reader, writer) = fifo("pids"), pipe
    os.set_blocking(writer, False)
    filled = os.write(writer, b"x" * (1 << 20))
    os.set_blocking(writer, True)
    script = f"echo e > o/e; echo $$ > {pids}; exec sleep 99"
    with running(
        f"--early-fd={writer}", EARLY, "--timeout=3", *sh(script), cwd=tmp_path, give=(writer,)
    ) as process:
        os.close(writer)
        await gone(await pids.pid())
        assert process.poll() is None
        assert until_closed(reader) == b"x" * filled + b"0\n"
        assert process.wait(20) == 124


async def test_a_fifo_without_a_reader_holds_up_our_end_only(tmp_path: Path, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    os.mkfifo(tmp_path / "told")
    script = f"echo e > o/e; echo $$ > {pids}; exec sleep 99"
    with running("--early-fifo=told", EARLY, "--timeout=3", *sh(script), cwd=tmp_path) as process:
        await gone(await pids.pid())
        assert process.poll() is None
        assert (tmp_path / "told").read_text() == "0\n"
        assert process.wait(20) == 124


async def test_the_reader_of_a_fifo_is_told_while_the_job_goes_on(tmp_path: Path, fifo: MakeFifo) -> None:
    """In both orders: the reader waits already, or comes later."""
    for late in (False, True):
        go, ready = fifo(f"go-{late}"), fifo(f"ready-{late}")
        told = tmp_path / f"told-{late}"
        os.mkfifo(told)
        script = f"read x < {go}; echo e > o/e; echo > {ready}; read x < {go}"
        with running(f"--early-fifo={told}", EARLY, *sh(script), cwd=tmp_path) as process:
            reader = -1 if late else os.open(told, os.O_RDONLY | os.O_NONBLOCK)
            go.go()
            await ready.line()
            if late:
                reader = os.open(told, os.O_RDONLY)
            try:
                poll = select.poll()
                poll.register(reader, select.POLLIN)
                assert poll.poll(PATIENCE * 1000)
                assert os.read(reader, 10) == b"0\n"
                assert until_closed(reader) == b""
                assert process.poll() is None
            finally:
                os.close(reader)
            go.go()
            assert process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("script", ["echo e > o/e; echo $$ > {pids}", "echo $$ > {pids}; exit 4"])
async def test_a_signal_ends_the_wait_for_a_reader(
    tmp_path: Path, fifo: MakeFifo, number: signal.Signals, script: str
) -> None:
    pids = fifo("pids")
    os.mkfifo(tmp_path / "told")
    with running("--early-fifo=told", EARLY, *sh(script.format(pids=pids)), cwd=tmp_path) as process:
        await gone(await pids.pid())
        until_it_waits(process.pid, threads=2)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == (4 if "exit 4" in script else -number)
    assert f"--early-fifo=told had no reader when {number.name} came" in said.decode()


async def test_a_signal_that_ends_the_job_ends_us_without_a_reader(tmp_path: Path, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    os.mkfifo(tmp_path / "told")
    with running(
        "--early-fifo=told", EARLY, *sh(f"echo $$ > {pids}; exec sleep 99"), cwd=tmp_path
    ) as process:
        await pids.pid()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT


def test_a_command_runs_in_the_jobs_directory_and_environment(tmp_path: Path) -> None:
    ended = done(
        EARLY,
        "--env=X=y",
        "--on-early=pwd; echo $X; cat; cat o/e; echo said >&2; ps -o pgid= -p $$; echo $$",
        *sh("echo e > o/e"),
        cwd=tmp_path,
    )
    *said, group, pid = ended.stdout.split()
    assert (ended.returncode, ended.stderr) == (0, b"said\n")
    assert said == [str(tmp_path).encode(), b"y", b"e"]
    assert group == pid


async def test_a_command_runs_while_the_job_goes_on_and_is_waited_for(tmp_path: Path, fifo: MakeFifo) -> None:
    job, command, go = fifo("job"), fifo("command"), fifo("go")
    with running(
        EARLY,
        f"--on-early=echo $$ > {command}; read x < {go}",
        *sh(f"echo e > o/e; echo $$ > {job}; read x < {go}; echo f > o/f"),
        cwd=tmp_path,
    ) as process:
        both = {await job.pid(), await command.pid()}
        go.go()
        go.go()
        for pid in both:
            await gone(pid)
        assert process.wait(20) == 0


async def test_what_a_command_leaves_running_is_ended(tmp_path: Path, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    ended = done(EARLY, f"--on-early=sleep 99 & echo $! > {pids}", *sh("echo e > o/e"), cwd=tmp_path)
    assert ended.returncode == 0
    await gone(await pids.pid())


CLEANS = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
print(os.getpid(), file=open(sys.argv[1], "w"), flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGHUP})
print("cleaned")
"""


def test_a_command_runs_at_the_end_of_a_job_that_told_nothing_early(tmp_path: Path) -> None:
    ended = done(EARLY, "--on-early=cat o/f", *sh(": > o/e; echo f > o/f"), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, b"f\n")


def test_a_line_comes_before_the_command(tmp_path: Path) -> None:
    with (tmp_path / "told").open("wb") as told:
        ended = done(
            f"--early-fd={told.fileno()}",
            EARLY,
            "--on-early=cat told",
            *sh("echo e > o/e"),
            cwd=tmp_path,
            give=(told.fileno(),),
        )
    assert ended.stdout == b"0\n"


@pytest.mark.parametrize(
    ("script", "command", "code", "ran"),
    [
        ("exit 4", "echo ran", 4, False),
        (":", "echo ran", 125, False),
        ("echo e > o/e", "echo ran; exit 3", 125, True),
        ("echo e > o/e", "echo ran; kill -KILL $$", 125, True),
        ("echo e > o/e; read x < go; exit 4", "echo ran; echo > go; exit 3", 4, True),
    ],
)
def test_a_commands_failure_is_ours(
    tmp_path: Path, script: str, command: str, code: int, *, ran: bool
) -> None:
    os.mkfifo(tmp_path / "go")
    ended = done(EARLY, f"--on-early={command}", *sh(script), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, b"ran\n" if ran else b"")
    assert (b"the command of --on-early" in ended.stderr) == ran
    if ran:
        (line,) = lines(ended.stderr)
        assert line.startswith("process-wrapper: ")
        assert repr(command) in line


@pytest.mark.parametrize("way", ["timeout", "term", "term after the job", "own death"])
async def test_I2_a_command_is_ended_with_the_job(tmp_path: Path, fifo: MakeFifo, way: str) -> None:
    """Also one that ignores TERM, and what it started."""
    job, command, go = fifo("job"), fifo("command"), fifo("go")
    then = {"own death": "kill -SEGV $$", "term after the job": "exit 0"}.get(way, "exec sleep 99")
    with running(
        EARLY,
        f"--on-early=trap '' TERM; sleep 99 & echo $$ > {command}; echo $! > {command}; wait",
        "--kill-delay=0.1",
        *(("--timeout=5",) if way == "timeout" else ()),
        *sh(f"echo e > o/e; echo $$ > {job}; read x < {go}; {then}"),
        cwd=tmp_path,
    ) as process:
        leader, *pids = await job.pid(), await command.pid(), await command.pid()
        go.go()
        if way == "term after the job":
            await gone(leader)
        if way.startswith("term"):
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        for pid in pids:
            await gone(pid)
    assert process.returncode == {"timeout": 124, "own death": -signal.SIGSEGV}.get(way, -signal.SIGTERM), (
        said
    )


async def test_a_command_hears_of_the_end_first(tmp_path: Path, fifo: MakeFifo) -> None:
    """However the end comes: as a signal to us, or with the job."""
    for options, number, then in (
        ((), signal.SIGTERM, "exec sleep 99"),
        ((), signal.SIGHUP, "exit 0"),
        (("--timeout=8",), None, "exec sleep 99"),
    ):
        command, job = fifo(f"command-{number}"), fifo(f"job-{number}")
        with running(
            EARLY,
            f"--on-early=exec {sys.executable} -c '{CLEANS}' '{command}'",
            "--kill-delay=20",
            *options,
            *sh(f"echo e > o/e; echo $$ > {job}; {then}"),
            cwd=tmp_path,
        ) as process:
            leader, _ = await job.pid(), await command.pid()
            if then == "exit 0":
                await gone(leader)
            if number is not None:
                process.send_signal(number)
            said, _ = process.communicate(timeout=20)
        assert said == b"cleaned\n"


INTERRUPTED_START = """
import os, signal
from headstart_wrapper import announce
from headstart_wrapper.job import Job, Outcome
started = announce._started

def slowly(*arguments):
    group = started(*arguments)
    with open("ready") as ready:
        ready.read()
    announcer.interrupt(signal.SIGHUP)
    return group

announce._started = slowly
command = "trap 'echo heard; exit' HUP; sleep 99 & echo > ready; wait"
announcer = announce.Announcer(Job(command=("true",), on_early=command, kill_delay=20))
announcer.complete(cwd=os.getcwd(), env=os.environ)
announcer.finished(Outcome(exit_code=0))
"""
"""The command is there, and whoever starts it does not know it yet when the signal comes."""


def test_a_signal_that_comes_while_the_command_starts_is_told_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ready")
    command = [sys.executable, "-c", INTERRUPTED_START]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert ended.stdout == b"heard\n", ended.stderr


async def test_I3_a_command_does_not_survive_our_kill(tmp_path: Path, fifo: MakeFifo) -> None:
    job, command = fifo("job"), fifo("command")
    with running(
        EARLY,
        f"--on-early=sleep 99 & echo $$ > {command}; echo $! > {command}; wait",
        *sh(f"echo e > o/e; echo $$ > {job}; exec sleep 99"),
        cwd=tmp_path,
    ) as process:
        pids = [await job.pid(), await command.pid(), await command.pid()]
        until_it_waits(process.pid)  # the guard is in force when the start is over
        process.kill()
        process.wait(20)
    for pid in pids:
        await gone(pid)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--early-fd=77", EARLY), "--early-fd=77 is not open"),
        (("--early-fd={read}", EARLY), "open for reading only"),
        (("--early-fd=1", EARLY), "--early-fd=1 is"),
        (("--early-fd=x", EARLY), "--early-fd=x"),
        (("--early-fifo=plain", EARLY), "--early-fifo=plain is no fifo"),
        (("--early-fifo=none", EARLY), "mkfifo none"),
        (("--early-fifo=plain/x", EARLY), "--early-fifo=plain/x"),
        (("--early-fifo=", EARLY), "--early-fifo"),
        (("--on-early=true",), "--early-output"),
        (("--early-fd=77",), "--early-output"),
        (("--early-fifo=x",), "--early-output"),
        (("--on-early=true", "--phase=full", EARLY), "--phase=early"),
        (("--early-fifo=fifo", "--phase=full", EARLY), "--phase=early"),
    ],
)
def test_bad_uses_are_one_sentence_and_nothing_is_started(
    tmp_path: Path, options: tuple[str, ...], text: str, pipe: tuple[int, int]
) -> None:
    (tmp_path / "plain").write_text("")
    os.mkfifo(tmp_path / "fifo")
    reader, _ = pipe
    words = [option.format(read=reader) for option in options]
    ended = done(*words, *sh("echo started"), cwd=tmp_path, give=(reader,))
    assert (ended.returncode, ended.stdout) == (125, b"")
    (line,) = lines(ended.stderr)
    assert line.startswith("process-wrapper: ")
    assert text in line
