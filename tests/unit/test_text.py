"""Any output becomes text that a response can carry, and never more of it than was agreed."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.text import BoundedText, sanitise, unsurrogated

NOTE = re.compile(r"process-wrapper: (\d+) bytes of output left out here\n")


@given(st.binary())
def test_sanitised_text_is_valid_and_free_of_control_characters(data: bytes) -> None:
    text = sanitise(data)
    text.encode("utf-8")
    assert not {character for character in text if ord(character) < 0x20} - set("\t\n\r\x1b")
    assert sanitise(text.encode("utf-8")) == text


@given(st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"])))
def test_valid_text_passes_untouched(text: str) -> None:
    assert sanitise(text.encode("utf-8")) == text
    assert unsurrogated(text) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\x00b\x07", "a\ufffdb\ufffd"),
        (b"\x1b[31mred\x1b[0m\tx\r\n", "\x1b[31mred\x1b[0m\tx\r\n"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"caf\xc3", "caf\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # an encoded surrogate
        (b"\xc3\x00", "\ufffd\ufffd"),  # NUL inside a character
        (b"\xf0\x9f\x98\x80", "\U0001f600"),
    ],
)
def test_each_kind_of_damage(data: bytes, text: str) -> None:
    assert sanitise(data) == text


@given(st.text(st.characters()))
def test_unsurrogated_text_can_always_be_encoded(text: str) -> None:
    unsurrogated(text).encode("utf-8")


def test_a_file_name_that_is_not_utf8_loses_only_its_strange_byte() -> None:
    assert unsurrogated(b"caf\xe9.rs".decode("utf-8", "surrogateescape")) == "caf\ufffd.rs"


@given(st.lists(st.binary(max_size=20)), st.integers(0, 40), st.integers(0, 40))
def test_nothing_is_left_out_below_the_bound(pieces: list[bytes], head: int, tail: int) -> None:
    whole = b"".join(pieces)[: head + tail]
    text = BoundedText(head, tail)
    position = 0
    for piece in pieces:
        text.append(whole[position : position + len(piece)])
        position += len(piece)
    expected = sanitise(whole)
    assert text.result() == (expected if not expected or expected.endswith("\n") else expected + "\n")


# Output as compilers print it: lines of characters of every width.
LINES = st.lists(st.text("ab\u00e9\u96ea\U0001f600", max_size=12), max_size=40).map("\n".join)


@given(LINES, st.integers(0, 60), st.integers(0, 60), st.integers(1, 30))
def test_two_ends_are_kept_whole_and_the_note_counts_the_rest(
    whole: str, head: int, tail: int, chunk: int
) -> None:
    data = whole.encode("utf-8")
    text = BoundedText(head, tail)
    for start in range(0, len(data), chunk):
        text.append(data[start : start + chunk])
    result = text.result()
    assert result == "" or result.endswith("\n")
    assert "\ufffd" not in result  # no character was cut
    note = NOTE.search(result)
    assert (note is not None) == (len(data) > head + tail)
    if note is not None:
        before, after = result[: note.start()], result[note.end() :]
        kept = len(data) - int(note[1])
        assert kept <= head + tail
        added = sum(len(part.encode()) for part in (before, after)) - kept
        assert 0 <= added <= 2  # newlines before the note and at the end
        assert whole.startswith((before, before.removesuffix("\n")))
        assert whole.endswith((after, after.removesuffix("\n")))


def test_the_cut_is_between_lines() -> None:
    lines = [f"line {number:04}\n" for number in range(1000)]
    text = BoundedText(head_bytes=105, tail_bytes=105)
    for line in lines:
        text.append(line.encode())
    before, count, after = NOTE.split(text.result())
    assert before == "".join(lines[:10])
    assert after == "".join(lines[-10:])
    assert int(count) == 980 * len(lines[0])


def test_a_line_longer_than_the_bound_is_cut_rather_than_lost() -> None:
    text = BoundedText(head_bytes=100, tail_bytes=100)
    text.append(b"short\n" + b"x" * 1000 + b"\nend")
    before, _count, after = NOTE.split(text.result())
    assert before == "short\n" + "x" * 94 + "\n"
    assert after == "x" * 96 + "\nend\n"


def test_memory_is_bounded_however_much_comes() -> None:
    text = BoundedText()
    piece = b"warning: a line of a usual length, repeated a great many times\n" * 1024
    tracemalloc.start()
    try:
        for _ in range(100 * 1024 * 1024 // len(piece)):
            text.append(piece)
        result = text.result()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(result) <= 1024 * 1024 + 100
    assert len(NOTE.findall(result)) == 1
    assert peak < 8 * 1024 * 1024
