"""Memory: who waits for it, and what is said of a job that the kernel killed for the lack of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from headstart_worker.memory import UNKNOWN
from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from headstart_wrapper import oom
from process import queue_probe
from process.support import PATIENCE, Fifo, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

LIMIT = 64 << 20
"""Bytes: room for an interpreter, far from a machine's memory."""

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

DEVOUR = f"{sys.executable} -I -S -c 'kept = []\nwhile True: kept.append(b\"x\" * (1 << 20))'"
"""Takes all the memory that it is given, and more."""

KILLED = re.compile(
    r"the kernel killed a process of this machine for lack of memory while this job ran, whose memory peak was (\d+) MiB; "
    r"run fewer jobs at once \(--jobs\), or only as many as fit \(--memory\)\n"
)


def memory_cgroup() -> Path:
    """The memory cgroup that this process is in.

    Raises:
        LookupError: there is none.
    """
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        number, controllers, path = line.split(":", 2)
        for mount in mounts:
            kind, options = mount[mount.index("-") + 1], mount[-1].split(",")
            first = controllers.split(",") if number != "0" else []
            if (kind == "cgroup" and "memory" in first and "memory" in options) or (
                kind == "cgroup2" and number == "0" and (Path(mount[4]) / path[1:] / "memory.max").exists()
            ):
                return Path(mount[4]) / path[1:]
    raise LookupError("there is no memory cgroup")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A cgroup below our own with little memory: a shell that writes its id into the file that is given is in it."""
    if oom.kills() is None:
        pytest.skip("this kernel does not count the processes that it kills")
    try:
        group = memory_cgroup() / f"headstart-{os.getpid()}-{tmp_path.name}"
        group.mkdir()
    except (LookupError, OSError) as error:
        pytest.skip(f"no memory cgroup can be made: {error}")
    try:
        # The first version of cgroups and the second; the limit of memory before that of memory and swap.
        found = [group / name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists()]
        if not found:
            pytest.skip("the cgroup that we are in does not hand the memory controller on")
        found[0].write_text(str(LIMIT), encoding="utf-8")
        for name, value in (("memory.memsw.limit_in_bytes", LIMIT), ("memory.swap.max", 0)):
            if (group / name).exists():
                (group / name).write_text(str(value), encoding="utf-8")
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def peak_in(output: str) -> int:
    """The peak in MiB that the last line tells of."""
    line = KILLED.search(output)
    assert line, output
    return int(line[1])


async def test_C27_a_job_that_the_kernel_killed_for_memory_says_so_with_its_peak(
    worker: Worker, protocol: str, small: Path
) -> None:
    async with worker(protocol) as host:
        answer = await host.work(sh(f"echo $$ > {small}; exec {DEVOUR}"))
        assert answer.exit_code == 137
        assert answer.output.startswith("process-wrapper: sh was killed by signal 9 (SIGKILL); the kernel ")
        # Pages of files that others read before are resident, but not in the cgroup's account.
        assert LIMIT // 2 <= peak_in(answer.output) << 20 <= LIMIT * 3 // 2
        assert (await host.work(("--", "true"))).exit_code == 0


async def test_C27_a_driver_that_outlives_its_killed_compiler_says_so_too(
    worker: Worker, small: Path
) -> None:
    async with worker() as host:
        answer = await host.work(sh(f"echo $$ > {small}; {DEVOUR}; echo driver failed; exit 1"))
        assert answer.exit_code == 1
        assert re.search(r"driver failed\nprocess-wrapper: the kernel killed", answer.output)
        assert peak_in(answer.output) << 20 >= LIMIT // 2
        # A job that went well although one of its processes was killed has nothing to explain.
        answer = await host.work(sh(f"echo $$ > {small}; {DEVOUR}; exit 0"))
        assert answer.exit_code == 0
        assert "process-wrapper" not in answer.output


def test_C27_standalone_says_the_same(small: Path) -> None:
    for script, code in ((f"exec {DEVOUR}", -9), (f"{DEVOUR}; exit 1", 1)):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "headstart_worker",
                "--stay",
                "--",
                "sh",
                "-c",
                f"echo $$ > {small}; {script}",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code
        assert peak_in(done.stderr) << 20 >= LIMIT // 2


@pytest.mark.parametrize("script", ["kill -KILL $$", "exit 1", "kill -ABRT $$"])
async def test_C27_nobody_suggests_memory_without_a_reason(worker: Worker, script: str) -> None:
    async with worker() as host:
        while True:
            before = oom.kills()
            answer = await host.work(sh(script))
            if (
                oom.kills() == before
            ):  # else somebody else's process was killed meanwhile, and it is said rightly
                break
    assert answer.exit_code
    assert "memory" not in answer.output
    assert ("was killed by signal" in answer.output) is script.startswith("kill")


async def test_a_job_that_we_killed_ourselves_is_not_explained(worker: Worker, small: Path) -> None:
    async with worker() as host:
        answer = await host.work(
            sh(f"echo $$ > {small}; {DEVOUR}; sleep 1000", "--timeout=1", "--kill-delay=0")
        )
        assert answer.exit_code == 124
        assert "memory" not in answer.output


# --- who waits for memory ---------------------------------------------------------------------------------------------


def events(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8").rstrip(",\n") + "]")
    return found


BUDGET = 96 << 20
"""Bytes: room for a compiler that takes `BIG` beside its interpreter's 10 MiB, and for two that take nothing beside it."""

