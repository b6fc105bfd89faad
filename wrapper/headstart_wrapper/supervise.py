"""Watches one job's processes from start to end, as a stream of events.

Blocking, and meant for a thread of its own (the standalone wrapper has only one anyway). It decides nothing: what
may happen next is the table in `lifecycle`, how groups are ended is `process_group`. Not here: which files belong
to the job (`run`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Generator, Iterator

from headstart_wrapper.dialects import EarlySignal
from headstart_wrapper.early import EarlyWatch
from headstart_wrapper.hints import TYPE_CHECKING, Final, final
from headstart_wrapper.job import Usage
from headstart_wrapper.lifecycle import Event, Lifecycle, State
from headstart_wrapper.process_group import ProcessGroup, Spawner
from headstart_wrapper.records import Record
from headstart_wrapper.streams import EarlyComplete, Launch, Streams, Text

if TYPE_CHECKING:
    from headstart_wrapper.terminal import JobControl

DRAIN_SECONDS: Final = 0.05
"""After the leader's exit all that it wrote is in the pipes already; this is for a reader to see their end, which an
escaped background process could hold open for ever (measured: the sweep closes them within a millisecond)."""

_LATE_READS: Final = 16
"""Chunks read after that time: all that a pipe holds (1 MiB at most), for a slow reader; not what an escapee goes on to write."""

EMPTY_SECONDS: Final = 0.8
"""How long killed processes may take to be gone; a worker has one second in all."""

_LONGEST_WAIT: Final = 86400.0
"""Seconds: poll(2) counts milliseconds in an int, which a long --timeout exceeds; who looks up once a day loses nothing."""


class Started(Record):
    """The leader runs. Attributes: its process id."""

    pid: int


class Exited(Record, kw_only=True):
    """The leader is reaped and its group is gone. Attributes: POSIX wait status, what was used, why it was ended."""

    status: int
    usage: Usage
    timed_out: bool
    stopped: bool


SupervisorEvent = Started | Text | EarlyComplete | Exited


@final
class Supervisor:
    """One job's processes. `events` is called once; `stop` and `forward` may come from any thread, before, while and after it runs.

    With a `control`, which has to be entered while `events` runs, the leader is a child of this process, and its stops are ours.
    """

    def __init__(self, launch: Launch, spawner: Spawner, control: JobControl | None = None) -> None:
        self._launch = launch
        self._spawner = spawner
        self._control = control
        self._lifecycle = Lifecycle()
        self._lock = threading.RLock()  # a signal handler may come while the same thread holds it
        self._wanted: Event | None = None
        self._forward: list[int] = []
        self._wake: int | None = None
        self._began = time.monotonic()
        self._timed_out = False
        self._grace_over_at: float | None = None

    def stop(self, *, kill: bool) -> None:
        """Asks for the end: TERM, then KILL after the grace; or KILL at once."""
        with self._lock:
            if kill or self._wanted is None:
                self._wanted = Event.KILL if kill else Event.STOP
            self._wake_up()

    @property
    def seconds(self) -> float:
        """Seconds since the job was started."""
        return time.monotonic() - self._began

    def forward(self, number: int) -> None:
        """Asks to send a signal to the group, as a terminal would."""
        with self._lock:
            self._forward.append(number)
            self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None:
            os.eventfd_write(self._wake, 1)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[int]:
        """A descriptor that is readable when somebody asked for something; at once if it was before the start."""
        with self._lock:
            self._wake = wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            # Looked at after the descriptor is known: a signal handler may come between any two lines.
            if self._wanted is not None or self._forward:
                self._wake_up()
        try:
            yield wake
        finally:
            with self._lock:
                self._wake = None
                os.close(wake)

    def events(self) -> Generator[SupervisorEvent, None, None]:
        """Runs the job; the last event is `Exited`.

        Whatever happens, an exception in the consumer included, the group is dead and reaped at the end.

        Raises:
            CommandNotFoundError, CommandNotExecutableError, MachineError: it could not be started.
        """
        with contextlib.ExitStack() as stack:
            wake = stack.enter_context(self._listening())
            watch = self._armed_watch(stack)
            streams = Streams(self._launch, lambda: self._wanted is not None)
            stack.callback(streams.close)
            self._began, started_at = time.monotonic(), time.time()
            group = self._start(streams)
            spawned = self.seconds
            status = None
            try:
                if self._control:
                    self._control.started(group)
                yield Started(group.pid)
                yield from self._until_exit(group, streams, watch, wake)
                wall = self.seconds
                yield from self._drain(streams)
            finally:
                # A job that was stopped is acknowledged as dead (I2); one that ended is merely swept.
                try:
                    if (
                        self._wanted is not None
                        or self._timed_out
                        or self._lifecycle.state is not State.REAPED
                    ):
                        group.await_empty(seconds=EMPTY_SECONDS)
                finally:
                    try:
                        status, *_ = reaped = group.reap()
                    finally:
                        self._give_up_control(status)
            yield Exited(
                status=status,
                usage=Usage(*reaped[1:], wall=wall, gone=self.seconds, spawn=spawned, started_at=started_at),
                timed_out=self._timed_out,
                stopped=self._wanted is not None,
            )

    def _give_up_control(self, status: int | None) -> None:
        if self._control:
            died_of = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
            ended_by_us = self._timed_out or self._wanted is not None or status is None
            self._control.ended(died_of=died_of, killed=ended_by_us or died_of is not None)

    def _armed_watch(self, stack: contextlib.ExitStack) -> EarlyWatch | None:
        if self._launch.early_signal is not EarlySignal.WATCH or not self._launch.early_outputs:
            return None
        watch = EarlyWatch(self._launch.early_outputs)
        stack.callback(watch.close)
        return watch

    def _start(self, streams: Streams) -> ProcessGroup:
        launch = self._launch
        try:
            with launch.confinement() if launch.confinement else contextlib.nullcontext() as confinement:
                group = ProcessGroup.start(
                    self._spawner,
                    launch.command,
                    cwd=launch.cwd,
                    env=launch.env,
                    streams=streams.child,
                    confinement=confinement,
                )
        except BaseException:
            self._lifecycle.feed(Event.START_FAILED)
            raise
        finally:
            streams.close_child_ends()
        self._lifecycle.feed(Event.STARTED)
        return group

    def _until_exit(
        self, group: ProcessGroup, streams: Streams, watch: EarlyWatch | None, wake: int
    ) -> Iterator[SupervisorEvent]:
        poll = select.poll()
        others = [source.descriptor for source in (watch, self._control) if source]
        for descriptor in (group.pidfd, wake, *streams.readers, *others):
            poll.register(descriptor, select.POLLIN)
        timeout_at = None if self._launch.timeout is None else self._began + self._launch.timeout
        while self._lifecycle.state is not State.DRAINING:
            deadlines = [moment for moment in (timeout_at, self._grace_over_at) if moment is not None]
            ready = {descriptor for descriptor, _ in poll.poll(_milliseconds_until(deadlines))}
            for descriptor in ready & streams.readers.keys():
                yield from streams.read(descriptor)
                if descriptor not in streams.readers:
                    poll.unregister(descriptor)
            if watch and watch.descriptor in ready and watch.complete():
                poll.unregister(watch.descriptor)
                watch = None
                yield EarlyComplete()
            self._listen(ready, wake, group)
            if group.pidfd in ready:
                self._lifecycle.feed(Event.LEADER_EXITED)
                group.signal(signal.SIGKILL)
            elif timeout_at is not None and time.monotonic() >= timeout_at:
                timeout_at = None
                self._timed_out = self._lifecycle.state is State.RUNNING
                self._feed(Event.STOP, group)
            elif self._grace_over_at is not None and time.monotonic() >= self._grace_over_at:
                self._feed(Event.GRACE_OVER, group)

    def _drain(self, streams: Streams) -> Iterator[SupervisorEvent]:
        deadline = time.monotonic() + DRAIN_SECONDS
        poll = select.poll()
        for descriptor in streams.readers:
            poll.register(descriptor, select.POLLIN)
        late = 0
        while (
            late < _LATE_READS and streams.readers and (ready := poll.poll(_milliseconds_until([deadline])))
        ):
            late += time.monotonic() >= deadline
            for descriptor, _ in ready:
                yield from streams.read(descriptor)
                if descriptor not in streams.readers:
                    poll.unregister(descriptor)
        yield from streams.flush()
        self._lifecycle.feed(Event.DRAINED)

    def _listen(self, ready: set[int], wake: int, group: ProcessGroup) -> None:
        if self._control and self._control.descriptor in ready:
            self._control.attend()
        if wake in ready:
            os.eventfd_read(wake)
            self._carry_out_wishes(group)

    def _carry_out_wishes(self, group: ProcessGroup) -> None:
        with self._lock:
            wanted, forward, self._forward = self._wanted, self._forward, []
        for number in forward:
            group.signal(number)
        if wanted is not None:
            self._feed(wanted, group)

    def _feed(self, event: Event, group: ProcessGroup) -> None:
        if not self._lifecycle.feed(event):
            return
        if self._lifecycle.state is State.TERMINATING:
            group.signal(signal.SIGTERM)
            group.signal(signal.SIGCONT)  # a stopped process takes TERM only when it goes on
            self._grace_over_at = time.monotonic() + self._launch.kill_delay
        elif self._lifecycle.state is State.KILLING:
            self._grace_over_at = None
            group.signal(signal.SIGKILL)


def _milliseconds_until(deadlines: list[float]) -> float | None:
    if not deadlines:
        return None
    return min(max(0.0, min(deadlines) - time.monotonic()), _LONGEST_WAIT) * 1000
