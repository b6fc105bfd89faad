"""What one job is, and what became of it: data only.

A `Job` is what the options say; how a compiler is understood is a dialect's plan, how it is run is `run`.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import evolve, field, frozen

DEFAULT_KILL_DELAY = 0.5
"""Seconds between TERM and KILL: long enough for a compiler to remove its temporary files, short for a person."""


class Phase(StrEnum):
    """Which half of a pipelined job a request wants."""

    EARLY = "early"
    FULL = "full"


class Sandbox(StrEnum):
    """How strictly a job's reads and writes are held to what it declared."""

    OFF = "off"
    AUDIT = "audit"
    ENFORCE = "enforce"
    STRICT = "strict"


@frozen(kw_only=True)
class Job:
    """One compiler run, as the request's options describe it.

    Attributes:
        command: the compiler and its arguments, verbatim.
        env: variables set on top of the inherited environment.
        substitutions: what `${KEY}` becomes in the command and in `env`; the value `${pwd}` is the
            job's working directory.
        dialect: name of what we know of the compiler; None: found from the command.
        phase: the half that is wanted; None: the whole job, not pipelined.
        early_outputs: declared early outputs, relative to the working directory or absolute.
        outputs: every other declared output.
        inputs: declared inputs, where no host gives a list.
        timeout: seconds until TERM; None: never.
        kill_delay: seconds between TERM and KILL.
        stats: file for the job's usage, JSON.
        stop_after_early: kill the compiler when its early outputs are complete.
        explain: say on stderr why each decision was taken.
    """

    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    substitutions: tuple[tuple[str, str], ...] = ()
    dialect: str | None = None
    phase: Phase | None = None
    early_outputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    timeout: float | None = None
    kill_delay: float = DEFAULT_KILL_DELAY
    stats: str | None = None
    stop_after_early: bool = False
    explain: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        """The outputs that this half of the job is asked for."""
        return self.early_outputs if self.phase is Phase.EARLY else self.outputs

    def substituted(self, cwd: str) -> Job:
        """The same job with every `${KEY}` replaced; the magic value `${pwd}` stands for `cwd`."""
        if not self.substitutions:
            return self
        values = [(f"${{{key}}}", cwd if value == "${pwd}" else value) for key, value in self.substitutions]

        def replace(text: str) -> str:
            for key, value in values:
                text = text.replace(key, value)
            return text

        return evolve(
            self,
            command=tuple(map(replace, self.command)),
            env=tuple((name, replace(value)) for name, value in self.env),
            substitutions=(),
        )


@frozen(kw_only=True)
class Usage:
    """What a job's leader and the children that it waited for used.

    Attributes:
        user, system: CPU seconds.
        wall: seconds from before the spawn until the leader's exit was seen.
        peak_memory: bytes, largest resident set of any one process. True because the spawner is
            small: a child's figure starts from its parent's resident set (measured).
        spawn: seconds that starting took.
    """

    user: float = 0.0
    system: float = 0.0
    wall: float = 0.0
    peak_memory: int = 0
    spawn: float = 0.0


@frozen(kw_only=True)
class Outcome:
    """How a job ended.

    Attributes:
        exit_code: the interface's exit code (the command's own, 124, 128+n ...).
        signal: the signal that killed the leader, or None.
        cancelled: somebody asked for the end before the job was done.
        timed_out: its time was over.
        stopped_early: killed on purpose when its early outputs were complete.
        early: seconds from the start until the early outputs were complete; None: they never were apart.
        message: one sentence of ours about the end, or "".
    """

    exit_code: int
    signal: int | None = None
    cancelled: bool = False
    timed_out: bool = False
    stopped_early: bool = False
    early: float | None = None
    message: str = ""
    usage: Usage = field(factory=Usage)
