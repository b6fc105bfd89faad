"""Progress at a real terminal: one line, written over, gone at the end; and what becomes of it on odd terminals."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from process.pty_shell import INTERRUPT, Terminal
from process.support import PATIENCE, Fifo

# Does what is typed, with a `progress` at hand, and says after each line that it is done.
_SCRIPT = """
import os, sys, time
os.environ.update({environment!r})
from headstart_worker.cargo.watching import follow
from headstart_worker.progress import Progress
with Progress("bench", total={total}, clock={clock}) as progress:
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "end\\n":
            break
        exec(line)
        print("<done>", flush=True)
print("<over>", flush=True)
"""

Start = Callable[..., Terminal]
MakeFifo = Callable[[str], Fifo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    opened: list[Terminal] = []

    def begin(
        total: int | None = 4, columns: int = 80, clock: str = "lambda: 0.5", **environment: str
    ) -> Terminal:
        script = _SCRIPT.format(environment={"TERM": "xterm", **environment}, total=total, clock=clock)
        terminal = Terminal(sys.executable, "-c", f"import sys; sys.stdin.readline()\n{script}", cwd=tmp_path)
        opened.append(terminal)
        terminal.resize(24, columns)
        terminal.line("go")
        terminal.shows("ready\r\n")
        return terminal

    yield begin
    for terminal in opened:
        terminal.__exit__()


def shown_by(terminal: Terminal, line: str) -> str:
    """What appears while one line of the script is carried out."""
    terminal.shown = ""
    terminal.line(line)
    terminal.shows("<done>\r\n")
    return terminal.shown


def screen(text: str) -> list[str]:
    """What is left to be read on a wide screen."""
    rows, column = [""], 0
    for piece in re.split(r"(\r|\n|\x1b\[K|\x1b\[\d*m)", text):
        match piece:
            case "\r":
                column = 0
            case "\n":
                rows.append("")
            case "\x1b[K":
                rows[-1] = rows[-1][:column]
            case _ if not piece.startswith("\x1b"):
                rows[-1] = rows[-1][:column] + piece + rows[-1][column + len(piece) :]
                column += len(piece)
    return [row for row in rows if row]


def test_steps_are_written_over_each_other_and_gone_at_the_end(start: Start) -> None:
    terminal = start()
    shown = shown_by(terminal, "progress.begin('first')")
    assert screen(shown) == ["bench: 1 of 4, first, 0:00"]
    shown += shown_by(terminal, "progress.begin('second')")
    assert screen(shown) == ["bench: 2 of 4, second, 0:00"]
    shown += shown_by(terminal, "progress.say('a line that stays')")
    assert screen(shown) == ["a line that stays", "bench: 2 of 4, second, 0:00"]
    shown += shown_by(terminal, "progress.begin('third')")
    assert screen(shown)[1] == "bench: 3 of 4, third, 0:00, less than 1 min left"
    terminal.line("end")
    terminal.shows("<over>")
    assert screen(shown + terminal.shown) == ["a line that stays"]


def test_when_a_step_is_done_its_line_is_gone(start: Start) -> None:
    terminal = start()
    shown = shown_by(terminal, "progress.begin('first'); progress.done()")
    assert "first" in shown
    assert screen(shown) == []


def test_the_time_goes_on_while_a_step_takes_long_and_stops_at_the_end(start: Start, fifo: MakeFifo) -> None:
    terminal, go = start(clock="time.monotonic"), fifo("go")
    terminal.line(f"progress.begin('slow'); open('{go}').readline()")
    times = [terminal.shows(r"slow, (\d:\d\d)")[1]]
    while len(times) < 3:
        times.append(terminal.shows(rf"slow, (?!{times[-1]})(\d:\d\d)")[1])
    assert times == sorted(times)
    go.go()
    terminal.shows("<done>")
    after = "import signal; progress.__exit__(); print(signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM))"
    assert "(0.0, 0.0) 0\r\n" in shown_by(terminal, after)


def test_somebody_elses_timer_is_left_alone(tmp_path: Path) -> None:
    script = (
        "import os, signal; os.environ['TERM'] = 'xterm'\n"
        "from headstart_worker.progress import Progress\n"
        "def theirs(*_): pass\n"
        "signal.signal(signal.SIGALRM, theirs); signal.setitimer(signal.ITIMER_REAL, 1000)\n"
        "with Progress('bench') as progress: progress.begin('step')\n"
        "print('kept', signal.getsignal(signal.SIGALRM) is theirs, signal.getitimer(signal.ITIMER_REAL)[0] > 900)"
    )
    with Terminal(sys.executable, "-c", script, cwd=tmp_path) as terminal:
        terminal.shows("kept True True")


@pytest.mark.parametrize("columns", [80, 40, 21, 5, 1])
def test_the_line_fits_whatever_the_width_also_after_a_change_of_it(start: Start, columns: int) -> None:
    terminal = start(columns=200)
    shown_by(terminal, f"progress.begin('{'long ' * 50}')")
    terminal.resize(24, columns)
    line = screen(shown_by(terminal, "progress._draw()"))
    assert all(len(row) < columns for row in line)
    assert line or columns == 1


def test_a_terminal_without_a_size_is_taken_for_a_usual_one(start: Start) -> None:
    terminal = start(columns=0)
    assert screen(shown_by(terminal, "progress.begin('first')")) == ["bench: 1 of 4, first, 0:00"]


def test_no_color_takes_the_grey_away_and_an_empty_one_does_not(start: Start) -> None:
    act = "progress.remark('said'); progress.begin('first')"
    assert "\x1b[2m" not in shown_by(start(NO_COLOR="1"), act)
    shown = shown_by(start(NO_COLOR=""), act)
    assert "\x1b[2msaid\x1b[0m" in shown
    assert "\x1b[2mbench" in shown


@pytest.mark.parametrize("name", ["dumb", ""])
def test_a_dumb_terminal_gets_plain_lines(start: Start, name: str) -> None:
    terminal = start(TERM=name)
    shown = shown_by(terminal, "progress.begin('first'); progress.remark('said'); progress.begin('second')")
    assert shown == "first (1 of 4)\r\nsaid\r\nsecond (2 of 4)\r\n"
    terminal.line("end")
    terminal.shows("<over>")
    assert "\x1b" not in terminal.shown


def test_while_another_program_draws_nothing_is_drawn(start: Start) -> None:
    terminal = start()
    act = "progress.begin('first'); away = progress.hidden(); away.__enter__(); progress._draw(); print('theirs', flush=True)"
    shown = shown_by(terminal, act)
    assert screen(shown) == ["theirs"]
    assert screen(shown_by(terminal, "away.__exit__(None, None, None)")) == ["bench: 1 of 4, first, 0:00"]


def test_in_the_background_nothing_is_drawn_over_who_is_in_front(tmp_path: Path, fifo: MakeFifo) -> None:
    go = fifo("go")
    (tmp_path / "script.py").write_text(
        "from headstart_worker.progress import Progress\n"
        "with Progress('bench') as progress:\n"
        f"    progress.begin('unseen'); open('{go}').readline()\n"
        "    print('so far', flush=True)\n"
    )
    with Terminal(cwd=tmp_path) as terminal:
        terminal.line(f"TERM=xterm {shlex.quote(sys.executable)} script.py &")
        go.go()
        terminal.shows("so far")
        terminal.line("wait")
        terminal.shows("Done")
        assert "unseen" not in terminal.shown


def test_an_interrupt_leaves_no_line_behind(start: Start) -> None:
    terminal = start()
    terminal.line("progress.begin('first'); sys.stdin.readline()")
    terminal.shows("first, 0:00")
    terminal.keys(INTERRUPT)
    terminal.shows("KeyboardInterrupt")
    before = terminal.shown.partition("Traceback")[0]
    assert screen(before) == []
    assert terminal.leader.wait(PATIENCE) == -signal.SIGINT


def test_cargos_compiles_are_steps_and_its_other_lines_stay(start: Start) -> None:
    terminal = start(total=2, NO_COLOR="1")
    shown = shown_by(terminal, "follow(progress)('   Compiling base v0.1.0 (/a/long/path)')")
    assert screen(shown) == ["bench: 1 of 2, compiling base v0.1.0, 0:00"]
    shown += shown_by(terminal, "follow(progress)('warning: unused'); follow(progress)('')")
    assert screen(shown)[0] == "warning: unused"
    shown += shown_by(terminal, "follow(progress)('    Finished dev in 3s'); progress.say('written')")
    assert screen(shown) == ["warning: unused", "    Finished dev in 3s", "written"]


def test_a_closed_stderr_is_no_reason_to_fail(tmp_path: Path) -> None:
    script = (
        "from headstart_worker.progress import Progress\n"
        "with Progress('bench', total=2) as progress:\n"
        "    progress.begin('a'); progress.say('b'); progress.begin('c')\n"
        "print('done')"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "done\n"
