"""What a dialect is: our knowledge of one compiler, told as a plan for one command.

A dialect decides and never acts. It reads a command line and says what to execute instead, what that will write
and where, how one hears that an early output is complete, and how the compiler's stderr becomes what a person
would have seen. Files are touched by others: the only way to the outside is the `read` that a caller hands in.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from enum import Enum

from headstart_wrapper.hints import Protocol
from headstart_wrapper.records import Record


class Text(Record):
    """Output to show, in the order in which the compiler wrote it."""

    data: bytes


class EarlyReady(Record):
    """The compiler says that an early output is complete.

    Attributes:
        path: the output, spelled as it was declared; one that nobody declared, as the command as given names it.
    """

    path: str


OutputEvent = Text | EarlyReady


class OutputFilter(Protocol):
    """Turns one job's stderr into events; it is fed bytes in any chunking and keeps at most one line."""

    def feed(self, data: bytes) -> list[OutputEvent]:
        """Return what the given bytes complete."""

    def close(self) -> list[OutputEvent]:
        """Return what an unfinished last line still holds."""


class EarlySignal(Enum):
    """How one hears that the early outputs are complete.

    NONE: not before the process ends. LINES: the plan's output filter tells. WATCH: the file system tells, by a
    rename into place or by closing after writing.
    """

    NONE = "none"
    LINES = "lines"
    WATCH = "watch"


def place(path: str, directory: str = "") -> str:
    """Return a path in the one spelling in which two paths can be compared.

    Args:
        path: as somebody wrote it.
        directory: what relative paths are relative to; "" compares them as they stand.
    """
    return posixpath.normpath(posixpath.join(directory, path))


class Plan(Record):
    """What to execute for one command, and what is known about it.

    Attributes:
        command: the argv to execute.
        early_signal: how early outputs announce themselves.
        inputs: files that the command names (crate root, extern crates), for fingerprints where no host declares any.
        places: (file or directory as the command named it, its private place), when staged. A directory stands for
            the files directly in it.
        directories: private directories that have to exist before the command runs.
        spellings: (private beginning of a path, what the command had there), for texts; see `restore`.
        stderr: makes the filter for one run's stderr; None: the bytes pass through untouched.
        final_metadata: the output, as named, that embeds the early metadata (a Rust library); None when there is none.
        links_safely: the compiler never writes an output again once it is complete, so a hard link publishes it.
        text_outputs: outputs, as named, whose text names other outputs (dep-info): `restore` them when publishing.
        note: why the command cannot answer early although asked to; one sentence, for `--explain`.
        directory: the job's absolute directory; "" when the planner was not told.
    """

    command: tuple[str, ...]
    early_signal: EarlySignal
    inputs: tuple[str, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()
    spellings: tuple[tuple[str, str], ...] = ()
    stderr: Callable[[], OutputFilter] | None = None
    final_metadata: str | None = None
    links_safely: bool = False
    text_outputs: tuple[str, ...] = ()
    note: str | None = None
    directory: str = ""

    def private(self, output: str) -> str | None:
        """Return where a declared output is really written; None when in its own place."""
        wanted = place(output, self.directory)
        parent, name = posixpath.dirname(wanted) or ".", posixpath.basename(wanted)
        inside = None
        for named, private in self.places:
            here = place(named, self.directory)
            if here == wanted:
                return private
            if here == parent:
                inside = posixpath.join(private, name)
        return inside

    def written(self, output: str, directory: str) -> str:
        """Return where the command, which runs in a directory, writes a declared output."""
        return self.private(output) or posixpath.join(directory, output)

    def restore(self, data: bytes) -> bytes:
        """Return a text with every private path spelled as the command as given would have spelled it."""
        return respell(data, self.spellings)


def respell(data: bytes, spellings: Sequence[tuple[str, str]]) -> bytes:
    """Return a text with the beginnings of paths replaced: (what stands there, what shall stand there)."""
    for private, named in spellings:
        data = data.replace(private.encode(errors="surrogateescape"), named.encode(errors="surrogateescape"))
    return data


class Dialect(Protocol):
    """What we know of one compiler."""

    @property
    def name(self) -> str:
        """The name that `--dialect` takes."""

    @property
    def stages(self) -> bool:
        """What its commands write can be moved to a private directory, so that they leave nothing else in their own."""

    def plan(
        self,
        command: Sequence[str],
        *,
        early_outputs: Sequence[str],
        pipelined: bool,
        stage: str | None,
        read: Callable[[str], str],
        directory: str = "",
        verbatim: bool = False,
        stands_for: str | None = None,
    ) -> Plan:
        """Return the plan for one command.

        Args:
            command: the compiler's argv as given.
            early_outputs: the declared early outputs, relative to the job's directory.
            pipelined: whether the job has two phases, so that an early answer is wanted.
            stage: an absolute private directory for everything that the command writes; None: its own places.
            read: returns the text of a response file; a relative path is relative to the job's directory.
            directory: the job's absolute directory, so that `out/x` and `/job/out/x` are known to be one; optional.
            verbatim: who wrote the command chose what the compiler says; nothing is added to make it say more.
            stands_for: the job's directory is a private one that stands for this one: neither is to show in what is
                written, and this one is named in texts.

        Raises:
            RequestError: the command cannot do what the request wants from it.
        """
