"""What the host is owed: requests that were read, answers that were given, and the books of both.

The ledger says who may be answered; this room answers. It outlives the event loop: when a defect of ours ends the
worker, whoever still waits is told so, once every process is dead (`last_words`). And it can be audited: at a
good end the books must balance, or there is a bug that nobody has met yet.
"""

from __future__ import annotations

import contextlib
from typing import NewType, final

from headstart_worker.codec import Codec
from headstart_worker.ledger import Ledger, State
from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.outbox import Outbox
from headstart_wrapper.errors import HeadstartError

Debt = NewType("Debt", int)
"""Names one request that was read; unlike a claim it exists before the ledger has been asked."""


@final
class Correspondence:
    """One host's requests and our answers.

    Attributes:
        ledger: see there.
        outbox: likewise.
    """

    def __init__(self, codec: Codec, outbox: Outbox) -> None:
        self.ledger = Ledger()
        self.outbox = outbox
        self._codec = codec
        self._read = 0
        self._answered = 0
        self._debts: dict[Debt, WorkRequest] = {}

    def owe(self, request: WorkRequest) -> Debt:
        """Notes a request that was read, before anything else can go wrong with it."""
        self._read += 1
        debt = Debt(self._read)
        self._debts[debt] = request
        return debt

    def forget(self, debt: Debt) -> None:
        """The host has forgotten a request: nothing is owed for it."""
        self._debts.pop(debt, None)

    def answer(self, debt: Debt, response: WorkResponse) -> None:
        """Answers a request; the debt stands until the frame is whole."""
        self.outbox.put(self._codec.encode(response))
        self._answered += 1
        del self._debts[debt]

    def last_words(self, sentence: str, *, seconds: float) -> None:
        """Answers everybody who still waits, when the worker ends by a fault of its own. Never raises.

        Args:
            sentence: what they are told.
            seconds: how long the host may take to read it.
        """
        told = set()
        for request in self._debts.values():
            if (
                request.request_id in told
            ):  # its id came again when the fault happened: the host knows one request
                continue
            if request.request_id:
                told.add(request.request_id)
            response = WorkResponse(
                request_id=request.request_id, exit_code=HeadstartError.exit_code, output=sentence
            )
            with contextlib.suppress(Exception):
                self.outbox.put(self._codec.encode(response))
        with contextlib.suppress(Exception):
            self.outbox.flush(seconds=seconds)

    def audit(self) -> str | None:
        """What does not balance, as a sentence; None when all is well."""
        counts, open_claims = self.ledger.counts, self.ledger.unanswered
        answered, dropped = counts[State.ANSWERED], counts[State.DROPPED]
        if self._read == answered + dropped + open_claims and self._answered == answered:
            return None
        return (
            "the books do not balance, this is a bug in process-wrapper, please report it: "
            f"{self._read} requests were read, {self._answered} responses given; the ledger counts {answered} answered, "
            f"{dropped} dropped and {open_claims} open"
        )
