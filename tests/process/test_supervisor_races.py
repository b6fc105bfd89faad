"""What may happen to a supervised job at the worst moment."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headstart_wrapper.dialects import EarlySignal
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import Guard, ProcessGroup
from headstart_wrapper.streams import Launch, Text
from headstart_wrapper.supervise import Exited, Started, Supervisor
from process.support import Fifo
from survivors import descriptors

MakeFifo = Callable[[str], Fifo]


@pytest.fixture
def spawner() -> Iterator[HelperSpawner]:
    with closing(HelperSpawner()) as helper:
        yield helper


def supervisor(spawner: HelperSpawner, script: str, *, timeout: float | None = None) -> Supervisor:
    launch = Launch(
        command=("/bin/sh", "-c", script),
        cwd=str(Path.cwd()),
        env=dict(os.environ),
        capture=True,
        stderr=None,
        early_signal=EarlySignal.NONE,
        early_outputs=(),
        timeout=timeout,
        kill_delay=0.1,
    )
    return Supervisor(launch, spawner)


@pytest.mark.parametrize("kill", [True, False])
def test_a_wish_that_comes_while_the_supervisor_begins_to_listen_is_heard(
    spawner: HelperSpawner, monkeypatch: pytest.MonkeyPatch, kill: bool
) -> None:
    # As a signal handler would, which may come between any two lines of the thread that it interrupts.
    job = supervisor(spawner, "exec sleep 1000", timeout=5)
    make = os.eventfd

    def interrupted(value: int, flags: int) -> int:
        job.stop(kill=kill)
        return make(value, flags)

    monkeypatch.setattr(os, "eventfd", interrupted)
    *_, ended = job.events()
    assert isinstance(ended, Exited)
    assert ended.stopped
    assert not ended.timed_out


def test_an_escaped_process_that_writes_for_ever_does_not_hold_the_end(
    spawner: HelperSpawner, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    script = f"setsid sh -c 'echo > {ready}; exec cat /dev/zero' & read x < {ready}; echo $$ >&2; exit 7"
    before = descriptors()
    pipe = -1
    for event in supervisor(spawner, script).events():
        if isinstance(event, Started):
            began = time.monotonic()
            # the other one of this job is its guard's writing end
            (pipe,) = (
                n
                for n, what in descriptors().items()
                if what.startswith("pipe:") and before.get(n) != what and not os.get_blocking(n)
            )
        elif isinstance(event, Text):
            select.select([pipe], [], [])  # slower than the writer: there is always more to read
            assert time.monotonic() < began + 5
        elif isinstance(event, Exited):
            assert os.waitstatus_to_exitcode(event.status) == 7


def test_I2_a_process_whose_first_thread_has_exited_still_counts(
    spawner: HelperSpawner, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    program = (
        "import ctypes, os, threading, time; "
        f"threading.Thread(target=lambda: (print(os.getpid(), file=open('{pids}', 'w'), flush=True), time.sleep(1000))).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    job = supervisor(spawner, f'{sys.executable} -I -S -c "{program}" & wait')
    with closing(job.events()) as events:
        started = next(events)
        assert isinstance(started, Started)
        import trio  # noqa: PLC0415

        pid = trio.run(pids.pid)
        path = Path(f"/proc/{pid}/stat")
        while b") Z " not in path.read_bytes():
            os.sched_yield()
        pidfd = os.pidfd_open(started.pid)
        guard = Guard()
        group = ProcessGroup(started.pid, pidfd, guard, spawner)
        members = len(list(group._members()))
        for descriptor in (pidfd, guard.reader):
            os.close(descriptor)
        guard.close()
        assert members == 1
        os.kill(pid, signal.SIGKILL)
