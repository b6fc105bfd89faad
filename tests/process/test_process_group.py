"""Groups of processes: started, signalled, emptied, reaped."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headstart_wrapper.errors import CommandNotExecutableError, CommandNotFoundError, MachineError
from headstart_wrapper.executables import find_executable
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup, Spawner
from headstart_wrapper.spawner import GUARD, Children
from process.support import PATIENCE, Fifo, children, gone
from survivors import descriptors, is_alive, zombies

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


TRACE = (
    "import ctypes, os, signal, sys; "
    "assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) == 0; "
    "print(os.getpid(), flush=True); signal.pause()"
)
"""A debugger (PTRACE_SEIZE) that never asks how its process is: nobody else is told of its end."""


@contextlib.contextmanager
def traced(pid: int) -> Iterator[None]:
    command = [sys.executable, "-I", "-S", "-c", TRACE, str(pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout
        if not tracer.stdout.readline():
            tracer.wait()
            pytest.skip("this user may not trace")
        try:
            yield
        finally:
            tracer.kill()


@contextlib.contextmanager
def free_descriptors(count: int) -> Iterator[None]:
    """This process can open so many more and no others."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 32, limits[1]))
    held: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        for _ in range(count):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in held:
            os.close(descriptor)


def await_exit(group: ProcessGroup) -> None:
    poll = select.poll()
    poll.register(group.pidfd, select.POLLIN)
    assert poll.poll(20_000)


def test_the_status_and_usage_are_the_leaders(spawner: Spawner) -> None:
    group = start(spawner, "exit 7")
    await_exit(group)
    status, user, system, peak, *_ = group.reap()
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


