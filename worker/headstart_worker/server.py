"""The worker: reads requests, gives each a task, writes answers, and ends in good order.

    reader ─→ ledger ─→ one task a request ─→ jobs (slots, threads)
                │                  │
                └── cancel         └─→ ledger ─→ writer

The order of an end, whatever began it (end of input, a signal, a broken stream, a malformed frame): no request is read any
more; tasks of requests end; every job is killed at once and its end awaited; what was answered already is written; the
helper ends; the state directory is removed.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, final

import trio
from attrs import Factory, frozen

from headstart_worker import stdio
from headstart_worker.codec import Codec, codec_for
from headstart_worker.jobs import Jobs
from headstart_worker.ledger import Claim, Ledger, State
from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.requests import Admission, Answer, Requests
from headstart_worker.state import state_directory
from headstart_worker.tracing import TraceFile
from headstart_wrapper import options as grammar
from headstart_wrapper.errors import HeadstartError, ProtocolError, RequestError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.jobserver import Jobserver
from headstart_wrapper.options import Options
from headstart_wrapper.standalone import read_params, say

_READ: Final = 1 << 16
"""Bytes at a time: a pipe's capacity on Linux."""

_FLUSH_SECONDS: Final = 0.2
"""How long a host may take to read the last answers of a worker that ends; it has a second for everything."""


@frozen(eq=False)
class _Task:
    """One request's task.

    Attributes:
        request: what was read.
        over: set when it was answered or dropped; nothing of its work is left then.
        attached: set when it took its place among the jobs, or never will.
    """

    request: WorkRequest
    over: trio.Event = Factory(trio.Event)
    attached: trio.Event = Factory(trio.Event)


@final
class Server:
    """One worker's requests, between two descriptors."""

    def __init__(self, codec: Codec, requests: Requests, jobs: Jobs, writer: trio.lowlevel.FdStream) -> None:
        self._codec = codec
        self._requests = requests
        self._jobs = jobs
        self._writer = writer
        self._ledger = Ledger()
        self._tasks: dict[Claim, _Task] = {}
        self._last_attached = trio.Event()
        self._last_attached.set()
        # Answers are bounded texts and as many as there are requests; a slow host must not stop cancels (I12).
        self._out, self._outbox = trio.open_memory_channel[WorkResponse](float("inf"))

    async def serve(self, reader: trio.lowlevel.FdStream) -> None:
        """Serves until the input ends; the answers are written by then, as far as the host takes them.

        Raises:
            ProtocolError: a frame is malformed.
            trio.BrokenResourceError: the host does not read any more.
        """
        async with trio.open_nursery() as writing:
            writing.start_soon(self._write)
            try:
                async with trio.open_nursery() as tasks:
                    async for request in self._read(reader):
                        self._admit(request, tasks)
                    tasks.cancel_scope.cancel()
            finally:
                self._jobs.shut_down()  # first: the host may be slow to read, and has a second for everything
                self._out.close()
                writing.cancel_scope.deadline = trio.current_time() + _FLUSH_SECONDS

    async def _read(self, reader: trio.lowlevel.FdStream) -> AsyncIterator[WorkRequest]:
        while data := await reader.receive_some(_READ):
            self._codec.feed(data)
            for request in self._codec.requests():
                yield request
        self._codec.close()

    async def _write(self) -> None:
        async for response in self._outbox:
            await self._writer.send_all(self._codec.encode(response))

    def _admit(self, request: WorkRequest, tasks: trio.Nursery) -> None:
        if request.cancel:
            claim = self._ledger.cancel(request.request_id)
            if claim is not None:
                self._jobs.cancel(claim)
            return
        admission = self._ledger.request(request.request_id)
        self._tasks[admission.claim] = _Task(request)
        after = None
        if admission.supersedes is not None:
            after = self._tasks[admission.supersedes].over
            self._jobs.cancel(admission.supersedes)
        if admission.starts:
            self._start(admission.claim, after, tasks)

    def _start(self, claim: Claim, after: trio.Event | None, tasks: trio.Nursery) -> None:
        task = self._tasks[claim]
        # Requests attach to jobs in the order in which they were read, whichever was prepared first: the newer
        # one supersedes the older one, never the other way round.
        turn, self._last_attached = self._last_attached, trio.Event()
        tasks.start_soon(_pass_turn, turn, task.attached, self._last_attached)
        tasks.start_soon(self._answer, claim, task, turn, after, tasks)

    async def _answer(
        self, claim: Claim, task: _Task, turn: trio.Event, after: trio.Event | None, tasks: trio.Nursery
    ) -> None:
        admission = Admission(
            claim=claim,
            turn=turn,
            attached=task.attached,
            after=after,
            is_wanted=lambda: self._ledger.state(claim) is State.ACTIVE,
        )
        try:
            answer = await self._requests.answer(task.request, admission)
            if after is not None:
                # A request that never came to a job did not wait for it, and whoever waits for this one must.
                await after.wait()
        finally:
            # Also when the worker ends: whoever waits for this must come to its own end.
            task.over.set()
        settlement = self._ledger.finish(claim)
        del self._tasks[claim]
        if settlement.answer:
            cancelled = settlement.cancelled and answer.cancelled
            self._out.send_nowait(_response(task.request.request_id, answer, cancelled=cancelled))
        if settlement.next is not None:
            self._start(settlement.next, None, tasks)


