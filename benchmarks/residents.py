"""What of a program stays in memory beside the command that it was put in front of, as the kernel tells it.

Several at once, because that is a build, and because what they share then counts as it does there.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from programs import Front, which

JOBS: Final = 8
"""Commands at once: a busy build on a common machine."""

_TAG: Final = "BENCHMARK_OF_RESIDENTS"
"""The variable by which processes are found that a program started, wherever their parent went; not one that gives the wrapper options."""

_JOB: Final = 'echo $$ > "$0"; read -r go < "$1"'


@frozen
class Resident:
    """Means for each command. Attributes: front, its name; processes besides the command; rss, uss and pss, their bytes together."""

    front: str
    processes: float
    rss: float
    uss: float
    pss: float

    def export(self) -> dict[str, Any]:
        """For the file of results."""
        return {
            "front": self.front,
            "jobs": JOBS,
            "processes": self.processes,
            "rss": round(self.rss),
            "uss": round(self.uss),
            "pss": round(self.pss),
        }


def beside(front: Front, scratch: Path) -> Resident:
    """Starts commands that wait, behind a program, and looks at every process that is there besides them."""
    tag = uuid.uuid4().hex
    up, down = scratch / f"up-{tag}", scratch / f"down-{tag}"
    command = [*front.words, which("sh"), "-c", _JOB, str(up), str(down)]
    with _fifo(up) as started, _fifo(down) as go_on:
        environment = {**os.environ, _TAG: tag}
        spawned = [os.posix_spawn(command[0], command, environment) for _ in range(JOBS)]
        waiting = {int(_line(started)) for _ in spawned}
        besides = _tagged(tag) - waiting
        seen = [_memory(pid) for pid in besides]
        os.write(go_on, b"\n" * JOBS)
        for pid in spawned:
            if os.waitpid(pid, 0)[1]:
                raise SystemExit(f"{front.name} failed in front of a command; it cannot be measured")
    rss, uss, pss = (sum(one[kind] for one in seen) / JOBS for kind in ("rss", "uss", "pss"))
    return Resident(front.name, len(besides) / JOBS, rss, uss, pss)


@contextmanager
def _fifo(path: Path) -> Iterator[int]:
    """A named pipe that is open at both ends, so that nobody waits for the other end."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _line(descriptor: int) -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        read += os.read(descriptor, 1)
    return read


def _tagged(tag: str) -> set[int]:
    wanted = f"{_TAG}={tag}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def _memory(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    kib = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"rss": kib["Rss"] * 1024, "uss": private * 1024, "pss": kib["Pss"] * 1024}
