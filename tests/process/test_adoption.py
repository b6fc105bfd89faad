"""Processes that leave their job behind the wrapper that stays: it becomes their parent, and ends them with the job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import trio

from process.support import PATIENCE, Fifo, children, gone
from survivors import is_alive

MakeFifo = Callable[[str], Fifo]

STAYS = (sys.executable, "-m", "headstart_worker", "--stay", "--")

LEAVES = """
import os
if os.fork():
    os._exit(0)
os.setsid()
os.closerange(3, 256)
with open({pids!r}, "w") as file:
    print(os.getpid(), file=file)
os.environ.clear()
os.execv("/bin/sleep", ["sleep", {seconds!r}])
"""
"""Leaves the group, the session and its parent, and closes what it could be known by."""


@contextlib.contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def leaver(pids: Fifo, seconds: str) -> str:
    program = LEAVES.format(pids=str(pids), seconds=seconds)
    return f"{sys.executable} -I -S -c '{program.replace(chr(39), chr(34))}'"


async def test_I2_what_left_the_job_ends_with_it(fifo: MakeFifo) -> None:
    pids, go = fifo("pids"), fifo("go")
    with running(*STAYS, "sh", "-c", f"{leaver(pids, '99')}; read x < {go}; exit 7") as process:
        pid = await pids.pid()
        assert is_alive(pid)
        go.go()
        assert process.wait(PATIENCE) == 7
        assert not is_alive(pid)


async def test_what_left_the_job_and_ended_keeps_no_process_id(fifo: MakeFifo) -> None:
    pids, go = fifo("pids"), fifo("go")
    script = f"echo $$ > {pids}; {leaver(pids, '0')}; read x < {go}; exit 7"
    with running(*STAYS, "sh", "-c", script) as process:
        leader = await pids.pid()
        pid = await pids.pid()
        await gone(pid)
        with trio.fail_after(PATIENCE):
            while children(process.pid) != [leader]:
                await trio.lowlevel.checkpoint()
        go.go()
        assert process.wait(PATIENCE) == 7


async def test_no_child_is_ended_that_we_had_before_we_were_ourselves(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    script = f'sleep 99 & echo $! > {pids}; exec "$@"'
    with running("sh", "-c", script, "sh", *STAYS, "true") as process:
        pid = await pids.pid()
        assert process.wait(PATIENCE) == 0
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
