"""rustc's JSON lines become text and early signals, in any chunking, whatever else is on stderr."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.dialects import EarlyReady, EarlySignal, OutputEvent, Plan, Text
from headstart_wrapper.dialects.rustc_output import LINE_LIMIT, PlainOutput, RustcOutput, heard

NEW = b'{"$message_type":"artifact","artifact":"o/libx.rmeta","emit":"metadata"}\n'
OLD = b'{"artifact":"o/libx.rmeta","emit":"metadata"}\n'
LINK = b'{"$message_type":"artifact","artifact":"o/libx.rlib","emit":"link"}\n'
READY = EarlyReady("o/libx.rmeta")


def diagnostic(rendered: str | None, *, old: bool = False) -> bytes:
    message: dict[str, Any] = {} if old else {"$message_type": "diagnostic"}
    message |= {
        "message": "m",
        "code": None,
        "level": "warning",
        "spans": [],
        "children": [],
        "rendered": rendered,
    }
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def output(**options: Any) -> RustcOutput:
    defaults: dict[str, Any] = {"rendered": True, "artifacts": False, "early": {}}
    return RustcOutput(**(defaults | options))


def text(found: list[OutputEvent]) -> bytes:
    """What is shown, when nothing else happened."""
    return (
        b"".join(event.data for event in found if isinstance(event, Text))
        if READY not in found
        else b"ready?"
    )


def events(data: bytes, made: RustcOutput | None = None) -> list[OutputEvent]:
    made = made or output()
    return made.feed(data) + made.close()


@pytest.mark.parametrize("line", [NEW, OLD])
def test_metadata_artifact_is_ready_and_not_shown(line: bytes) -> None:
    assert events(diagnostic("a\n") + line + LINK + diagnostic("b\n")) == [Text(b"a\n"), READY, Text(b"b\n")]


@pytest.mark.parametrize("old", [False, True])
def test_rendered_text_is_shown(old: bool) -> None:
    assert events(diagnostic("wärning 🦀\n\n", old=old) + diagnostic(None, old=old)) == [
        Text("wärning 🦀\n\n".encode())
    ]


def test_user_json_is_unchanged_and_artifacts_only_on_request() -> None:
    lines = diagnostic("a\n") + NEW + b'{"$message_type":"future_incompat","future_incompat_report":[]}\n'
    hidden = events(lines, output(rendered=False))
    assert hidden == [Text(diagnostic("a\n")), READY, Text(lines.partition(NEW)[2])]
    shown = events(lines, output(rendered=False, artifacts=True))
    assert b"".join(event.data for event in shown if isinstance(event, Text)) == lines
    assert READY in shown


def test_other_messages_are_dropped_unless_they_have_a_text() -> None:
    quiet = b'{"$message_type":"section_timing","event":"start","name":"codegen"}\n{"$message_type":"unused_extern"}\n'
    assert events(quiet) == []
    assert events(b'{"$message_type":"later","rendered":"text"}\n') == [Text(b"text")]


@pytest.mark.parametrize(
    "noise",
    [
        b"'+bogus' is not a recognized feature for this target (ignoring feature)\n",
        b" WARN rustc_something\n",
        b"\n",
        b"\xff\xfe invalid \x80\r\n",
        b'{"message":"mine"}\n',
        b'{"mine":{"artifact":"x","emit":"metadata"}}\n',
        b'{"$message_type":broken\n',
        b'[{"artifact":"x","emit":"metadata"}]\n',
        b"[" * 200_000 + b'{"message":' * 2000 + b"\n",
        b'{"message":' + b"[" * 200_000 + b"\n",
        b'{"artifact":3,"emit":"metadata","\xff":1}\n',
        b"unfinished",
    ],
)
@pytest.mark.parametrize("rendered", [False, True])
def test_noise_passes_in_order(noise: bytes, rendered: bool) -> None:
    before = diagnostic("a\n")
    assert text(events(before + noise, output(rendered=rendered))) == (b"a\n" if rendered else before) + noise


def test_object_after_text_without_newline() -> None:
    assert events(b"foo" + NEW) == [Text(b"foo"), READY]
    assert events(b"foo" + OLD) == [Text(b"foo"), READY]
    assert events(b'{"message": {"artifact": ' + diagnostic("a\n")) == [Text(b'{"message": {"artifact": a\n')]


def test_last_line_without_newline() -> None:
    made = output()
    assert made.feed(NEW[:-1]) == []
    assert made.close() == [READY]
    assert made.close() == []


def test_half_surrogate_is_no_failure() -> None:
    assert events(diagnostic("x").replace(b'"x"', b'"\\ud800"')) == [Text(b"?")]


@given(st.lists(st.integers(0, 2000), max_size=30))
def test_any_chunking_gives_the_same(cuts: list[int]) -> None:
    data = b"noise" + diagnostic("ä\n") + b"\xff\n" + NEW + b"more\n" + diagnostic("b\n") + b"end"
    made = output()
    found: list[OutputEvent] = []
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(edges):
        found += made.feed(data[start:end])
    found += made.close()
    at = found.index(READY)
    texts = [b"".join(e.data for e in part if isinstance(e, Text)) for part in (found[:at], found[at + 1 :])]
    assert texts == ["noiseä\n".encode() + b"\xff\n", b"more\nb\nend"]


def test_declared_early_outputs_keep_their_spelling() -> None:
    early = {"/job/o/libx.rmeta": "./o/libx.rmeta", "/job/o/x.d": "o/x.d"}
    made = output(early=early, directory="/job")
    lines = (
        b'{"artifact":"o/x.d","emit":"dep-info"}\n{"artifact":"/job/o/libx.rmeta","emit":"metadata"}\n' + LINK
    )
    assert made.feed(lines) == [EarlyReady("o/x.d"), EarlyReady("./o/libx.rmeta")]


def test_private_paths_are_respelled() -> None:
    spellings = (("/s/out/", 'a "q"/'),)
    line = NEW.replace(b"o/lib", b"/s/out/lib")
    assert events(line, output(spellings=spellings)) == [EarlyReady('a "q"/libx.rmeta')]
    found = events(line, output(spellings=spellings, rendered=False, artifacts=True))
    assert isinstance(found[0], Text)
    assert json.loads(found[0].data)["artifact"] == 'a "q"/libx.rmeta'
    found = events(diagnostic("at /s/out/x\n") + b"/s/out/y", output(spellings=spellings))
    assert text(found) == b'at a "q"/x\na "q"/y'


def test_plain_output_respells_across_chunks() -> None:
    made = PlainOutput((("/s/out/", "out/"),))
    found = made.feed(b"error: /s/o") + made.feed(b"ut/x\nmore /s/out") + made.feed(b"/y") + made.close()
    assert found == [Text(b"error: out/x\n"), Text(b"more out/y")]


def test_endless_line_is_text_and_memory_stays_bounded() -> None:
    made = output()
    piece = b"x" * (LINE_LIMIT // 4)
    shown = 0
    for _ in range(12):
        shown += sum(len(event.data) for event in made.feed(piece) if isinstance(event, Text))
        assert made._lines._size <= LINE_LIMIT
    assert shown >= 8 * len(piece)
    # The end of that line is not taken for an object; the next line is.
    rest = made.feed(NEW) + made.feed(NEW) + made.close()
    assert rest == [Text(NEW), READY]


def test_megabytes_of_warnings_are_quick() -> None:
    data = diagnostic("warning: something\n" * 20) * 10_000
    made = output()
    start = time.process_time()
    size = 0
    for at in range(0, len(data), 65536):
        size += sum(len(event.data) for event in made.feed(data[at : at + 65536]) if isinstance(event, Text))
    assert size == 10_000 * 20 * len("warning: something\n")
    assert time.process_time() - start < 2  # seconds of CPU for 5 MB; 0.1 when it was written


SHORT = b'{"rendered": "short\\n"}\n'
TOLD = b'{ "emit": "metadata"}\n'
MIXED = diagnostic("a\n") + b"noise\n" + SHORT + b'{"mine": 1}\n' + LINK + TOLD + b"{not json\n"


@pytest.mark.parametrize(
    ("shown", "text_"),
    [
        ("json", diagnostic("a\n") + b"noise\n" + SHORT + b'{"mine": 1}\n' + b"{not json\n"),
        ("rendered", b'a\nnoise\nshort\n{"mine": 1}\n{not json\n'),
        (None, MIXED),
    ],
)
def test_whatever_program_says_so_is_heard_as_rustc(shown: str | None, text_: bytes) -> None:
    plan = heard(Plan(("cc",), EarlySignal.NONE), shown, ())
    assert (plan.command, plan.early_signal) == (("cc",), EarlySignal.NONE)
    assert plan.stderr is not None
    made = plan.stderr()
    found = made.feed(MIXED) + made.close()
    assert b"".join(event.data for event in found if isinstance(event, Text)) == text_
    assert [event for event in found if isinstance(event, EarlyReady)] == [EarlyReady("")]


def test_what_a_dialect_hears_already_stays_unless_a_form_is_asked_for() -> None:
    plan = Plan(("rustc",), EarlySignal.LINES, stderr=output, spellings=(("/s/", "o/"),), directory="/job")
    assert heard(plan, None, ()) is plan
    asked = heard(plan, "json", ("./o/libx.rmeta",)).stderr
    assert asked is not None
    line = NEW.replace(b"o/libx", b"/s/libx")
    assert asked().feed(line + diagnostic("/s/x")) == [
        EarlyReady("./o/libx.rmeta"),
        Text(diagnostic("o/x")),
    ]
