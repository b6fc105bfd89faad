"""One request from its arguments to its answer.

A request is prepared (arguments expanded and parsed, command planned, inputs identified), attached to a job, and
answered when the job says so. Whatever goes wrong becomes an answer that says what and what to do; only the end of
the worker leaves a request unanswered.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import trio
from attrs import evolve, frozen

from headstart_worker import pipelines
from headstart_worker.digests import Digests, compiler_identity
from headstart_worker.jobs import Job, Jobs, bug_report
from headstart_worker.ledger import Claim
from headstart_worker.messages import Input, WorkRequest
from headstart_worker.pipelines import Want
from headstart_worker.trace import REQUESTS_TRACK
from headstart_worker.tracing import TraceFile
from headstart_wrapper import encoding, stats
from headstart_wrapper import options as grammar
from headstart_wrapper.errors import HeadstartError, RequestError
from headstart_wrapper.fingerprint import fingerprint, relevant_inputs
from headstart_wrapper.job import Job as JobOptions
from headstart_wrapper.job import Outcome, Phase
from headstart_wrapper.options import Options
from headstart_wrapper.process_group import Spawner, find_executable
from headstart_wrapper.run import Run
from headstart_wrapper.standalone import say


@frozen
class Answer:
    """What a request is answered with.

    Attributes:
        exit_code, output: as the interface has them; the output is valid text, newline-terminated or empty.
        cancelled: its work was ended because somebody asked for it.
    """

    exit_code: int
    output: str = ""
    cancelled: bool = False


@frozen
class Admission:
    """What the server says of a request's place.

    Attributes:
        claim: the right to answer it.
        turn: set when every request that was read before is attached to its job.
        attached: to be set when this one is, or never will be.
        after: its job may start only then; None: at once.
        is_wanted: False once it was cancelled or superseded.
    """

    claim: Claim
    turn: trio.Event
    attached: trio.Event
    after: trio.Event | None
    is_wanted: Callable[[], bool]


@frozen
class _Prepared:
    job: JobOptions
    run: Run
    stage: Path
    root: str
    want: Want
    fingerprint: str | None
    outputs: frozenset[str]
    holds_early: bool
    home: bool
    warning: str

    def alone(self) -> _Prepared:
        """The same, joining nothing and joined by nobody."""
        return evolve(self, want=Want.ALONE, fingerprint=None)


@final
class Requests:
    """Answers requests; knows the worker's start-up options and environment."""

    def __init__(
        self,
        jobs: Jobs,
        *,
        options: Options,
        cwd: str,
        env: Mapping[str, str],
        spawner: Spawner,
        state: Path,
        trace: TraceFile,
    ) -> None:
        self._jobs = jobs
        self._options = options
        self._cwd = cwd
        self._env = env
        self._spawner = spawner
        self._state = state
        self._trace = trace
        self._digests = Digests()

    async def answer(self, request: WorkRequest, admission: Admission) -> Answer:
        """Does what the request wants, and says how it went. Never raises but for a cancelled scope."""
        try:
            prepared = await self._attach(request, admission)
            if prepared is None:
                return Answer(exit_code=0, cancelled=True)
            return await self._settle(*prepared, admission.claim)
        except HeadstartError as error:
            return Answer(error.exit_code, message_line(str(error)))
        except Exception:  # noqa: BLE001 - a bug of ours costs one request, not the worker
            return Answer(RequestError.exit_code, message_line(bug_report()))

    async def _attach(
        self, request: WorkRequest, admission: Admission
    ) -> tuple[_Prepared, trio.MemoryReceiveChannel[pipelines.Action]] | None:
        try:
            if not admission.is_wanted():
                return None
            # It only reads, and what it reads may never end: the worker's own end does not wait for it (I3).
            prepared = await trio.to_thread.run_sync(
                self._prepare, request, admission.claim, abandon_on_cancel=True
            )
            await admission.turn.wait()
            if not admission.is_wanted():
                return None
            prepared = self._unless_nobody_comes(prepared)
            return prepared, self._submit(prepared, admission.claim, admission.after)
        finally:
            admission.attached.set()

    def _prepare(self, request: WorkRequest, claim: Claim) -> _Prepared:
        root = self._directory(request)
        options = grammar.parse(
            grammar.expand(request.arguments, lambda path: Path(root, path).read_bytes().decode("utf-8")),
            base=self._options,
            request=True,
        )
        if encoding.is_misread(options.encoding_check):
            inputs = (evolve(item, path=encoding.read_back(item.path)) for item in request.inputs)
            request = evolve(request, inputs=tuple(inputs))
        job = grammar.check(options)
        stage = self._state / str(claim)
        run = Run(
            job,
            cwd=root,
            env=self._env,
            spawner=self._spawner,
            capture=True,
            stage=str(stage) if job.phase else None,
            dependents_used=_dependents_used(job, request),
        )
        if job.explain:
            for note in run.explanation():
                say(f"request {request.request_id}: {note}")
        want, name = self._identify(job, run, request, root)
        return _Prepared(
            job=job,
            run=run,
            stage=stage,
            root=root,
            want=want,
            fingerprint=name,
            outputs=frozenset(
                posixpath.normpath(posixpath.join(root, path)) for path in (*job.early_outputs, *job.outputs)
            ),
            # Singleplex hosts wait for silence after an answer, and a sandbox is taken back with it.
            holds_early=request.request_id == 0 or bool(request.sandbox_dir),
            home=bool(request.sandbox_dir),
            warning=message_line(warning) if (warning := grammar.weaker_sandbox(options)) else "",
        )

    def _directory(self, request: WorkRequest) -> str:
        if not request.sandbox_dir:
            return self._cwd
        directory = posixpath.normpath(posixpath.join(self._cwd, request.sandbox_dir))
        if not os.path.isdir(directory):  # noqa: PTH112 - hot path
            raise RequestError(
                f"the sandbox directory {request.sandbox_dir} of request {request.request_id} does not exist; the host "
                "makes it before the request (Bazel: --experimental_worker_multiplex_sandboxing)"
            )
        return directory

    def _identify(
        self, job: JobOptions, run: Run, request: WorkRequest, root: str
    ) -> tuple[Want, str | None]:
        if job.phase is None or job.stop_after_early:
            return Want.ALONE, None
        if request.sandbox_dir and not run.plan.places:
            # What the command wrote in its place is taken away with this sandbox: there is nothing to join.
            return Want.ALONE, None
        return Want(job.phase.value), self._fingerprint(job, run, request, root)

    def _fingerprint(self, job: JobOptions, run: Run, request: WorkRequest, root: str) -> str:
        declared = request.inputs or tuple(Input(path, b"") for path in job.inputs)
        if not declared:
            declared = tuple(Input(path, b"") for path in run.plan.inputs or _files_among(job.command, root))
        kept = set(
            relevant_inputs(
                (item.path for item in declared),
                declared=(*job.early_outputs, *job.outputs),
                early_outputs=job.early_outputs,
                worker_files=self._options.worker_files,
            )
        )
        executable = find_executable(
            run.job.command[0], cwd=root, path={**self._env, **dict(run.job.env)}.get("PATH")
        )
        # Substituted values count, the place of the directory does not; no command can hold what stands for it.
        named = job.substituted("\0")
        return fingerprint(
            compiler=compiler_identity(executable),
            command=named.command,
            env=named.env,
            early_outputs=job.early_outputs,
            inputs=self._digests.of_inputs((item for item in declared if item.path in kept), cwd=root),
        )

    def _unless_nobody_comes(self, prepared: _Prepared) -> _Prepared:
        """A full request whose early half was answered by another process, or from a cache, is a job of its own."""
        name = prepared.fingerprint
        if prepared.want is not Want.FULL or name is None or not prepared.run.dependents_used:
            return prepared
        return prepared if self._jobs.pipelines.joinable(name, Want.FULL) else prepared.alone()

    def _submit(
        self, prepared: _Prepared, claim: Claim, after: trio.Event | None
    ) -> trio.MemoryReceiveChannel[pipelines.Action]:
        job = Job(
            run=prepared.run,
            name=_name(prepared),
            stage=prepared.stage,
            holds_early=prepared.holds_early,
            after=after,
        )
        return self._jobs.submit(
            claim, prepared.want, prepared.fingerprint, prepared.outputs, job, home=prepared.home
        )

    async def _settle(
        self, prepared: _Prepared, actions: trio.MemoryReceiveChannel[pipelines.Action], claim: Claim
    ) -> Answer:
        answer = await self._settled(prepared, actions, claim)
        if answer is None:
            prepared = prepared.alone()
            answer = await self._settled(prepared, self._submit(prepared, claim, None), claim)
        if answer is None:
            raise AssertionError("a job that joined nothing has no outputs of another's")
        return answer

    async def _settled(
        self, prepared: _Prepared, actions: trio.MemoryReceiveChannel[pipelines.Action], claim: Claim
    ) -> Answer | None:
        """The answer; None when the job that was joined cannot give its outputs, and the work is to be done anew."""
        try:
            match await actions.receive():
                case pipelines.AnswerEarly(_, number):
                    job = self._jobs[number]
                    return None if _taken_away(prepared, job) else await self._answer_early(prepared, job)
                case pipelines.AnswerEnd(_, number):
                    job = self._jobs[number]
                    return None if _taken_away(prepared, job) else await self._answer_end(prepared, job)
                case pipelines.AnswerCancelled():
                    return Answer(exit_code=0, cancelled=True)
                case _:
                    text = "superseded by a newer request for the same output; the host has to wait for one before the next"
                    return Answer(RequestError.exit_code, message_line(text), cancelled=True)
        finally:
            self._jobs.answered(claim)

    async def _answer_early(self, prepared: _Prepared, job: Job) -> Answer:
        await self._publish(prepared, job, prepared.job.early_outputs)
        return Answer(0, prepared.warning + (job.early_text or ""))

    async def _answer_end(self, prepared: _Prepared, job: Job) -> Answer:
        outcome = job.outcome
        if outcome.exit_code == 0:
            await self._publish(prepared, job, prepared.job.wanted)
        if prepared.job.stats:
            stats.write(outcome, posixpath.join(prepared.root, prepared.job.stats))
        return Answer(outcome.exit_code, prepared.warning + _text_at_end(prepared, job, outcome))

    async def _publish(self, prepared: _Prepared, job: Job, declared: tuple[str, ...]) -> None:
        if not job.run.plan.places:
            return
        began = time.monotonic()

        def publish() -> None:
            job.run.publish(declared, root=prepared.root)

        # Half a publication is none: it is finished even while the worker ends.
        await trio.to_thread.run_sync(publish)
        self._trace.span("publish", REQUESTS_TRACK, began, time.monotonic(), label=job.name)


