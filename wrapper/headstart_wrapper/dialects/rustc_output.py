"""rustc's stderr when it speaks JSON: lines become the text that a person would have seen, and early signals.

Known of rustc 1.63 to 1.95: one object a line; `rendered` of a diagnostic holds exactly what the human format prints;
`{"artifact":PATH,"emit":"metadata"}` comes when the metadata is complete and in its place. Since 1.71 every object
begins with `$message_type`. Other lines are common and innocent: LLVM, linkers and procedural macros print what they
like, with or without a newline before the next object. They are shown as they are, in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from headstart_wrapper.dialects.base import EarlyReady, OutputEvent, Plan, Text, place, respell
from headstart_wrapper.records import evolve

# A line is kept until it ends, but no longer than this (bytes); a diagnostic of this size has not been seen.
LINE_LIMIT = 8 * 1024 * 1024

# How an object of rustc's begins, wherever in the line that is.
_BEGINNING = re.compile(rb'\{"(?:\$message_type|message|artifact)":')
# How any object begins.
_OBJECT = re.compile(rb"\{")
# How many such beginnings in one line are tried, so that a line made of them costs no more than its length.
_ATTEMPTS = 8
_METADATA = "metadata"


class Lines:
    """Cuts a stream of bytes into lines that keep their newline.

    A line beyond `LINE_LIMIT` comes in pieces, each marked as broken; so does the rest of such a line.
    """

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._size = 0
        self._broken = False

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Return (line or piece, whether it is whole) for everything that ends in the given bytes."""
        found: list[tuple[bytes, bool]] = []
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            found.append((b"".join((*self._kept, data[start:end])), not self._broken))
            self._forget()
            self._broken = False
            start = end
        if start < len(data):
            self._kept.append(data[start:])
            self._size += len(data) - start
        if self._broken or self._size > LINE_LIMIT:
            found.extend((piece, False) for piece in self._kept)
            self._broken = True
            self._forget()
        return found

    def close(self) -> list[tuple[bytes, bool]]:
        """Return the line that has not ended, if there is one."""
        kept = b"".join(self._kept)
        self._forget()
        return [(kept, not self._broken)] if kept else []

    def _forget(self) -> None:
        self._kept.clear()
        self._size = 0


class PlainOutput:
    """The filter of a compiler whose text needs nothing but private paths spelled as its command spelled them."""

    def __init__(self, spellings: tuple[tuple[str, str], ...]) -> None:
        self._lines = Lines()
        self._spellings = spellings

    def feed(self, data: bytes) -> list[OutputEvent]:
        """Return the lines that the given bytes complete."""
        return self._texts(self._lines.feed(data))

    def close(self) -> list[OutputEvent]:
        """Return the line that has not ended."""
        return self._texts(self._lines.close())

    def _texts(self, lines: list[tuple[bytes, bool]]) -> list[OutputEvent]:
        text = b"".join(line for line, _ in lines)
        return [Text(respell(text, self._spellings))] if text else []


