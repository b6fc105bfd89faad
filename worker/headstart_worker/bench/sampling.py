"""Watches what a build uses: all processes that this one starts meanwhile, and theirs, whatever becomes of them.

    with Watch() as watch:
        subprocess.run(["cargo", "build"])
    watch.seen.user

The same way for every host:

    processor time   The kernel's sums: of processes that were waited for, and of those that live, each with what it waited for
                     itself. Orphans become our children meanwhile (subreaper), so that none gets away uncounted; one that
                     still runs at the end is killed, because it would disturb the next build.
    memory           Ten times a second the resident sizes are added up, which is cheap; each time they are more than ever before,
                     the proportional ones (PSS) are, for which the kernel walks through all pages.
    compilers        In the same samples: commands with a `--crate-name`, and of those that started each other the innermost.

Not for wall time, and not for telling what a process did: traces do.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, final

from attrs import define, evolve, frozen

from headstart_wrapper.errors import MachineError
from headstart_wrapper.spawner import become_subreaper, library_function

_SECONDS: Final = 0.1
"""Between samples: what is shorter than a compile of a small crate is no peak that anybody would buy memory for."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_PR_SET_CHILD_SUBREAPER: Final = 36
_COMPILER: Final = b"\0--crate-name\0"


@frozen
class Seen:
    """What was used between two moments.

    Attributes:
        user, system: processor seconds.
        peak_memory: bytes at once, shared pages counted once (PSS).
        peak_compilers: the most at once.
        processes: the most at once.
        load: the load average of the last minute, before.
        stolen: part of all processors' time that this machine's own host took, from 0 to 1; None: it does not tell.
    """

    user: float = 0.0
    system: float = 0.0
    peak_memory: int = 0
    peak_compilers: int = 0
    processes: int = 0
    load: float = 0.0
    stolen: float | None = None


@final
class Watch:
    """A context manager; whoever starts a process inside waits for it inside.

    Attributes:
        seen: filled when the context is left.
    """

    def __init__(self, roots: Iterable[int] = ()) -> None:
        """Looks at nothing yet.

        Args:
            roots: processes that run already and are to be counted too, with all below them: a build tool's server.
        """
        self.seen = Seen()
        self._roots = frozenset(roots)
        self._strangers: frozenset[int] = frozenset()
        self._used = (0.0, 0.0)
        self._times: tuple[int, int] | None = None
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample_until_over, name="sampler", daemon=True)
        self._peaks = _Peaks()

    def __enter__(self) -> Self:
        if not Path(f"/proc/self/task/{threading.get_native_id()}/children").exists():
            raise MachineError("this kernel does not tell a process's children (CONFIG_PROC_CHILDREN)")
        self._strangers = frozenset(_children(os.getpid()))
        become_subreaper()
        self._used = self._total()
        self._times = _stolen_and_all()
        self.seen = evolve(self.seen, load=os.getloadavg()[0])
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._sampler.join()
        self._end_orphans()
        with suppress(ImportError, AttributeError, OSError):
            library_function("prctl")(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        user, system = self._total()
        self.seen = Seen(
            user=user - self._used[0],
            system=system - self._used[1],
            peak_memory=self._peaks.memory,
            peak_compilers=self._peaks.compilers,
            processes=self._peaks.processes,
            load=self.seen.load,
            stolen=_part_stolen(self._times, _stolen_and_all()),
        )

    def _ours(self) -> frozenset[int]:
        """Those of our children that were not there before."""
        return frozenset(_children(os.getpid())) - self._strangers - self._roots

    def _total(self) -> tuple[float, float]:
        """Processor seconds so far, of what was waited for and what lives."""
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        user, system = reaped.ru_utime, reaped.ru_stime
        for pid in _tree(self._roots | self._ours()):
            with suppress(OSError):
                more_user, more_system = _of_process(pid)
                user += more_user
                system += more_system
        return user, system

    def _end_orphans(self) -> None:
        while ours := self._ours():
            for pid in _tree(ours):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in ours:
                with suppress(ChildProcessError):
                    os.waitid(os.P_PID, pid, os.WEXITED)

    def _sample_until_over(self) -> None:
        while not self._over.wait(_SECONDS):
            self._peaks.take(_tree(self._roots | self._ours()))


@final
@define
class _Peaks:
    """The most of everything that any sample saw."""

    memory: int = 0
    compilers: int = 0
    processes: int = 0
    _resident: int = 0

    def take(self, tree: dict[int, int]) -> None:
        """One sample: every process with its parent."""
        resident = sum(map(_resident, tree))
        if resident > self._resident:
            self._resident = resident
            self.memory = max(self.memory, sum(map(_proportional, tree)))
        compiling = {pid: parent for pid, parent in tree.items() if _COMPILER in _read(pid, "cmdline")}
        self.compilers = max(self.compilers, len(compiling.keys() - set(compiling.values())))
        self.processes = max(self.processes, len(tree))


def _children(pid: int) -> Iterator[int]:
    """Of all threads; nothing for a process that is gone."""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - ten times a second
            yield from map(int, _read(pid, f"task/{thread}/children").split())


def _tree(roots: Iterable[int]) -> dict[int, int]:
    """All processes from these down, each with its parent; a root's is 0."""
    found = dict.fromkeys(roots, 0)
    waiting = list(found)
    while waiting:
        parent = waiting.pop()
        for child in _children(parent):
            if child not in found:
                found[child] = parent
                waiting.append(child)
    return found


def _read(pid: int, name: str) -> bytes:
    """A file of proc(5); b"" when the process is gone or is none of ours."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - ten times a second
            return file.read()
    except OSError:
        return b""


def _of_process(pid: int) -> tuple[float, float]:
    """User and system seconds of a process and of all that it waited for; 0 for one that is gone."""
    status = _read(pid, "stat")
    if not status:
        return 0.0, 0.0
    # After the name, which may hold anything: state is field 3, utime, stime, cutime and cstime are 14 to 17.
    user, system, waited_user, waited_system = map(int, status[status.rindex(b")") + 2 :].split()[11:15])
    return (user + waited_user) / _TICKS, (system + waited_system) / _TICKS


def _resident(pid: int) -> int:
    words = _read(pid, "statm").split()
    return int(words[1]) * _PAGE if words else 0


def _proportional(pid: int) -> int:
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _stolen_and_all() -> tuple[int, int] | None:
    """Ticks of all processors since the start: stolen, and altogether (proc(5), the first line of /proc/stat)."""
    ticks = [int(word) for word in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else None


def _part_stolen(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] == before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])
