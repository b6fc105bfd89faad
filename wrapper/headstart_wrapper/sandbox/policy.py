"""What a job gets of the check that it asked for: pure, from what this machine can do.

    strict   = enforce, in a view of the file system in which nothing undeclared exists
    enforce  = reads, writes and connections held by the kernel (Landlock)
    audit    = nothing is refused; what is found is told

What is missing is never silently left out (I11): the job fails with a sentence, or, where `--sandbox-unavailable=warn` says so, runs
with the most that there is, a warning, and the assurance that it really got in its statistics and its trace.
"""

from __future__ import annotations

from headstart_wrapper.errors import MachineError
from headstart_wrapper.hints import Final
from headstart_wrapper.job import Sandbox
from headstart_wrapper.records import Record

LEAST_ABI: Final = 3
"""Landlock before it knows no truncation (Linux 6.2), before 2 no move between directories: compilers could not be held, or not run."""

TCP_ABI: Final = 4
"""The first that refuses TCP (Linux 6.7)."""


class Available(Record, kw_only=True):
    """What this machine can do.

    Attributes:
        landlock: the ABI's number; 0: there is none.
        why_no_landlock: a clause, when it is 0.
        view: a private view of the file system can be made.
        why_no_view: a clause, when it cannot.
    """

    landlock: int
    why_no_landlock: str = ""
    view: bool
    why_no_view: str = ""


class Assurance(Record, kw_only=True):
    """What a job really gets.

    Attributes:
        asked: what was asked for.
        got: what it gets: not stronger than asked.
        partial: what `got` does not hold on this machine, though its name says so; clauses.
        warning: the sentence that has to be said because it is less; "" when it is not.
    """

    asked: Sandbox
    got: Sandbox
    partial: tuple[str, ...] = ()
    warning: str = ""

    @property
    def name(self) -> str:
        """How files name it: `enforce`, or `enforce without TCP`."""
        return self.got + "".join(f" {what}" for what in self.partial)


def decide(asked: Sandbox, available: Available, *, unavailable: str) -> Assurance:
    """Decides what a job gets.

    Args:
        asked: the job's `--sandbox`.
        available: what this machine can do.
        unavailable: the job's `--sandbox-unavailable`: "fail" or "warn".

    Raises:
        MachineError: it cannot be had, and less is not wanted.
    """
    if asked in {Sandbox.OFF, Sandbox.AUDIT}:
        return Assurance(asked=asked, got=asked)
    got: Sandbox = asked
    partial: tuple[str, ...] = ()
    lacks: list[str] = []
    if available.landlock < LEAST_ABI:
        why = (
            available.why_no_landlock
            or f"ABI {available.landlock} leaves gaps, Linux 6.2 has the first without"
        )
        lacks.append(f"Landlock cannot be had ({why})")
        got = Sandbox.AUDIT
    elif available.landlock < TCP_ABI:
        lacks.append(f"Landlock's ABI {available.landlock} does not hold TCP (Linux 6.7 does)")
        partial = ("without TCP",)
    if asked is Sandbox.STRICT and not available.view:
        lacks.append(f"no view of the file system can be made ({available.why_no_view})")
        got = min(got, Sandbox.ENFORCE, key=_STRENGTH.index)
    if not lacks:
        return Assurance(asked=asked, got=got)
    reasons = "; ".join(lacks)
    if unavailable == "fail":
        raise MachineError(
            f"--sandbox={asked} cannot be had on this machine: {reasons}; see headstart doctor, or run with less by "
            "--sandbox-unavailable=warn"
        )
    less = " ".join((got, *partial))
    return Assurance(
        asked=asked,
        got=got,
        partial=partial,
        warning=f"--sandbox={asked} cannot be had on this machine: {reasons}; this job runs with {less}",
    )


_STRENGTH: Final = (Sandbox.OFF, Sandbox.AUDIT, Sandbox.ENFORCE, Sandbox.STRICT)
