"""What a program in front of a command costs: the whole process, from its start until it is reaped."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from measure import Run

DIRECT = "true"
WRAPPER = "process-wrapper -- true"
BAZEL = "bazel/process-wrapper true"
"""Bazel's own program of the same name."""
FLOOR = "python3 -I -S -c pass"


def cases() -> dict[str, Callable[[], Run]]:
    """Every program, by the command that a person would type."""
    true = _which("true")
    commands: dict[str, Sequence[str]] = {
        DIRECT: (true,),
        "env true": (_which("env"), true),
        "timeout 10 true": (_which("timeout"), "10", true),
        FLOOR: (sys.executable, "-I", "-S", "-c", "pass"),
        WRAPPER: (str(Path(sys.executable).parent / "process-wrapper"), "--", true),
    }
    if bazels := _bazels_process_wrapper():
        commands[BAZEL] = (bazels, true)
    return {name: partial(run, command) for name, command in commands.items()}


def run(command: Sequence[str]) -> Run:
    """Starts a command on the fastest path that Python has, and awaits it."""
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], [*command], os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{command[0]} ended with wait status {status}; it cannot be measured")
    return Run((seconds,), usage.ru_utime, usage.ru_stime)


def _which(name: str) -> str:
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
