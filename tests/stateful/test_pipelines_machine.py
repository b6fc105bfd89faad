"""Any requests, cancels and ends in any order, carried out by a shell as slow as it likes, against a naive model.

The model knows what the shell knows (which compilers run, who was told what) and what a reader of the theory in
`pipelines` would expect: who joins whom, who has to be dead before whom starts.
"""

from __future__ import annotations

import pytest
from attrs import Factory, define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headstart_worker import pipelines
from headstart_worker.ledger import Claim
from headstart_worker.pipeline_states import (
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

# Two crates, two contents of each. A crate's halves and whatever else makes it share its first output.
CONTENTS = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}
HALVES = {
    (crate, want): {f"{crate}.rmeta"} | ({f"{crate}.rlib"} if want is Want.FULL else set())
    for crate in "ab"
    for want in (Want.EARLY, Want.FULL)
}
ALONE = (
    {"a.rmeta", "a.rlib"},
    {"a.rlib"},
    {"b.rmeta"},
    {"b.rlib"},
    {"a.rmeta", "b.rmeta"},
    {"other"},
    set[str](),
)
BOTH = {Want.EARLY, Want.FULL}


@define
class Request:
    want: Want
    fingerprint: str | None
    job: JobId
    home: bool
    was_cancelled: bool = False
    told: Action | None = None
    answered: bool = False


@define
class Compiler:
    """One job as the shell sees it, and what the model expects of it."""

    fingerprint: str | None
    after: tuple[JobId, ...]
    outputs: set[str] = Factory(set)
    moved: bool = False  # it needs its home no longer
    started: bool = False
    early: bool = False
    over: bool = False
    ok: bool = False
    killed: bool = False
    unwanted: bool = False  # superseded or given up: nobody may join it
    forgotten: bool = False

    @property
    def runs(self) -> bool:
        return self.started and not self.over


