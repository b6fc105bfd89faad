"""What `--sandbox` can do in this release, and what this kernel would offer to a later one."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headstart_worker.doctor import programs
from headstart_worker.doctor.finding import Finding, Probe, missing, ok
from headstart_wrapper import options
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Sandbox

_LANDLOCK_CREATE_RULESET: Final = 444
"""The number of the system call, on every architecture."""

_VERSION_FLAG: Final = 1
"""LANDLOCK_CREATE_RULESET_VERSION: asks for the ABI and makes nothing."""

_ENOUGH_ABI: Final = 3
"""Before it, moves between directories or truncation cannot be held to rules (Linux 6.2)."""

_PR_GET_SECCOMP: Final = 21

_ACTIONS: Final = Path("/proc/sys/kernel/seccomp/actions_avail")

_UNSHARE_USER_AND_MOUNTS: Final = "import ctypes, sys; sys.exit(ctypes.CDLL(None, use_errno=True).unshare(0x10020000) and ctypes.get_errno())"

_LATER: Final = "nothing of this release needs it"


def probes() -> tuple[Probe, ...]:
    """What is probed, in the order of the report."""
    return (modes, landlock, user_namespaces, bubblewrap, seccomp)


def modes() -> Iterator[Finding]:
    """The modes of --sandbox, as the grammar takes them."""
    for mode in Sandbox:
        what = f"--sandbox={mode}"
        try:
            options.check(options.parse([what, "--", "true"]))
        except RequestError as error:
            yield missing(
                what,
                "not in this release, which knows only off: such a job is refused",
                str(error).partition("; ")[2],
            )
        else:
            yield ok(what, "jobs run without checks" if mode is Sandbox.OFF else "available")


def landlock() -> Iterator[Finding]:
    """Landlock."""
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if abi < 0:
        reason = os.strerror(ctypes.get_errno())
        yield missing(
            "Landlock",
            f"{reason}; {_LATER}",
            "Linux 6.2, with landlock in the kernel's lsm= list, has enough of it",
        )
    elif abi < _ENOUGH_ABI:
        yield missing("Landlock", f"ABI {abi}, which leaves gaps; {_LATER}", "Linux 6.2 has ABI 3")
    else:
        yield ok("Landlock", f"ABI {abi}: reads and writes can be held to rules without privileges")


def user_namespaces() -> Iterator[Finding]:
    """User and mount namespaces."""
    said = programs.ask([sys.executable, "-I", "-S", "-c", _UNSHARE_USER_AND_MOUNTS])
    if said.exit_code == 0:
        yield ok("user namespaces", "a view of one's own of the file system can be made: tried")
    else:
        reason = os.strerror(said.exit_code) if said.exit_code and said.exit_code > 0 else "it ended badly"
        yield missing(
            "user namespaces",
            f"{reason}; {_LATER}",
            "sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, or the container's filter",
        )


def bubblewrap() -> Iterator[Finding]:
    """The program bwrap."""
    path, nothing = programs.on_path("bwrap"), programs.no_op()
    if path is None:
        yield missing("bwrap", f"not on PATH; {_LATER}", "install bubblewrap")
        return
    said = programs.ask([path, "--ro-bind", "/", "/", nothing or "true"])
    if said.exit_code == 0:
        yield ok("bwrap", f"{path} works: tried")
    else:
        reason = said.line or "it does not answer"
        yield missing("bwrap", f"{path}: {reason}; {_LATER}", "see user namespaces")


def seccomp() -> Iterator[Finding]:
    """The kernel's seccomp."""
    libc = ctypes.CDLL(None, use_errno=True)
    mode = libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)
    if mode < 0:
        yield missing(
            "seccomp", f"{os.strerror(ctypes.get_errno())}; {_LATER}", "a kernel with CONFIG_SECCOMP"
        )
        return
    actions = _ACTIONS.read_text("ascii").split() if _ACTIONS.exists() else []
    tells = "user_notif" in actions
    filtered = ", and this process is filtered itself" if mode else ""
    if tells:
        yield ok("seccomp", f"system calls can be told to a supervisor{filtered}")
    else:
        yield missing(
            "seccomp", f"calls cannot be told to a supervisor{filtered}; {_LATER}", "Linux 5.0, with /proc"
        )
