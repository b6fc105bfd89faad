"""Judges answers: which request each one belongs to, whether it may be given at all, and what is still to come.

The host's view only: what it sent, in which order, and what it read. An answer may have been on its way while the host sent
something newer under the same id, so an answer is taken for the oldest request that it can be of; whether the newest has
been answered is certain only when no other reading is possible.
"""

from __future__ import annotations

from collections import Counter
from typing import final

from attrs import define, field

from headstart_worker.messages import WorkResponse
from storm.jobs import Job, Unit, Want

SUPERSEDED = "superseded by a newer request for the same output"


class ViolationError(Exception):
    """The worker broke a promise; the text is one sentence."""


def shortened(text: str) -> str:
    """A text as messages show it."""
    return (
        repr(text)
        if len(text) < 1000
        else f"{text[:100]!r} and so on, {len(text)} characters, to {text[-100:]!r}"
    )


@define(eq=False)
class Request:
    """One request that was sent.

    Attributes:
        serial: in the order of sending.
        request_id, want, job, unit: what was asked for.
        joins: it surely shares a compiler with the other half. One whose early output was used already may run alone, and so may one
            of a compiler without a private directory whose outputs the host removed; then the halves contend for outputs.
        alone_here: nothing else was going on for its unit when it was sent, and no half-written output was there.
        may_be_cancelled: a cancel was sent that may mean it.
        may_be_superseded: a newer request for its outputs was sent.
        answer: the kind of its answer; None: it has none yet, or never gets one.
    """

    serial: int
    request_id: int
    want: Want
    job: Job
    unit: Unit | None
    joins: bool
    alone_here: bool
    may_be_cancelled: bool = False
    may_be_superseded: bool = False
    answer: str | None = None

    def __str__(self) -> str:
        return f"request {self.request_id} ({self.want} of {self.job.name}, {self.job.end})"

    def fits(self, response: WorkResponse) -> str | None:
        """What kind of answer to this request this is; None: it is none."""
        if response.was_cancelled:
            plain = (response.exit_code, response.output) == (0, "")
            return "cancelled" if plain and self.may_be_cancelled else None
        if self.may_be_superseded and response.exit_code == 125 and SUPERSEDED in response.output:
            return "superseded"
        return self.job.fits(self.want, response)


@define
class _Thread:
    """The requests of one id. Attributes: in order; up to which one answers were given, surely and possibly."""

    requests: list[Request] = field(factory=list)
    surely: int = -1
    possibly: int = -1
    cancelled: int = 0


@final
class Book:
    """Everything that one worker was asked and said."""

    def __init__(self, counts: Counter[str]) -> None:
        self._threads: dict[int, _Thread] = {}
        self._asked: Counter[str] = Counter()
        self._counts = counts

    def sent(self, request: Request) -> None:
        """A request goes out."""
        for other in self.open(request.unit):
            # One that waits for its turn under id 0 joins nothing when the newer one is over with a failure by then.
            if other.job is not request.job or not (other.joins and request.joins) or other.request_id == 0:
                other.may_be_superseded = True
        self._threads.setdefault(request.request_id, _Thread()).requests.append(request)
        self._asked[request.job.name] += 1

    def cancel(self, request_id: int) -> None:
        """A cancel goes out."""
        thread = self._threads.get(request_id)
        if thread is None:
            return
        if request_id == 0:
            # It means the oldest that is not cancelled, and an answer may be on its way already.
            thread.cancelled += 1
            for request in thread.requests[thread.surely + 1 :]:
                request.may_be_cancelled = True
        else:
            thread.requests[-1].may_be_cancelled = True

    def read(self, response: WorkResponse) -> list[Request]:
        """An answer came in. Returns the requests that are over with it, the answered one last.

        Raises:
            ViolationError: no request can have this answer.
        """
        thread = self._threads.get(response.request_id, _Thread())
        following = range(thread.surely + 1, len(thread.requests))
        fitting = [index for index in following if thread.requests[index].fits(response)]
        if response.request_id == 0:
            fitting = [index for index in fitting if index == thread.surely + 1]
            thread.cancelled -= response.was_cancelled
        if not fitting or thread.cancelled < 0:
            raise ViolationError(self._nobodys(response, thread))
        before, thread.surely, thread.possibly = thread.surely, fitting[0], fitting[-1]
        request = thread.requests[fitting[0]]
        request.answer = request.fits(response)
        self._counts[f"answers: {request.answer}"] += 1
        over = thread.requests[before + 1 : thread.surely + 1]
        self._counts["requests superseded by their id"] += len(over) - 1
        return over

    def _nobodys(self, response: WorkResponse, thread: _Thread) -> str:
        text = shortened(response.output)
        asked = (
            ", ".join(f"{request}: {request.answer or 'open'}" for request in thread.requests[-4:])
            or "nothing"
        )
        return (
            f"the answer {response.request_id}, exit code {response.exit_code}, "
            f"{'cancelled, ' if response.was_cancelled else ''}{text} belongs to no request; asked under this id was {asked}"
        )

    def was_asked_once(self, job: Job) -> bool:
        """True when one request was sent for the job in all."""
        return self._asked[job.name] == 1

    def open(self, unit: Unit | None) -> list[Request]:
        """The requests for a unit that are not surely over."""
        return [request for request in self._open() if unit is not None and request.unit is unit]

    def _open(self) -> list[Request]:
        return [
            request for thread in self._threads.values() for request in thread.requests[thread.surely + 1 :]
        ]

    def running(self) -> list[Request]:
        """The requests that have surely no answer yet and will have one: the newest of each id, all of id 0."""
        found = []
        for request_id, thread in self._threads.items():
            missing = thread.requests[thread.possibly + 1 :]
            found += missing if request_id == 0 else missing[-1:]
        return found