class PipelinesMachine(RuleBasedStateMachine):
    """Rules are what hosts and compilers do; `_perform` checks each action as the shell would carry it out."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[Claim, Request] = {}
        self.jobs: dict[JobId, Compiler] = {}
        self.latest: dict[str, JobId] = {}
        self.ending = False

    @initialize(retained=st.integers(0, 1))
    def begin(self, retained: int) -> None:
        self.retained = retained
        self.room = Pipelines(retained=retained)

    # What happens

    @rule(
        content=st.sampled_from(sorted(CONTENTS)),
        want=st.sampled_from([Want.EARLY, Want.FULL]),
        home=st.integers(0, 3).map(lambda n: n == 0),
    )
    def ask_for_a_half(self, content: str, want: Want, home: bool) -> None:
        self._request(want, content, HALVES[CONTENTS[content], want], home=home)

    @rule(outputs=st.sampled_from(ALONE))
    def ask_alone(self, outputs: set[str]) -> None:
        self._request(Want.ALONE, None, outputs, home=False)

    def _request(self, want: Want, fingerprint: str | None, outputs: set[str], *, home: bool) -> None:
        claim = Claim(len(self.requests) + 1)
        expected = self._expected_join(fingerprint, want, outputs)
        joins = fingerprint is not None and self.room.joinable(fingerprint, want, outputs)
        assert joins == (expected is not None)
        for number, job in self.jobs.items():
            twin = fingerprint is not None and job.fingerprint == fingerprint
            if (job.outputs & outputs or twin) and number != expected and not job.forgotten:
                job.unwanted = True
        number, actions = self.room.request(claim, want, fingerprint, outputs, home=home)
        self.requests[claim] = Request(want, fingerprint, number, home and expected is None)
        starts = [action for action in actions if isinstance(action, Start)]
        if expected is not None:
            assert number == expected
            assert not starts
            assert self.jobs[number].fingerprint == fingerprint
        else:
            assert number not in self.jobs
            assert [start.job for start in starts] == [number]
            self.jobs[number] = Compiler(fingerprint, starts[0].after)
            if fingerprint is not None:
                self.latest[fingerprint] = number
        self.jobs[number].outputs |= outputs
        self._perform(actions)

    def _expected_join(self, fingerprint: str | None, want: Want, outputs: set[str]) -> JobId | None:
        number = self.latest.get(fingerprint or "")
        if number is None:
            return None
        job = self.jobs[number]
        if job.unwanted or job.forgotten:
            return None
        if job.over:
            told = {r.want for r in self.requests.values() if r.job == number and answers_work(r.told)}
            done = {
                r.want
                for r in self.requests.values()
                if r.job == number and r.answered and answers_work(r.told)
            }
            if told >= BOTH or (not job.ok and want in done):
                return None
        for other, writer in self.jobs.items():
            lives = not writer.over or self._published_from(other)
            if lives and writer.outputs & outputs and other not in {number, *self._awaited(number)}:
                return None
        return number

    def _awaited(self, number: JobId) -> set[JobId]:
        """The jobs that have to be forgotten before this one starts."""
        if self.jobs[number].started:
            return set()
        direct = set(self.jobs[number].after)
        return direct.union(*(self._awaited(older) for older in direct if not self.jobs[older].forgotten))

    @precondition(lambda self: any(r.told is None for r in self.requests.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from([c for c, r in self.requests.items() if not r.answered]))
        request = self.requests[claim]
        waited = request.told is None and not request.was_cancelled
        request.was_cancelled = True
        if waited and not self._wanted_by(request.job):
            self.jobs[request.job].unwanted = True
        self._perform(self.room.cancel(claim))

    @rule(claim=st.integers(1, 5))
    def cancel_what_is_over_or_unknown(self, claim: int) -> None:
        known = self.requests.get(Claim(claim))
        if known is None or known.answered:
            assert self.room.cancel(Claim(claim)) == []

    @precondition(lambda self: self._movable())
    @rule(data=st.data())
    def move_out(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self._movable()))
        self.jobs[number].moved = True
        actions = self.room.moved_out(number)
        assert all(isinstance(action, AnswerCancelled) for action in actions)
        self._perform(actions)

    @precondition(lambda self: self._startable())
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self._startable()))
        job = self.jobs[number]
        for other in self.jobs.values():
            assert not (other.runs and other.outputs & job.outputs), "I5: two compilers write one output"
        for claim in self._being_answered():
            published = self.requests[claim]
            assert published.job == number or not (
                answers_work(published.told) and self.jobs[published.job].outputs & job.outputs
            ), "I5: an older request may still publish what this compiler writes"
        job.started = True
        self._perform(self.room.started(number))

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def complete_early(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self._running()))
        job = self.jobs[number]
        if job.fingerprint is None or job.early or self._home(number):
            return
        job.early = True
        self._perform(self.room.early_complete(number))

    @precondition(lambda self: self._running())
    @rule(data=st.data(), ok=st.booleans())
    def end(self, data: st.DataObject, ok: bool) -> None:
        self._end(data.draw(st.sampled_from(self._running())), ok=ok)

    @precondition(lambda self: self._withdrawable())
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        self._end(data.draw(st.sampled_from(self._withdrawable())), ok=False)

    @precondition(lambda self: self._being_answered())
    @rule(data=st.data())
    def finish_answering(self, data: st.DataObject) -> None:
        self._answered(data.draw(st.sampled_from(self._being_answered())))

    # What the shell may do

    def _startable(self) -> list[JobId]:
        return [n for n, job in self.jobs.items() if not job.started and not job.killed and self._first(job)]

    def _movable(self) -> list[JobId]:
        """One that is killed meanwhile has been moved half, and goes on to the end of that."""
        return [
            n
            for n, job in self.jobs.items()
            if not (job.moved or job.started or job.over) and self._first(job)
        ]

    def _withdrawable(self) -> list[JobId]:
        return [
            n
            for n, job in self.jobs.items()
            if not job.started and job.killed and not job.over and self._first(job)
        ]

    def _first(self, job: Compiler) -> bool:
        return all(self.jobs[older].forgotten for older in job.after)

    def _running(self) -> list[JobId]:
        return [number for number, job in self.jobs.items() if job.runs]

    def _being_answered(self) -> list[Claim]:
        return [claim for claim, r in self.requests.items() if r.told is not None and not r.answered]

    def _published_from(self, number: JobId) -> bool:
        told = (self.requests[claim] for claim in self._being_answered())
        return any(r.job == number and answers_work(r.told) for r in told)

    def _wanted_by(self, number: JobId) -> list[Claim]:
        return [
            c for c, r in self.requests.items() if r.job == number and r.told is None and not r.was_cancelled
        ]

    def _home(self, number: JobId) -> bool:
        return not self.jobs[number].moved and any(r.home for r in self.requests.values() if r.job == number)

    def _end(self, number: JobId, *, ok: bool) -> None:
        job = self.jobs[number]
        job.over = True
        job.ok = ok
        self._perform(self.room.ended(number, ok=ok))

    def _answered(self, claim: Claim) -> None:
        self.requests[claim].answered = True
        self._perform(self.room.answered(claim))

    # What is checked

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(number, after):
                    assert not any(self.jobs[older].forgotten for older in after)
                    assert number not in after
                case Kill(number):
                    job = self.jobs[number]
                    assert not job.over
                    assert not job.killed
                    assert job.unwanted or self.ending
                    job.killed = True
                case Forget(number):
                    self._forget(number)
                case _:
                    self._tell(action)

    def _forget(self, number: JobId) -> None:
        job = self.jobs[number]
        assert not job.forgotten
        assert job.over
        job.forgotten = True
        for request in self.requests.values():
            if request.job == number:
                assert request.told is not None
                assert request.answered or not answers_work(request.told), (
                    "its private files are still needed"
                )

    def _tell(self, action: AnswerEarly | AnswerEnd | AnswerCancelled | AnswerSuperseded) -> None:
        request = self.requests[action.claim]
        assert request.told is None, "I1: told twice"
        job = self.jobs[request.job]
        assert not job.forgotten
        if request.home and not job.moved:
            assert job.over, "I8: its directory is still used"
        match action:
            case AnswerEarly(_, number):
                assert number == request.job
                assert request.want is Want.EARLY
                assert request.fingerprint == job.fingerprint, "I7"
                assert job.early or (job.over and job.ok)
                assert not job.killed
            case AnswerEnd(_, number):
                assert number == request.job
                assert request.fingerprint == job.fingerprint, "I7"
                assert job.over
                assert not job.killed
                assert not (job.ok and request.want is Want.EARLY)
                if not job.ok and request.want is not Want.ALONE:
                    again = [r for r in self.requests.values() if r.job == number and r.want is request.want]
                    assert not any(r.answered and answers_work(r.told) for r in again), (
                        "told once to each half"
                    )
            case AnswerCancelled():
                assert request.was_cancelled, "I1: nobody cancelled it"
                assert not job.runs or self._wanted_by(request.job), "I2: its compiler runs"
            case AnswerSuperseded():
                assert job.unwanted or self.ending
                assert not job.runs, "I2: its compiler runs"
        request.told = action

    @invariant()
    def I1_whoever_waited_for_a_job_that_is_over_was_told(self) -> None:
        for request in self.requests.values():
            assert request.told is not None or not self.jobs[request.job].over

    @invariant()
    def a_cancel_waits_for_an_end_or_for_moving_out_and_for_nothing_else(self) -> None:
        for request in self.requests.values():
            job = self.jobs[request.job]
            if request.was_cancelled and request.told is None:
                assert job.unwanted or (request.home and not job.moved)

    @invariant()
    def I5_two_compilers_that_run_never_write_one_output(self) -> None:
        running = [self.jobs[number] for number in self._running()]
        for job in running:
            assert not any(job.outputs & other.outputs for other in running if other is not job)

    @invariant()
    def early_requests_are_told_as_soon_as_they_can_be(self) -> None:
        for request in self.requests.values():
            job = self.jobs[request.job]
            if request.want is Want.EARLY and job.early and not job.unwanted:
                assert request.told is not None

    @invariant()
    def what_nobody_wants_is_killed(self) -> None:
        for job in self.jobs.values():
            assert job.killed or job.over or not job.unwanted

    @invariant()
    def no_more_is_kept_than_was_said(self) -> None:
        if hasattr(self, "retained"):
            busy = {r.job for r in self.requests.values() if not r.answered}
            kept = [n for n, job in self.jobs.items() if job.over and not job.forgotten and n not in busy]
            assert len(kept) <= self.retained

    def teardown(self) -> None:
        """Everybody goes on until nothing moves; then everything was answered, and the end forgets the rest."""
        if not hasattr(self, "room"):
            return
        while moves := (self._startable(), self._withdrawable(), self._running(), self._being_answered()):
            startable, withdrawable, running, answering = moves
            for number in startable:
                self.jobs[number].started = True
                self._perform(self.room.started(number))
            for number in (*withdrawable, *running):
                self._end(number, ok=True)
            for claim in answering:
                self._answered(claim)
            if not any(moves):
                break
        assert all(r.answered for r in self.requests.values()), "I1: never answered"
        self.ending = True
        self._perform(self.room.shut_down())
        assert all(job.forgotten for job in self.jobs.values())


def answers_work(action: Action | None) -> bool:
    """True for an answer that needs the job's files and text."""
    return isinstance(action, AnswerEarly | AnswerEnd)


PipelinesMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
TestI1I2I5I7Pipelines = PipelinesMachine.TestCase


# The same promises once more in plain words, where chance seldom comes.


def asked(room: Pipelines, claim: int, want: Want, content: str = "a", *, home: bool = False) -> JobId:
    return room.request(Claim(claim), want, content, {f"{content}.rmeta"}, home=home)[0]


def test_a_failure_is_told_once_to_each_half_and_then_tried_again() -> None:
    room = Pipelines()
    job = asked(room, 1, Want.EARLY)
    room.started(job)
    assert room.ended(job, ok=False) == [AnswerEnd(Claim(1), job)]
    room.answered(Claim(1))
    assert room.joinable("a", Want.FULL)
    assert not room.joinable("a", Want.EARLY)
    again, actions = room.request(Claim(2), Want.EARLY, "a", {"a.rmeta"})
    assert actions == [Forget(job), Start(again, ())]


def test_I8_the_cancel_of_a_request_in_whose_directory_the_job_runs_waits_for_its_end() -> None:
    for ok in (True, False):
        room = Pipelines()
        job = asked(room, 1, Want.EARLY, home=True)
        assert asked(room, 2, Want.FULL) == job
        room.started(job)
        assert room.cancel(Claim(1)) == []
        assert room.cancel(Claim(1)) == []
        assert room.ended(job, ok=ok) == [AnswerEnd(Claim(2), job), AnswerCancelled(Claim(1))]


