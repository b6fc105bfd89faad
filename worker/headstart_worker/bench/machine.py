"""Reads the machine that a benchmark runs on: what it is, and in what condition it is at this moment.

Not for judging what that means for a benchmark: `warnings` does.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from headstart_worker.bench.warnings import Condition

_SYSTEM: Final = Path("/sys/devices/system/cpu")

_TOOLS: Final = ("rustc", "cargo", "bazel")
"""Programs whose release a benchmark's figures hang on."""


def condition() -> Condition:
    """Of this moment."""
    return Condition(cores(), load(), _pressure(), _governor(), _boost())


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
    }


def tools() -> dict[str, str]:
    """The first line of what each tool that is there says of its release."""
    return {
        name: told[0]
        for name in _TOOLS
        if shutil.which(name) is not None
        and (
            told := subprocess.run(
                [name, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
            ).stdout.splitlines()
        )
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def load() -> float:
    """The load average of the last minute; what is measured here is part of it."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _pressure() -> float | None:
    """`some avg10=0.00 avg60=...` (Documentation/accounting/psi.rst)."""
    told = (_text(Path("/proc/pressure/cpu")) or "").split()
    return next((float(word[6:]) for word in told if word.startswith("avg10=")), None)


def _governor() -> str | None:
    """Every core has one of its own; a virtual machine's mostly have none (Documentation/admin-guide/pm/cpufreq.rst)."""
    told = {_text(path) for path in _SYSTEM.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return ", ".join(sorted(name for name in told if name)) or None


def _boost() -> bool | None:
    """Intel's driver tells it turned round; the others tell it plainly."""
    no_turbo, boost = _text(_SYSTEM / "intel_pstate/no_turbo"), _text(_SYSTEM / "cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boost is None else boost == "1"


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text("ascii").strip()
    return None