def message_line(text: str) -> str:
    """A message of ours as output: one line with our name before it."""
    return f"process-wrapper: {text.rstrip()}\n"


def _taken_away(prepared: _Prepared, job: Job) -> bool:
    """True when a joined compiler wrote in place and the host has removed that since.

    Build tools delete an action's outputs before they ask for it; a compiler without a private directory may have written
    the full half's outputs by then.
    """
    if job.run is prepared.run or job.run.plan.places or job.outcome.exit_code:
        return False
    return not all(os.path.exists(posixpath.join(prepared.root, path)) for path in prepared.job.wanted)  # noqa: PTH110 - hot path


def _text_at_end(prepared: _Prepared, job: Job, outcome: Outcome) -> str:
    before, after = job.early_text or "", job.text
    if outcome.message:
        after += message_line(outcome.message)
    if outcome.exit_code == 0:
        # The two halves together are the text of the whole job; each half has its own part once.
        if prepared.want is Want.EARLY:
            return before
        if prepared.want is Want.FULL:
            return after
    return before + after


def _name(prepared: _Prepared) -> str:
    named = (*prepared.job.early_outputs, *prepared.job.outputs)
    return posixpath.basename(named[0]) if named else posixpath.basename(prepared.job.command[0])


def _dependents_used(job: JobOptions, request: WorkRequest) -> tuple[str, ...]:
    """The early outputs that the host lists among a full request's inputs: dependents may have been built with them."""
    if job.phase is not Phase.FULL:
        return ()
    inputs = {posixpath.normpath(item.path) for item in request.inputs} | set(
        map(posixpath.normpath, job.inputs)
    )
    return tuple(path for path in job.early_outputs if posixpath.normpath(path) in inputs)


def _files_among(command: tuple[str, ...], root: str) -> list[str]:
    """The words of a command that name files: what can be known when nobody declares anything."""
    return [word for word in command[1:] if os.path.isfile(os.path.join(root, word))]  # noqa: PTH113, PTH118 - hot path
