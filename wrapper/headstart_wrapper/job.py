"""What one job is, and what became of it: data only.

A `Job` is what the options say; how a compiler is understood is a dialect's plan, how it is run is `run`.
"""

from __future__ import annotations

from enum import StrEnum

from headstart_wrapper.records import Record, evolve

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


class Job(Record, kw_only=True):
    """One compiler run, as the request's options describe it.

    Attributes:
        command: the compiler and its arguments, verbatim.
        env: variables set on top of the inherited environment.
        substitutions: what `${KEY}` becomes in the command, its params files and its variables; see `job_files`.
        dialect: name of what we know of the compiler; None: found from the command.
        phase: the half that is wanted; None: the whole job, not pipelined.
        early_outputs: declared early outputs, relative to the working directory or absolute.
        outputs: every other declared output.
        inputs: declared inputs, where no host gives a list.
        timeout: seconds until TERM; None: never.
        kill_delay: seconds between TERM and KILL.
        graceful_sigterm: a TERM that is passed on is followed by KILL.
        stay: never become the compiler.
        stats: file for the job's usage, or a directory for one.
        stats_format: "json" or "bazel".
        stop_after_early: kill the compiler when its early outputs are complete.
        on_early: shell command to run when the early outputs are complete.
        early_fifo, early_fd: where to write a line with the early half's exit code.
        stdout, stderr: files that take the streams' place.
        raw_stderr: file for stderr as it came, before we make it readable.
        explain: say on stderr why each decision was taken.
        env_files, arg_files, stable_status_file, volatile_status_file, out_dir, explicit_features: what the command and its
            variables are made of besides; likewise.
        params: what came of it for params files among the command's words: (the word's index, the text that it is to stand
            for), for those that are not to be used as they are. No option says it.
        touched: file to make when the job succeeded.
        copies: (source, target) to copy when the job succeeded.
        quit_on_rmeta: kill rustc when it has told that its metadata is complete.
        rustc_output_format: what to show of rustc's JSON, "json" or "rendered"; None: the dialect decides.
        sandbox: what it is held to; None: nobody said.
        sandbox_unavailable: "fail" or "warn": what to do when that cannot be had.
        sandbox_audit: "report" or "error": what to do with what an audit finds.
        sandbox_allow: what it may read although nobody declares it.
        sandbox_unused: an audit tells what is declared and never read, too.
        trace_files: an audit looks at what is really opened.
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
    graceful_sigterm: bool = False
    stay: bool = False
    stats: str | None = None
    stats_format: str = "json"
    stop_after_early: bool = False
    on_early: str | None = None
    early_fifo: str | None = None
    early_fd: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    raw_stderr: str | None = None
    explain: bool = False
    env_files: tuple[str, ...] = ()
    arg_files: tuple[str, ...] = ()
    stable_status_file: str | None = None
    volatile_status_file: str | None = None
    out_dir: str | None = None
    explicit_features: bool = False
    params: tuple[tuple[int, str], ...] = ()
    touched: str | None = None
    copies: tuple[tuple[str, str], ...] = ()
    quit_on_rmeta: bool = False
    rustc_output_format: str | None = None
    sandbox: Sandbox | None = None
    sandbox_unavailable: str = "fail"
    sandbox_audit: str = "report"
    sandbox_allow: tuple[str, ...] = ()
    sandbox_unused: bool = False
    trace_files: bool = False

    @property
    def check(self) -> Sandbox | None:
        """What it is to be held to; None: nobody said anything about it."""
        if self.sandbox is None and (
            self.trace_files or self.sandbox_unused or self.sandbox_audit == "error"
        ):
            return Sandbox.AUDIT
        return self.sandbox

    @property
    def is_checked(self) -> bool:
        """Somebody asked for a check."""
        return self.check not in {None, Sandbox.OFF}

    @property
    def wanted(self) -> tuple[str, ...]:
        """The outputs that this half of the job is asked for."""
        return self.early_outputs if self.phase is Phase.EARLY else self.outputs

    @property
    def label(self) -> str:
        """For pictures: the name of the first output that it declares, or of its program."""
        named = (*self.early_outputs, *self.outputs, self.command[0])
        return named[0].rstrip("/").rpartition("/")[2]

    @property
    def is_settled(self) -> bool:
        """True when command and variables are complete; if not, `job_files` completes them."""
        return not any(getattr(self, name) for name in _SETTLED_BY)


_SETTLED_BY = (
    "substitutions",
    "env_files",
    "arg_files",
    "stable_status_file",
    "volatile_status_file",
    "out_dir",
    "explicit_features",
)


class Usage(Record):
    """What a job's leader and the children that it waited for used; what each figure counts is told to users in `stats`.

    Attributes:
        user, system: CPU seconds.
        peak_memory: bytes, largest resident set of any one process. True because the spawner is
            small: a child's figure starts from its parent's resident set (measured).
        minor_page_faults, major_page_faults: how many.
        voluntary_context_switches, involuntary_context_switches: how many.
        storage_read, storage_written: bytes, past the page cache and into it.
        wall: seconds from before the spawn until the leader's exit was seen.
        spawn: seconds that starting took.
        started_at: Unix time just before the spawn; None: nothing was started, or what it used is lost.
        gone: seconds from before the spawn until nothing of it was left.
    """

    user: float = 0.0
    system: float = 0.0
    peak_memory: int = 0
    minor_page_faults: int = 0
    major_page_faults: int = 0
    voluntary_context_switches: int = 0
    involuntary_context_switches: int = 0
    storage_read: int = 0
    storage_written: int = 0
    wall: float = 0.0
    spawn: float = 0.0
    started_at: float | None = None
    gone: float = 0.0


class Outcome(Record, kw_only=True):
    """How a job ended.

    Attributes:
        exit_code: the interface's exit code (the command's own, 124, 128+n ...).
        signal: the signal that killed the leader, or None.
        cancelled: somebody asked for the end before the job was done.
        timed_out: its time was over.
        stopped_early: killed on purpose when its early outputs were complete.
        early: seconds from the start until the early outputs were complete; None: they never were apart.
        message: one sentence of ours about the end, or "".
        remarks: sentences about what does not change its end: what an audit found, a sandbox that is less than was asked for.
        assurance: what really held it (`sandbox.policy.Assurance.name`); "": nothing.
        findings: what a check found, sentences.
    """

    exit_code: int
    signal: int | None = None
    cancelled: bool = False
    timed_out: bool = False
    stopped_early: bool = False
    early: float | None = None
    message: str = ""
    remarks: tuple[str, ...] = ()
    assurance: str = ""
    findings: tuple[str, ...] = ()
    usage: Usage = Usage()

    def spoiled(self, exit_code: int, *messages: str) -> Outcome:
        """The same, but for what went wrong after it: that is said too, and a success is none; a failure stays what it was."""
        said = "; ".join(filter(None, (self.message, *messages)))
        return evolve(self, exit_code=self.exit_code or exit_code, message=said)
