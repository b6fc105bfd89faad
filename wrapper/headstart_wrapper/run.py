"""One job from start to end as a stream of events: plan, prepare, supervise, check.

The same code runs a job standalone and in the worker, so the two cannot drift apart. A pipelined job's compiler
writes to a private directory (the *stage*), because the compiler reopens what it wrote and the host moves or
replaces what it was given; `publish` brings outputs to their declared places. Not here: who asked, and who waits.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial

from headstart_wrapper import dialects, oom, outputs, redirection
from headstart_wrapper.changed_params import ChangedParams
from headstart_wrapper.dialects import EarlySignal, Plan
from headstart_wrapper.dialects.base import place
from headstart_wrapper.errors import InterfaceChangedError, RequestError
from headstart_wrapper.hints import TYPE_CHECKING, final
from headstart_wrapper.interfaces import Interfaces
from headstart_wrapper.job import Job, Outcome, Usage
from headstart_wrapper.process_group import Spawner
from headstart_wrapper.records import Record, evolve
from headstart_wrapper.streams import EarlyComplete, Launch, Text
from headstart_wrapper.supervise import Exited, Started, Supervisor

if TYPE_CHECKING:
    from headstart_wrapper.lost_inputs import Witness
    from headstart_wrapper.sandbox.held import Held
    from headstart_wrapper.terminal import JobControl


class Early(Record):
    """The early outputs are complete and may be published. Attributes: seconds since the job's start."""

    seconds: float


class Ended(Record):
    """The job is over, its processes are gone. Attributes: how it ended."""

    outcome: Outcome


RunEvent = Started | Text | Early | Ended