def test_I2_a_job_that_nobody_waits_for_any_more_is_killed_though_its_directory_was_lent() -> None:
    room = Pipelines()
    job = asked(room, 1, Want.EARLY, home=True)
    asked(room, 2, Want.FULL)
    room.started(job)
    assert room.cancel(Claim(1)) == []
    assert room.cancel(Claim(2)) == [Kill(job)]
    ended = room.ended(job, ok=False)
    assert ended == [AnswerCancelled(Claim(1)), AnswerCancelled(Claim(2)), Forget(job)]


def test_the_oldest_job_that_nobody_comes_for_is_forgotten_first() -> None:
    room = Pipelines(retained=2)
    jobs = []
    for number in range(1, 5):
        job = asked(room, number, Want.EARLY, str(number))
        jobs.append(job)
        room.started(job)
        room.ended(job, ok=True)
        assert room.answered(Claim(number)) == ([Forget(jobs[number - 3])] if number > 2 else [])


def test_I5_three_jobs_for_one_output_run_one_after_the_other() -> None:
    room = Pipelines()
    first = asked(room, 1, Want.EARLY, "a")
    room.started(first)
    second, actions = room.request(Claim(2), Want.ALONE, None, {"a.rmeta", "b.rmeta"})
    assert actions == [Kill(first), Start(second, (first,))]
    third, actions = room.request(Claim(3), Want.EARLY, "b", {"b.rmeta"})
    assert actions == [Kill(second), Start(third, (second,))]
    assert room.ended(first, ok=False) == [AnswerSuperseded(Claim(1)), Forget(first)]
    assert room.ended(second, ok=False) == [AnswerSuperseded(Claim(2)), Forget(second)]


