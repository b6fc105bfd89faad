"""Text that a host took for Latin-1 is what it was, and no other text changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper import encoding
from headstart_wrapper.options import parse

UTF_8 = st.characters(codec="utf-8")


def misread(text: str) -> str:
    return text.encode().decode("latin-1")


@given(st.text(UTF_8))
def test_a_misread_text_is_read_back(text: str) -> None:
    assert encoding.read_back(misread(text)) == text


@pytest.mark.parametrize("check", [["--encoding-check=é"], ["--encoding_check", "é"]])
@given(words=st.lists(st.text(UTF_8)))
def test_a_misread_command_line_is_read_back(check: list[str], words: list[str]) -> None:
    line = [*check, "--env=NAME=Grüße", "--", "cc", *words]
    assert parse(list(map(misread, line))).job == parse(line).job


@given(st.lists(st.text(UTF_8).map(misread)))
def test_what_arrived_well_is_left_alone(words: list[str]) -> None:
    for check in (["--encoding-check=é"], []):
        assert parse([*check, "--", "cc", *words]).job.command == ("cc", *words)


def test_the_commands_own_words_are_no_check() -> None:
    command = ("cc", misread("--encoding-check=é"), misread("ü"))
    assert parse(["--", *command]).job.command == command