@final
class Run:
    """One run of one job.

    Attributes:
        job: what is run.
        dialect: what is known of its compiler.
        plan: what the dialect makes of the command.
        environment: all variables of the command.
        dependents_used: early outputs that dependents were built with already.
    """

    def __init__(
        self,
        job: Job,
        *,
        cwd: str,
        env: Mapping[str, str],
        spawner: Spawner,
        capture: bool,
        stage: str | None = None,
        private: str = "",
        dependents_used: Sequence[str] = (),
        control: JobControl | None = None,
        given: str | None = None,
        stands_for: str | None = None,
        inputs: Sequence[str] = (),
        tools_store: str = "",
    ) -> None:
        """Plans the job; nothing is started or touched yet.

        Args:
            job: as requested, command and variables complete (`job_files`).
            cwd: the absolute directory in which the command runs.
            env: the environment that the job's own variables are set on top of.
            spawner: starts the compiler.
            capture: take stdout and stderr as events instead of passing them through.
            stage: an empty directory of the caller's for a pipelined job's outputs. A job without a phase that gets one is
                run whole, and tells its early outputs.
            private: a directory for the job's changed params files, if it has any; made for them and removed after them.
            dependents_used: early outputs, among the declared ones, that dependents were built with already: what
                this run makes must agree with them.
            control: this process's signals and terminal, which are the job's.
            given: the directory in which the request's files are now, when the command is to run in another one; what it
                writes in that one is published too.
            inputs: what the host says that the job reads, beside the job's own declaration; relative to `cwd`.
            tools_store: a directory that keeps what is known of tools for the next process; "": nobody keeps it.
            stands_for: the directory that the command would have run in; its name, and not `cwd`, is in texts then.

        Raises:
            RequestError: the command cannot be what the request says it is.
        """
        if job.quit_on_rmeta:
            job = evolve(job, stop_after_early=True)
        self.job = job
        self._cwd = cwd
        self._given = given or cwd
        self._inputs = tuple(inputs)
        self._witness: Witness | None = None
        self._params = ChangedParams(job, private)
        self.environment = {**env, **dict(job.env)}
        self._pipelined = job.phase is not None or stage is not None
        self.dependents_used = tuple(dependents_used)
        self._early_seconds: float | None = None
        self._stopped_early = False
        self._is_unwanted = False
        self._kills_before: int | None = None
        self.dialect = dialects.find(job.dialect, job.command)
        self.plan = self.dialect.plan(
            self._params.command,
            early_outputs=job.early_outputs,
            pipelined=self._pipelined,
            stage=stage,
            read=self._response_file,
            directory=cwd,
            verbatim=job.rustc_output_format is not None,
            stands_for=stands_for,
        )
        if job.rustc_output_format or job.quit_on_rmeta:
            from headstart_wrapper.dialects.rustc_output import heard  # noqa: PLC0415 - json and re, for jobs that ask for them

            self.plan = heard(self.plan, job.rustc_output_format, job.early_outputs)
        self._interfaces = Interfaces(
            job, self.plan, cwd, used=self.dependents_used, pipelined=self._pipelined
        )
        self._texts = {place(output, cwd) for output in self.plan.text_outputs}
        self._held = self._check(inputs, stage, f"{private}-own", tools_store)
        self._spawner, self._control = spawner, control
        self._launch = Launch(
            command=self._held.command if self._held else self.plan.command,
            cwd=cwd,
            env=self._held.environment if self._held else self.environment,
            capture=capture,
            stderr=self.plan.stderr() if self.plan.stderr else None,
            early_signal=self._early_signal(),
            early_outputs=tuple(place(path, cwd) for path in job.early_outputs),
            timeout=job.timeout,
            kill_delay=job.kill_delay,
            files=_files(job, cwd),
            quits=job.stop_after_early,
            confinement=self._held.confinement if self._held else None,
        )
        self._supervisor = Supervisor(self._launch, spawner, control)

    def _check(self, inputs: Sequence[str], stage: str | None, private: str, tools_store: str) -> Held | None:
        """What the run is held to: what its job asks for, or an audit of what a host declares."""
        if not (self.job.is_checked or (inputs and self.job.check is None)):
            return None
        from headstart_wrapper.sandbox.declared import declare  # noqa: PLC0415 - for jobs that are checked
        from headstart_wrapper.sandbox.held import Held  # noqa: PLC0415 - likewise

        directories = (*self.plan.directories, *((stage,) if stage else ()))
        declared = declare(
            self.job,
            self.plan,
            inputs,
            self.place,
            given=self._given,
            directory=self._cwd,
            private=directories,
            environment=self.environment,
        )
        return Held(
            self.job,
            declared,
            self.plan.command,
            self.environment,
            private=private,
            tools_store=tools_store,
            made=partial(
                _made, self.plan, self._cwd
            ),  # no method of ours: a ring of objects lives until it is looked for
        )

    def _response_file(self, path: str) -> str:
        changed = self._params.texts.get(path)
        if changed is not None:
            return changed
        with open(posixpath.join(self._given, path), "rb") as file:  # noqa: PTH123 - hot path
            return file.read().decode("utf-8")

    def _early_signal(self) -> EarlySignal:
        signal_ = self.plan.early_signal if self._pipelined else EarlySignal.NONE
        return EarlySignal.LINES if self.job.quit_on_rmeta and signal_ is EarlySignal.NONE else signal_

    def explanation(self) -> Iterator[str]:
        """Why this run is what it is, a sentence each."""
        found = "as --dialect says" if self.job.dialect else "found from the command"
        yield f"dialect {self.dialect.name}: {found}"
        if not self._pipelined:
            yield "no --phase: the whole job, not pipelined"
        elif self.plan.early_signal is EarlySignal.NONE:
            yield (
                self.plan.note
                or "the command has no early outputs that can be told complete: answered when it ends"
            )
        else:
            yield f"early outputs are told complete by the compiler's {self.plan.early_signal.name.lower()}"
        if self.plan.places:
            yield "outputs go to a private directory and are published by rename"
        if self.plan.command != self.job.command:
            yield f"the command runs as: {' '.join(self.plan.command)}"

    @property
    def is_plain(self) -> bool:
        """The command runs as it is, and its output passes through as it comes."""
        return self.plan.command == self.job.command and self.plan.stderr is None

    def stop(self, *, kill: bool = False) -> None:
        """Asks for the end of the job, from any thread: TERM and KILL after the grace, or KILL at once."""
        self._is_unwanted = True
        self._supervisor.stop(kill=kill)

    def forward(self, number: int) -> None:
        """Sends a signal to the job's group, from any thread."""
        self._supervisor.forward(number)

    def events(self) -> Generator[RunEvent, None, None]:
        """Runs the job; the last event is `Ended`.

        Raises:
            HeadstartError: the job could not be started.
        """
        self._prepare()
        self._kills_before = oom.kills()
        # Closed here: an exception would hold the supervisor, and the processes that it ends when it is closed.
        held = self._held.prepared() if self._held else contextlib.nullcontext()
        with self._params.written(), held, contextlib.closing(self._supervisor.events()) as events:
            for event in events:
                match event:
                    case EarlyComplete():
                        early = self._early()
                        if early is not None:
                            yield early
                        if early is not None and self.job.stop_after_early:
                            self._stopped_early = True
                            self.stop(kill=True)
                    case Exited():
                        yield Ended(self._outcome(event))
                    case _:
                        yield event

    def place(self, output: str) -> str:
        """Where the command writes a declared output."""
        return self.plan.written(output, self._cwd)

    @property
    def publishes(self) -> bool:
        """What the command writes has to be brought to its declared place."""
        return bool(self.plan.places) or self.is_moved

    @property
    def is_moved(self) -> bool:
        """The command runs in another directory than the one that the request's files are in."""
        return self._given != self._cwd

    def has_lost_inputs(self) -> bool:
        """The host has given the directory to another action after the early answer: an input is not there any more, or again."""
        return self._witness is not None and self._witness.misses_any()

    def look_around(self) -> None:
        """Takes in what is in the request's directory and counts later; done by `events` if it was not before.

        Raises:
            InterfaceChangedError: an early output that dependents were built with is none.
        """
        self._interfaces.look_around(self._given)
        if self.job.phase is not None and not self.is_moved:
            from headstart_wrapper.lost_inputs import Witness  # noqa: PLC0415 - for pipelined jobs

            self._witness = Witness(
                posixpath.join(self._cwd, path) for path in dict.fromkeys((*self._inputs, *self.job.inputs))
            )

    def _prepare(self) -> None:
        self.look_around()
        for directory in self.plan.directories:
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - hot path
        outputs.prepare(self.place(output) for output in (*self._interfaces.own(), *self.job.outputs))

    def _early(self) -> Early | None:
        if not self._interfaces.tell():
            return None
        self._early_seconds = self._supervisor.seconds
        return Early(self._early_seconds)

    def _outcome(self, exited: Exited) -> Outcome:
        outcome = self._ended(exited)
        if self._held:
            outcome = self._held.labelled(outcome)
        if outcome.stopped_early:
            return outcome
        if exited.stopped or exited.timed_out or outcome.signal is not None:
            self.discard()
        elif outcome.exit_code == 0:
            try:
                self._interfaces.check()
            except (InterfaceChangedError, RequestError) as error:
                return outcome.spoiled(error.exit_code, str(error))
            return self._held.audited(outcome) if self._held else outcome
        elif self._held:
            return self._explained(self._held, outcome)
        return outcome

    def _explained(self, held: Held, outcome: Outcome) -> Outcome:
        """What a run that failed was refused: it is run once more, in the same sandbox, and watched."""
        if held.again is None:
            return held.unexplained(outcome)
        for confinement in held.agains:
            again = evolve(
                self._launch,
                command=held.again,
                capture=True,
                stderr=None,
                early_signal=EarlySignal.NONE,
                files=None,
                quits=False,
                confinement=confinement,
            )
            self._supervisor = Supervisor(again, self._spawner, self._control)
            # Looked at after the supervisor is known: whoever wants the end from now on tells this one.
            if (
                not self._is_unwanted
                and self._was_watched()
                and (told := held.explained(outcome)) is not None
            ):
                return told
        return outcome

    def _was_watched(self) -> bool:
        """Runs to its end what is to be watched; False when somebody wanted it to end before."""
        for _ in self._supervisor.events():
            pass
        return not self._is_unwanted

    def _ended(self, exited: Exited) -> Outcome:
        code = os.waitstatus_to_exitcode(exited.status)
        usage = exited.usage
        early = self._early_seconds
        if self._stopped_early:
            return Outcome(exit_code=0, stopped_early=True, usage=usage, early=early)
        died_of = -code if code < 0 else None
        if exited.timed_out:
            message = f"the job was ended after {self.job.timeout:g} s; raise --timeout if it needs longer"
            return Outcome(
                exit_code=124, signal=died_of, timed_out=True, message=message, usage=usage, early=early
            )
        said = []
        if died_of is not None and not exited.stopped:
            said.append(f"{posixpath.basename(self.job.command[0])} was killed by {_signal_name(died_of)}")
        if code and not exited.stopped:
            said += self._lack_of_memory(usage)
        return Outcome(
            exit_code=code if died_of is None else 128 + died_of,
            signal=died_of,
            cancelled=exited.stopped,
            message="; ".join(said),
            usage=usage,
            early=early,
        )

    def _lack_of_memory(self, usage: Usage) -> Iterator[str]:
        """What is known of it when the job failed: a fact about the machine, and the job's peak to judge it by."""
        kills = oom.kills()
        if kills is None or self._kills_before is None or kills == self._kills_before:
            return
        yield (
            "the kernel killed a process of this machine for lack of memory while this job ran, whose memory peak was "
            f"{usage.peak_memory >> 20} MiB; run fewer jobs at once (--jobs), or only as many as fit (--memory)"
        )

    def publish(self, declared: Sequence[str], *, root: str) -> None:
        """Brings staged outputs to their declared places.

        Args:
            declared: early outputs or outputs, as requested.
            root: the directory that relative ones are relative to.

        Raises:
            RequestError: the command did not write one of them, or its place cannot be written.
        """
        for output in declared:
            private, target = self.place(output), posixpath.join(root, output)
            if private == target:
                continue
            rewrite = self.plan.restore if place(output, self._cwd) in self._texts else None
            # A host does what it likes with its sandbox, and of early outputs our own copy is needed later.
            shared = self.plan.links_safely and not (self.is_moved and output in self.job.early_outputs)
            try:
                outputs.publish(private, target, link=shared, rewrite=rewrite)
            except FileNotFoundError as error:
                raise RequestError(
                    f"the command succeeded but did not write its declared output {output}; "
                    "declare what it writes, or change its command"
                ) from error
            except OSError as error:
                raise RequestError(f"the output {output} cannot be written: {error.strerror}") from error

    def discard(self) -> None:
        """Removes outputs of a job that was ended by force, which may be half-written.

        Early outputs that were told complete stay: they are whole, and the host has them (I8).
        """
        early = () if self._interfaces.are_told else self._interfaces.own()
        outputs.discard(self.place(output) for output in (*early, *self.job.outputs))


def _made(plan: Plan, cwd: str) -> Iterator[tuple[str, str]]:
    """Everything in private places: (as the command names it, where it is)."""
    return ((name, plan.written(name, cwd)) for name in outputs.written(plan.places))


def _files(job: Job, cwd: str) -> Callable[[], dict[int, int]] | None:
    """What opens the files in the place of the job's streams."""
    if not (job.stdout or job.stderr or job.raw_stderr):
        return None
    return lambda: redirection.opened(job, cwd=cwd)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