def test_an_early_request_that_comes_after_the_early_outputs_is_answered_at_once() -> None:
    room = Pipelines()
    job = asked(room, 1, Want.EARLY)
    room.started(job)
    assert room.early_complete(job) == [AnswerEarly(Claim(1), job)]
    assert room.request(Claim(2), Want.EARLY, "a", {"a.rmeta"}) == (job, [AnswerEarly(Claim(2), job)])


def test_I5_a_request_that_was_overtaken_is_known_by_its_outputs() -> None:
    room = Pipelines()
    job = asked(room, 1, Want.EARLY)
    room.started(job)
    room.early_complete(job)
    assert not room.overtaken(Claim(1), {"a.rmeta"})
    newer, _ = room.request(Claim(2), Want.EARLY, "b", {"a.rmeta", "b.rmeta"})
    assert room.overtaken(Claim(1), {"a.rmeta"})
    assert not room.overtaken(Claim(2), {"a.rmeta"})
    assert not room.overtaken(Claim(1), {"other"})
    room.answered(Claim(1))
    room.ended(job, ok=False)
    room.started(newer)
    assert room.request(Claim(3), Want.FULL, "b", {"b.rmeta", "b.rlib"}) == (newer, [])
    assert room.overtaken(Claim(2), {"b.rmeta"})


def test_a_full_request_given_up_before_it_came_ends_the_tail_that_it_would_have_waited_for() -> None:
    room = Pipelines()
    job = asked(room, 1, Want.EARLY)
    assert not room.has_tails()
    assert room.withdraw(Claim(2), Want.FULL, "a") == [AnswerCancelled(Claim(2))]  # an early one waits
    room.started(job)
    room.early_complete(job)
    room.answered(Claim(1))
    assert room.has_tails()
    assert room.withdraw(Claim(3), Want.EARLY, "a") == [AnswerCancelled(Claim(3))]  # the tail is not its own
    assert room.withdraw(Claim(4), Want.FULL, "b") == [AnswerCancelled(Claim(4))]
    assert room.withdraw(Claim(5), Want.ALONE, None) == [AnswerCancelled(Claim(5))]
    assert room.withdraw(Claim(6), Want.FULL, "a") == [Kill(job)]
    assert not room.has_tails()
    assert room.withdraw(Claim(7), Want.FULL, "a") == [AnswerCancelled(Claim(7))]
    assert room.ended(job, ok=False) == [AnswerCancelled(Claim(6)), Forget(job)]


def test_what_was_given_up_before_it_came_leaves_what_is_kept_or_waited_for() -> None:
    room = Pipelines()
    kept = asked(room, 1, Want.EARLY)
    room.started(kept)
    room.ended(kept, ok=True)
    room.answered(Claim(1))
    assert room.withdraw(Claim(2), Want.FULL, "a") == [AnswerCancelled(Claim(2))]
    assert room.joinable("a", Want.FULL)
    waited = asked(room, 3, Want.FULL, "b")
    room.started(waited)
    room.early_complete(waited)
    assert room.withdraw(Claim(4), Want.FULL, "b") == [AnswerCancelled(Claim(4))]
    assert room.ended(waited, ok=True) == [AnswerEnd(Claim(3), waited)]


def test_I5_nothing_is_joined_while_another_compiler_writes_an_output() -> None:
    room = Pipelines()
    job = asked(room, 1, Want.EARLY)
    room.started(job)
    room.early_complete(job)
    room.answered(Claim(1))
    writer, _ = room.request(Claim(2), Want.ALONE, None, {"a.rlib"})
    room.started(writer)
    both = {"a.rmeta", "a.rlib"}
    assert room.joinable("a", Want.FULL)
    assert not room.joinable("a", Want.FULL, both)
    anew, actions = room.request(Claim(3), Want.FULL, "a", both)
    assert set(actions[:-1]) == {Kill(job), Kill(writer)}
    assert isinstance(actions[-1], Start)
    assert (actions[-1].job, set(actions[-1].after)) == (anew, {job, writer})