class RustcOutput:
    """The filter of a rustc that was asked for JSON, by its user or by us.

    Args:
        rendered: show diagnostics as text, because the user did not ask for JSON; else show their lines unchanged.
        artifacts: show artifact lines, because the user asked for them.
        early: declared early outputs: place (see `base.place`) to the spelling in which to report it.
        spellings: private paths in texts; see `base.respell`.
        directory: the job's absolute directory, or "".
    """

    def __init__(
        self,
        *,
        rendered: bool,
        artifacts: bool,
        early: Mapping[str, str],
        spellings: tuple[tuple[str, str], ...] = (),
        directory: str = "",
        loose: bool = False,
    ) -> None:
        self._loose = loose
        self._beginning = _OBJECT if loose else _BEGINNING
        self._rendered = rendered
        self._artifacts = artifacts
        self._early = early
        self._spellings = spellings
        self._in_json = tuple((_quoted(private), _quoted(named)) for private, named in spellings)
        self._directory = directory
        self._lines = Lines()

    def feed(self, data: bytes) -> list[OutputEvent]:
        """Return what the given bytes complete."""
        return self._events(self._lines.feed(data))

    def close(self) -> list[OutputEvent]:
        """Return what an unfinished last line still holds."""
        return self._events(self._lines.close())

    def _events(self, lines: list[tuple[bytes, bool]]) -> list[OutputEvent]:
        events: list[OutputEvent] = []
        for line, whole in lines:
            self._line(line, whole, events)
        return _joined(events)

    def _line(self, line: bytes, whole: bool, events: list[OutputEvent]) -> None:
        begin = self._beginning.search(line) if whole and b"{" in line else None
        attempts = 0
        while begin is not None and attempts < _ATTEMPTS:
            attempts += 1
            message = _message(line[begin.start() :], loose=self._loose)
            if message is not None:
                if begin.start():
                    events.append(Text(respell(line[: begin.start()], self._spellings)))
                self._message(message, line[begin.start() :], events)
                return
            begin = self._beginning.search(line, begin.end())
        events.append(Text(respell(line, self._spellings)))

    def _message(self, message: dict[str, Any], line: bytes, events: list[OutputEvent]) -> None:
        artifact = message.get("artifact", "" if self._loose else None)
        if isinstance(artifact, str) and isinstance(message.get("emit"), str):
            if self._artifacts:
                events.append(Text(respell(line, self._in_json)))
            named = _respelled(artifact, self._spellings)
            declared = self._early.get(place(named, self._directory))
            if declared is not None or message["emit"] == _METADATA:
                events.append(EarlyReady(declared or named))
        elif not self._rendered:
            events.append(Text(respell(line, self._in_json)))
        elif isinstance(text := message.get("rendered"), str):
            # "replace": half a surrogate pair, which rustc cannot write but whoever else holds its stderr can.
            events.append(Text(respell(text.encode(errors="replace"), self._spellings)))


def heard(plan: Plan, shown: str | None, early_outputs: Sequence[str]) -> Plan:
    """Return the plan for a command whose stderr is read as rustc's, whatever program it is.

    Args:
        plan: made by its dialect.
        shown: "json" or "rendered", the form of the diagnostics that are shown, without the artifacts; None: what the dialect
            shows, or all that comes.
        early_outputs: the declared ones.
    """
    if shown is None and plan.stderr is not None and isinstance(plan.stderr(), RustcOutput):
        return plan
    return evolve(
        plan,
        stderr=partial(
            RustcOutput,
            rendered=shown == "rendered",
            artifacts=shown is None,
            early={place(path, plan.directory): path for path in early_outputs},
            spellings=plan.spellings,
            directory=plan.directory,
            loose=True,
        ),
    )


def _message(line: bytes, *, loose: bool) -> dict[str, Any] | None:
    """Return one of rustc's objects; None when the line is somebody else's JSON, or none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):  # ValueError: no JSON, no UTF-8
        return None
    if not isinstance(message, dict):
        return None
    known = (
        "$message_type" in message
        or "artifact" in message
        or {"level", "spans", "rendered"} <= message.keys()
        or (loose and not {"emit", "rendered"}.isdisjoint(message))
    )
    return message if known else None


def _quoted(path: str) -> str:
    """Return a path as it stands inside a JSON string; rustc escapes no letters."""
    return json.dumps(path, ensure_ascii=False)[1:-1]


def _respelled(path: str, spellings: tuple[tuple[str, str], ...]) -> str:
    return respell(path.encode(errors="surrogatepass"), spellings).decode(errors="surrogateescape")


def _joined(events: list[OutputEvent]) -> list[OutputEvent]:
    """Return the events with neighbouring texts made one: thousands of warnings are one write."""
    joined: list[OutputEvent] = []
    texts: list[bytes] = []
    for event in events:
        if isinstance(event, Text):
            texts.append(event.data)
            continue
        if texts:
            joined.append(Text(b"".join(texts)))
            texts.clear()
        joined.append(event)
    if texts:
        joined.append(Text(b"".join(texts)))
    return joined
