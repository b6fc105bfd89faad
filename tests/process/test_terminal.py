"""A job at a terminal: behind the wrapper that stays everything is as it is without one, or as behind the one that does not.

Done-when 4 of the standalone wrapper. Every test of a whole behaviour runs both.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from process.pty_shell import END, INTERRUPT, QUIT, SUSPEND, Terminal
from process.support import PATIENCE, Fifo
from survivors import await_exit, is_alive, state

MakeFifo = Callable[[str], Fifo]

PROGRAM = f"{shlex.quote(sys.executable)} -m headstart_worker"
STAYS = f"{PROGRAM} --stay --"
BECOMES = f"{PROGRAM} --"

both = pytest.mark.parametrize("wrapper", [STAYS, BECOMES], ids=["stays", "becomes"])


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(cwd=tmp_path) as made:
        yield made


def sh(script: str) -> str:
    return f"sh -c {shlex.quote(script)}"


def job(wrapper: str, script: str) -> str:
    return f"{wrapper} {sh(script)}"


def await_true(condition: Callable[[], bool]) -> None:
    """For what the kernel tells nobody of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def await_reader(terminal: Terminal, pid: int) -> None:
    """Waits until a process waits for keys."""
    await_true(lambda: terminal.foreground == os.getpgid(pid) and state(pid) == "S")


@both
@pytest.mark.parametrize(("key", "number"), [(INTERRUPT, signal.SIGINT), (QUIT, signal.SIGQUIT)])
def test_a_typed_end_ends_the_job_and_the_shell_sees_it(
    terminal: Terminal, wrapper: str, key: str, number: int
) -> None:
    terminal.line(job(wrapper, "ulimit -c 0; echo pid=$$; exec sleep 99"))
    pid = terminal.number("pid")
    terminal.keys(key)
    assert terminal.code() == 128 + number
    assert not is_alive(pid)


@both
def test_a_job_that_handles_a_typed_end_decides_itself(terminal: Terminal, wrapper: str) -> None:
    terminal.line(job(wrapper, "trap 'exit 9' INT; echo pid=$$; while :; do :; done"))
    terminal.number("pid")
    terminal.keys(INTERRUPT)
    assert terminal.code() == 9


@both
@pytest.mark.parametrize("again", ["fg", "bg; wait"])
def test_a_typed_stop_stops_the_job_and_it_goes_on(
    terminal: Terminal, fifo: MakeFifo, wrapper: str, again: str
) -> None:
    go = fifo("go")
    terminal.line(job(wrapper, f"echo pid=$$; read x < {go}; echo went on; exit 7"))
    pid = terminal.number("pid")
    terminal.keys(SUSPEND)
    terminal.shows("Stopped")
    assert state(pid) == "T"
    assert terminal.code() == 128 + signal.SIGTSTP
    terminal.line(again)
    go.go()
    terminal.shows("went on")
    if again == "fg":
        assert terminal.code() == 7


@both
def test_a_job_that_ignores_a_typed_stop_goes_on(terminal: Terminal, fifo: MakeFifo, wrapper: str) -> None:
    go = fifo("go")
    terminal.line(job(wrapper, f"trap '' TSTP; echo pid=$$; read x < {go}; exit 7"))
    pid = terminal.number("pid")
    terminal.keys(SUSPEND)
    terminal.line("true")
    terminal.await_arrival()
    assert state(pid) != "T"
    go.go()
    assert terminal.code() == 7
    assert terminal.code() == 0


@both
def test_a_job_that_handles_a_typed_stop_is_stopped_when_it_says_so(
    terminal: Terminal, tmp_path: Path, wrapper: str
) -> None:
    script = "trap 'echo cleaning up; kill -STOP $$' TSTP; echo pid=$$; until [ -e go ]; do :; done; exit 7"
    terminal.line(job(wrapper, script))
    pid = terminal.number("pid")
    terminal.keys(SUSPEND)
    terminal.shows("cleaning up")
    assert terminal.code() == 128 + signal.SIGSTOP
    assert state(pid) == "T"
    (tmp_path / "go").touch()
    terminal.line("fg")
    assert terminal.code() == 7


@both
def test_a_job_reads_the_terminal(terminal: Terminal, wrapper: str) -> None:
    terminal.line(f"{wrapper} cat")
    terminal.line("some words")
    terminal.shows("some words\r\n")
    terminal.keys(END)
    assert terminal.code() == 0