def test_a_job_that_waits_for_that_compilers_end_itself_is_joined() -> None:
    room = Pipelines()
    writer, _ = room.request(Claim(1), Want.ALONE, None, {"a.rmeta", "a.rlib"})
    room.started(writer)
    between, _ = room.request(Claim(2), Want.ALONE, None, {"a.rmeta"})
    job, actions = room.request(Claim(3), Want.EARLY, "a", {"a.rmeta"})
    assert actions == [Kill(between), Start(job, (between,))]
    assert room.request(Claim(4), Want.FULL, "a", {"a.rmeta", "a.rlib"}) == (job, [])


def test_the_oldest_job_is_forgotten_first_though_it_ended_last() -> None:
    room = Pipelines(retained=1)
    jobs = [asked(room, number, Want.EARLY, str(number)) for number in (1, 2)]
    for number in (2, 1):
        room.started(jobs[number - 1])
        room.ended(jobs[number - 1], ok=True)
    assert room.answered(Claim(2)) == []
    assert room.answered(Claim(1)) == [Forget(jobs[0])]


def test_nothing_grows_with_the_requests_that_are_over() -> None:
    room = Pipelines(retained=2)
    claims = iter(range(1, 10**6))
    for number in range(300):
        content = str(number % 5)
        for want in (Want.EARLY, Want.FULL, Want.EARLY):
            claim = next(claims)
            job, actions = room.request(Claim(claim), want, content, {content, f"{number}.{want}"})
            if any(isinstance(action, Start) for action in actions):
                room.started(job)
                room.ended(job, ok=number % 3 > 0)
            room.answered(Claim(claim))
            room.cancel(Claim(claim))
            room.withdraw(Claim(next(claims)), Want.FULL, content)
    assert len(room._jobs) <= 2
    assert len(room._idle) <= 2
    assert len(room._joinable) <= 2
    assert not room._attached
    assert set(room._owners) <= {path for job in room._jobs.values() for path in job.outputs}


def test_I5_of_outputs_that_nobody_owns_any_more_so_many_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipelines, "REMEMBERED", 2)
    room = Pipelines()
    for claim in range(10, 16):
        job, _ = room.request(Claim(claim), Want.ALONE, None, {f"out{claim}"})
        if claim > 10:  # the first one runs on, and is remembered whatever comes
            room.started(job)
            room.ended(job, ok=True)
            room.answered(Claim(claim))
    remembered = {claim for claim in range(10, 16) if room.overtaken(Claim(1), {f"out{claim}"})}
    assert remembered == {10, 14, 15}


@pytest.mark.parametrize("before", [True, False])
def test_I8_the_cancel_of_a_home_waits_until_its_job_has_moved_out_and_no_longer(*, before: bool) -> None:
    room = Pipelines()
    job, _ = room.request(Claim(1), Want.EARLY, "a1", {"a.rmeta"}, home=True)
    room.request(Claim(2), Want.FULL, "a1", {"a.rmeta", "a.rlib"}, home=True)
    if before:
        assert room.cancel(Claim(1)) == []
        assert room.moved_out(job) == [AnswerCancelled(Claim(1))]
    else:
        assert room.moved_out(job) == []
        assert room.cancel(Claim(1)) == [AnswerCancelled(Claim(1))]
    room.started(job)
    assert room.ended(job, ok=True) == [AnswerEnd(Claim(2), job)]


def test_I2_the_cancel_of_a_home_whose_job_is_wanted_by_nobody_waits_for_its_end() -> None:
    room = Pipelines()
    job, _ = room.request(Claim(1), Want.EARLY, "a1", {"a.rmeta"}, home=True)
    assert room.cancel(Claim(1)) == [Kill(job)]
    assert room.moved_out(job) == []
    assert AnswerCancelled(Claim(1)) in room.ended(job, ok=False)
