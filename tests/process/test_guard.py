"""The guard that watches every other test here: it sees what it has to see."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from process.support import Fifo
from survivors import await_none, descriptors, is_alive, living, zombies


def test_a_survivor_is_found_and_killed(tag: str) -> None:
    process = subprocess.Popen(["setsid", "sleep", "60"])
    assert process.pid in living(tag)
    survivors = await_none(tag, 0.05)
    assert list(survivors.values())[-1].endswith("sleep 60")
    process.wait()


def test_an_ending_process_is_waited_for(tag: str) -> None:
    with subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.close()
        assert await_none(tag) == {}


def test_a_zombie_is_seen_and_is_not_alive() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.pid in zombies()
    assert not is_alive(process.pid)
    process.wait()


def test_a_descriptor_is_seen() -> None:
    before = descriptors()
    opened = os.open("/dev/null", os.O_RDONLY)
    try:
        assert descriptors().items() - before.items() == {(opened, "/dev/null")}
    finally:
        os.close(opened)


async def test_a_fifo_carries_lines(fifo: Callable[[str], Fifo]) -> None:
    made = fifo("x")
    assert made.silent()
    made.go(2)
    assert [await made.line(), await made.line()] == ["go", "go"]