@both
def test_a_job_that_reads_is_stopped_and_reads_on(terminal: Terminal, wrapper: str) -> None:
    terminal.line(job(wrapper, "echo pid=$$; read x; echo first=$x; read y; echo second=$y; exit 7"))
    pid = terminal.number("pid")
    terminal.line("1")
    terminal.number("first")
    for _ in range(3):
        await_reader(terminal, pid)
        terminal.keys(SUSPEND)
        assert terminal.code() == 128 + signal.SIGTSTP
        assert state(pid) == "T"
        assert terminal.foreground == terminal.leader.pid
        terminal.line("fg")
    terminal.line("2")
    assert terminal.number("second") == 2
    assert terminal.code() == 7


@both
def test_the_end_of_a_reading_job_is_typed(terminal: Terminal, wrapper: str) -> None:
    terminal.line(job(wrapper, "read x; echo first=$x; exec cat"))
    terminal.line("1")
    terminal.number("first")
    terminal.keys(INTERRUPT)
    assert terminal.code() == 128 + signal.SIGINT


@both
def test_a_script_hears_of_the_end_that_was_typed_for_its_reading_job(
    terminal: Terminal, tmp_path: Path, wrapper: str
) -> None:
    (tmp_path / "script").write_text(
        f"for i in 1 2 3; do {job(wrapper, 'read x; echo first=$x; exec cat')}; echo next one; done\n"
    )
    terminal.line("bash script; echo over")
    terminal.line("1")
    terminal.number("first")
    terminal.keys(INTERRUPT)
    assert terminal.code() == 128 + signal.SIGINT
    assert "next one" not in terminal.shown


@both
def test_a_job_that_reads_in_the_background_is_stopped_until_it_is_in_the_foreground(
    terminal: Terminal, wrapper: str
) -> None:
    terminal.line(f"{job(wrapper, 'echo pid=$$; read x; echo first=$x; exit 7')} &")
    assert terminal.code() == 0
    pid = terminal.number("pid")
    terminal.shows("Stopped")
    assert state(pid) == "T"
    terminal.line("bg")
    assert terminal.code() == 0
    terminal.shows("Stopped")
    terminal.line("fg")
    await_reader(terminal, pid)
    terminal.line("1")
    terminal.number("first")
    terminal.shows("code=7")


@both
def test_a_job_in_the_background_that_does_not_read_is_not_stopped(terminal: Terminal, wrapper: str) -> None:
    terminal.line(f"{job(wrapper, 'exit 7')} &")
    assert terminal.code() == 0
    terminal.line("wait $!")
    assert terminal.code() == 7


@both
def test_a_job_sets_the_modes_of_the_terminal(terminal: Terminal, wrapper: str) -> None:
    terminal.line(job(wrapper, "stty raw; echo mode=1; dd bs=1 count=1 2>/dev/null; stty -raw; exit 7"))
    terminal.number("mode")
    assert terminal.is_raw
    terminal.keys("x")
    terminal.shows("x")
    assert terminal.code() == 7
    assert not terminal.is_raw


@both
def test_the_job_is_told_of_another_size(terminal: Terminal, wrapper: str) -> None:
    script = "trap 'stty size; exit 7' WINCH; echo pid=$$; while :; do :; done"
    terminal.line(job(wrapper, script))
    terminal.number("pid")
    terminal.resize(33, 77)
    terminal.shows("33 77")
    assert terminal.code() == 7


@both
def test_a_reader_of_the_terminal_beside_us_keeps_it(
    terminal: Terminal, fifo: MakeFifo, wrapper: str
) -> None:
    go = fifo("go")
    pager = sh("read line; echo line=$line; read key < /dev/tty; echo key=$key; cat")
    writer = job(wrapper, f"echo 5; read x < {go}; echo done=1; exit 3")
    terminal.line(f"{writer} | {pager}; echo code=${{PIPESTATUS[0]}}")
    terminal.number("line")
    terminal.line("6")
    terminal.number("key")
    go.go()
    terminal.number("done")
    assert terminal.number("code") == 3


@both
def test_a_wrapper_in_a_wrapper_passes_the_terminal_on(terminal: Terminal, wrapper: str) -> None:
    terminal.line(job(f"{wrapper} {STAYS}", "read x; echo first=$x; read y; echo second=$y; exit 7"))
    terminal.line("1")
    terminal.number("first")
    terminal.keys(SUSPEND)
    assert terminal.code() == 128 + signal.SIGTSTP
    terminal.line("fg")
    terminal.line("2")
    terminal.number("second")
    assert terminal.code() == 7


