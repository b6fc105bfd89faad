"""What the storm asks for: scripted compilers, and what each must say and make.

A job's words, texts and bytes follow from its name and its source, so that whatever belongs to another job is seen at once.
Pure, but for the sources that a `Unit` writes.
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path
from typing import Literal

from attrs import define, field, frozen

from headstart_worker.messages import Input, WorkRequest, WorkResponse

Want = Literal["early", "full", "alone"]

HERE = Path(__file__).parent

BIG = "x" * 300_000 + "\n"
"""More than a pipe holds."""

SIGNALS = {"SEGV": 11, "ABRT": 6, "KILL": 9}

FAILURES = ("fail-first", "fail-late")

ENDLESS = ("endless-first", "endless-late")

ESCAPES = ("session", "orphan", "closed")


@frozen
class Job:
    """One compile, asked for alone or in two halves.

    Attributes:
        name: the only one of this name.
        unit: number of the unit whose outputs it makes; None: it is refused before it makes anything.
        source: the line in the unit's source.
        does, end, code: see compiler.sh.
        pause: seconds.
        pipelined: asked for in halves.
        staged: it speaks as rustc, so the worker gives it a private directory.
        digests: the host tells the source's digest; otherwise the worker looks itself.
        kill_delay, timeout: seconds.
        refused: "option" or "command": what is wrong with it.
    """

    name: str
    unit: int | None
    source: str = ""
    does: tuple[str, ...] = ()
    end: str = "ok"
    code: int = 1
    pause: float = 0.0
    pipelined: bool = False
    staged: bool = False
    digests: bool = True
    kill_delay: float = 0.1
    timeout: float | None = None
    refused: str | None = None

    @property
    def metadata(self) -> bytes:
        """What its metadata output holds when it is complete."""
        return b"rust\0\0\0\x09" + f"{self.name} {self.source}".encode()

    @property
    def library(self) -> bytes:
        """What its library output holds when it is complete."""
        header = f"{'lib.rmeta/':<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(self.metadata):<10}`\n".encode()
        return b"!<arch>\n" + header + self.metadata + f" code {self.name} {self.source}".encode()

    @property
    def begins(self) -> str:
        """What it says before its metadata is complete."""
        return f"{self.name} begins\n" + (BIG if "big" in self.does else "")

    @property
    def text(self) -> str:
        """Everything that it says."""
        return f"{self.begins}{self.name} goes on\n"

    @property
    def is_endless(self) -> bool:
        """It ends only when somebody ends it."""
        return self.end in ENDLESS and self.timeout is None

    def request(self, request_id: int, want: Want, *, used: bool = False) -> WorkRequest:
        """The request for it, or for a half of it; with `used` the host says that the metadata was used already."""
        if self.refused == "option":
            return WorkRequest(request_id, (f"--no-such-{self.name}", "--", "true"))
        if self.refused == "command":
            return WorkRequest(request_id, ("--", f"./no-such-{self.name}"))
        metadata, library = places(self.unit)
        arguments = [f"--kill-delay={self.kill_delay}"]
        if self.timeout is not None:
            arguments.append(f"--timeout={self.timeout}")
        arguments += (
            [f"--phase={want}", f"--early-output={metadata}"] if want != "alone" else [f"--output={metadata}"]
        )
        if want != "early":
            arguments.append(f"--output={library}")
        variables = {
            "JOB": self.name,
            "SOURCE": source(self.unit),
            "META": metadata,
            "LIB": library,
            "DO": " ".join(self.does),
            "PAUSE": f"{self.pause:.3f}",
            "END": self.end,
            "CODE": str(self.code),
            "PYTHON": sys.executable,
            "ESCAPEE": str(HERE / "escapee.py"),
        }
        arguments += [f"--env=STORM_{name}={value}" for name, value in variables.items()]
        command = [str(HERE / "compiler.sh")]
        if self.staged:
            arguments.append("--dialect=rustc")
            emit = f"--emit=metadata={metadata},link={library}"
            command += [f"--crate-name=u{self.unit}", "--crate-type=lib", emit, source(self.unit)]
        inputs = [Input(source(self.unit), _digest(self.source) if self.digests else b"")]
        if used:
            inputs.append(Input(metadata, _digest(self.name)))
        return WorkRequest(request_id, (*arguments, "--", *command), tuple(inputs))

    def fits(self, want: Want, response: WorkResponse) -> str | None:
        """What kind of answer of this job's own this is; None: it is none."""
        code, text = response.exit_code, response.output
        if self.refused:
            own = code == {"option": 125, "command": 127}[self.refused] and self.name in text
            return "refused" if own else None
        # Where the halves' texts are cut is a matter of time when the file system tells of the metadata, and a text that is cut
        # within a line gets a newline.
        text, whole, begins = (
            text.replace("\n", ""),
            self.text.replace("\n", ""),
            self.begins.replace("\n", ""),
        )
        if want == "early" and code == 0 and self.end not in {"fail-first", "endless-first"}:
            return "early half" if whole.startswith(text) else None
        if self.end == "ok":
            own = whole.endswith(text) if want == "full" else text == whole
            return f"{want} success" if code == 0 and own else None
        if self.end in FAILURES:
            said = begins if self.end == "fail-first" else whole
            return "failure" if code == self.code and text == said else None
        said, _, message = text.partition("process-wrapper: ")
        if self.end in SIGNALS:
            number = SIGNALS[self.end]
            own = code == 128 + number and said == whole and f"killed by signal {number}" in message
            return "killed by a signal" if own else None
        said = said.removesuffix(
            "Terminated"
        )  # says the shell, of a child, when it ignores the signal itself
        own = self.timeout is not None and code == 124 and whole.startswith(said) and "--timeout" in message
        return "timeout" if own else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest().encode()


