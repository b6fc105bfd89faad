"""Programs that people put in front of a command, and what a whole run costs: from its start until it is reaped."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from measure import Run

BARE: Final = ""
WRAPPER: Final = "process-wrapper --"
LAUNCHER: Final = "launcher/process-wrapper --"
"""The program that `headstart launcher` writes."""
STATISTICS: Final = "process-wrapper --stats=FILE --"
BAZELS: Final = "bazel/process-wrapper"
FLOOR: Final = "python3 -I -S -c SPAWN"
"""The least that a Python program can be which stays beside its command: it spawns and waits."""

_SPAWN: Final = (
    "import os, sys; os.waitpid(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, setpgroup=0), 0)"
)


@frozen
class Front:
    """A program in front of a command. Attributes: name, as a person would type it; words, as they are executed."""

    name: str
    words: tuple[str, ...] = ()

    def before(self, command: str) -> str:
        """What a person would type for that command."""
        return f"{self.name} {command}".lstrip()


def fronts(programs: Path, scratch: Path) -> list[Front]:
    """Everything to compare, the bare command first.

    Args:
        programs: where the wrapper and its interpreter are.
        scratch: a directory for files that some of them write.
    """
    wrapper = str(programs / "process-wrapper")
    found = [
        Front(BARE),
        Front("env", (which("env"),)),
        Front("timeout 10", (which("timeout"), "10")),
        Front(FLOOR, (str(programs / "python"), "-I", "-S", "-c", _SPAWN)),
        Front(WRAPPER, (wrapper, "--")),
        Front(LAUNCHER, (str(programs / "launcher" / "process-wrapper"), "--")),
        Front("process-wrapper --timeout=10 --", (wrapper, "--timeout=10", "--")),
        Front(STATISTICS, (wrapper, f"--stats={scratch / 'stats.json'}", "--")),
        Front("process-wrapper --subst pwd=${pwd} --", (wrapper, "--subst", "pwd=${pwd}", "--")),
    ]
    if tini := shutil.which("tini"):
        found.append(Front("tini -s --", (tini, "-s", "--")))
    if bazels := _bazels_process_wrapper():
        found.append(Front(BAZELS, (bazels,)))
    return found


def run(command: Sequence[str]) -> Run:
    """Starts a command on the fastest path that Python has, and awaits it; what it says is not shown."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], [*command], os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(command)} ended with wait status {status}; it cannot be measured")
    return Run((seconds,), usage.ru_utime, usage.ru_stime)


def which(name: str) -> str:
    """Where a program is that the measurement cannot do without."""
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"there is no {name} on PATH; it is what the measurement compares with")
    return found


def _bazels_process_wrapper() -> str | None:
    """Bazel unpacks its process-wrapper below its install base; Debian's package has it apart."""
    bases = Path.home().glob(".cache/bazel/_bazel_*/install/*")
    places = [*bases, Path("/usr/libexec/x86_64-linux-gnu/bazel"), Path("/usr/share/bazel")]
    return next(
        (str(place / "process-wrapper") for place in places if os.access(place / "process-wrapper", os.X_OK)),
        None,
    )
