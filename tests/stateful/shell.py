"""The shell around ledger, pipelines and slots, without threads and processes: a model of `server`, `requests` and `jobs`.

Whatever takes its time in the real shell is a stage here: a request is prepared, waits for its place among the jobs,
is told something, publishes; a compiler waits for older ones, for a slot, for a token, runs, is dead, is reported.
`move` brings one of them to its next stage, in whichever order the caller likes.

The model keeps the facts (who lives, who was told what, who wrote which output last) and asserts what has to hold where
it happens. It decides nothing that a room decides; where it says what a room should have decided, it does so in the
plainest way. Outputs are bits of an integer, so that a step takes microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from headstart_worker.ledger import Claim, Ledger
from headstart_worker.ledger import State as ClaimState
from headstart_worker.pipeline_states import (
    ENDED,
    Action,
    AnswerCancelled,
    AnswerEarly,
    AnswerEnd,
    AnswerSuperseded,
    Forget,
    JobId,
    Kill,
    Start,
    Want,
)
from headstart_worker.pipelines import Pipelines
from stateful.shell_parts import (
    BOTH,
    NAMES,
    At,
    Compiler,
    Outputs,
    Request,
    Said,
    Shape,
    Stage,
    awaits,
    is_tail,
)
from stateful.shell_queue import Queue


@final
class Shell:
    """One worker from its start to its end."""

    def __init__(self, *, capacity: int, retained: int, budget: int | None) -> None:
        """Nothing was read.

        Args:
            capacity: see `Slots`.
            retained: see `Pipelines`.
            budget: see `Memory`; None: there is none.
        """
        self.retained = retained
        self.ledger = Ledger()
        self.pipelines = Pipelines(retained=retained)
        self.queue = Queue(capacity=capacity, budget=budget)
        self.requests: list[Request] = []  # those that are not over
        self.compilers: list[Compiler] = []  # those that are not forgotten
        self.closing = False
        self._claims: dict[Claim, Request] = {}
        self._jobs: dict[JobId, Compiler] = {}
        self._latest: dict[str, Compiler] = {}
        self._unattached: list[Request] = []
        self._order = 0
        self._shut = False
        self._outputs = Outputs()

    # What the host does (`server._admit`)

    def read(self, request_id: int, shape: Shape) -> None:
        """A request."""
        live = self._live(request_id)
        admission = self.ledger.request(request_id)
        assert admission.claim not in self._claims
        older = live[0] if live and request_id else None
        assert admission.supersedes == (older.claim if older else None)
        assert admission.starts == (request_id != 0 or not live)
        request = Request(request_id, shape, admission.claim, older)
        self.requests.append(request)
        self._claims[request.claim] = request
        if older is not None:
            older.superseded = True
            self._cancel_work(older)
        if admission.starts:
            self._start(request)

    def cancel(self, request_id: int) -> None:
        """The wish to give a request up."""
        found = next((r for r in self._live(request_id) if not r.cancel_read), None)
        claim = self.ledger.cancel(request_id)
        if found is None:
            assert claim is None, "a cancel without a request is ignored"
            return
        found.cancel_read = True
        assert claim == (None if found.at is At.HELD else found.claim)
        if claim is not None:
            self._cancel_work(found)

    def _live(self, request_id: int) -> list[Request]:
        return [r for r in self.requests if r.request_id == request_id and not r.superseded]

    def _cancel_work(self, request: Request) -> None:
        job = request.job
        if job is not None and request.at is At.WAITING and not any(r.wanted for r in job.waiting):
            job.unwanted = True
        self._perform(self.pipelines.cancel(request.claim))
        goes_on = job is not None and not job.unwanted
        at_home = request.shape.sandboxed and job is not None and job.maker is request
        assert request.at is not At.WAITING or not goes_on or at_home, "a cancel waits for another's work"

    # What a request does (`server._answer`, `requests`)

    def can_move(self, request: Request) -> bool:
        """True when something is to be done for it that takes no other."""
        match request.at:
            case At.PREPARING | At.TOLD | At.PUBLISHING:
                return True
            case At.PREPARED:
                return self._unattached[0] is request
            case At.SAID:
                return request.older is None or request.older.at is At.OVER
            case _:
                return False

    def move(self, request: Request, *, slowly: bool) -> None:
        """Brings a request to its next stage.

        Args:
            request: one that can move.
            slowly: a cancel that was read before its preparation had begun finds it begun.
        """
        match request.at:
            case At.PREPARING:
                wanted = self._is_wanted(request)
                if not (wanted or slowly or self._has_tails()):
                    self._unattached.remove(request)
                    self._say(request, Said.CANCELLED)
                elif request.shape.wrong:
                    self._unattached.remove(request)
                    self._say(request, Said.WRONG if wanted else Said.CANCELLED)
                else:
                    request.at = At.PREPARED
            case At.PREPARED:
                self._unattached.remove(request)
                if self._is_wanted(request):
                    self._attach(request)
                else:
                    self._withdraw(request)
            case At.TOLD:
                self._receive(request)
            case At.PUBLISHING:
                assert request.job is not None
                self._outputs.write(request.job, request.shape.outputs, request.order)
                self._answered(request, Said.WORK)
            case _:
                self._finish(request)

    def _start(self, request: Request) -> None:
        self._order += 1
        request.order = self._order
        request.at = At.PREPARING
        self._unattached.append(request)

    def _is_wanted(self, request: Request) -> bool:
        wanted = self.ledger.state(request.claim) is ClaimState.ACTIVE
        assert wanted == request.wanted
        return wanted

    def _withdraw(self, request: Request) -> None:
        """It was given up before it came: the tail that only it would have waited for ends."""
        shape = request.shape
        job = self._to_join(shape.fingerprint, shape.want, 0) if shape.want is Want.FULL else None
        request.at = At.WAITING
        if job is not None and is_tail(job):
            job.unwanted = True
            job.waiting.append(request)
            request.job = job
        self._perform(self.pipelines.withdraw(request.claim, shape.want, shape.fingerprint))

    def _has_tails(self) -> bool:
        tails = self.pipelines.has_tails()
        assert tails == any(is_tail(c) and not c.unwanted for c in self.compilers if c.fingerprint)
        return tails

    def _attach(self, request: Request) -> None:
        shape = request.shape
        name = shape.fingerprint
        names = NAMES[shape.outputs]
        if shape.guarded and name is not None and not self.pipelines.joinable(name, shape.want, names):
            self._submit(request, Want.ALONE, None, request.older)
        else:
            self._submit(request, shape.want, name, request.older)

    def _submit(self, request: Request, want: Want, fingerprint: str | None, older: Request | None) -> None:
        outputs = request.shape.outputs
        expected = self._to_join(fingerprint, want, outputs)
        joins = fingerprint is not None and self.pipelines.joinable(fingerprint, want, NAMES[outputs])
        assert joins == (expected is not None)
        overtaken = self.pipelines.overtaken(request.claim, NAMES[outputs])
        assert overtaken == self._outputs.overtaken(request)
        if not joins and overtaken:
            self._say(request, Said.SUPERSEDED)
            return
        for compiler in self.compilers:
            same = fingerprint is not None and compiler.fingerprint == fingerprint
            if compiler is not expected and (same or compiler.outputs & outputs):
                compiler.unwanted = True
        home = request.shape.sandboxed
        number, actions = self.pipelines.request(request.claim, want, fingerprint, NAMES[outputs], home=home)
        holds_early = home or request.request_id == 0
        if expected is not None:
            assert number == expected.number, "I7: it joined something else"
            assert expected.fingerprint == fingerprint, "I7"
            expected.holds_early |= holds_early
            if want is Want.EARLY:
                self.queue.expedite(expected)
            compiler = expected
        else:
            assert number not in self._jobs, "I7: it joined what it must not"
            compiler = self._jobs[number] = Compiler(number, fingerprint, request, holds_early, older)
            self.compilers.append(compiler)
            if fingerprint is not None:
                self._latest[fingerprint] = compiler
        self._outputs.ask(request)
        compiler.outputs |= outputs
        compiler.order = max(compiler.order, request.order)
        compiler.waiting.append(request)
        request.job = compiler
        request.at = At.WAITING
        self._perform(actions)

    def _to_join(self, fingerprint: str | None, want: Want, outputs: int) -> Compiler | None:
        compiler = None if fingerprint is None else self._latest.get(fingerprint)
        if compiler is None or compiler.unwanted or compiler.forgotten:
            return None
        if compiler.stage is Stage.OVER and compiler.told >= BOTH:
            return None  # nobody comes for it any more
        if compiler.failed and want in compiler.answered:
            return None
        if any(
            self._writes(c, outputs) and not awaits(compiler, c) for c in self.compilers if c is not compiler
        ):
            return None  # it would not be known who wrote last
        return compiler

    def _writes(self, compiler: Compiler, outputs: int) -> bool:
        """True while it may write one of these outputs, or somebody may from its files."""
        return bool(compiler.outputs & outputs) and (
            compiler.stage is not Stage.OVER or self._is_read(compiler)
        )

    def _receive(self, request: Request) -> None:
        match request.told:
            case AnswerCancelled():
                self._answered(request, Said.CANCELLED)
            case AnswerSuperseded():
                self._answered(request, Said.SUPERSEDED)
            case told:
                assert request.job is not None
                if request.shape.in_place or (isinstance(told, AnswerEnd) and not request.job.ok):
                    self._answered(request, Said.WORK)
                else:
                    request.at = At.PUBLISHING

    def find_outputs_gone(self, request: Request) -> None:
        """What a joined compiler wrote in place was taken away by the host: the work is done anew, if it still may."""
        assert request.job is not None
        request.at = At.WAITING
        self._done_with(request)
        if self._is_wanted(request):
            self._submit(request, Want.ALONE, None, None)
        else:
            self._say(request, Said.CANCELLED)

    def may_miss_outputs(self, request: Request) -> bool:
        """True when that may be found out now."""
        job = request.job
        return (
            job is not None
            and request.at is At.TOLD
            and request.needs_files
            and request.shape.in_place
            and job.maker is not request
            and (isinstance(request.told, AnswerEarly) or job.ok)
        )

    def _answered(self, request: Request, said: Said) -> None:
        request.at = At.WAITING
        self._done_with(request)
        self._say(request, said)

    def _done_with(self, request: Request) -> None:
        job = request.job
        if job is not None and isinstance(request.told, AnswerEarly | AnswerEnd):
            job.answered.add(self._half(request))
        self._perform(self.pipelines.answered(request.claim))

    def _half(self, request: Request) -> Want:
        job = request.job
        assert job is not None
        return request.shape.want if job.fingerprint is not None else Want.ALONE

    def _say(self, request: Request, said: Said) -> None:
        request.said = said
        request.at = At.SAID
        if request.older is None:
            self._finish(request)
        elif self.closing:
            self._end(request)

    def _finish(self, request: Request) -> None:
        settlement = self.ledger.finish(request.claim)
        self._end(request)
        assert settlement.answer != request.superseded, (
            "I1, I5: answered once, and only when it is waited for"
        )
        if settlement.answer:
            self._respond(request, cancelled=settlement.cancelled)
        if self.closing:
            return
        held = next((r for r in self.requests if r.at is At.HELD), None) if request.request_id == 0 else None
        assert settlement.next == (held.claim if held else None), "I1: the next with id 0 is forgotten"
        if held is not None:
            self._start(held)

    def _end(self, request: Request) -> None:
        assert request.at is not At.OVER, "I1: answered twice"
        request.at = At.OVER
        self.requests.remove(request)
        del self._claims[request.claim]
        request.older = None

    def _respond(self, request: Request, *, cancelled: bool) -> None:
        assert cancelled == request.cancel_read, "I1: was_cancelled only after a cancel"
        job = request.job
        match request.said:
            case Said.CANCELLED:
                assert cancelled, "I1: a success without work"
            case Said.SUPERSEDED if isinstance(request.told, AnswerSuperseded):
                assert job is not None
                assert not job.runs, "I2"
            case Said.WORK:
                assert job is not None
                assert job.maker is request or job.fingerprint == request.shape.fingerprint, (
                    "I5: another's work"
                )
                if isinstance(request.told, AnswerEarly) or job.ok:
                    self._outputs.check(request, job)
            case _:
                assert request.shape.wrong or request.said is Said.SUPERSEDED
        if request.shape.sandboxed and job is not None and job.maker is request:
            assert not job.runs, "I8: its directory is still used"

    # What a compiler does (`jobs._execute`)

    def can_go(self, compiler: Compiler) -> bool:
        """True when it can come to its next stage by itself."""
        match compiler.stage:
            case Stage.AFTER:
                older = compiler.older
                return (older is None or older.at is At.OVER) and all(c.forgotten for c in compiler.after)
            case Stage.QUEUED:
                return compiler.killed or self.queue.has_slot(compiler)
            case Stage.TOKEN:
                return compiler.killed or self.queue.is_next(compiler)
            case stage:
                return stage is Stage.DEAD

    def go(self, compiler: Compiler) -> None:
        """Brings a compiler to its next stage; its start, its early outputs and its end are `early`'s and `end`'s."""
        match compiler.stage:
            case Stage.AFTER:
                self._ask_for_slot(compiler)
            case Stage.QUEUED if not compiler.killed:
                compiler.stage = Stage.TOKEN
                self.queue.wait_for_token(compiler)
            case Stage.TOKEN if not compiler.killed:
                self.queue.take(compiler)
                self._compile(compiler)
            case _:
                self._report(compiler)

    def early(self, compiler: Compiler) -> None:
        """Its early outputs are complete."""
        if compiler.has_early_outputs:
            return
        compiler.has_early_outputs = True
        if not compiler.holds_early:
            compiler.early = True
            self._perform(self.pipelines.early_complete(compiler.number))

    def end(self, compiler: Compiler, *, ok: bool, peak: int) -> None:
        """The last process of it is gone; `peak` bytes of memory is what it needed."""
        compiler.peak = peak
        compiler.stage = Stage.DEAD
        compiler.ok = ok
        if ok and not compiler.killed:
            self.queue.give_back(compiler)
        if compiler.maker.shape.in_place:
            self._outputs.write(compiler, compiler.maker.shape.made, compiler.order)

    def _ask_for_slot(self, compiler: Compiler) -> None:
        compiler.stage = Stage.QUEUED
        early = self.pipelines.has_early_waiter(compiler.number)
        assert compiler.killed or early == any(
            self._half(r) is Want.EARLY and r.wanted for r in compiler.waiting
        )
        self.queue.ask(compiler, early=early)

    def _compile(self, compiler: Compiler) -> None:
        assert self.queue.has_slot(compiler), "it has no slot"
        outputs = compiler.outputs
        for other in self.compilers:
            assert not (other.runs and other.outputs & outputs), "I5: two compilers write one output"
        for request in self.requests:
            assert not (
                request.needs_files and request.job is not compiler and request.shape.outputs & outputs
            ), "I5: an older request may still publish what this compiler makes"
        compiler.stage = Stage.RUNNING
        if compiler.maker.shape.in_place:
            self._outputs.write(compiler, compiler.maker.shape.made, compiler.order)
        self._perform(self.pipelines.started(compiler.number))

    def _report(self, compiler: Compiler) -> None:
        """Its end, or that it never began, comes to be known."""
        compiler.stage = Stage.OVER
        self.queue.leave(compiler)
        self._perform(self.pipelines.ended(compiler.number, ok=compiler.ok))

    # What the rooms want done (`jobs._perform`)

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start(number, after):
                    assert number not in after
                    self._jobs[number].after = [self._jobs[older] for older in after]
                case Kill(number):
                    compiler = self._jobs[number]
                    assert compiler.unwanted or self._shut, "somebody waits for it"
                    assert not compiler.killed, "killed twice"
                    assert compiler.stage is not Stage.OVER
                    compiler.killed = True
                case Forget(number):
                    self._forget(self._jobs.pop(number))
                case _:
                    request = self._claims.get(action.claim)
                    if request is None:
                        assert self.closing, "an answer for nobody"
                    else:
                        self._tell(request, action)

    def _forget(self, compiler: Compiler) -> None:
        assert compiler.stage is Stage.OVER, "I2: its processes live, or may come to life"
        if not self._is_useless(compiler) and not self._shut:
            older = (c for c in self.compilers if c.number < compiler.number and c.stage is Stage.OVER)
            assert not any(self._is_idle(c) for c in older), "an older one is kept"
        compiler.forgotten = True
        self.compilers.remove(compiler)
        compiler.after.clear()
        assert self.closing or not compiler.waiting, "I1: somebody waits for it"
        assert not self._is_read(compiler), "its private files are needed"

    def _tell(
        self, request: Request, action: AnswerEarly | AnswerEnd | AnswerCancelled | AnswerSuperseded
    ) -> None:
        job = request.job
        assert request.at is At.WAITING, "I1: told twice"
        request.told = action
        request.at = At.TOLD
        if job is None:
            assert isinstance(action, AnswerCancelled), "it was withdrawn"
            return
        job.waiting.remove(request)
        match action:
            case AnswerEarly(_, number) | AnswerEnd(_, number):
                assert number == job.number, "I5: another's work"
                assert not job.unwanted, "I5: work that is not wanted any more"
                early = isinstance(action, AnswerEarly)
                assert job.stage is Stage.OVER or (early and job.early), "told before it is so"
                half = self._half(request)
                assert early == (half is Want.EARLY and (job.ok or job.early)), "told the other half"
                assert job.ok or half not in job.answered or early, "a failure is told once to each half"
                job.told.add(half)
            case AnswerCancelled():
                assert not request.wanted, "I1: nobody cancelled it"
                mine = request.shape.sandboxed and job.maker is request
                assert not job.runs or (not mine and any(r.wanted for r in job.waiting)), "I2: it lives"
            case AnswerSuperseded():
                assert job.unwanted or self._shut
                assert not job.runs, "I2: it lives"

    # The end (`server.serve`)

    def close(self) -> None:
        """The input has ended: requests end where they are, but for those that publish."""
        self.closing = True
        for request in list(self.requests):
            if request.at in {At.WAITING, At.TOLD}:
                self._end(request)
                self._perform(self.pipelines.answered(request.claim))
            elif request.at is not At.PUBLISHING:
                self._end(request)
        self._unattached.clear()

    def shut_down(self) -> None:
        """Nobody publishes any more: everything is killed."""
        self._shut = True
        self._perform(self.pipelines.shut_down())
        for compiler in self.compilers:
            compiler.killed = True

    @property
    def can_shut_down(self) -> bool:
        """True between the end of the last request and the killing of everything."""
        return self.closing and not self._shut and not self.requests

    # What must hold

    def check(self) -> None:
        """What holds after every step."""
        self.queue.check(sum(c.runs for c in self.compilers))
        assert self.closing or self.ledger.unanswered == len(self.requests)
        ended = [c for c in self.compilers if c.stage is Stage.OVER]
        if len(ended) > self.retained:
            assert sum(map(self._is_idle, ended)) <= self.retained, "more is kept than was said"
        for compiler in self.compilers:
            self._check_wanted(compiler)

    def _check_wanted(self, compiler: Compiler) -> None:
        if compiler.stage is Stage.OVER:
            if self._is_useless(compiler) and not self.closing:
                assert self._is_read(compiler), "kept for nobody"
        elif compiler.unwanted:
            assert compiler.killed, "what nobody wants goes on"
        elif compiler.early and not self.closing:
            assert not any(self._half(r) is Want.EARLY and r.wanted for r in compiler.waiting), "told late"

    @staticmethod
    def _is_useless(compiler: Compiler) -> bool:
        """True for one that has ended and that no request will join."""
        return compiler.unwanted or compiler.fingerprint is None or compiler.told >= BOTH

    def _is_idle(self, compiler: Compiler) -> bool:
        return not compiler.waiting and not self._is_read(compiler)

    def _is_read(self, compiler: Compiler) -> bool:
        return any(r.job is compiler and r.needs_files for r in self.requests)

    def check_quiet(self) -> None:
        """Nothing can move, and no compiler runs: everybody was answered, and what is kept is bounded."""
        self._check_nothing_is_left()
        room, ledger = self.pipelines, self.ledger
        kept = list(room._jobs.values())
        assert {job.id for job in kept} == {c.number for c in self.compilers} == set(self._jobs)
        assert len(kept) <= self.retained
        assert all(job.state in ENDED and not job.waiting and not job.answering for job in kept)
        assert all(job in kept for job in (*room._owners.values(), *room._joinable.values()))
        assert not room._attached
        assert not any((ledger._states, ledger._ids, ledger._current, ledger._serial))

    def check_ended(self) -> None:
        """The worker's end: nothing moves, nothing runs."""
        self._check_nothing_is_left()

    def _check_nothing_is_left(self) -> None:
        assert not self.requests, "I1: somebody waits for ever"
        assert all(c.stage is Stage.OVER for c in self.compilers), "somebody waits for ever"
        self.queue.check_quiet()
