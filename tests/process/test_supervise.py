"""One job's processes from start to end: the events, the grace, the end whatever the consumer does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from headstart_wrapper.dialects import EarlySignal
from headstart_wrapper.errors import CommandNotFoundError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner
from headstart_wrapper.streams import EarlyComplete, Launch, Text
from headstart_wrapper.supervise import Exited, Started, Supervisor
from process.support import Fifo
from survivors import is_alive

MakeFifo = Callable[[str], Fifo]


def launch(script: str, *, command: tuple[str, ...] | None = None, **more: object) -> Launch:
    settled: dict[str, object] = {
        "command": command or ("/bin/sh", "-c", script),
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "capture": True,
        "stderr": None,
        "early_signal": EarlySignal.NONE,
        "early_outputs": (),
        "timeout": None,
        "kill_delay": 0.5,
    }
    return Launch(**{**settled, **more})  # type: ignore[arg-type]


@pytest.fixture
def helper() -> Iterator[HelperSpawner]:
    with closing(HelperSpawner()) as made:
        yield made


def end(events: Sequence[object]) -> Exited:
    last = events[-1]
    assert isinstance(last, Exited)
    return last


def test_the_events_of_a_plain_job() -> None:
    events = list(Supervisor(launch("echo out; echo err >&2; exit 3"), DirectSpawner()).events())
    assert isinstance(events[0], Started)
    texts = [event for event in events if isinstance(event, Text)]
    assert b"".join(text.data for text in texts) == b"out\nerr\n"
    last = end(events)
    assert os.waitstatus_to_exitcode(last.status) == 3
    assert not last.stopped
    assert not last.timed_out
    assert 0 < last.usage.spawn <= last.usage.wall


def test_terminate_then_kill(fifo: MakeFifo) -> None:
    ready = fifo("ready")
    script = f"trap '' TERM; echo > {ready}; while :; do sleep 99; done"
    supervisor = Supervisor(launch(script, kill_delay=0.2), DirectSpawner())
    events = []
    began = time.monotonic()
    for event in supervisor.events():
        events.append(event)
        if isinstance(event, Started):
            while ready.silent():
                os.sched_yield()
            began = time.monotonic()
            supervisor.stop(kill=False)
    last = end(events)
    assert os.waitstatus_to_exitcode(last.status) == -signal.SIGKILL
    assert last.stopped
    assert time.monotonic() - began >= 0.2


def test_a_stopped_job_can_be_ended(fifo: MakeFifo) -> None:
    ready = fifo("ready")
    supervisor = Supervisor(launch(f"echo > {ready}; kill -STOP $$; exit 0", kill_delay=60), DirectSpawner())
    for event in supervisor.events():
        if isinstance(event, Started):
            os.waitid(os.P_PID, event.pid, os.WSTOPPED | os.WNOWAIT)
            supervisor.stop(kill=False)
        elif isinstance(event, Exited):
            assert os.waitstatus_to_exitcode(event.status) == -signal.SIGTERM


def test_a_wish_before_the_start_is_carried_out() -> None:
    supervisor = Supervisor(launch("sleep 99"), DirectSpawner())
    supervisor.stop(kill=True)
    assert os.waitstatus_to_exitcode(end(list(supervisor.events())).status) == -signal.SIGKILL


def test_wishes_after_the_end_and_many_at_once_are_harmless() -> None:
    supervisor = Supervisor(launch("exit 0"), DirectSpawner())
    list(supervisor.events())
    supervisor.stop(kill=True)
    supervisor.forward(signal.SIGTERM)
    busy = Supervisor(launch("sleep 99"), DirectSpawner())
    threads = [threading.Thread(target=busy.stop, kwargs={"kill": n % 2 == 0}) for n in range(16)]
    for event in busy.events():
        if isinstance(event, Started):
            for thread in threads:
                thread.start()
    for thread in threads:
        thread.join()


def test_the_time_is_over(helper: HelperSpawner) -> None:
    last = end(list(Supervisor(launch("sleep 99", timeout=0.1), helper).events()))
    assert last.timed_out
    assert not last.stopped
    assert last.usage.wall >= 0.1


@pytest.mark.parametrize("when", [Started, Text])
def test_I2_a_consumer_that_fails_leaves_no_process(
    helper: HelperSpawner, fifo: MakeFifo, when: type
) -> None:
    pids = fifo("pids")
    supervisor = Supervisor(launch(f"sleep 99 & echo $! > {pids}; echo text; wait"), helper)
    seen = 0

    def consume() -> None:
        nonlocal seen
        with closing(supervisor.events()) as events:
            for event in events:
                if isinstance(event, Started):
                    seen = event.pid
                if isinstance(event, when):
                    raise RuntimeError  # noqa: TRY004 - any error would do

    with pytest.raises(RuntimeError):
        consume()
    assert not is_alive(seen)


def test_what_cannot_be_started_leaves_no_descriptor(helper: HelperSpawner) -> None:
    helper.warm_up()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    for early in (EarlySignal.NONE, EarlySignal.WATCH):
        with pytest.raises(CommandNotFoundError):
            list(
                Supervisor(
                    launch("", command=("no-such",), early_signal=early, early_outputs=("/tmp/x",)), helper
                ).events()
            )
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - a count


def test_early_is_told_once_and_before_the_end(tmp_path: Path) -> None:
    early = str(tmp_path / "early")
    script = f"echo x > {early}; echo y > {early}; echo z > {early}"
    events = list(
        Supervisor(
            launch(script, early_signal=EarlySignal.WATCH, early_outputs=(early,)), DirectSpawner()
        ).events()
    )
    assert [type(event) for event in events] == [Started, EarlyComplete, Exited]


def test_an_early_output_written_at_the_very_end_is_told(tmp_path: Path) -> None:
    early = str(tmp_path / "early")
    for _ in range(50):
        events = list(
            Supervisor(
                launch(
                    f"exec sh -c 'echo x > {early}'", early_signal=EarlySignal.WATCH, early_outputs=(early,)
                ),
                DirectSpawner(),
            ).events()
        )
        assert [type(event) for event in events] == [Started, EarlyComplete, Exited]
