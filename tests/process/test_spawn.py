"""How processes are started: on the vfork path, with nothing stopped meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, children, sh

Worker = Callable[..., FakeHost]

STRACE = "/usr/bin/strace"
pytestmark = pytest.mark.skipif(not Path(STRACE).exists(), reason="there is no strace")

CREATION = re.compile(r"^(?:\d+\s+)?(clone3?|vfork|fork)\((.*)", re.MULTILINE)
UNFINISHED = re.compile(r"CLONE_VM.*CLONE_VFORK|CLONE_VFORK.*CLONE_VM")

DIRECT = """
import os, sys
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup
kind = sys.argv[1]
spawner = DirectSpawner() if kind == "direct" else HelperSpawner()
reader, writer = os.pipe2(os.O_CLOEXEC)
null = os.open("/dev/null", os.O_RDONLY)
group = ProcessGroup.start(
    spawner, ["sh", "-c", "echo $A; pwd; exec cat"], cwd=os.getcwd(), env={"A": "a", "PATH": "/bin:/usr/bin"},
    streams=(null, writer, writer),
)
os.close(writer)
assert os.getpgid(group.pid) == group.pid
text = b""
while data := os.read(reader, 100):
    text += data
assert text == b"a\\n" + os.getcwdb() + b"\\n", text
os.waitid(os.P_PIDFD, group.pidfd, os.WEXITED | os.WNOWAIT) if kind == "direct" else None
group.reap()
if kind == "helper":
    spawner.close()
"""


@pytest.mark.parametrize("kind", ["direct", "helper"])
def test_a_leader_is_started_by_vfork(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "strace"
    command = [STRACE, "-f", "-qq", "-e", "trace=clone,clone3,fork,vfork,execve", "-o", str(log)]
    subprocess.run([*command, sys.executable, "-c", DIRECT, kind], check=True, cwd=tmp_path, timeout=60)
    calls = CREATION.findall(log.read_text())
    # sh itself forks nothing here; every process was started by one of ours
    assert len(calls) == (1 if kind == "direct" else 2)
    for name, arguments in calls:
        assert name == "vfork" or UNFINISHED.search(arguments), (name, arguments)


async def test_the_worker_serves_while_a_child_is_being_started(worker: Worker, tmp_path: Path) -> None:
    async with worker("proto", "--jobs=2") as host:
        await host.work(sh("true"))
        (helper,) = children(host.pid)
        log = tmp_path / "strace"
        # Every execve below the helper now takes as long as a slow file system would make it.
        command = [STRACE, "-f", "-p", str(helper), "-e", "trace=execve", "-o", str(log)]
        inject = ["-e", "inject=execve:delay_enter=3000000"]
        tracer = await trio.lowlevel.open_process([*command, *inject], stderr=subprocess.PIPE)
        try:
            assert tracer.stderr is not None
            with trio.fail_after(PATIENCE):
                assert b"attached" in await tracer.stderr.receive_some()
            await host.send(WorkRequest(1, ("--", "/bin/true")))
            answers = 0
            with trio.fail_after(PATIENCE):
                while all(answer.request_id != 1 for answer in host.responses):
                    await host.work(("--no-such-option",))
                    answers += 1
            # One that stopped with it would have answered at most one; each takes a millisecond or two.
            assert answers > 20
        finally:
            tracer.terminate()
            await tracer.wait()
            assert tracer.stderr is not None
            await tracer.stderr.aclose()
        assert "execve" in await trio.to_thread.run_sync(log.read_text)


async def test_starting_costs_the_worker_no_descriptor_when_it_fails(worker: Worker) -> None:
    async with worker() as host:
        await host.work(("--", "./no-such"))
        before = len(os.listdir(f"/proc/{host.pid}/fd"))  # noqa: PTH208 - a count
        for _ in range(20):
            assert (await host.work(("--", "/bin/echo", "x" * 200_000))).exit_code == 125
            assert (await host.work(("--", "./no-such"))).exit_code == 127
        assert len(os.listdir(f"/proc/{host.pid}/fd")) == before  # noqa: PTH208 - a count
