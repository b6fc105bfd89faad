"""A host that speaks both encodings to a real worker process.

    async with FakeHost(options=("--jobs=2",)) as host:
        response = await host.work(("--", "cc", "-c", "hello.c"))

It has no opinion: it sends what it is told, malformed bytes too, and keeps what comes back in order. Judging is the
test's business. Not for scheduling a build: that is `build`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, final

import trio
from attrs import frozen

from headstart_worker.codec import host_codec_for
from headstart_worker.messages import Input, WorkRequest, WorkResponse

_READ: Final = 1 << 16
"""Bytes at a time: a pipe's capacity on Linux."""

_FIRST_ID: Final = 1000

_END_SECONDS: Final = 20.0
"""How long a worker may take to end when a host leaves: it promises one second, a busy machine may make it late."""


class WorkerEndedError(Exception):
    """The worker closed its stream while a response was waited for."""


@frozen
class Ended:
    """How a worker ended.

    Attributes:
        exit_code: as `subprocess` has it: negative for a signal.
        stderr: everything that it wrote there.
    """

    exit_code: int
    stderr: str


class _Waiter:
    """One `work` that waits for the response to its id."""

    def __init__(self, answered: Callable[[WorkResponse], object]) -> None:
        self.answered = answered
        self.arrived = trio.Event()
        self.response: WorkResponse | None = None


class Works(Protocol):
    """Whatever requests can be sent through: a `FakeHost`, or what puts them otherwise for another worker."""

    async def work(
        self,
        arguments: Sequence[str],
        inputs: Iterable[Input] = (),
        *,
        request_id: int | None = None,
        sandbox_dir: str = "",
        answered: Callable[[WorkResponse], object] = ...,
    ) -> WorkResponse:
        """See `FakeHost.work`."""