async def test_I2_a_leader_that_went_to_another_group_is_ended(spawner: Spawner, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    program = (
        "import os, signal; os.setpgid(0, os.getpgid(os.getppid())); "
        f"print(os.getpid(), file=open('{pids}', 'w'), flush=True); signal.pause()"
    )
    group = start(spawner, f'exec {sys.executable} -I -S -c "{program}"')
    assert await pids.pid() == group.pid
    group.signal(signal.SIGKILL)
    await_exit(group)
    assert os.waitstatus_to_exitcode(group.reap()[0]) == -signal.SIGKILL


async def test_I2_a_group_with_more_members_than_there_are_descriptors_is_emptied(
    spawner: Spawner, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    script = f"for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 99 & echo $! > {pids}; done; wait"
    group = start(spawner, script)
    found = [await pids.pid() for _ in range(12)]
    with free_descriptors(4):
        assert group.await_empty(seconds=PATIENCE)
        assert not any(map(is_alive, found))
        await_exit(group)
        group.reap()


async def test_I2_without_a_free_descriptor_a_group_is_emptied_and_reaped_all_the_same(
    spawner: Spawner, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    group = start(spawner, f"sleep 99 & echo $! > {pids}; wait")
    other = await pids.pid()
    with free_descriptors(0):
        assert group.await_empty(seconds=PATIENCE)
        assert not is_alive(other)
        assert os.waitstatus_to_exitcode(group.reap()[0]) == -signal.SIGKILL


@pytest.mark.parametrize("ignored", [signal.SIGCHLD, signal.SIGHUP])
def test_a_host_that_ignores_a_signal_changes_no_job(ignored: int) -> None:
    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        with closing(HelperSpawner()) as helper:
            group = start(helper, f"kill -{int(ignored)} $$; exit 7")
            await_exit(group)
            expected = 7 if ignored == signal.SIGCHLD else -ignored
            assert os.waitstatus_to_exitcode(group.reap()[0]) == expected
    finally:
        signal.signal(ignored, before)


def test_a_job_on_its_own_is_reaped_though_its_host_ignores_the_end_of_children() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        group = start(DirectSpawner(), "exit 7")
        await_exit(group)
        assert os.waitstatus_to_exitcode(group.reap()[0]) == 7
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_does_not_give_a_job_a_descriptor_of_ours(tmp_path: Path, closed: int) -> None:
    said = tmp_path / "said"
    job = f"for n in 0 1 2; do readlink /proc/self/fd/$n; done > {said}"
    script = f"exec {sys.executable} -m headstart_worker --stay -- sh -c '{job}' {closed}<&-"
    subprocess.run(["/bin/sh", "-c", script], check=True, stdin=subprocess.DEVNULL)
    streams = said.read_text().splitlines()
    if closed != 1:  # the shell's own redirection is there
        assert streams[closed] == os.devnull
    assert not any("anon_inode" in stream for stream in streams)


def test_a_job_can_be_ended_though_its_host_blocks_signals() -> None:
    program = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "
        "os.execv(sys.executable, [sys.executable, '-m', 'headstart_worker', '--stay', '--', 'sh', '-c', 'echo; exec sleep 99'])"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as wrapper:
        assert wrapper.stdout
        assert wrapper.stdout.readline()
        wrapper.terminate()
        assert wrapper.wait(PATIENCE) == -signal.SIGTERM


async def test_a_traced_leader_holds_up_no_other_job(spawner: Spawner, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    group = start(spawner, f"echo $$ > {pids}; exec sleep 99")
    await pids.pid()
    with traced(group.pid):
        group.signal(signal.SIGKILL)
        await_exit(group)
        with pytest.raises(MachineError, match="debugger"):
            group.reap()
        other = start(spawner, "exit 3")
        await_exit(other)
        assert os.waitstatus_to_exitcode(other.reap()[0]) == 3
    if isinstance(spawner, DirectSpawner):  # its parent's zombie now, as it would be init's
        os.waitpid(group.pid, 0)  # noqa: ASYNC222 - it was killed


async def test_I2_a_leader_that_an_escapee_traces_is_reaped(spawner: Spawner, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    tracer = f"setsid {sys.executable} -I -S -c '{TRACE}' $$ > {pids}"
    group = start(spawner, f"{tracer} & exec sleep 99")
    found = await pids.pid()
    group.signal(signal.SIGKILL)
    await_exit(group)
    assert os.waitstatus_to_exitcode(group.reap()[0]) == -signal.SIGKILL
    await gone(found)


async def test_a_traced_orphan_holds_up_no_other_job(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    with closing(HelperSpawner()) as helper:
        group = start(helper, f"(setsid sh -c 'echo $$ > {pids}; exec sleep 99' &); exec sleep 99")
        orphan = await pids.pid()
        with traced(orphan):
            for job in (group, start(helper, "exec sleep 99")):
                job.signal(signal.SIGKILL)
                await_exit(job)
                assert os.waitstatus_to_exitcode(job.reap()[0]) == -signal.SIGKILL
        # That it is reaped when it is let go is seen by nobody here: the helper ends what is left at its end.


def test_a_limit_of_descriptors_that_is_too_low_is_said() -> None:
    script = f"ulimit -n {GUARD}; exec {sys.executable} -m headstart_worker --stay -- true"
    done = subprocess.run(["/bin/sh", "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == MachineError.exit_code
    assert f"descriptor {GUARD}: raise the limit of open files (ulimit -n)" in done.stderr


def test_a_command_that_is_too_long_leaves_no_mark_on_later_peaks() -> None:
    with closing(HelperSpawner()) as helper:
        long = ["/bin/true", *(f"{n:0100000}" for n in range(600))]
        with pytest.raises(MachineError, match="response files"):
            ProcessGroup.start(helper, long, cwd="/", env={}, streams=(0, 1, 2))
        group = start(helper, "exit 0")
        await_exit(group)
        assert group.reap()[3] < 40 << 20


def test_a_job_that_another_helper_started_is_not_signalled() -> None:
    command = ["/bin/cat"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    ) as stranger:
        with pytest.raises(KeyError):
            Children("owner").abort(stranger.pid)
        assert stranger.communicate(b"alive", PATIENCE)[0] == b"alive"


def test_what_cannot_be_started_is_said(spawner: Spawner, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"no program\0")  # a text would be the shell's
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


@pytest.mark.parametrize(
    "why", [errno.EINVAL, errno.ENOSYS, errno.EPERM], ids=["before 6.9", "before 5.1", "a filter"]
)
async def test_a_kernel_without_group_signals_by_pidfd_gets_them_by_id(
    spawner: Spawner, fifo: MakeFifo, monkeypatch: pytest.MonkeyPatch, why: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(why, os.strerror(why))

    pids = fifo("pids")
    group = start(spawner, f"sleep 99 & echo $! > {pids}; wait")
    other = await pids.pid()
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    group.signal(signal.SIGTERM)
    await gone(other)
    await_exit(group)
    assert os.waitstatus_to_exitcode(group.reap()[0]) == -signal.SIGTERM


def test_without_a_free_descriptor_nothing_is_lost() -> None:
    with closing(HelperSpawner()) as spawner:
        start(spawner, "exit 0").reap()
        (helper,) = children(os.getpid())
        before = descriptors()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before) + 32, limits[1]))
        held: list[int] = []
        failures = 0
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))
            # One more is free each time, so that it fails at every place that needs one, and then works.
            while held:
                try:
                    start(spawner, "exit 0").reap()
                    break
                except (MachineError, OSError):
                    failures += 1
                os.close(held.pop())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in held:
                os.close(descriptor)
        assert failures >= 4  # the null device, both ends of the guard, the leader's pidfd
        assert children(helper) == []
        assert descriptors() == before


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


async def test_I3_a_helper_that_fails_ends_what_it_started(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    program = (
        f"import os, signal; os.setsid(); os.close({GUARD}); "
        f"print(os.getpid(), file=open('{pids}', 'w'), flush=True); signal.pause()"
    )
    with closing(HelperSpawner()) as helper:
        group = start(helper, f'env -i {sys.executable} -I -S -c "{program}" & wait')
        found = await pids.pid()
        assert helper._connection
        helper._connection.sendall((4).to_bytes(8, "little") + b"what")
        await gone(found)
        with pytest.raises(MachineError, match="helper"):
            group.reap()


async def test_a_helper_that_is_stopped_does_not_hold_up_the_end(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    helper = HelperSpawner()
    group = start(helper, f"setsid sh -c 'echo $$ > {pids}; exec sleep 99' & wait")
    found = await pids.pid()
    (stopped,) = children(os.getpid())
    os.kill(stopped, signal.SIGSTOP)
    helper.close()
    await gone(found)
    group.signal(signal.SIGKILL)
    await_exit(group)
    with closing(helper), pytest.raises(MachineError, match="helper"):
        group.reap()


async def test_closing_a_helper_ends_its_groups(fifo: MakeFifo) -> None:
    pids = fifo("pids")
    spawner = HelperSpawner()
    group = start(spawner, f"trap '' TERM; sleep 99 & echo $! > {pids}; echo $$ > {pids}; wait")
    found = [await pids.pid(), await pids.pid()]
    spawner.close()
    await_exit(group)
    assert not is_alive(found[1])
    with closing(spawner), pytest.raises(MachineError, match="helper"):
        group.reap()


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
