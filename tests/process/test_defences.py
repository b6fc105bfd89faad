"""Each defence of a job's tree holds when the others cannot act.

What is taken away from the others, so that a test shows one alone: a process that closed the guard cannot be reached
by it; one that left the group cannot be reached by signals to it; a stopped helper ends nothing; a cleared
environment has no tag.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from headstart_wrapper import spawner as spawner_module
from headstart_wrapper import stragglers
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.jobserver import Jobserver
from headstart_wrapper.process_group import DirectSpawner, Guard, ProcessGroup
from headstart_wrapper.spawner import GUARD
from process.support import PATIENCE, Fifo, children, gone, sh, until_it_waits
from survivors import await_exit, descriptors, is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

PYTHON = "/usr/bin/python3"

WITHOUT_TAG = "env -i "


def process(pids: Fifo, *, guard: bool = True, session: bool = False) -> str:
    """A shell command for one that tells its process id and then does nothing, ignoring what it can ignore."""
    program = (
        "import os, signal; "
        + ("os.setsid(); " if session else "")
        + ("" if guard else f"os.close({GUARD}); ")
        + "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        + f"print(os.getpid(), file=open('{pids}', 'w'), flush=True); signal.sigwait([signal.SIGUSR1])"
    )
    return f'{PYTHON} -I -S -c "{program}"'


def start(spawner: DirectSpawner | HelperSpawner, script: str) -> ProcessGroup:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return ProcessGroup.start(
            spawner,
            ["/bin/sh", "-c", script],
            cwd=str(Path.cwd()),
            env=dict(os.environ),
            streams=(null, 1, 2),
        )
    finally:
        os.close(null)


COMET = r"""
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **arguments) {
    time_t end = time(0) + 60;
    close(atoi(arguments[1]));
    while (time(0) < end) {
        if (fork())
            _exit(0);
        setsid();
    }
}
"""
"""One that is somebody else each time one looks."""

FOREIGN = """
import os, select, signal
from contextlib import closing
from headstart_wrapper import spawner, stragglers
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import ProcessGroup

stranger = os.fork()
if not stranger:
    signal.pause()
spawner._tag = stragglers.open = None  # whoever looks, fails
assert not spawner.sees_processes()
with closing(HelperSpawner()) as helper:
    group = ProcessGroup.start(
        helper, ["/bin/sh", "-c", "sleep 99 & sleep 99"], cwd="/", env=dict(os.environ), streams=(0, 1, 2)
    )
    emptied = group.await_empty(seconds=20)
    group.reap()
    stragglers.end_tagged({helper._owner}, seconds=1)
os.kill(stranger, 0)
print(emptied)
"""
"""The first process of a namespace that sees its parent's /proc: the ids there are not its own."""


async def all_gone(*pids: int) -> None:
    for pid in pids:
        await gone(pid)


async def until_started(host: FakeHost) -> None:
    """A job may speak before its start is over, the guard set and the worker told; the helper starts one after the other."""
    assert (await host.work(("--", "/bin/true"))).exit_code == 0