@both
def test_the_end_of_the_terminal_is_the_end_of_the_job(terminal: Terminal, wrapper: str) -> None:
    terminal.line(job(wrapper, "echo pid=$$; exec cat"))
    pid = terminal.number("pid")
    await_reader(terminal, pid)
    terminal.hang_up()
    assert await_exit([pid], PATIENCE)


@both
def test_who_was_told_to_ignore_the_end_of_the_terminal_does(
    terminal: Terminal, fifo: MakeFifo, tmp_path: Path, wrapper: str
) -> None:
    go = fifo("go")
    terminal.line(job(f"nohup {wrapper}", f"echo $$ > pid; read x < {go}; echo went on"))
    await_true(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    pid = int((tmp_path / "pid").read_text())
    terminal.hang_up()
    terminal.leader.wait(PATIENCE)
    assert is_alive(pid)
    go.go()
    await_true(lambda: "went on" in (tmp_path / "nohup.out").read_text())


@both
def test_nobody_can_stop_a_job_that_nobody_could_continue(
    fifo: MakeFifo, tmp_path: Path, wrapper: str
) -> None:
    # As the first process of a container's terminal: there is no shell that would take over.
    go = fifo("go")
    script = f"echo pid=$$; read x < {go}; read y; echo first=$y; read z < {go}; read y; echo second=$y"
    with Terminal(*shlex.split(job(wrapper, script)), cwd=tmp_path) as terminal:
        terminal.number("pid")
        terminal.keys(SUSPEND)  # while it has not read yet
        terminal.line("1")
        terminal.await_arrival()
        go.go()
        terminal.number("first")
        terminal.keys(SUSPEND)
        go.go()
        terminal.line("2")
        assert terminal.number("second") == 2
        assert terminal.leader.wait(PATIENCE) == 0


@both
def test_a_job_that_reads_and_that_nobody_could_bring_to_the_foreground_ends(
    terminal: Terminal, tmp_path: Path, wrapper: str
) -> None:
    read = job(wrapper, "echo $$ > pid; exec cat < /dev/tty")
    terminal.line(f"sh -c {shlex.quote(read + ' &')}")
    assert terminal.code() == 0
    await_true(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    pid = int((tmp_path / "pid").read_text())
    await_true(lambda: not is_alive(pid))


# Of the wrapper that stays only.


def test_the_terminal_is_lent_only_when_it_is_wanted(terminal: Terminal) -> None:
    terminal.line(job(STAYS, "echo pid=$$; ps -o tpgid= -p $$; read x; exit 7"))
    pid = terminal.number("pid")
    before = int(terminal.shows(r"(?m)^ *(\d+)\r?\n")[1])
    await_reader(terminal, pid)
    assert before != os.getpgid(pid) == terminal.foreground
    terminal.line("")
    assert terminal.code() == 7


def test_the_terminal_is_lent_again_when_the_job_is_continued(terminal: Terminal, fifo: MakeFifo) -> None:
    go = fifo("go")
    terminal.line(job(STAYS, f"echo pid=$$; read x; echo first=$x; read x < {go}; exit 7"))
    pid = terminal.number("pid")
    terminal.line("1")
    terminal.number("first")
    terminal.keys(SUSPEND)
    assert terminal.code() == 128 + signal.SIGTSTP
    terminal.line("fg")
    await_reader(terminal, pid)
    go.go()
    assert terminal.code() == 7


@pytest.mark.parametrize(
    ("options", "script", "code", "raw"),
    [
        ("", "exit 3", 3, True),
        ("", "stty -raw; exit 3", 3, False),
        ("", "kill -KILL $$", 128 + signal.SIGKILL, False),
        ("", "kill -TERM $$", 128 + signal.SIGTERM, False),
        ("--timeout=0.5", "exec cat", 124, False),
        ("--timeout=0.5 --kill-delay=0.1", "trap '' TERM; while :; do read x; done", 124, False),
    ],
)
def test_a_killed_job_leaves_a_terminal_that_can_be_used(  # noqa: PLR0917
    terminal: Terminal, tmp_path: Path, options: str, script: str, code: int, raw: bool
) -> None:
    (tmp_path / "script").write_text(
        f"{job(f'{PROGRAM} --stay {options} --', f'stty raw; {script}')}\n"
        f"echo ended=$?; stty -a | grep -c -- -icanon; read -n 1 x; echo key=$x\n"
    )
    terminal.line("bash script")
    assert terminal.number("ended") == code
    assert (terminal.shows(r"(?m)^([01])\r?\n")[1] == "1") is raw
    terminal.line("5")
    assert terminal.number("key") == 5


def test_a_killed_shell_whose_job_had_the_terminal_does_not_keep_it(
    terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "script").write_text(
        f"PS1='code=$?\\n' {PROGRAM} --stay -- bash --norc --noprofile --noediting -i\necho ended=$?; read x; echo first=$x\n"
    )
    terminal.line("bash script")
    assert terminal.code() == 0
    terminal.line("sh -c 'echo parent=$PPID; echo pid=$$; exec cat'")
    shell, reader = terminal.number("parent"), terminal.number("pid")
    await_reader(terminal, reader)
    os.kill(shell, signal.SIGKILL)
    assert terminal.number("ended") == 128 + signal.SIGKILL
    terminal.line("5")
    assert terminal.number("first") == 5


def test_the_terminal_is_not_taken_from_the_shell(terminal: Terminal, fifo: MakeFifo) -> None:
    go = fifo("go")
    terminal.line(job(STAYS, f"echo parent=$PPID; read x; echo first=$x; read x < {go}; exit 7"))
    terminal.line("1")
    terminal.number("first")
    os.kill(terminal.number("parent"), signal.SIGSTOP)  # while the job has the terminal
    assert terminal.code() == 128 + signal.SIGSTOP
    terminal.line("bg")
    assert terminal.code() == 0
    go.go()
    terminal.shows("Exit 7")
    assert terminal.foreground == terminal.leader.pid


def test_our_own_output_does_not_stop_us_while_the_job_has_the_terminal(
    terminal: Terminal, tmp_path: Path
) -> None:
    compiler = tmp_path / "rustc"
    compiler.write_text("#!/bin/sh\nread x; echo first=$x >&2; read x; echo second=$x >&2; exit 7\n")
    compiler.chmod(0o755)
    terminal.line("stty tostop")
    assert terminal.code() == 0
    terminal.line(f"{PROGRAM} --rustc-output-format=rendered -- {compiler}")
    for number, name in enumerate(("first", "second")):
        terminal.line(str(number))
        assert terminal.number(name) == number
    assert terminal.code() == 7


def test_the_time_of_a_stopped_job_is_over(terminal: Terminal) -> None:
    terminal.line(job(f"{PROGRAM} --timeout=0.5 --kill-delay=60 --", "kill -STOP $$; exit 7"))
    assert terminal.code() == 124


@contextlib.contextmanager
def running(command: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, **more) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("before", [(), ("setsid",)], ids=["", "orphaned"])
async def test_a_stop_reaches_the_job_before_it_stops_us(fifo: MakeFifo, before: tuple[str, ...]) -> None:
    pids, go = fifo("pids"), fifo("go")
    command = [*before, *shlex.split(STAYS), "sh", "-c", f"echo $$ > {pids}; read x < {go}; exit 5"]
    with running(command) as process:
        pid = await pids.pid()
        for _ in range(20):
            process.send_signal(signal.SIGTSTP)
            await_true(lambda: state(process.pid) == "T")
            assert state(pid) == "T"
            process.send_signal(signal.SIGCONT)
            await_true(
                lambda: state(process.pid) != "T"
            )  # and no later: the next stop may find us still at it
        go.go()
        assert process.wait(PATIENCE) == 5


async def test_a_signal_reaches_the_job_while_nobody_reads_its_output(fifo: MakeFifo, tmp_path: Path) -> None:
    pids = fifo("pids")
    compiler = tmp_path / "rustc"
    compiler.write_text(f"#!/bin/sh\necho $$ > {pids}\nexec cat /dev/zero >&2\n")
    compiler.chmod(0o755)
    reader, writer = os.pipe()
    command = [
        sys.executable,
        "-m",
        "headstart_worker",
        "--rustc-output-format=rendered",
        "--",
        str(compiler),
    ]
    try:
        with running(command, stderr=writer) as process:
            pid = await pids.pid()
            await_true(lambda: b"pipe_write" in Path(f"/proc/{process.pid}/wchan").read_bytes())
            process.send_signal(signal.SIGTERM)
            await_true(lambda: not is_alive(pid))
            os.close(reader)
            reader = -1
            assert process.wait(PATIENCE) == -signal.SIGTERM
    finally:
        for descriptor in {reader, writer} - {-1}:
            os.close(descriptor)
