"""The streams of one job: what becomes its descriptors 0, 1 and 2, and what is made of the bytes that come out of them.

Bytes become text to show and the news that early outputs are complete, as the dialect's filter has it; or they go into
files (`redirection`). Not here: when to read, and what the news means (`supervise`).
"""

from __future__ import annotations

import os

from headstart_wrapper import redirection
from headstart_wrapper.dialects import EarlySignal, OutputEvent, OutputFilter
from headstart_wrapper.dialects import Text as Rendered
from headstart_wrapper.errors import MachineError
from headstart_wrapper.hints import TYPE_CHECKING, Final, final
from headstart_wrapper.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from headstart_wrapper.sandbox.confinement import Confinement

_CHUNK: Final = 1 << 16
"""A pipe's capacity on Linux."""


class Launch(Record, kw_only=True):
    """What is to be started, with every path and variable settled.

    Attributes:
        command, cwd, env: as for execve, all complete.
        capture: stdout and stderr are taken as events; otherwise they pass through, but for a filtered stderr.
        stderr: filter for stderr; None: nothing is filtered.
        early_signal: how the compiler tells that its early outputs are complete.
        early_outputs: absolute, normal paths; none with a signal by lines: the first that the compiler tells of.
        timeout, kill_delay: seconds.
        files: opens what takes the place of streams (`redirection`); None: nothing does.
        quits: the job is ended when its early outputs are complete; what it says on stderr after that is nothing to hear.
        confinement: makes what holds the job, right before it starts, and takes it back right after; None: nothing holds it.
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
    files: Callable[[], dict[int, int]] | None = None
    quits: bool = False
    confinement: Callable[[], AbstractContextManager[Confinement | None]] | None = None


class Text(Record):
    """Output to show. Attributes: stream (1 or 2) and bytes."""

    stream: int
    data: bytes


class EarlyComplete(Record):
    """Every early output is complete, says the compiler or the file system."""


@final
class Streams:
    """The descriptors of one job's output, ours and the child's.

    Attributes:
        child: what becomes the child's 0, 1 and 2.
        readers: our ends that are still open, with the number of the stream that each carries.
    """

    def __init__(self, launch: Launch, is_wanted_to_end: Callable[[], bool]) -> None:
        self._is_wanted_to_end = is_wanted_to_end
        self._stderr = launch.stderr
        self._cwd = launch.cwd
        self._awaits_early = launch.early_signal is EarlySignal.LINES
        self._early = set(launch.early_outputs)
        self._quits = launch.quits
        self._is_over = False
        self._files = launch.files() if launch.files else {}
        self._child_ends: list[int] = []
        self.readers: dict[int, int] = {}
        try:
            self.child = self._open(capture=launch.capture)
        except OSError as error:
            self.close()
            raise MachineError(f"the job's pipes cannot be made: {error.strerror}") from error

    def _open(self, *, capture: bool) -> tuple[int, int, int]:
        stdin, stdout, stderr = 0, 1, 2
        if capture:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._child_ends.append(stdin)
            stdout = stderr = -1
        stdout = self._files.get(redirection.STDOUT, stdout)
        stderr = self._pipe(2) if self._is_heard else self._files.get(redirection.STDERR, stderr)
        if stdout < 0:
            stdout = self._pipe(1)
        if stderr < 0:
            # One pipe keeps the order in which both streams were written.
            stderr = self._pipe(2) if redirection.STDOUT in self._files else stdout
        return stdin, stdout, stderr

    @property
    def _is_heard(self) -> bool:
        """We have to see what comes on stderr, so that it needs a pipe for itself."""
        return self._stderr is not None or redirection.RAW in self._files

    def _pipe(self, stream: int) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self.readers[reader] = stream
        self._child_ends.append(writer)
        return writer

    def read(self, descriptor: int) -> Iterator[Text | EarlyComplete]:
        """What a ready descriptor has; at its end it is closed and no longer among the readers."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        stream = self.readers[descriptor]
        if not data:
            del self.readers[descriptor]
            os.close(descriptor)
        elif stream == 2 and self._is_heard:
            # Line by line where the job is ended by a line: what follows it is a matter of chance.
            for part in data.splitlines(keepends=True) if self._quits else (data,):
                yield from self._heard(part)
        else:
            yield Text(stream, data)

    def _heard(self, data: bytes) -> Iterator[Text | EarlyComplete]:
        if self._is_over:
            return
        if redirection.RAW in self._files:
            redirection.write(self._files, redirection.RAW, data)
        if self._stderr is None:
            yield from self._shown(data)
        else:
            yield from self._filtered(self._stderr.feed(data))

    def _shown(self, data: bytes) -> Iterator[Text | EarlyComplete]:
        if redirection.STDERR in self._files:
            redirection.write(self._files, redirection.STDERR, data)
        else:
            yield Text(2, data)

    def flush(self) -> Iterator[Text | EarlyComplete]:
        """What the filter still holds, when nothing more will be read."""
        if self._stderr is not None and not self._is_over:
            yield from self._filtered(self._stderr.close())

    def _filtered(self, events: list[OutputEvent]) -> Iterator[Text | EarlyComplete]:
        for event in events:
            if isinstance(event, Rendered):
                yield from self._shown(event.data)
            elif self._awaits_early:
                self._early.discard(os.path.normpath(os.path.join(self._cwd, event.path)))  # noqa: PTH118 - plain strings
                if not self._early:
                    self._awaits_early = False
                    yield EarlyComplete()
                    self._is_over = self._quits and self._is_wanted_to_end()

    def close_child_ends(self) -> None:
        """Closes what only the child needs; harmless when repeated."""
        while self._child_ends:
            os.close(self._child_ends.pop())

    def close(self) -> None:
        """Closes everything that is still open."""
        self.close_child_ends()
        redirection.close(self._files)
        while self.readers:
            os.close(self.readers.popitem()[0])
