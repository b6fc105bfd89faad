"""What a statistics file says: the one table of its fields, and the JSON made from it.

Schema, document and file come from `FIELDS`. A key is never removed and never changes its meaning within a version; keys may
be added, so a reader ignores those that it does not know. Written without `json`, whose import is two milliseconds of every
job's start. Not here: where the file goes (`stats_file`), and the form that Bazel reads (`bazel_stats`).
"""

from __future__ import annotations

import signal

from headstart_wrapper.records import Record

TYPE_CHECKING = False  # what type checkers take for typing's own

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headstart_wrapper.job import Job, Outcome

    Value = str | int | float | None | Sequence[str]

VERSION = 2

_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Field(Record):
    """One key of the file.

    Attributes:
        name: the key.
        kind: its JSON type.
        unit: what a number counts, or "".
        meaning: one sentence.
        value: what it is for a job and its outcome.
        nullable: it may be null.
    """

    name: str
    kind: str
    unit: str
    meaning: str
    value: Callable[[Job, Outcome], Value]
    nullable: bool = False


def _used(attribute: str) -> Callable[[Job, Outcome], Value]:
    """A figure of a process; null where none was started."""
    return lambda _, outcome: None if outcome.usage.started_at is None else getattr(outcome.usage, attribute)


def signal_name(number: int) -> str:
    """The name of a signal, as `kill -l` has it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


FIELDS = (
    Field("version", "integer", "", "the version of this schema", lambda *_: VERSION),
    Field(
        "command",
        "array",
        "",
        "the command as requested, every `${KEY}` replaced; a byte that is not UTF-8 is a code from U+DC80 to U+DCFF",
        lambda job, _: job.command,
    ),
    Field(
        "started_at",
        "number",
        "seconds",
        "Unix time just before the command was started; null when it could not be, as is every figure below that needs a process",
        _used("started_at"),
        nullable=True,
    ),
    Field(
        "exit_code",
        "integer",
        "",
        "what the wrapper answers: the command's own code, or 124 to 127, 128+signal or 70 of the table of exit codes",
        lambda _, outcome: outcome.exit_code,
    ),
    Field(
        "signal",
        "integer",
        "",
        "number of the signal that killed the command; null when it exited by itself",
        lambda _, outcome: outcome.signal,
        nullable=True,
    ),
    Field(
        "signal_name",
        "string",
        "",
        "the same by name, as in SIGKILL",
        lambda _, outcome: None if outcome.signal is None else signal_name(outcome.signal),
        nullable=True,
    ),
    Field("timed_out", "boolean", "", "ended by `--timeout`", lambda _, outcome: outcome.timed_out),
    Field(
        "cancelled",
        "boolean",
        "",
        "ended because whoever asked for it no longer wanted it",
        lambda _, outcome: outcome.cancelled,
    ),
    Field(
        "stopped_early",
        "boolean",
        "",
        "ended on purpose when its early outputs were complete; the exit code is 0",
        lambda _, outcome: outcome.stopped_early,
    ),
    Field(
        "message",
        "string",
        "",
        "our sentence about the end; null when there is nothing to say",
        lambda _, outcome: outcome.message or None,
        nullable=True,
    ),
    Field(
        "sandbox",
        "string",
        "",
        "the check that was asked for, or an audit where a host says what the job reads; null when there was none",
        lambda job, outcome: job.check if job.is_checked else ("audit" if outcome.assurance else None),
        nullable=True,
    ),
    Field(
        "sandbox_assurance",
        "string",
        "",
        "what really held the command, as in `enforce` or `enforce without TCP`; null when nothing did",
        lambda _, outcome: outcome.assurance or None,
        nullable=True,
    ),
    Field(
        "sandbox_findings",
        "array",
        "",
        "what the check found, a sentence each",
        lambda _, outcome: outcome.findings,
    ),
    Field("user_seconds", "number", "seconds", "CPU time outside the kernel", _used("user"), nullable=True),
    Field(
        "system_seconds", "number", "seconds", "CPU time inside the kernel", _used("system"), nullable=True
    ),
    Field(
        "wall_seconds",
        "number",
        "seconds",
        "from just before the start until the command's exit was seen",
        _used("wall"),
        nullable=True,
    ),
    Field(
        "spawn_seconds", "number", "seconds", "what starting it took, of these", _used("spawn"), nullable=True
    ),
    Field(
        "early_seconds",
        "number",
        "seconds",
        "from the start until the early outputs were complete; null when they never were before the end",
        lambda _, outcome: outcome.early,
        nullable=True,
    ),
    Field(
        "peak_memory_bytes",
        "integer",
        "bytes",
        "largest resident set of any one of its processes, not their sum; never below the size of the process that starts them",
        _used("peak_memory"),
        nullable=True,
    ),
    Field(
        "minor_page_faults",
        "integer",
        "",
        "page faults served from memory",
        _used("minor_page_faults"),
        nullable=True,
    ),
    Field(
        "major_page_faults",
        "integer",
        "",
        "page faults that waited for storage",
        _used("major_page_faults"),
        nullable=True,
    ),
    Field(
        "voluntary_context_switches",
        "integer",
        "",
        "times it waited for something",
        _used("voluntary_context_switches"),
        nullable=True,
    ),
    Field(
        "involuntary_context_switches",
        "integer",
        "",
        "times the kernel gave its CPU to somebody else",
        _used("involuntary_context_switches"),
        nullable=True,
    ),
    Field(
        "storage_read_bytes",
        "integer",
        "bytes",
        "fetched from storage, read-ahead included; what the page cache or a file system in memory had counts nothing",
        _used("storage_read"),
        nullable=True,
    ),
    Field(
        "storage_written_bytes",
        "integer",
        "bytes",
        "file pages made dirty, to be written to storage later, or never if the file is deleted before; nothing on a file system in memory",
        _used("storage_written"),
        nullable=True,
    ),
)
"""CPU time, faults, switches and storage are of the command and all processes that it, and they, waited for: what wait4(2) says.
A background process that nobody waited for counts nothing. The two storage figures are ru_inblock and ru_oublock of
getrusage(2) times the 512 bytes of their blocks; what they count was measured and is in Linux's task_io_accounting_ops.h."""