async def _pass_turn(turn: trio.Event, attached: trio.Event, following: trio.Event) -> None:
    """A request that fails before its turn does not let the next one overtake those before it."""
    await turn.wait()
    await attached.wait()
    following.set()


def _response(request_id: int, answer: Answer, *, cancelled: bool) -> WorkResponse:
    if cancelled:
        return WorkResponse(request_id=request_id, exit_code=0, output="", was_cancelled=True)
    return WorkResponse(
        request_id=request_id, exit_code=answer.exit_code, output=answer.output, was_cancelled=False
    )


async def _end_by_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


async def _serve(
    options: Options,
    reader: int,
    writer: int,
    *,
    outer: Jobserver | None,
    spawner: HelperSpawner,
    state: Path,
) -> int:
    capacity = options.jobs or len(os.sched_getaffinity(0))
    jobserver = outer or Jobserver.create(state, capacity)
    error: Exception | None = None
    ending = trio.CancelScope()
    with TraceFile(options.trace) as trace, contextlib.closing(jobserver):
        # Signals are received until the last process is gone: a second one must not end us before.
        async with trio.open_nursery() as receiving:
            receiving.start_soon(_end_by_signal, ending)
            async with trio.open_nursery() as running:
                jobs = Jobs(running, capacity=capacity, jobserver=jobserver, trace=trace)
                requests = Requests(
                    jobs,
                    options=options,
                    cwd=str(Path.cwd()),
                    env={**os.environ, **jobserver.environment},
                    spawner=spawner,
                    state=state,
                    trace=trace,
                )
                server = Server(
                    codec_for(options.worker_protocol), requests, jobs, trio.lowlevel.FdStream(writer)
                )
                try:
                    with ending:
                        await server.serve(trio.lowlevel.FdStream(reader))
                except* ProtocolError as group:
                    error = _first(group)
                except* trio.BrokenResourceError:
                    error = ProtocolError("the host does not read responses any more; every job was ended")
                finally:
                    jobs.shut_down()
            receiving.cancel_scope.cancel()
    if error is not None:
        say(str(error))
        return ProtocolError.exit_code
    return 0


def _first(group: BaseExceptionGroup[ProtocolError]) -> ProtocolError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def main(arguments: Sequence[str]) -> int:
    """Serves requests until the input ends; returns the exit code of the worker."""
    outer = Jobserver.outer(os.environ)  # before any descriptor of ours can have the numbers that it names
    reader, writer = stdio.claim_protocol_descriptors()
    try:
        options = grammar.parse(grammar.expand(arguments, read_params))
        if options.job.command:
            raise RequestError("a worker takes no command at its start; send it in a request")
        with contextlib.closing(HelperSpawner()) as spawner, state_directory(options.state_dir) as state:
            spawner.warm_up()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            serve = partial(_serve, options, reader, writer, outer=outer, spawner=spawner, state=state)
            return trio.run(serve)
    except HeadstartError as error:
        say(str(error))
        return error.exit_code
