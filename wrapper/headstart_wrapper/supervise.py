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
from typing import Final, final

from attrs import frozen

from headstart_wrapper.dialects import EarlySignal, OutputEvent, OutputFilter
from headstart_wrapper.dialects import Text as Rendered
from headstart_wrapper.early import EarlyWatch
from headstart_wrapper.errors import MachineError
from headstart_wrapper.job import Usage
from headstart_wrapper.lifecycle import Event, Lifecycle, State
from headstart_wrapper.process_group import ProcessGroup, Spawner

DRAIN_SECONDS: Final = 0.05
"""After the leader's exit all that it wrote is in the pipes already; this is for a reader to see their end, which an
escaped background process could hold open for ever (measured: the sweep closes them within a millisecond)."""

_LATE_READS: Final = 16
"""Chunks read after that time: all that a pipe holds (1 MiB at most), for a slow reader; not what an escapee goes on to write."""

EMPTY_SECONDS: Final = 0.8
"""How long killed processes may take to be gone; a worker has one second in all."""

_CHUNK: Final = 1 << 16
"""A pipe's capacity on Linux."""


@frozen(kw_only=True)
class Launch:
    """What is to be started, with every path and variable settled.

    Attributes:
        command, cwd, env: as for execve, all complete.
        capture: stdout and stderr are taken as events; otherwise they pass through, but for a filtered stderr.
        stderr: filter for stderr; None: nothing is filtered.
        early_signal: how the compiler tells that its early outputs are complete.
        early_outputs: absolute, normal paths.
        timeout, kill_delay: seconds.
    """

    command: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    capture: bool
    stderr: OutputFilter | None
    early_signal: EarlySignal
    early_outputs: tuple[str, ...]
    timeout: float | None
    kill_delay: float


@frozen
class Started:
    """The leader runs. Attributes: its process id."""

    pid: int


@frozen
class Text:
    """Output to show. Attributes: stream (1 or 2) and bytes."""

    stream: int
    data: bytes


@frozen
class EarlyComplete:
    """Every early output is complete, says the compiler or the file system."""


@frozen(kw_only=True)
class Exited:
    """The leader is reaped and its group is gone. Attributes: POSIX wait status, what was used, why it was ended."""

    status: int
    usage: Usage
    timed_out: bool
    stopped: bool


SupervisorEvent = Started | Text | EarlyComplete | Exited


@final
class Supervisor:
    """One job's processes. `events` is called once; `stop` and `forward` may come from any thread, before, while and after it runs."""

    def __init__(self, launch: Launch, spawner: Spawner) -> None:
        self._launch = launch
        self._spawner = spawner
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
            streams = _Streams(self._launch)
            stack.callback(streams.close)
            self._began = time.monotonic()
            group = self._start(streams)
            spawned = self.seconds
            try:
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
                    status, user, system, peak = group.reap()
            yield Exited(
                status=status,
                usage=Usage(user=user, system=system, wall=wall, peak_memory=peak, spawn=spawned),
                timed_out=self._timed_out,
                stopped=self._wanted is not None,
            )

    def _armed_watch(self, stack: contextlib.ExitStack) -> EarlyWatch | None:
        if self._launch.early_signal is not EarlySignal.WATCH or not self._launch.early_outputs:
            return None
        watch = EarlyWatch(self._launch.early_outputs)
        stack.callback(watch.close)
        return watch

    def _start(self, streams: _Streams) -> ProcessGroup:
        launch = self._launch
        try:
            group = ProcessGroup.start(
                self._spawner, launch.command, cwd=launch.cwd, env=launch.env, streams=streams.child
            )
        except BaseException:
            self._lifecycle.feed(Event.START_FAILED)
            raise
        finally:
            streams.close_child_ends()
        self._lifecycle.feed(Event.STARTED)
        return group

    def _until_exit(
        self, group: ProcessGroup, streams: _Streams, watch: EarlyWatch | None, wake: int
    ) -> Iterator[SupervisorEvent]:
        poll = select.poll()
        for descriptor in (group.pidfd, wake, *streams.readers, *([watch.descriptor] if watch else [])):
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
            if wake in ready:
                os.eventfd_read(wake)
                self._carry_out_wishes(group)
            if group.pidfd in ready:
                self._lifecycle.feed(Event.LEADER_EXITED)
                group.signal(signal.SIGKILL)
            elif timeout_at is not None and time.monotonic() >= timeout_at:
                timeout_at = None
                self._timed_out = self._lifecycle.state is State.RUNNING
                self._feed(Event.STOP, group)
            elif self._grace_over_at is not None and time.monotonic() >= self._grace_over_at:
                self._feed(Event.GRACE_OVER, group)

    def _drain(self, streams: _Streams) -> Iterator[SupervisorEvent]:
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


@final
class _Streams:
    """The descriptors of one job's output, ours and the child's.

    Attributes:
        child: what becomes the child's 0, 1 and 2.
        readers: our ends that are still open, with the number of the stream that each carries.
    """

    def __init__(self, launch: Launch) -> None:
        self._stderr = launch.stderr
        self._cwd = launch.cwd
        self._early = set(launch.early_outputs) if launch.early_signal is EarlySignal.LINES else set()
        self._child_ends: list[int] = []
        self.readers: dict[int, int] = {}
        try:
            self.child = self._open(capture=launch.capture)
        except OSError as error:
            self.close()
            raise MachineError(f"the job's pipes cannot be made: {error.strerror}") from error

    def _open(self, *, capture: bool) -> tuple[int, int, int]:
        if not capture:
            return 0, 1, 2 if self._stderr is None else self._pipe(2)
        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._child_ends.append(stdin)
        stdout = self._pipe(1)
        # One pipe keeps the order in which both streams were written; a filter needs a stream for itself.
        return stdin, stdout, stdout if self._stderr is None else self._pipe(2)

    def _pipe(self, stream: int) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self.readers[reader] = stream
        self._child_ends.append(writer)
        return writer

    def read(self, descriptor: int) -> Iterator[SupervisorEvent]:
        """What a ready descriptor has; at its end it is closed and no longer among the readers."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        stream = self.readers[descriptor]
        if not data:
            del self.readers[descriptor]
            os.close(descriptor)
        elif stream == 2 and self._stderr is not None:
            yield from self._filtered(self._stderr.feed(data))
        else:
            yield Text(stream, data)

    def flush(self) -> Iterator[SupervisorEvent]:
        """What the filter still holds, when nothing more will be read."""
        if self._stderr is not None:
            yield from self._filtered(self._stderr.close())

    def _filtered(self, events: list[OutputEvent]) -> Iterator[SupervisorEvent]:
        for event in events:
            if isinstance(event, Rendered):
                yield Text(2, event.data)
            elif self._early:
                self._early.discard(os.path.normpath(os.path.join(self._cwd, event.path)))  # noqa: PTH118 - plain strings
                if not self._early:
                    yield EarlyComplete()

    def close_child_ends(self) -> None:
        """Closes what only the child needs; harmless when repeated."""
        while self._child_ends:
            os.close(self._child_ends.pop())

    def close(self) -> None:
        """Closes everything that is still open."""
        self.close_child_ends()
        while self.readers:
            os.close(self.readers.popitem()[0])


def _milliseconds_until(deadlines: list[float]) -> float | None:
    return max(0.0, min(deadlines) - time.monotonic()) * 1000 if deadlines else None
