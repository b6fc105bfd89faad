"""From a request to what is to be run for it.

Arguments are expanded and parsed, the directory is found, the command planned, the inputs identified, the outputs given
their one spelling. It only reads, and every request on its own: what other requests want, and what becomes of this one,
is not known here (`requests`).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

from attrs import evolve, frozen

from headstart_worker.digests import Digests, compiler_identity
from headstart_worker.identity import Identity
from headstart_worker.ledger import Claim
from headstart_worker.messages import Input, WorkRequest
from headstart_worker.notes import Notes
from headstart_worker.pipeline_states import Want
from headstart_worker.roots import Roots
from headstart_wrapper import dialects, encoding, params_files
from headstart_wrapper import options as grammar
from headstart_wrapper.dialects.base import place
from headstart_wrapper.errors import RequestError
from headstart_wrapper.executables import find_executable
from headstart_wrapper.fingerprint import relevant_inputs
from headstart_wrapper.job import Job, Phase
from headstart_wrapper.job_files import settled
from headstart_wrapper.options import Options
from headstart_wrapper.process_group import Spawner
from headstart_wrapper.run import Run
from headstart_wrapper.surroundings import Surroundings, files_among


@frozen
class Prepared:
    """A request of which everything is known but who else wants the same.

    Attributes:
        job: its options and its command.
        run: the run to start if there is none to join.
        notes: what is told about it.
        stage: the run's private directory.
        root: where its paths begin: what it declares is given and published there.
        private_root: the directory in which it runs instead, and what is to be in there; None: it runs in `root`.
        want: the half that it wants.
        fingerprint: equal for requests that may join; None: it joins nothing.
        identity: what that is made of.
        because: why a request for a half joins nothing, and nothing joins it; "": it may be joined.
        reads: what the host says that it reads, or its own declaration.
        outputs: every path that it declares, in one spelling.
        holds_early: its early half is answered at the end only.
        home: `root` is taken away with its answer.
    """

    job: Job
    run: Run
    notes: Notes
    stage: Path
    root: str
    private_root: tuple[str, tuple[Input, ...]] | None
    want: Want
    fingerprint: str | None
    outputs: frozenset[str]
    holds_early: bool
    home: bool
    reads: tuple[Input, ...]
    identity: Identity | None
    because: str

    def alone(self, because: str) -> Prepared:
        """The same, joining nothing and joined by nobody."""
        return evolve(self, want=Want.ALONE, fingerprint=None, identity=None, because=because)


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
        roots: Roots,
    ) -> None:
        self._options = options
        self._cwd = cwd
        self._env = env
        self._spawner = spawner
        self._state = state
        self._roots = roots
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
        cwd = self._private_root(job, request) or root
        files = Surroundings(root, runs_in=cwd)
        run = Run(
            settled(job, self._env, files),
            cwd=cwd,
            env=self._env,
            spawner=self._spawner,
            capture=True,
            stage=str(stage) if job.phase or job.is_checked or cwd != root else None,
            private=f"{stage}-params",
            dependents_used=_dependents_used(job, request, root),
            given=root,
            stands_for=None if cwd == root else self._cwd,
            inputs=tuple(item.path for item in request.inputs),
        )
        if job.explain or notes.verbose:
            for note in run.explanation():
                notes.say(note)
        want, identity, because = self._identify(job, run, request, files)
        # Whoever has a private root shares it with every job of these outputs, whatever sandbox they come from.
        known_by = root if cwd == root else self._cwd
        return Prepared(
            job=job,
            run=run,
            notes=notes,
            stage=stage,
            root=root,
            private_root=None if cwd == root else (cwd, self._seen(run, request)),
            want=want,
            fingerprint=None if identity is None else identity.fingerprint,
            outputs=frozenset(
                _identity(posixpath.join(known_by, path)) for path in (*job.early_outputs, *job.outputs)
            ),
            # Singleplex hosts wait for silence after an answer, and a sandbox is taken back with it.
            holds_early=request.request_id == 0 or (bool(request.sandbox_dir) and cwd == root),
            home=bool(request.sandbox_dir),
            reads=tuple(request.inputs) or tuple(Input(path, b"") for path in job.inputs),
            identity=identity,
            because=because,
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

    def _private_root(self, job: Job, request: WorkRequest) -> str | None:
        """The directory in which a sandboxed job is to run, if not in its sandbox.

        One that outlives an answer must not be in there (I8). Of a compiler whose outputs can be moved nothing that it makes may tell
        in which sandbox it was (I6). Where the host does not say what is in the sandbox, nothing else can stand for it.
        """
        declared = job.early_outputs or job.outputs
        if not (request.sandbox_dir and request.inputs and declared):
            return None
        if job.phase is None and not dialects.find(job.dialect, job.command).stages:
            return None
        return self._roots.path("\0".join(sorted(declared)))

    def _seen(self, run: Run, request: WorkRequest) -> tuple[Input, ...]:
        """What the job is to find in its private root: the inputs that count for its fingerprint."""
        declared = (*request.inputs, *(Input(path, b"") for path in run.job.inputs))
        kept = self._relevant(run, declared, run.job.early_outputs)
        return tuple(item for item in declared if item.path in kept)

    def _relevant(self, run: Run, declared: Iterable[Input], own: Sequence[str]) -> set[str]:
        return set(
            relevant_inputs(
                (item.path for item in declared),
                declared=(*run.job.early_outputs, *run.job.outputs),
                early_outputs=own,
                worker_files=self._options.worker_files,
                command=run.job.command,
            )
        )

    def _identify(
        self, job: Job, run: Run, request: WorkRequest, files: Surroundings
    ) -> tuple[Want, Identity | None, str]:
        if job.phase is None:
            return Want.ALONE, None, ""
        if run.job.stop_after_early:
            return Want.ALONE, None, "its compiler is to end with its early outputs"
        if request.sandbox_dir and not run.publishes:
            return (
                Want.ALONE,
                None,
                "what its compiler writes is taken away with its sandbox: there is nothing to join",
            )
        return Want(job.phase.value), self._job_identity(job, run, request, files), ""

    def _job_identity(self, job: Job, run: Run, request: WorkRequest, files: Surroundings) -> Identity:
        root = files.cwd
        declared = request.inputs or tuple(Input(path, b"") for path in job.inputs)
        own = job.early_outputs
        if not declared:
            declared = tuple(Input(path, b"") for path in run.plan.inputs or files_among(job.command, root))
            own = (*own, *job.outputs)  # which the command names too; they come and go between the halves
        kept = self._relevant(run, declared, own)
        executable = find_executable(
            run.job.command[0], cwd=root, path={**self._env, **dict(run.job.env)}.get("PATH")
        )
        # Substituted values count, the place of the directory does not; no command can hold what stands for it.
        named = settled(job, self._env, files, named=lambda magic: f"\0{magic[2:-1]}")
        params = (
            (f"\0{named.command[index]}", text.encode(errors="surrogateescape"))
            for index, text in named.params
        )
        return Identity(
            compiler=compiler_identity(executable),
            command=named.command,
            env=named.env,
            early_outputs=job.early_outputs,
            dialect=run.dialect.name,
            held=(job.check or "", *job.sandbox_allow, "a private root" if run.is_moved else ""),
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
