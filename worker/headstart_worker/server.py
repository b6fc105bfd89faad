"""The worker: reads requests, gives each a task, writes answers, and ends in good order.

    reader ─→ ledger ─→ one task a request ─→ jobs (slots, threads)
                │                  │
                └── cancel         └─→ ledger ─→ correspondence ─→ outbox

Not here: the process around it, how it starts and how it ends (`lifetime`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, final

import trio
from attrs import Factory, frozen

from headstart_worker import stdio
from headstart_worker.codec import Codec
from headstart_worker.correspondence import Correspondence, Debt
from headstart_worker.jobs import Jobs
from headstart_worker.ledger import Claim, Settlement, State
from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.notes import Notes
from headstart_worker.requests import Admission, Answer, Requests
from headstart_worker.tool_files import ToolFiles
from headstart_wrapper.errors import ProtocolError

_READ: Final = 1 << 16
"""Bytes at a time: a pipe's capacity on Linux."""


@frozen(eq=False)
class _Task:
    """One request's task.

    Attributes:
        request: what was read.
        debt: what the host is owed for it.
        notes: what is told about it.
        over: set when it was answered or dropped; nothing of its work is left then.
        attached: set when it took its place among the jobs, or never will.
    """

    request: WorkRequest
    debt: Debt
    notes: Notes
    over: trio.Event = Factory(trio.Event)
    attached: trio.Event = Factory(trio.Event)


@final
class Server:
    """One worker's requests, from a descriptor to the correspondence."""

    def __init__(
        self,
        codec: Codec,
        requests: Requests,
        jobs: Jobs,
        correspondence: Correspondence,
        *,
        tool_files: ToolFiles | None,
    ) -> None:
        """Nothing is read yet.

        Args:
            codec: of the host's stream.
            requests: does the work.
            jobs: likewise.
            correspondence: where answers go.
            tool_files: what makes it end when it is out of date; None: it does not look.
        """
        self._codec = codec
        self._requests = requests
        self._jobs = jobs
        self._correspondence = correspondence
        self._ledger = correspondence.ledger
        self._tasks: dict[Claim, _Task] = {}
        self._last_attached = trio.Event()
        self._last_attached.set()
        self._tool_files = tool_files
        self._outdated = trio.Event()
        self._came = trio.Event()

    async def serve(self, reader: trio.lowlevel.FdStream) -> None:
        """Serves until the input ends, or until a worker that is out of date has nothing to do.

        Raises:
            ProtocolError: a frame is malformed.
        """
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._retire, reader)
                async for request in self._read(reader):
                    self._admit(request, tasks)
                tasks.cancel_scope.cancel()
        finally:
            self._jobs.shut_down()

    async def _read(self, reader: trio.lowlevel.FdStream) -> AsyncIterator[WorkRequest]:
        while data := await self._receive(reader):
            self._codec.feed(data)
            for request in self._codec.requests():
                yield request
            self._came.set()
        self._codec.close()

    async def _receive(self, reader: trio.lowlevel.FdStream) -> bytes:
        try:
            return bytes(await reader.receive_some(_READ))
        except trio.ClosedResourceError:
            return b""

    async def _retire(self, reader: trio.lowlevel.FdStream) -> None:
        """Ends a worker that is out of date when nothing is unanswered, running, or on its way to us.

        What has reached our stdin is served first. A host that writes after our last look, before it has learned of our end,
        gets a broken pipe: from inside the protocol there is no way to tell it earlier.
        """
        await self._outdated.wait()
        activity = self._jobs.activity
        while True:
            await activity.quiet()
            await self._correspondence.outbox.emptied()
            if not activity.is_quiet:
                continue
            if not stdio.holds_input(reader.fileno()) and not self._is_inside_a_message():
                break
            self._came = trio.Event()
            await self._came.wait()
        reader.close()  # an end of input like any other, and at once: nothing may come between the look and this

    def _is_inside_a_message(self) -> bool:
        try:
            self._codec.close()
        except ProtocolError:
            return True
        return False

    def _admit(self, request: WorkRequest, tasks: trio.Nursery) -> None:
        if request.cancel:
            claim = self._ledger.cancel(request.request_id)
            if claim is not None:
                self._jobs.cancel(claim)
            return
        task = _Task(
            request,
            self._correspondence.owe(request),
            Notes(request.request_id, verbose=request.verbosity > 0),
        )
        self._jobs.activity.begin()
        admission = self._ledger.request(request.request_id)
        self._tasks[admission.claim] = task
        self._look_at_tool_files(request, task.notes)
        after = None
        if admission.supersedes is not None:
            older = self._tasks[admission.supersedes]
            self._correspondence.forget(older.debt)
            after = older.over
            self._jobs.cancel(admission.supersedes)
        if admission.starts:
            self._start(admission.claim, after, tasks)

    def _look_at_tool_files(self, request: WorkRequest, notes: Notes) -> None:
        if self._tool_files is None or self._outdated.is_set():
            return
        changed = self._tool_files.changed(request.inputs)
        if changed is not None:
            notes.say(
                f"the worker's own file {changed} has changed since this worker was started: it ends when nothing is left "
                "to do, and the host starts another"
            )
            self._outdated.set()

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
            notes=task.notes,
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
        if settlement.answer:
            cancelled = settlement.cancelled and answer.cancelled
            self._correspondence.answer(
                task.debt, _response(task.request.request_id, answer, cancelled=cancelled)
            )
        del self._tasks[claim]
        if task.notes.verbose:
            task.notes.say(_account(task.notes, answer, settlement))
        if settlement.next is not None:
            self._start(settlement.next, None, tasks)
        self._jobs.activity.end()


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


def _account(notes: Notes, answer: Answer, settlement: Settlement) -> str:
    if not settlement.answer:
        return f"dropped after {notes.seconds:.3f} s: its id came again"
    if settlement.cancelled and answer.cancelled:
        return f"answered after {notes.seconds:.3f} s: cancelled"
    memory = f", memory peak {answer.peak_memory >> 20} MiB" if answer.peak_memory else ""
    return f"answered after {notes.seconds:.3f} s: exit code {answer.exit_code}{memory}"
