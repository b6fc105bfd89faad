"""What this process was given: memory and what is told of it, a jobserver, limits."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headstart_worker.doctor.finding import Finding, Probe, missing, ok, weaker
from headstart_wrapper import jobserver, oom, spawner

_FILES: Final = 1024
"""Descriptors: what distributions give. A running job takes the worker about six."""

_PROCESSES: Final = 1024
"""A linker has a thread for each core, and threads count."""


def probes() -> tuple[Probe, ...]:
    """What is probed, in the order of the report."""
    return (jobserver_around, open_files, processes, memory, out_of_memory, cgroup)


def out_of_memory() -> Iterator[Finding]:
    """Kills for lack of memory."""
    kills = oom.kills()
    if kills is None:
        yield weaker(
            "OOM counter",
            "a compiler that the kernel kills for lack of memory looks killed by anybody",
            "mount /proc; Linux 4.13 counts such kills in /proc/vmstat",
        )
    else:
        yield ok("OOM counter", f"readable, {kills} so far: a failure for lack of memory is told as such")


def memory() -> Iterator[Finding]:
    """Memory."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        amounts = {words[0]: int(words[1]) << 10 for words in lines}
        total, free = amounts["MemTotal:"], amounts["MemAvailable:"]
        cores = len(os.sched_getaffinity(0))
        yield ok(
            "memory",
            f"{_gib(total)}, {_gib(free)} of it available, {cores} usable cores; --memory=80% keeps compilers within a part",
        )
        return
    yield weaker("memory", "how much there is cannot be told: --memory=80% has no meaning", "mount /proc")


def _gib(amount: int) -> str:
    return f"{amount / (1 << 30):.1f} GiB"


def cgroup() -> Iterator[Finding]:
    """Control groups."""
    place = _own_cgroup()
    attempt = None if place is None else place / f"headstart-doctor-{os.getpid()}"
    try:
        if attempt is None:
            raise FileNotFoundError
        attempt.mkdir()
        attempt.rmdir()
    except OSError:
        yield missing(
            "cgroup v2",
            "no group can be made: nothing of this release needs one, the guard and the helper contain jobs",
            "nothing is lost; systemd-run --user --scope --property=Delegate=yes gives one",
        )
    else:
        yield ok("cgroup v2", f"groups can be made in {place}; this release needs none")


def _own_cgroup() -> Path | None:
    """The directory of this process's group in the unified hierarchy, wherever that is mounted."""
    with contextlib.suppress(OSError):
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines()]
        roots = [words[4] for words in mounts if "cgroup2" in words[words.index("-") :]]
        for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
            if line.startswith("0::") and roots:
                return Path(roots[0], line.removeprefix("0::").lstrip("/"))
    return None


def jobserver_around() -> Iterator[Finding]:
    """The jobserver that we were started under."""
    named = next((name for name in jobserver.VARIABLES if "--jobserver" in os.environ.get(name, "")), None)
    if named is None:
        yield ok("jobserver", "none around us: a worker makes its own, for all threads of all its compilers")
        return
    outer = jobserver.Jobserver.outer(os.environ)
    if outer is None:
        yield weaker(
            "jobserver",
            f"{named} names one that cannot be reached: compilers run without its tokens, more threads than cores",
            "make gives it to lines with $(MAKE) or a leading + only; put + before the command",
        )
    else:
        outer.close()
        yield ok("jobserver", f"{named} names one that can be reached: compilers share its tokens")


def open_files() -> Iterator[Finding]:
    """Open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    meaning = f"{_limit(soft)} (may be raised to {_limit(hard)})"
    if 0 <= soft <= spawner.GUARD:
        yield missing(
            "open files",
            f"{meaning}: no job can be started, its guard is descriptor {spawner.GUARD}",
            f"ulimit -n {_FILES}",
            needed=True,
        )
    elif 0 <= soft < _FILES:
        yield weaker("open files", f"{meaning}: few jobs at once", f"ulimit -n {_FILES}, or fewer --jobs")
    else:
        yield ok("open files", meaning)


def processes() -> Iterator[Finding]:
    """Processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    meaning = f"{_limit(soft)} of yours, threads counted (may be raised to {_limit(hard)})"
    if 0 <= soft < _PROCESSES and os.geteuid():
        yield weaker("processes", f"{meaning}: few jobs at once", f"ulimit -u {_PROCESSES}, or fewer --jobs")
    else:
        yield ok("processes", meaning)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)
