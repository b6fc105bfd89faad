"""Requests, compilers and outputs as the model of the shell (`shell`) knows them: the facts, and what is asserted of them."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, final

from attrs import Factory, define, frozen

from headstart_worker.ledger import Claim
from headstart_worker.memory import Kind
from headstart_worker.pipeline_states import Action, AnswerEarly, AnswerEnd, JobId, Want

PATHS: Final = 7
NAMES: Final = [
    frozenset(f"p{bit}" for bit in range(PATHS) if outputs >> bit & 1) for outputs in range(1 << PATHS)
]
"""The paths that an integer's bits stand for."""

BITS: Final = [[bit for bit in range(PATHS) if outputs >> bit & 1] for outputs in range(1 << PATHS)]

KINDS: Final = [Kind(min(names, default=""), "rustc") for names in NAMES]
"""What makes two runs the same job across edits: their first output."""

BOTH: Final = {Want.EARLY, Want.FULL}


class At(Enum):
    """Where a request is."""

    HELD = auto()  # behind another one with id 0
    PREPARING = auto()
    PREPARED = auto()  # until those that were read before are attached
    WAITING = auto()
    TOLD = auto()
    PUBLISHING = auto()
    SAID = auto()  # until the older request with its id is over
    OVER = auto()


class Stage(Enum):
    """Where a compiler is."""

    AFTER = auto()  # until the older ones are gone
    QUEUED = auto()
    TOKEN = auto()
    RUNNING = auto()
    DEAD = auto()  # no process of it is left, and nobody knows yet
    OVER = auto()


class Said(Enum):
    """What a request's answer is made of."""

    WORK = auto()
    WRONG = auto()  # it could not be prepared
    CANCELLED = auto()
    SUPERSEDED = auto()


@frozen
class Shape:
    """What a request asks for, as its preparation would find out."""

    want: Want
    fingerprint: str | None
    outputs: int
    sandboxed: bool = False
    wrong: bool = False
    guarded: bool = False  # a full request whose early half may have been answered elsewhere
    in_place: bool = False
    made: int = 0  # in place, declared or not


@define(eq=False)
class Request:
    request_id: int
    shape: Shape
    claim: Claim
    older: Request | None  # the one with its id that it supersedes
    at: At = At.HELD
    order: int = 0
    job: Compiler | None = None
    told: Action | None = None
    said: Said | None = None
    cancel_read: bool = False
    superseded: bool = False  # by a newer one with its id

    @property
    def wanted(self) -> bool:
        return not self.cancel_read and not self.superseded

    @property
    def needs_files(self) -> bool:
        """True while it is being answered with a job's work."""
        return self.at is At.PUBLISHING or (
            self.at is At.TOLD and isinstance(self.told, AnswerEarly | AnswerEnd)
        )


@define(eq=False)
class Compiler:
    number: JobId
    fingerprint: str | None
    maker: Request
    holds_early: bool
    older: Request | None  # whose id its maker has
    after: list[Compiler] = Factory(list)
    stage: Stage = Stage.AFTER
    outputs: int = 0
    order: int = 0  # of the newest request for it
    waiting: list[Request] = Factory(list)
    told: set[Want] = Factory(set)  # halves that were told of its work
    answered: set[Want] = Factory(set)
    has_early_outputs: bool = False
    early: bool = False  # and that was told to the room
    expedited: bool = False  # an early request waits for it, or did when it was in the queue
    next: bool = False  # it had its turn and did not fit the memory
    peak: int = 0
    has_token: bool = False
    codegen: int = 0  # further tokens that it took
    ok: bool = False
    killed: bool = False
    unwanted: bool = False  # superseded or given up
    forgotten: bool = False

    @property
    def runs(self) -> bool:
        return self.stage is Stage.RUNNING

    @property
    def kind(self) -> Kind:
        return KINDS[self.maker.shape.outputs]

    @property
    def failed(self) -> bool:
        return self.stage is Stage.OVER and not self.ok


def is_tail(compiler: Compiler) -> bool:
    """True when it goes on after its early outputs, and nobody waits for it."""
    goes_on = compiler.early and compiler.stage is not Stage.OVER
    return goes_on and not any(r.wanted for r in compiler.waiting)


def awaits(compiler: Compiler, older: Compiler) -> bool:
    """True when it starts only after the other one is gone."""
    return compiler.stage is Stage.AFTER and any(c is older or awaits(c, older) for c in compiler.after)


@final
class Outputs:
    """Which request came last for each output, and who wrote it last."""

    def __init__(self) -> None:
        self._newest = [0] * PATHS
        self._written: list[tuple[int, Compiler] | None] = [None] * PATHS

    def ask(self, request: Request) -> None:
        """A request comes to a job for its outputs."""
        for bit in BITS[request.shape.outputs]:
            self._newest[bit] = max(self._newest[bit], request.claim)

    def overtaken(self, request: Request) -> bool:
        """True when a newer request has come for one of its outputs."""
        return any(self._newest[bit] > request.claim for bit in BITS[request.shape.outputs])

    def write(self, compiler: Compiler, outputs: int, order: int) -> None:
        """A compiler's work appears in these places, for a request of that order."""
        for bit in BITS[outputs]:
            written = self._written[bit]
            assert written is None or written[1] is compiler or written[0] <= order, (
                "I5: older work over newer"
            )
            self._written[bit] = order, compiler

    def check(self, request: Request, job: Compiler) -> None:
        """What a request declared is its job's work, but where a newer request has put its own."""
        for bit in BITS[request.shape.outputs]:
            written = self._written[bit]
            assert written is not None
            order, writer = written
            assert writer is job or order > request.order, "I5: another's work under its name"
