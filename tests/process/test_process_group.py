"""Groups of processes: started, signalled, emptied, reaped."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headstart_wrapper.errors import CommandNotExecutableError, CommandNotFoundError, MachineError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup, Spawner, find_executable
from process.support import Fifo, children, gone
from survivors import is_alive, zombies

MakeFifo = Callable[[str], Fifo]


@pytest.fixture(params=["direct", "helper"])
def spawner(request: pytest.FixtureRequest) -> Iterator[Spawner]:
    if request.param == "direct":
        yield DirectSpawner()
        return
    with closing(HelperSpawner()) as helper:
        yield helper


def start(spawner: Spawner, script: str, *, env: dict[str, str] | None = None) -> ProcessGroup:
    with open(os.devnull, "r+b") as null:  # noqa: PTH123 - a descriptor is wanted
        number = null.fileno()
        return ProcessGroup.start(
            spawner,
            ["/bin/sh", "-c", script],
            cwd=str(Path.cwd()),
            env=dict(os.environ) if env is None else env,
            streams=(number, number, number),
        )


def await_exit(group: ProcessGroup) -> None:
    poll = select.poll()
    poll.register(group.pidfd, select.POLLIN)
    assert poll.poll(20_000)


def test_the_status_and_usage_are_the_leaders(spawner: Spawner) -> None:
    group = start(spawner, "exit 7")
    await_exit(group)
    status, user, system, peak = group.reap()
    assert os.waitstatus_to_exitcode(status) == 7
    assert 0 <= user + system < 5
    assert peak > 0


def test_the_leader_keeps_its_id_until_it_is_reaped(spawner: Spawner) -> None:
    group = start(spawner, "exit 0")
    await_exit(group)
    assert Path(f"/proc/{group.pid}").exists()
    group.signal(signal.SIGTERM)  # reaches nobody, hurts nobody
    group.reap()
    with pytest.raises(ValueError, match="reaped"):
        group.signal(signal.SIGTERM)
    assert zombies() == []


async def test_emptying_kills_what_ignores_everything(spawner: Spawner, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    group = start(
        spawner,
        f"(trap '' TERM INT HUP; echo $(exec sh -c 'echo $PPID') > {pids}; while :; do sleep 99; done) & "
        f"sleep 99 & echo $! > {pids}; wait",
    )
    others = [await pids.pid(), await pids.pid()]
    assert all(map(is_alive, others))
    assert all(os.getpgid(pid) == group.pid for pid in others)
    assert group.await_empty(seconds=5)
    assert not any(map(is_alive, others))
    await_exit(group)
    status, *_ = group.reap()
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


async def test_reaping_sweeps_what_a_leader_left_behind(spawner: Spawner, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    group = start(spawner, f"sleep 99 & echo $! > {pids}")
    left = await pids.pid()
    await_exit(group)
    assert is_alive(left)
    group.reap()
    # that it goes is what the guard of every test sees


def test_children_begin_with_a_clean_slate_of_signals(spawner: Spawner) -> None:
    # Python ignores SIGPIPE and SIGXFSZ; a compiler must not inherit that.
    group = start(spawner, "kill -PIPE $$; exit 3")
    await_exit(group)
    status, *_ = group.reap()
    assert os.waitstatus_to_exitcode(status) == -signal.SIGPIPE


def test_what_cannot_be_started_is_said(spawner: Spawner, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    cwd = str(Path.cwd())
    with pytest.raises(CommandNotExecutableError):
        ProcessGroup.start(spawner, [str(plain)], cwd=cwd, env={}, streams=(0, 1, 2))
    plain.chmod(0o755)
    with pytest.raises(CommandNotExecutableError):
        ProcessGroup.start(spawner, [str(plain)], cwd=cwd, env={}, streams=(0, 1, 2))
    with pytest.raises(CommandNotFoundError):
        ProcessGroup.start(spawner, ["no-such-thing"], cwd=cwd, env={}, streams=(0, 1, 2))
    with pytest.raises(CommandNotFoundError, match="working directory"):
        ProcessGroup.start(spawner, ["true"], cwd=str(tmp_path / "none"), env={}, streams=(0, 1, 2))
    with pytest.raises(MachineError, match="response files"):
        ProcessGroup.start(spawner, ["/bin/true", "x" * 3_000_000], cwd=cwd, env={}, streams=(0, 1, 2))


async def test_a_helper_that_was_killed_is_replaced_and_its_groups_are_not_reaped_by_another() -> None:
    with closing(HelperSpawner()) as spawner:
        lost = start(spawner, "exec sleep 99")
        (helper,) = children(os.getpid())
        os.kill(helper, signal.SIGKILL)
        os.waitid(os.P_PID, helper, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it was killed
        group = start(spawner, "exit 5")
        await_exit(group)
        assert os.waitstatus_to_exitcode(group.reap()[0]) == 5
        with pytest.raises(MachineError, match="helper"):
            lost.reap()
        await gone(lost.pid)


async def test_closing_a_helper_ends_its_groups(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    spawner = HelperSpawner()
    group = start(spawner, f"trap '' TERM; sleep 99 & echo $! > {pids}; echo $$ > {pids}; wait")
    found = [await pids.pid(), await pids.pid()]
    spawner.close()
    await_exit(group)
    os.close(group.pidfd)
    assert not is_alive(found[1])


@pytest.mark.parametrize(
    ("command", "path", "found"),
    [
        ("sh", "/bin:/usr/bin", "/bin/sh"),
        ("sh", None, "/usr/bin/sh"),
        ("./tool", None, "{cwd}/./tool"),
        ("tool", ".", "{cwd}/./tool"),
        ("/bin/sh", "", "/bin/sh"),
    ],
)
def test_commands_are_found_as_exec_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, path: str | None, found: str
) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    where = find_executable(command, cwd=str(tmp_path), path=path)
    assert where == found.format(cwd=tmp_path)
