"""The storm itself: asks, cancels, pauses, kills, and compares what is seen with what is promised.

One worker after another serves on one state directory. What is asked for is made up in `jobs`, whether an answer may be given
is told by `book`, what outputs must hold by `ground`, what lives by `processes`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import final

import trio
from attrs import evolve

from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost, WorkerEndedError
from process.support import PATIENCE, children, entries
from storm import processes
from storm.book import Book, Request, ViolationError, shortened
from storm.ground import Ground
from storm.jobs import ESCAPES, Imagination, Job, Want, places
from storm.processes import JOB, WORKER, Found
from survivors import GONE_SECONDS

UNITS = 7
"""Few, so that requests contend for outputs."""

IDS = 30
"""Few, so that ids come again."""

OPEN = 14
"""Requests that may be unanswered: more than there are slots, so that some wait."""

SLOTS = 3

ENDS = {
    "SIGKILL of the worker": 6,
    "SIGKILL of worker and helper": 3,
    "end of input, all answered": 2,
    "end of input": 1,
    "SIGTERM": 1,
    "SIGINT": 1,
}
"""How workers end, and how often."""

KILLED = [end for end in ENDS if end.startswith("SIGKILL")]


@final
class Storm:
    """One run. Attributes: what happened, how often."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        say: Callable[[str], object],
        journal: Callable[[str], object],
    ) -> None:
        """Prepares a run in an empty directory; `say` takes lines of progress, `journal` everything sent and read."""
        self.counts: Counter[str] = Counter()
        self._dice = random.Random(seed)  # noqa: S311 - dice
        self._name = uuid.uuid4().hex[:8]
        self._imagination = Imagination(self._dice, self._name)
        self._say = say
        self._journal = journal
        self._ground = Ground(directory / "workspace", UNITS, self._imagination, self.counts)
        self._state = directory / "state"
        self._serial = 0
        self._escaped: list[str] = []
        self._seen: list[Found] = []
        self._tag = ""
        self._news = trio.Event()
        self._ending = False
        self._paused = False

    async def run(self, seconds: float) -> None:
        """Storms for about that long.

        Raises:
            ViolationError: a promise was broken.
        """
        began = time.monotonic()
        number = 0
        try:
            while time.monotonic() - began < seconds:
                number += 1
                end = self._dice.choices(list(ENDS), list(ENDS.values()))[0]
                await self._worker(number, end)
            await self._worker(number + 1, "end of input, all answered")
        except* ViolationError as group:
            raise _first(group) from None
        finally:
            for worker in (*self._escaped, self._tag):
                processes.kill(processes.living(WORKER, worker))

    # One worker

    async def _worker(self, number: int, end: str) -> None:
        protocol = ("proto", "json")[number % 2]
        self._tag = tag = f"{self._name}-{number}"
        book = Book(self.counts)
        self._ending = False
        before = self.counts.copy()
        began = time.monotonic()
        options = (f"--state-dir={self._state}", f"--jobs={SLOTS}")
        async with FakeHost(
            protocol, options, cwd=self._ground.workspace, env={**os.environ, WORKER: tag}
        ) as host:
            with _in_time("its first answer"):
                await host.work(("--", "true"))
            await self._check_start()
            halves = self._ground.halves()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, host, book)
                with _in_time("reading what is sent", PATIENCE * 3):
                    await self._play(host, book, self._dice.uniform(0.7, 1.3))
                if end == "end of input, all answered":
                    await self._drain(host, book)
                self._ending = True
                host.resume_reading()
                await self._end(host, end)
                with _in_time(f"its end after {end}"):
                    await host.process.wait()
                await self._check_end(tag, end)
                with _in_time("the end of its helper"):
                    ended = await host.ended()
        expected = -signal.SIGKILL if end in KILLED else 0
        if (ended.exit_code, ended.stderr) != (expected, ""):
            raise ViolationError(
                f"after {end} the exit code was {ended.exit_code}; the worker said: {ended.stderr}"
            )
        if end not in KILLED and (halves := self._ground.halves() - halves):
            raise ViolationError(f"after {end} half a publication was left: {sorted(halves)}")
        for unit in self._ground.units:
            self._ground.check_settled(unit)
            unit.loose = False
        self.counts[f"workers: {end}"] += 1
        news = self.counts - before
        asked, answered = (
            sum(count for name, count in news.items() if name.startswith(start))
            for start in ("requests: ", "answers: ")
        )
        self._note(f"end of worker {number}: {end}")
        self._say(
            f"worker {number} ({protocol}), {time.monotonic() - began:.1f} s: {asked} requests, {answered} answers; {end}"
        )

    async def _check_start(self) -> None:
        """What the workers before left behind is gone, and this one has its own directory."""
        for worker in self._escaped:
            found = await self._left(WORKER, worker)
            if found:
                raise ViolationError(
                    f"the next worker did not sweep what worker {worker} left: {_listed(found)}"
                )
        self._escaped.clear()
        if len(names := entries(self._state)) != 1:
            raise ViolationError(f"the state directory holds more than the living worker's: {names}")

    async def _end(self, host: FakeHost, end: str) -> None:
        if end == "SIGKILL of worker and helper":
            self._seen = processes.living(WORKER, self._tag)
            both = [*children(host.pid), host.pid]
            self._dice.shuffle(both)
            for pid in both:
                os.kill(pid, signal.SIGKILL)
        elif end.startswith("end of input"):
            await host.close_stdin()
        else:
            host.kill({"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}.get(end, signal.SIGKILL))

    async def _check_end(self, tag: str, end: str) -> None:
        with_helper = end == "SIGKILL of worker and helper"
        found = await self._left(WORKER, tag, but_escaped=with_helper)
        outlived = processes.living(WORKER, tag)
        if found and with_helper and processes.are_one_start(found, [*self._seen, *outlived]):
            # Nobody can set a group's guard before the group is there; the next worker ends it.
            self.counts["jobs that outlived the worker and helper that were starting them"] += 1
        elif found:
            processes.kill(found)
            raise ViolationError(f"{end}: {GONE_SECONDS:g} s later there lived on {_listed(found)}")
        if with_helper:
            self.counts["escapees that outlived worker and helper"] += sum(one.escaped for one in outlived)
            self._escaped.append(tag)
        if end not in KILLED and (names := entries(self._state)):
            raise ViolationError(f"after {end} the state directory still holds {names}")

    async def _left(self, variable: str, value: str, *, but_escaped: bool = False) -> list[Found]:
        def wait() -> list[Found]:
            return processes.left(variable, value, GONE_SECONDS, but_escaped=but_escaped)

        return await trio.to_thread.run_sync(wait)

    def _note(self, what: str) -> None:
        self._journal(f"{time.monotonic():.4f} {what}")

    # What the host does

    async def _play(self, host: FakeHost, book: Book, seconds: float) -> None:
        dice = self._dice
        until = trio.current_time() + seconds
        try:
            async with trio.open_nursery() as pauses:
                while trio.current_time() < until:
                    running = book.running()
                    chance = dice.random()
                    if chance < 0.005:
                        await self._drain(host, book)
                    elif chance < 0.02:
                        pauses.start_soon(self._pause, host, dice.uniform(0.05, 0.4))
                    elif chance < 0.25 or len(running) >= OPEN:
                        await self._cancel(host, book, running)
                    else:
                        await self._ask(host, book, running)
                    await trio.sleep(dice.expovariate(150))
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ViolationError(f"the worker ended by itself and said: {host.stderr}") from None

    async def _pause(self, host: FakeHost, seconds: float) -> None:
        if self._paused:
            return
        self.counts["pauses of the host"] += 1
        self._paused = True
        host.pause_reading()
        await trio.sleep(seconds)
        host.resume_reading()
        self._paused = False

    async def _ask(self, host: FakeHost, book: Book, running: Sequence[Request]) -> None:
        request_id = self._request_id(running)
        job, want = self._job(book)
        unit = None if job.unit is None else self._ground.units[job.unit]
        used = False
        alone_here = True
        if unit is not None:
            self._ground.check_settled(unit)
            metadata, _ = places(unit.number)
            used = want == "full" and unit.settled.get(metadata) == job.metadata and self._dice.random() < 0.5
            nobody_waits = not book.open(unit)
            alone_here = nobody_waits and not unit.loose and not self._ground.half_written(unit, "full")
            if nobody_waits and self._dice.random() < 0.5:
                self._ground.remove(unit, want)
            self._ground.unsettle(unit, job, want)
        self._serial += 1
        joins = job.staged and not used
        request = Request(self._serial, request_id, want, job, unit, joins, alone_here)
        if unit is not None:
            unit.last = self._serial
        book.sent(request)
        self.counts[f"requests: {want if job.refused is None else 'wrong'}"] += 1
        self.counts["requests under id 0"] += request_id == 0
        for word in (*job.does, job.end):
            self.counts[f"jobs: {_called(word)}"] += 1
        self._note(f"sent {request} for unit {job.unit}: {job}")
        data = host.encode(job.request(request_id, want, used=used))
        if self._dice.random() < 0.04:
            self.counts["cancels in one write with their request"] += 1
            self._note(f"cancel {request_id} in one write")
            book.cancel(request_id)
            data += host.encode(WorkRequest(request_id, cancel=True))
        await host.send_bytes(data)

    def _request_id(self, running: Sequence[Request]) -> int:
        busy = {request.request_id for request in running}
        chance = self._dice.random()
        if chance < 0.06:
            return 0
        if chance < 0.14 and (again := sorted(busy - {0})):
            self.counts["ids used again while active"] += 1
            return self._dice.choice(again)
        return self._dice.choice([number for number in range(1, IDS + 1) if number not in busy])

    def _job(self, book: Book) -> tuple[Job, Want]:
        dice = self._dice
        if dice.random() < 0.04:
            return self._imagination.refused(), "alone"
        unit = dice.choice(self._ground.units)
        if unit.job is not None and dice.random() < 0.6:
            if dice.random() < 0.15 and not book.open(unit):
                # The same command with another source: what is known of the old one is of no use.
                self._ground.write_source(unit)
                unit.job = evolve(unit.job, source=unit.line)
                unit.complete |= {unit.job.metadata, unit.job.library}
                self.counts["sources changed"] += 1
            return unit.job, dice.choice(("early", "full"))
        pipelined = dice.random() < 0.6
        job = self._imagination.job(unit, pipelined=pipelined)
        unit.job = job if pipelined else None
        return job, dice.choice(("early", "early", "full")) if pipelined else "alone"

    async def _cancel(self, host: FakeHost, book: Book, running: Sequence[Request]) -> None:
        if not running or self._dice.random() < 0.05:
            self.counts["cancels of nothing"] += 1
            await host.cancel(IDS + self._dice.randint(1, 100))
            return
        endless = [request for request in running if request.job.is_endless and not request.may_be_cancelled]
        await self._send_cancel(host, book, self._dice.choice(endless or running).request_id)

    async def _send_cancel(self, host: FakeHost, book: Book, request_id: int) -> None:
        self.counts["cancels"] += 1
        self._note(f"cancel {request_id}")
        book.cancel(request_id)
        await host.cancel(request_id)

    async def _drain(self, host: FakeHost, book: Book) -> None:
        """Waits until everything is answered; what has no end by itself is cancelled."""
        host.resume_reading()
        with trio.move_on_after(PATIENCE):
            while running := book.running():
                for request in running:
                    if request.job.is_endless and (request.request_id == 0 or not request.may_be_cancelled):
                        await self._send_cancel(host, book, request.request_id)
                with trio.move_on_after(0.25):  # the cancel of id 0 may have met an older one
                    await self._news.wait()
            self.counts["times that everything was answered"] += 1
            return
        missing = "; ".join(map(str, book.running()))
        raise ViolationError(f"{PATIENCE:g} s after the last request there is no answer to {missing}")

    # What the host sees

    async def _listen(self, host: FakeHost, book: Book) -> None:
        while True:
            try:
                response = await host.next_response()
            except WorkerEndedError:
                if not self._ending:
                    raise ViolationError(f"the worker ended by itself and said: {host.stderr}") from None
                return
            await self._judge(response, book)
            self._news.set()
            self._news = trio.Event()

    async def _judge(self, response: WorkResponse, book: Book) -> None:
        self._note(
            f"read {response.request_id}, exit code {response.exit_code}, {shortened(response.output)}"
        )
        over = book.read(response)
        request = over[-1]
        self._note(f"that is {request.answer} of {request} for unit {request.job.unit}")
        for one in over:
            # The compiler of an early half goes on; that was complete perhaps when its id came again.
            goes_on = one.answer == "early half" or (one.answer is None and one.want == "early")
            if not goes_on and book.was_asked_once(one.job):
                await self._check_dead(one, at_once=one.answer in {None, "cancelled", "superseded"})
        unit = request.unit
        if unit is None or unit.last != request.serial:
            return
        if response.exit_code == 0 and not response.was_cancelled:
            self._ground.settle(unit, request)
        elif request.alone_here and book.was_asked_once(request.job):
            self._ground.check_whole(unit, request)
            unit.loose = False

    async def _check_dead(self, request: Request, *, at_once: bool) -> None:
        name = request.job.name
        if at_once:
            found = processes.living(JOB, name)
        elif {"holder", "tree", *ESCAPES} & set(request.job.does):
            found = await self._left(JOB, name)
        else:
            return
        if found:
            how = request.answer or "superseded by its id, and the newer one"
            raise ViolationError(f"{request} is answered ({how}), but there lives {_listed(found)}")

    def table(self) -> list[str]:
        """What happened, a line each; what did not happen has none."""
        return [f"{count:>8}  {name}" for name, count in sorted(self.counts.items()) if count]


def forget(_: str) -> None:
    """The journal of a storm that keeps none."""


@contextlib.contextmanager
def _in_time(what: str, seconds: float = PATIENCE) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise ViolationError(f"the worker hangs: {seconds:g} s were not enough for {what}")


def _called(word: str) -> str:
    return f"escaping ({word})" if word in ESCAPES else word


def _listed(found: Sequence[Found]) -> str:
    return ", ".join(f"{one.pid} ({one.command}{', escaped' if one.escaped else ''})" for one in found)


def _first(group: BaseExceptionGroup[ViolationError]) -> ViolationError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
