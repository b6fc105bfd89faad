"""One run under a check: what it is given before it starts, and what is looked at when it has ended.

The parts are elsewhere: what it gets of what it asked for (`policy`), what it may do (`rules`), what its outputs tell (`audit`), what it
really did (`tracer`). Here they are one thing for `run`.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

from headstart_wrapper import executables
from headstart_wrapper.errors import MachineError, RequestError
from headstart_wrapper.hints import TYPE_CHECKING, Final, final
from headstart_wrapper.job import Job, Outcome, Phase, Sandbox
from headstart_wrapper.records import evolve
from headstart_wrapper.sandbox import audit, observed, policy, probe, rules, system, tracer, verdict, view
from headstart_wrapper.sandbox.closure import Closure
from headstart_wrapper.sandbox.confinement import Confinement, confined
from headstart_wrapper.sandbox.declared import Declared
from headstart_wrapper.sandbox.room import Room
from headstart_wrapper.sandbox.toolchain import Tools, tools
from headstart_wrapper.sandbox.verdict import Finding

if TYPE_CHECKING:
    from headstart_wrapper.sandbox.accesses import Observed
    from headstart_wrapper.sandbox.landlock import Rules
    from headstart_wrapper.sandbox.mounts import View

_HOLDING: Final = frozenset({Sandbox.ENFORCE, Sandbox.STRICT})


@final
class Held:
    """What one run is held to.

    Attributes:
        assurance: what it gets of what it asked for.
        environment: all variables of the command.
        command: what is executed.
    """

    def __init__(
        self,
        job: Job,
        declared: Declared,
        command: tuple[str, ...],
        env: Mapping[str, str],
        *,
        private: str,
        tools_store: str,
        made: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        """Decides, and touches nothing yet.

        Args:
            job: its options.
            declared: what it declares.
            command: what is to be executed.
            env: the whole environment that it would have.
            private: a directory that does not exist, for what it needs of its own.
            tools_store: see `Run`.
            made: everything that the command wrote into private places: (as it names it, where it is).

        Raises:
            MachineError: what was asked for cannot be had, and less is not wanted.
        """
        self._job = job
        self._private = private
        self._tools_store = tools_store
        self._made = made
        self._declared = evolve(declared, writable=(*declared.writable, private))
        asked = job.check or Sandbox.AUDIT
        self.assurance = policy.decide(asked, probe.available(asked), unavailable=job.sandbox_unavailable)
        self.environment = dict(env)
        self.command = self._given = command
        self._log = posixpath.join(private, "trace")
        self._tools: Tools | None = None
        self._room = Room(place for _, place in declared.outputs)
        if self._holds:
            self.environment = system.environment(env, declared.env) | {"TMPDIR": private}
        elif job.trace_files:
            self.command = self._traced_command()

    @property
    def _holds(self) -> bool:
        return self.assurance.got in _HOLDING

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Its private directory is there, and is removed at the end.

        Raises:
            MachineError: it cannot be made.
        """
        if not (self._holds or self._job.trace_files):
            yield
            return
        try:
            os.makedirs(self._private, mode=0o700)  # noqa: PTH103 - without pathlib
        except OSError as error:
            raise MachineError(
                f"the job's private directory {self._private} cannot be made: {error.strerror}; choose another place with TMPDIR"
            ) from error
        try:
            yield
        finally:
            self._room.tidy()
            shutil.rmtree(self._private, ignore_errors=True)

    @contextlib.contextmanager
    def confinement(self) -> Generator[Confinement | None, None, None]:
        """What its leader is started with; made when it starts, because a rule is about the file that is there then (Landlock).

        Raises:
            MachineError: it cannot be made.
        """
        if not self._holds:
            yield None
            return
        with self._confined(self._own_tools(), strict=self.assurance.got is Sandbox.STRICT) as confinement:
            yield confinement

    def _confined(self, own: Tools, *, strict: bool) -> AbstractContextManager[Confinement]:
        allowed = rules.of(self._declared, own, self.environment, outputs=self._room.made())
        return confined(allowed, self._view(allowed, own) if strict else None)

    def _view(self, allowed: Rules, own: Tools) -> View:
        return view.plan(allowed, self._declared.directory, links=[place for place, _ in own.links])

    def _executable(self) -> str:
        return executables.find_executable(
            self._given[0], cwd=self._declared.directory, path=self.environment.get("PATH")
        )

    def _own_tools(self) -> Tools:
        if self._tools is None:
            self._tools = tools(
                self._executable(),
                self._given,
                env=self.environment,
                cwd=self._declared.directory,
                store=self._tools_store,
            )
        return self._tools

    def _traced_command(self) -> tuple[str, ...]:
        return tracer.traced(
            self._given, self._log, executable=self._executable(), cwd=self._declared.directory
        )

    @property
    def again(self) -> tuple[str, ...] | None:
        """The command whose refusals `explained` can tell, for a run that failed; None: nobody can."""
        if not self._holds or tracer.can_trace():
            return None
        return self._traced_command()

    @property
    def agains(self) -> tuple[Callable[[], AbstractContextManager[Confinement]], ...]:
        """Like `confinement`, for `again`, with strace inside too; to be tried until one is `explained`.

        What a view hides from a listing is never asked for, so that only a run without the view can name it.
        """
        with_view = partial(self._confined_again, strict=True)
        without = partial(self._confined_again, strict=False)
        return (with_view, without) if self.assurance.got is Sandbox.STRICT else (without,)

    def _confined_again(self, *, strict: bool) -> AbstractContextManager[Confinement]:
        own = self._own_tools()
        closure = Closure(env=self.environment, cwd=self._declared.directory)
        closure.program(self._traced_command()[0])
        strace = closure.tools()
        both = evolve(
            own,
            files=(*own.files, *strace.files),
            programs=(*own.programs, *strace.programs),
            links=(*own.links, *strace.links),
        )
        return self._confined(both, strict=strict)

    def explained(self, outcome: Outcome) -> Outcome | None:
        """The outcome of a run that failed, with what the run of `again` was refused; None when that is nothing."""
        try:
            refused = verdict.merged(tracer.explain(self._log, self._declared))
        except OSError:
            return None
        return self._told(outcome, refused) if refused else None

    def unexplained(self, outcome: Outcome) -> Outcome:
        """The outcome of a run that failed where nobody can tell what it was refused."""
        why = tracer.can_trace()
        remark = (
            f"if the sandbox refused it something, a trace could tell what; {why}"
            if self._holds and why
            else ""
        )
        return evolve(outcome, remarks=(*outcome.remarks, remark) if remark else outcome.remarks)

    def labelled(self, outcome: Outcome) -> Outcome:
        """The outcome, with what really held the run, and a warning when that is less than was asked for (I11)."""
        self._room.tidy()
        warning = self.assurance.warning
        return evolve(
            outcome,
            assurance=self.assurance.name,
            remarks=(*((warning,) if warning else ()), *outcome.remarks),
        )

    def audited(self, outcome: Outcome) -> Outcome:
        """The outcome of a run that went well, with what an audit finds.

        Who asked for it is told; who did not finds it in the statistics and in the worker's trace, and is never the worse for it: not for
        an audit that fails for a reason of our own either, which is told there (I11).
        """
        try:
            findings, notes = self._audit()
        except Exception as error:
            if self._job.is_checked:
                raise
            why = f"the audit could not be done, which is a bug: {type(error).__name__}: {error}"
            return evolve(outcome, assurance="", findings=(why,))
        told = self._told(outcome, findings)
        if not self._job.is_checked:
            return evolve(told, remarks=outcome.remarks)
        told = evolve(told, remarks=(*told.remarks, *notes))
        if findings and self._job.sandbox_audit == "error":
            things = "1 thing" if len(findings) == 1 else f"{len(findings)} things"
            return told.spoiled(
                RequestError.exit_code,
                f"the audit found {things}, and --sandbox-audit=error says that the job fails for it",
            )
        return told

    def _audit(self) -> tuple[list[Finding], list[str]]:
        declared = self._declared
        if self._job.phase is Phase.EARLY:
            # Its outputs are the other half's to declare, and are looked into here.
            declared = evolve(declared, outputs=tuple({*declared.outputs, *self._made()}))
        found = audit.audit(
            declared,
            private=declared.private,
            secret=() if self._holds else declared.secret,
            unused=self._job.sandbox_unused,
        )
        findings = list(found.findings)
        if self._job.trace_files:
            findings += self._traced()
        sums, findings = verdict.split(verdict.merged(findings))
        return findings, [*sums, *(f"audit: {note}" for note in found.notes)]

    def _traced(self) -> list[Finding]:
        try:
            seen: Observed = tracer.read(self._log, self._declared.directory)
        except OSError as error:
            raise MachineError(f"the trace of the job's files cannot be read: {error.strerror}") from error
        free = rules.free(self._own_tools(), self.environment)
        return observed.findings(seen, self._declared, free, unused=self._job.sandbox_unused)

    def _told(self, outcome: Outcome, findings: Sequence[Finding]) -> Outcome:
        name = next((name for name, _ in self._declared.outputs), posixpath.basename(self._given[0]))
        sentences = tuple(verdict.sentence(finding, name) for finding in findings)
        return evolve(
            outcome,
            findings=(*outcome.findings, *sentences),
            remarks=(*outcome.remarks, *sentences),
        )
