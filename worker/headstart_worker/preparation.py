"""From a request to what is to be run for it.

Arguments are expanded and parsed, the directory is found, the command planned, the inputs identified, the outputs given
their one spelling. It only reads, and every request on its own: what other requests want, and what becomes of this one,
is not known here (`requests`).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import final

from attrs import evolve, frozen

from headstart_worker.digests import Digests, compiler_identity
from headstart_worker.ledger import Claim
from headstart_worker.messages import Input, WorkRequest
from headstart_worker.notes import Notes
from headstart_worker.pipeline_states import Want
from headstart_wrapper import encoding, params_files
from headstart_wrapper import options as grammar
from headstart_wrapper.dialects.base import place
from headstart_wrapper.errors import RequestError
from headstart_wrapper.executables import find_executable
from headstart_wrapper.fingerprint import fingerprint, relevant_inputs
from headstart_wrapper.job import Job, Phase
from headstart_wrapper.job_files import settled
from headstart_wrapper.options import Options
from headstart_wrapper.process_group import Spawner
from headstart_wrapper.run import Run
from headstart_wrapper.surroundings import Surroundings
from headstart_wrapper.text import message_line


@frozen
class Prepared:
    """A request of which everything is known but who else wants the same.

    Attributes:
        job: its options and its command.
        run: the run to start if there is none to join.
        notes: what is told about it.
        stage: the run's private directory.
        root: where it runs, and where its paths begin.
        want: the half that it wants.
        fingerprint: equal for requests that may join; None: it joins nothing.
        outputs: every path that it declares, in one spelling.
        holds_early: its early half is answered at the end only.
        home: `root` is taken away with its answer.
        warning: what has to be said before anything else, as output.
    """

    job: Job
    run: Run
    notes: Notes
    stage: Path
    root: str
    want: Want
    fingerprint: str | None
    outputs: frozenset[str]
    holds_early: bool
    home: bool
    warning: str

    def alone(self) -> Prepared:
        """The same, joining nothing and joined by nobody."""
        return evolve(self, want=Want.ALONE, fingerprint=None)


@final
class Preparation:
    """Prepares requests; knows the worker's start-up options and environment."""

    def __init__(
        self,
        *,
        options: Options,
        cwd: str,
        env: Mapping[str, str],
        spawner: Spawner,
        state: Path,
    ) -> None:
        self._options = options
        self._cwd = cwd
        self._env = env
        self._spawner = spawner
        self._state = state
        self._digests = Digests()

    def prepare(self, request: WorkRequest, claim: Claim, notes: Notes) -> Prepared:
        """Reads what has to be read for it, which takes its time: for a thread.

        Args:
            request: as it was read.
            claim: the right to answer it; names its private directory.
            notes: where to explain it.

        Raises:
            HeadstartError: it cannot be run.
        """
        root = self._directory(request)
        options = grammar.parse(
            params_files.expand(
                request.arguments,
                lambda path: Path(root, path).read_bytes().decode("utf-8"),
                arity=grammar.arity,
            ),
            base=self._options,
            request=True,
        )
        if encoding.is_misread(options.encoding_check):
            inputs = (evolve(item, path=encoding.read_back(item.path)) for item in request.inputs)
            request = evolve(request, inputs=tuple(inputs))
        job = grammar.check(options)
        stage = self._state / str(claim)
        files = Surroundings(root)
        run = Run(
            settled(job, self._env, files),
            cwd=root,
            env=self._env,
            spawner=self._spawner,
            capture=True,
            stage=str(stage) if job.phase else None,
            private=f"{stage}-params",
            dependents_used=_dependents_used(job, request, root),
        )
        if job.explain or notes.verbose:
            for note in run.explanation():
                notes.say(note)
        want, name = self._identify(job, run, request, files)
        return Prepared(
            job=job,
            run=run,
            notes=notes,
            stage=stage,
            root=root,
            want=want,
            fingerprint=name,
            outputs=frozenset(
                _identity(posixpath.join(root, path)) for path in (*job.early_outputs, *job.outputs)
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
        self, job: Job, run: Run, request: WorkRequest, files: Surroundings
    ) -> tuple[Want, str | None]:
        if job.phase is None or run.job.stop_after_early:
            return Want.ALONE, None
        if request.sandbox_dir and not run.plan.places:
            # What the command wrote in its place is taken away with this sandbox: there is nothing to join.
            return Want.ALONE, None
        return Want(job.phase.value), self._fingerprint(job, run, request, files)

    def _fingerprint(self, job: Job, run: Run, request: WorkRequest, files: Surroundings) -> str:
        root = files.cwd
        outputs = (*job.early_outputs, *job.outputs)
        declared = request.inputs or tuple(Input(path, b"") for path in job.inputs)
        own = job.early_outputs
        if not declared:
            declared = tuple(Input(path, b"") for path in run.plan.inputs or _files_among(job.command, root))
            own = outputs  # which the command names too; they come and go between the halves
        kept = set(
            relevant_inputs(
                (item.path for item in declared),
                declared=outputs,
                early_outputs=own,
                worker_files=self._options.worker_files,
                command=run.job.command,
            )
        )
        executable = find_executable(
            run.job.command[0], cwd=root, path={**self._env, **dict(run.job.env)}.get("PATH")
        )
        # Substituted values count, the place of the directory does not; no command can hold what stands for it.
        named = settled(job, self._env, files, named=lambda magic: f"\0{magic[2:-1]}")
        params = (
            (f"\0{named.command[index]}", text.encode(errors="surrogateescape"))
            for index, text in named.params
        )
        return fingerprint(
            compiler=compiler_identity(executable),
            command=named.command,
            env=named.env,
            early_outputs=job.early_outputs,
            dialect=run.dialect.name,
            inputs=(
                *self._digests.of_inputs((item for item in declared if item.path in kept), cwd=root),
                *params,
            ),
        )


def _identity(output: str) -> str:
    """An output's one spelling: two names of its directory are one place, and a link in its own place is replaced."""
    directory, name = posixpath.split(output.rstrip("/"))
    return posixpath.join(os.path.realpath(directory), name)


def _dependents_used(job: Job, request: WorkRequest, root: str) -> tuple[str, ...]:
    """The early outputs that the host lists among a full request's inputs: dependents may have been built with them."""
    if job.phase is not Phase.FULL:
        return ()
    inputs = {place(path, root) for path in (*(item.path for item in request.inputs), *job.inputs)}
    return tuple(path for path in job.early_outputs if place(path, root) in inputs)


def _files_among(command: tuple[str, ...], root: str) -> list[str]:
    """The words of a command that name files: what can be known when nobody declares anything."""
    return [word for word in command[1:] if os.path.isfile(os.path.join(root, word))]  # noqa: PTH113, PTH118 - hot path