@final
class FakeHost:
    """A worker process and the host's end of its streams; an async context manager.

    Leaving the context closes the worker's stdin and waits for its end; a worker that stays is killed, and the
    exit raises TimeoutError.

    Attributes:
        responses: every response so far, in the order of arrival.
    """

    def __init__(
        self,
        protocol: str = "proto",
        options: Sequence[str] = (),
        *,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Describes the worker; it is started when the context is entered.

        Args:
            protocol: "proto" or "json".
            options: startup options beside `--persistent_worker` and the protocol.
            cwd: the worker's directory; None: this process's.
            env: its environment; None: this process's.
            command: what to start instead of this interpreter's `headstart_worker`; the options are appended.
            pass_fds: descriptors that it inherits beside its three.

        Raises:
            RequestError: there is no such protocol.
        """
        self._codec = host_codec_for(protocol)
        program = command if command is not None else (sys.executable, "-m", "headstart_worker")
        self._argv = [*program, "--persistent_worker", f"--worker-protocol={protocol}", *options]
        self._cwd = cwd
        self._env = env
        self._pass_fds = tuple(pass_fds)

        self._last_id = _FIRST_ID
        self._context: AbstractAsyncContextManager[None] | None = None
        self._process: trio.Process | None = None
        self._waiters: dict[int, deque[_Waiter]] = {}
        self._unclaimed: deque[WorkResponse] = deque()
        self._news = trio.Event()
        self._may_read = trio.Event()
        self._may_read.set()
        self._stdout_ended = False
        self._stderr = bytearray()
        self._sending = trio.Lock()
        self._over = trio.Event()
        self.responses: list[WorkResponse] = []

    async def __aenter__(self) -> Self:
        self._context = self._running()
        await self._context.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._context is None:
            raise RuntimeError("a host is left before it is entered")
        return await self._context.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        self._process = process = await trio.lowlevel.open_process(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._cwd,
            env=self._env,
            pass_fds=self._pass_fds,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_stdout)
                nursery.start_soon(self._read_stderr)
                try:
                    yield
                    with trio.fail_after(_END_SECONDS):
                        await self.finish()
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        await stream.aclose()

    @property
    def process(self) -> trio.Process:
        """The worker's process.

        Raises:
            RuntimeError: it was not started.
        """
        if self._process is None:
            raise RuntimeError("the worker is not started: use the host as an async context manager")
        return self._process

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self.process.pid

    @property
    def stderr(self) -> str:
        """What the worker wrote to its stderr so far."""
        return self._stderr.decode("utf-8", "replace")

    async def send_bytes(self, data: bytes) -> None:
        """Writes bytes to the worker as they are.

        Raises:
            trio.BrokenResourceError: the worker does not read any more.
        """
        stdin = self.process.stdin
        if stdin is None:
            raise RuntimeError("the worker has no stdin")
        async with self._sending:
            await stdin.send_all(data)

    def encode(self, request: WorkRequest) -> bytes:
        """The bytes of one request, for those who cut or join them."""
        return self._codec.encode(request)

    async def send(self, request: WorkRequest) -> None:
        """Sends one request or cancel."""
        await self.send_bytes(self.encode(request))

    async def cancel(self, request_id: int) -> None:
        """Sends a cancel; the response comes as any other."""
        await self.send(WorkRequest(request_id=request_id, cancel=True))

    def new_id(self) -> int:
        """An id above 1000 that this host did not give out yet; lower ones are for those who choose their own."""
        self._last_id += 1
        return self._last_id

    async def work(
        self,
        arguments: Sequence[str],
        inputs: Iterable[Input] = (),
        *,
        request_id: int | None = None,
        sandbox_dir: str = "",
        answered: Callable[[WorkResponse], object] = lambda _response: None,
    ) -> WorkResponse:
        """Sends a request and waits for its response.

        Args:
            arguments: the wrapper's command line.
            inputs: with digests, or without.
            request_id: None: a new one; 0 is singleplex.
            sandbox_dir: see the protocol. `Sandboxes.work` makes one, and takes it back.
            answered: called as the response is read, before anything else happens, and also when nobody waits for it any more.

        Raises:
            WorkerEndedError: the worker ended first.
        """
        number = self.new_id() if request_id is None else request_id
        waiter = _Waiter(answered)
        self._waiters.setdefault(number, deque()).append(waiter)
        await self.send(WorkRequest(number, tuple(arguments), tuple(inputs), sandbox_dir))
        if not self._stdout_ended:  # a worker that ends may close its stdout before its stdin
            await waiter.arrived.wait()
        if waiter.response is None:
            raise WorkerEndedError(f"no response to request {number}; the worker said: {self.stderr}")
        return waiter.response

    async def next_response(self) -> WorkResponse:
        """The next response that no `work` waits for, in the order of arrival.

        Raises:
            WorkerEndedError: the worker closed its stream, nothing more will come.
        """
        while not self._unclaimed:
            if self._stdout_ended:
                raise WorkerEndedError(f"no more responses; the worker said: {self.stderr}")
            news = self._news
            await news.wait()
        return self._unclaimed.popleft()

    def pause_reading(self) -> None:
        """Stops reading responses, as a slow host does; what one read had begun is still taken."""
        if self._may_read.is_set():  # else the reader waits for the event that is there
            self._may_read = trio.Event()

    def resume_reading(self) -> None:
        """Reads responses again."""
        self._may_read.set()

    async def close_stdin(self) -> None:
        """Ends the worker's input."""
        if self.process.stdin is not None:
            await self.process.stdin.aclose()

    async def close_stdout(self) -> None:
        """Closes the end of the worker's stdout that this host reads."""
        if self.process.stdout is not None:
            await self.process.stdout.aclose()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the worker alone."""
        self.process.send_signal(number)

    async def ended(self) -> Ended:
        """Waits until the worker has ended and its stderr is closed."""
        exit_code = await self.process.wait()
        await self._over.wait()
        return Ended(exit_code, self.stderr)

    async def finish(self) -> Ended:
        """Closes the worker's stdin and waits for its end."""
        await self.close_stdin()
        self.resume_reading()
        return await self.ended()

    async def _read_stdout(self) -> None:
        stdout = self.process.stdout
        try:
            while stdout is not None:
                await self._may_read.wait()
                data = await stdout.receive_some(_READ)
                if not data:
                    break
                self._codec.feed(bytes(data))
                for response in self._codec.responses():
                    self._deliver(response)
        except trio.ClosedResourceError:
            pass  # close_stdout was called
        finally:
            self._stdout_ended = True
            self._wake()
            for waiter in (waiter for waiters in self._waiters.values() for waiter in waiters):
                waiter.arrived.set()

    def _deliver(self, response: WorkResponse) -> None:
        self.responses.append(response)
        waiters = self._waiters.get(response.request_id)
        if waiters:
            waiter = waiters.popleft()
            waiter.response = response
            waiter.answered(response)
            waiter.arrived.set()
        else:
            self._unclaimed.append(response)
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _read_stderr(self) -> None:
        stderr = self.process.stderr
        while stderr is not None:
            data = await stderr.receive_some(_READ)
            if not data:
                break
            self._stderr += data
        self._over.set()
