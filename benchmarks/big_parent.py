"""A process of a given size that starts `/bin/true` in different ways: what the worker would be without its helper.

usage: big_parent.py MEGABYTES; reads ways, one a line, and answers each with seconds and the child's peak memory in bytes.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup, Spawner

TRUE = "/bin/true"


def popen() -> tuple[float, int]:
    """The fast path of subprocess: vfork."""
    began = time.perf_counter()
    process = subprocess.Popen([TRUE], process_group=0)
    peak = _reap(process)
    return time.perf_counter() - began, peak


def popen_with_preexec() -> tuple[float, int]:
    """The slow path of subprocess, which copies this process's page tables: fork."""
    began = time.perf_counter()
    process = subprocess.Popen([TRUE], preexec_fn=os.setpgrp)  # noqa: PLW1509 - this is what is measured
    peak = _reap(process)
    return time.perf_counter() - began, peak


def _reap(process: subprocess.Popen[bytes]) -> int:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024


def as_a_job(spawner: Spawner) -> tuple[float, int]:
    """As a job's leader, with its guard: through the worker's helper, or from this process."""
    began = time.perf_counter()
    group = ProcessGroup.start(spawner, [TRUE], cwd="/", env=dict(os.environ), streams=(0, 1, 2))
    select.select([group.pidfd], [], [])
    _, _, _, peak, *_ = group.reap()
    return time.perf_counter() - began, peak


def main() -> None:
    """Serves until its input ends."""
    ballast = bytearray(int(sys.argv[1]) << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])  # so that every page is there
    os.chdir("/")  # what starts from this process starts where it is
    spawner = HelperSpawner()
    ways: dict[str, Callable[[], tuple[float, int]]] = {
        "popen": popen,
        "preexec": popen_with_preexec,
        "direct": partial(as_a_job, DirectSpawner()),
        "helper": partial(as_a_job, spawner),
    }
    for line in sys.stdin:
        seconds, peak = ways[line.strip()]()
        sys.stdout.write(f"{seconds} {peak}\n")
        sys.stdout.flush()
    spawner.close()


if __name__ == "__main__":
    main()