BIG = 60 << 20


async def test_what_earlier_runs_needed_decides_who_runs_beside_whom(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")

    def compiler(output: str) -> tuple[str, ...]:
        taken = BIG if output.startswith("big") else 0
        script = (
            f"import os; x = b'x' * {taken}; os.write(os.open('{ready}', os.O_WRONLY), b'ready\\n'); "
            f"os.read(os.open('{go}', os.O_RDONLY), 3)"
        )
        return (f"--output={output}", "--", sys.executable, "-I", "-S", "-c", script)

    async with worker("proto", "--jobs=4", f"--memory={BUDGET}", "--trace=trace.json") as host:
        await queue_probe.prepare(host)
        for output in ("big1", "big2", "small1", "small2"):
            go.go()
            assert (await host.work(compiler(output))).exit_code == 0
            await ready.line()
        learned = len(events(workspace / "trace.json"))
        # A big one and a small one fit; another big one does not, and the small one behind it, which would, waits too.
        for number, output in enumerate(("big1", "small1", "big2", "small2"), 1):
            await host.send(WorkRequest(number, compiler(output)))
        for _ in range(2):
            await ready.line()
        await queue_probe.all_attached(host)
        go.go(4)
        with trio.fail_after(PATIENCE):
            assert {(await host.next_response()).exit_code for _ in range(4)} == {0}
    found = events(workspace / "trace.json")
    (first, *_) = (event for event in found if event["name"] == "queue")
    assert first["args"]["memory"] == UNKNOWN, "nothing was known"
    found = found[learned:]
    runs = {event["args"]["label"]: event for event in found if event["name"] == "compile"}
    free = min(runs[label]["ts"] + runs[label]["dur"] for label in ("big1", "small1"))
    assert runs["big2"]["ts"] >= free
    assert runs["small2"]["ts"] >= free
    expected = {
        event["args"]["label"]: event["args"]["memory"] for event in found if event["name"] == "queue"
    }
    assert BIG < expected["big1"] < BIG + (30 << 20)
    assert 0 < expected["small1"] < 18 << 20
    taken = [event["args"]["memory"] for event in found if event["name"] == "memory"]
    assert max(taken) <= BUDGET
    assert (taken[-1], expected["big1"] + expected["small1"] in taken) == (0, True)


async def two_run_at_once(host: FakeHost, ready: Fifo, go: Fifo) -> None:
    for number in (1, 2):
        await host.send(WorkRequest(number, sh(f"echo > {ready}; read x < {go}", f"--output=o{number}")))
    for _ in range(2):
        await ready.line()
    go.go(2)
    for _ in range(2):
        assert (await host.next_response()).exit_code == 0


async def test_without_a_budget_nobody_waits_for_memory(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    async with worker("proto", "--jobs=2", "--trace=trace.json") as host:
        await two_run_at_once(host, fifo("ready"), fifo("go"))
    found = events(workspace / "trace.json")
    assert all("memory" not in event["args"] for event in found)


@pytest.mark.skipif(MACHINE < 2 * UNKNOWN, reason="a small machine")
async def test_a_part_of_the_machines_memory_is_a_budget(worker: Worker, fifo: MakeFifo) -> None:
    async with worker("proto", "--jobs=3", "--memory=100%") as host:
        await two_run_at_once(host, fifo("ready"), fifo("go"))


async def test_a_bad_budget_ends_the_worker_with_a_sentence(worker: Worker) -> None:
    async with worker("proto", "--memory=lots") as host:
        ended = await host.ended()
    assert ended.exit_code == 125
    assert "--memory=lots" in ended.stderr
