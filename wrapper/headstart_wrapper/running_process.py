"""What a process that still runs has used so far. What one used that has ended is told by who reaps it (`process_group`)."""

from __future__ import annotations

import os
import time

_CLOCK_OF_A_PROCESS = 2
"""CPUCLOCK_SCHED: how Linux counts, to the nanosecond, what all threads of a process ran; /proc has ticks of ten milliseconds."""

_ENDED_CHILDREN = slice(13, 15)
"""cutime and cstime among the fields of /proc/PID/stat that stand behind the name (proc_pid_stat(5), fields 16 and 17)."""

_RESIDENT = 1
"""Which field of /proc/PID/statm counts resident pages."""


def processor_seconds(pid: int) -> float | None:
    """What a process ran, and the children that it waited for; None: it is not there any more, or not ours to see."""
    try:
        own = time.clock_gettime(~pid << 3 | _CLOCK_OF_A_PROCESS)
        fields = _read(pid, "stat").rpartition(b")")[2].split()
    except OSError:
        return None
    return own + sum(map(int, fields[_ENDED_CHILDREN])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Memory that a process holds, what it shares with others included; 0: it is not there any more, or not ours to see."""
    try:
        return int(_read(pid, "statm").split()[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123 - without pathlib
        return file.read()