def as_json(job: Job, outcome: Outcome) -> str:
    """One JSON object, one line, ASCII."""
    members = (f"{quoted(field.name)}: {encoded(field.value(job, outcome))}" for field in FIELDS)
    return "{" + ", ".join(members) + "}"


def encoded(value: Value) -> str:
    """JSON of a value, exactly as `json.dumps` has it; of a fraction six decimals, the microsecond that the kernel counts in."""
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(round(value, 6))
    if isinstance(value, int):
        return str(int(value))  # an enum's too
    return "[" + ", ".join(map(quoted, value)) + "]"


def quoted(text: str) -> str:
    """A JSON string in ASCII; characters beyond the first 65536 as surrogate pairs, lone surrogates as they are."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if " " <= character <= "~":
        return character
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of the file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "process-wrapper statistics",
        "type": "object",
        "required": [field.name for field in FIELDS],
        "properties": {field.name: _property(field) for field in FIELDS},
    }


def _property(field: Field) -> dict[str, object]:
    unit = f" ({field.unit})" if field.unit else ""
    said: dict[str, object] = {
        "type": [field.kind, "null"] if field.nullable else field.kind,
        "description": field.meaning + unit,
    }
    if field.name == "version":
        said["const"] = VERSION
    elif field.kind == "array":
        said["items"] = {"type": "string"}
    elif field.kind in {"integer", "number"}:
        said["minimum"] = 0
    return said


def document() -> str:
    """The fields as a table for documents (Markdown)."""
    rows = [
        f"| `{field.name}` | {field.kind}{' or null' if field.nullable else ''} | {field.unit or '–'} | {field.meaning} |"  # noqa: RUF001 - a dash
        for field in FIELDS
    ]
    return "\n".join(("| key | type | unit | meaning |", "|---|---|---|---|", *rows))