def places(unit: int | None) -> tuple[str, str]:
    """Where a unit's metadata and library go."""
    return f"out/u{unit}.rmeta", f"out/u{unit}.rlib"


def source(unit: int | None) -> str:
    """Where a unit's source is."""
    return f"src/u{unit}"


@define
class Unit:
    """A pair of outputs that jobs contend for.

    Attributes:
        number: its own.
        line: what its source holds.
        job: the pipelined job that was asked for last, whose other half may follow.
        complete: everything that its outputs may ever hold.
        settled: its outputs' places, with what they hold and keep until somebody asks for them again.
        loose: a compiler may run of which nobody waits for an answer.
        last: serial number of the request that was sent last.
    """

    number: int
    line: str = ""
    job: Job | None = None
    complete: set[bytes] = field(factory=set)
    settled: dict[str, bytes] = field(factory=dict)
    loose: bool = False
    last: int = 0


@define
class Imagination:
    """Makes jobs up. Attributes: the dice, what names begin with, and how many were made."""

    dice: random.Random
    prefix: str
    made: int = 0

    def name(self) -> str:
        """A name that no job has, of this storm or another."""
        self.made += 1
        return f"{self.prefix}.{self.made}"

    def refused(self) -> Job:
        """A request that cannot be what it says."""
        return Job(self.name(), None, refused=self.dice.choice(("option", "command")))

    def job(self, unit: Unit, *, pipelined: bool) -> Job:
        """Something for a unit."""
        dice = self.dice
        ends = ["ok"] * 10 + [*FAILURES, *FAILURES, *SIGNALS, "endless-first", "endless-first"]
        # Nobody comes for the rest of an endless job whose metadata was had, and it would keep its slot for ever.
        ends += [] if pipelined else ["endless-late"] * 2
        end = dice.choice(ends)
        does = [
            word
            for word, often in (
                ("stubborn", 0.25),
                ("tree", 0.25),
                ("holder", 0.15),
                ("session", 0.1),
                ("orphan", 0.1),
                ("closed", 0.06),
                ("big", 0.05),
            )
            if dice.random() < often
        ]
        job = Job(
            name=self.name(),
            unit=unit.number,
            source=unit.line,
            does=tuple(does),
            end=end,
            code=dice.randint(1, 99),
            pause=dice.choice((0.0, 0.0, 0.02, 0.05, 0.1)),
            pipelined=pipelined,
            staged=pipelined and dice.random() < 0.5,
            digests=dice.random() < 0.5,
            kill_delay=dice.choice((0.0, 0.05, 0.2)),
            timeout=0.15 if end in ENDLESS and not pipelined and dice.random() < 0.2 else None,
        )
        unit.complete |= {job.metadata, job.library}
        return job