async def test_I2_signals_to_the_group_end_what_has_neither_guard_nor_helper(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker(protocol, "--jobs=2") as host:
        member = process(pids, guard=False)
        await host.send(WorkRequest(1, sh(f"{member} & {member}", "--kill-delay=0")))
        found = [await pids.pid(), await pids.pid()]
        await until_started(host)
        (helper,) = children(host.pid)
        os.kill(helper, signal.SIGSTOP)
        await host.cancel(1)
        await all_gone(*found)
        os.kill(helper, signal.SIGCONT)
        assert (await host.next_response()).was_cancelled
        assert not any(map(is_alive, found))


async def test_I3_the_guard_ends_a_killed_workers_jobs_when_the_helper_cannot(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker(protocol, "--jobs=2") as host:
        member = process(pids)
        await host.send(WorkRequest(1, sh(f"({member} & {member}) & {member}")))
        found = [await pids.pid() for _ in range(3)]
        await until_started(host)
        (helper,) = children(host.pid)
        os.kill(helper, signal.SIGSTOP)
        host.kill()
        await all_gone(*found)
        os.kill(helper, signal.SIGCONT)
        await gone(helper)


async def test_I3_the_helper_ends_a_killed_workers_jobs_when_they_have_no_guard(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker(protocol) as host:
        member = process(pids, guard=False)
        escaped = process(pids, guard=False, session=True)
        await host.send(WorkRequest(1, sh(f"({escaped} &) ; {WITHOUT_TAG}{escaped} & {member} & {member}")))
        found = [await pids.pid() for _ in range(4)]
        host.kill()
        await all_gone(*found)


HELD_UP = """
import subprocess, sys, time
from headstart_wrapper import spawner
spawner.become_subreaper()
script = "(setsid sh -c 'setsid sleep 99 & echo; wait' &); setsid sleep 99 & echo; wait"
group = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE)
group.stdout.readline(), group.stdout.readline()
spawner._END_SECONDS = spawner._ORPHAN_SECONDS = -1.0
spawner._GENERATION_SECONDS = 20.0
children = spawner.Children("owner")
first = children.own()
assert first
if sys.argv[1:] == ["orphans"]:
    children.end_orphans()
    left = set(first).intersection(children.own())  # the others are collected
    assert all(spawner._await_exit(pid, time.monotonic() + 20) for pid in left)
children.end_all()
group.returncode = -9
sys.exit(len(children.own()))
"""
"""A helper that comes to itself when all the time for ending what it had started is over."""


def test_I3_a_helper_that_was_held_up_ends_everything_all_the_same() -> None:
    assert subprocess.run([sys.executable, "-c", HELD_UP], check=False).returncode == 0


def test_I2_a_helper_that_was_held_up_ends_orphans_all_the_same() -> None:
    assert subprocess.run([sys.executable, "-c", HELD_UP, "orphans"], check=False).returncode == 0


def test_I3_a_guard_that_is_set_too_late_ends_the_job_all_the_same() -> None:
    guard = Guard()
    guard.close()
    descriptors = (guard.reader, guard.reader, guard.reader, guard.reader)
    pid = spawner_module.start_leader(["sleep", "99"], "/bin/sleep", {}, descriptors)
    os.close(guard.reader)
    try:
        assert await_exit([pid], PATIENCE)
    finally:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


async def test_I3_the_guard_ends_a_killed_standalone_wrappers_job(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    member = process(pids)
    command = [
        sys.executable,
        "-m",
        "headstart_worker",
        "--stay",
        "--",
        "/bin/sh",
        "-c",
        f"{member} & {member}",
    ]
    wrapper = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL)
    found = [await pids.pid(), await pids.pid()]
    until_it_waits(wrapper.pid)
    wrapper.kill()
    await wrapper.wait()
    await all_gone(*found)


@pytest.mark.parametrize("end", ["exits", "is cancelled"])
@pytest.mark.parametrize(
    ("tagged", "guarded"), [(True, False), (False, True)], ids=["with its tag alone", "with its guard alone"]
)
async def test_I2_one_that_left_the_group_is_found(
    worker: Worker, fifo: MakeFifo, end: str, *, tagged: bool, guarded: bool
) -> None:
    pids, go, other = fifo("pids"), fifo("go"), fifo("other")
    escapee = ("" if tagged else WITHOUT_TAG) + process(pids, guard=guarded, session=True)
    async with worker("proto", "--jobs=2") as host:
        # Another job runs meanwhile, so that it matters whose the escapee is; its own is left alone.
        await host.send(WorkRequest(2, sh(f"({escapee} &); read x < {other}")))
        spared = await pids.pid()
        await host.send(WorkRequest(1, sh(f"({escapee} &); ({escapee} &); read x < {go}")))
        found = [await pids.pid(), await pids.pid()]
        if end == "exits":
            go.go()
        else:
            await host.cancel(1)
        answer = await host.next_response()
        assert answer.was_cancelled is (end == "is cancelled")
        assert not any(map(is_alive, found))
        assert is_alive(spared)
        other.go()
        await host.next_response()
        assert not is_alive(spared)


async def test_I2_what_an_escapee_started_follows_it_though_it_has_no_mark_itself(
    worker: Worker, fifo: MakeFifo, tmp_path: Path
) -> None:
    pids, go, other = fifo("pids"), fifo("go"), fifo("other")
    nobodys = WITHOUT_TAG + process(pids, guard=False, session=True)
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(2, sh(f"echo $$ > {pids}; read x < {other}")))
        await pids.pid()
        script = tmp_path / "tree.sh"
        script.write_text(f"{nobodys} &\n{nobodys} &\nwait\n")
        await host.send(WorkRequest(1, sh(f"(setsid sh {script} &); read x < {go}")))
        found = [await pids.pid(), await pids.pid()]
        go.go()
        await host.next_response()
        assert not any(map(is_alive, found))
        other.go()
        await host.next_response()


async def test_one_without_any_mark_is_ended_when_no_job_runs(worker: Worker, fifo: MakeFifo) -> None:
    pids, go, other = fifo("pids"), fifo("go"), fifo("other")
    nobodys = WITHOUT_TAG + process(pids, guard=False, session=True)
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(2, sh(f"echo $$ > {pids}; read x < {other}")))
        await pids.pid()
        await host.send(WorkRequest(1, sh(f"({nobodys} &); read x < {go}")))
        found = await pids.pid()
        go.go()
        await host.next_response()
        assert is_alive(found)
        other.go()
        await host.next_response()
        assert not is_alive(found)


async def test_I3_the_next_worker_ends_what_a_worker_and_its_helper_left_when_both_were_killed(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    escapee = process(pids, guard=False, session=True)
    async with worker(protocol) as host:
        await host.send(WorkRequest(1, sh(f"{escapee} & wait")))
        found = await pids.pid()
        (helper,) = children(host.pid)
        os.kill(helper, signal.SIGSTOP)
        host.kill()
        os.kill(helper, signal.SIGKILL)
        await gone(helper)
        assert is_alive(found)
    async with worker(protocol) as host:
        assert (await host.work(("--", "/bin/true"))).exit_code == 0
        assert not is_alive(found)


async def test_I3_a_worker_that_lives_is_not_swept_by_another(worker: Worker, fifo: MakeFifo) -> None:
    pids, go = fifo("pids"), fifo("go")
    async with worker() as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; read x < {go}")))
        running = await pids.pid()
        async with worker() as second:
            assert (await second.work(("--", "/bin/true"))).exit_code == 0
        assert is_alive(running)
        go.go()
        assert (await host.next_response()).exit_code == 0


async def test_jobs_of_a_helper_that_was_killed_are_ended_by_the_worker(
    worker: Worker, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker() as host:
        escapee = process(pids, guard=False, session=True)
        await host.send(WorkRequest(1, sh(f"({escapee} &); {process(pids)}")))
        found = [await pids.pid(), await pids.pid()]
        (helper,) = children(host.pid)
        os.kill(helper, signal.SIGKILL)
        await gone(helper)
        assert (await host.work(("--", "/bin/true"))).exit_code == 0
        await all_gone(*found)
        answer = await host.next_response()
        assert answer.request_id == 1
        assert answer.exit_code != 0
        assert "helper" in answer.output or "SIGKILL" in answer.output


async def test_a_double_fork_that_dies_at_once_leaves_no_zombie(worker: Worker, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker("proto", "--jobs=2") as host:
        await host.send(
            WorkRequest(1, sh(f"for i in 1 2 3 4 5; do (true &); done; echo $$ > {ready}; read x < {go}"))
        )
        leader = await ready.pid()
        (helper,) = children(host.pid)
        with trio.fail_after(PATIENCE):
            while any(map(is_alive, {*children(helper)} - {leader})):  # noqa: ASYNC110 - nobody waits for them
                await trio.sleep(0.01)
        assert (await host.work(("--", "/bin/true"))).exit_code == 0
        assert len(children(helper)) <= 2
        go.go()
        assert (await host.next_response()).exit_code == 0
        assert children(helper) == []


async def test_what_a_long_job_leaves_dead_is_collected_while_it_runs(worker: Worker, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker() as host:
        await host.send(
            WorkRequest(1, sh(f"for i in 1 2 3 4 5; do (true &); done; echo > {ready}; read x < {go}"))
        )
        await ready.line()
        (helper,) = children(host.pid)
        with trio.fail_after(PATIENCE):
            while len(children(helper)) > 1:  # noqa: ASYNC110 - nobody is told when an id is given back
                await trio.sleep(0.01)
        go.go()
        assert (await host.next_response()).exit_code == 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
async def test_I2_one_that_forks_and_exits_all_the_time_is_caught(
    worker: Worker, fifo: MakeFifo, tmp_path: Path
) -> None:
    comet = tmp_path / "comet"
    comet.with_suffix(".c").write_text(COMET)
    await trio.run_process(["cc", "-o", str(comet), f"{comet}.c"])
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    ready, go = fifo("ready"), fifo("go")
    try:
        async with worker() as host:
            script = f"exec 9> {held}; for i in 1 2 3 4; do {comet} {GUARD} & done; exec 9>&-; echo > {ready}; read x < {go}"
            await host.send(WorkRequest(1, sh(script)))
            await ready.line()
            go.go()
            assert (await host.next_response()).exit_code == 0
            with trio.fail_after(PATIENCE):
                await trio.lowlevel.wait_readable(reader)
            assert os.read(reader, 1) == b""  # nobody has it open for writing any more
    finally:
        os.close(reader)


async def test_I2_a_kernel_that_lists_no_children_is_asked_for_parents(
    fifo: MakeFifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = open

    def without(path: object, *arguments: Any, **more: Any) -> Any:
        if str(path).endswith("/children"):
            raise FileNotFoundError(path)
        return real(path, *arguments, **more)  # type: ignore[call-overload]

    pids = fifo("pids")
    with closing(HelperSpawner()) as spawner:
        group = start(spawner, f"sleep 99 & echo $! > {pids}; sleep 99 & echo $! > {pids}; wait")
        found = {await pids.pid(), await pids.pid()}
        monkeypatch.setattr("builtins.open", without)
        assert set(spawner_module.children(group.pid)) == found
        monkeypatch.undo()
        group.await_empty(seconds=PATIENCE)
        group.reap()


async def test_no_stranger_is_killed_where_proc_is_another_namespaces() -> None:
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", FOREIGN]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if b"unshare" in done.stderr:
        pytest.skip("this user may make no namespaces")
    assert done.stdout == b"True\n", done.stderr


def test_a_file_with_the_inode_of_a_guard_is_none(tmp_path: Path) -> None:
    guard = Guard()
    held, stop = os.pipe()
    program = f"import os; os.dup2(0, {GUARD}); print(flush=True); os.read({held}, 1)"
    file = tmp_path / "file"
    file.write_text("")
    with (
        file.open() as opened,
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=opened,
            stdout=subprocess.PIPE,
            pass_fds=[held],
        ) as stranger,
    ):
        assert stranger.stdout
        assert stranger.stdout.readline()
        pipes, _ = guard.id
        assert stragglers.end_holders((pipes, file.stat().st_ino), seconds=PATIENCE)
        os.close(stop)
        assert stranger.wait(PATIENCE) == 0
    for descriptor in (held, guard.reader):
        os.close(descriptor)
    guard.close()


async def test_more_stragglers_than_descriptors_are_ended(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    count = 80
    with closing(HelperSpawner()) as spawner:
        group = start(spawner, f"for i in $(seq {count}); do sleep 99 & done; echo > {pids}; wait")
        await pids.line()
        found = children(group.pid)
        assert len(found) == count
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 70, limits[1]))
        try:
            assert stragglers.end_holders(group._guard.id, seconds=PATIENCE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert not any(map(is_alive, found))
        group.reap()


def test_a_compiler_that_fills_the_jobserver_harms_nobody(tmp_path: Path) -> None:
    jobserver = Jobserver.create(tmp_path, 2)
    try:
        assert jobserver.take()
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(jobserver.descriptor, b"+" * 4096)
        jobserver.put_back()
        assert [jobserver.take() for _ in range(3)] == [True, True, False]
    finally:
        jobserver.close()


async def test_holders_of_a_guard_are_found_and_nobody_else(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    with closing(HelperSpawner()) as spawner:
        group = start(spawner, f"{process(pids, session=True)} & wait")
        other = start(spawner, process(pids))
        found = {await pids.pid(), await pids.pid()}
        assert await trio.to_thread.run_sync(
            lambda: stragglers.end_holders(group._guard.id, seconds=PATIENCE)
        )
        assert sum(map(is_alive, found)) == 1
        group.await_empty(seconds=PATIENCE)
        group.reap()
        other.signal(signal.SIGKILL)
        await trio.lowlevel.wait_readable(other.pidfd)
        other.reap()
