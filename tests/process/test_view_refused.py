"""A view that cannot be made: found out before, told when it happens, and nothing left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from process.confined import STRACE, needs_strace
from process.views import AS_NOBODY, IN_A_VIEW, NOBODY, TRY, asked, needs_view

pytestmark = needs_view

STARTS: Final = """
with closing(HelperSpawner()) as helper:
    for spawner in (DirectSpawner(), helper):
        try:
            run(spawner, "true")
        except MachineError as error:
            print(error)
        try:
            print(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            print("no child")
"""


def with_threads(number: int) -> str:
    """Asks whether a view can be made in a process that has so many other threads."""
    others = f"for _ in range({number}): threading.Thread(target=go.wait).start()"
    return f"import threading; go = threading.Event()\n{others}\n{TRY}\ngo.set()"


def injecting(fault: str) -> tuple[str, ...]:
    call, _, _ = fault.partition(":")
    return (STRACE, "-f", "-qqq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={fault}")


REFUSALS: Final = [
    ("unshare:error=EPERM", "unshare: Operation not permitted; allow user namespaces"),
    ("unshare:error=ENOSPC", "unshare: No space left on device; raise user.max_user_namespaces"),
    ("mount:error=EACCES", "mount /: Permission denied; allow user namespaces"),
    ("pivot_root:error=EINVAL", "pivot_root /proc/.headstart-old-root: Invalid argument"),
    ("mount_setattr:error=ENOSYS", "mount_setattr /: Function not implemented; Linux 5.12"),
]


@needs_strace
@pytest.mark.parametrize(("fault", "clause"), REFUSALS)
def test_I11_a_view_that_is_refused_is_told_and_leaves_nothing(fault: str, clause: str) -> None:
    told = asked(*injecting(fault), script=IN_A_VIEW + STARTS).splitlines()
    direct, no_child, helper, its_child = told
    assert direct == helper
    assert clause in direct
    assert "headstart doctor" in direct
    assert "--sandbox=enforce" in direct
    assert no_child == "no child"
    assert its_child == "(0, 0)"  # the helper, which lives


@needs_strace
@pytest.mark.parametrize(("fault", "clause"), REFUSALS)
@pytest.mark.parametrize("threads", [0, 1])
def test_I11_whether_it_can_be_made_is_found_out_by_making_it(fault: str, clause: str, threads: int) -> None:
    assert asked(*injecting(fault), script=with_threads(threads)).startswith(clause)


@needs_strace
@pytest.mark.parametrize("threads", [0, 1])
def test_a_process_with_other_threads_is_not_copied(tmp_path: Path, threads: int) -> None:
    log = tmp_path / "strace"
    trace = (STRACE, "-f", "-qqq", "-o", str(log), "-e", "trace=execve,unshare", "-e", "signal=none")
    assert asked(*trace, script=with_threads(threads)) == ""
    calls = [line.split("(")[0].split()[1] for line in log.read_text().splitlines() if line.endswith("= 0")]
    assert calls == ["execve", *["execve"] * threads, "unshare"]


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which(AS_NOBODY[0]),
    reason="an ordinary user's namespace is wanted, made by root",
)
def test_the_kernels_own_limit_is_told() -> None:
    script = f"""
import ctypes
assert ctypes.CDLL(None).unshare(0x10000000) == 0
for name, line in (("self/setgroups", "deny"), ("self/uid_map", "0 {NOBODY} 1"), ("self/gid_map", "0 {NOBODY} 1"),
                   ("sys/user/max_mnt_namespaces", "0")):
    with open("/proc/" + name, "w") as file:
        file.write(line)
{TRY}"""
    told = asked(*AS_NOBODY, script=script)
    assert told.startswith("unshare: No space left on device; raise user.max_user_namespaces")
