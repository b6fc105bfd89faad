"""Undoes what a host does to text when it takes UTF-8 for Latin-1. Pure.

Bazel reads BUILD files as Latin-1. Bazel 4 then writes params files and requests as UTF-8, so that every character beyond
ASCII arrives as two or more: a source file is not found, and a variable that is compiled in has other bytes. Versions
that hand on what they read need no help, and no version says which kind it is. So a request can carry one known
character, `--encoding-check=é`; when that arrives in two, everything beside it is read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headstart_wrapper.hints import Final

OPTION: Final = "--encoding-check"

_MISREAD: Final = "é".encode().decode("latin-1")


def is_misread(check: str) -> bool:
    """Whether the known character arrived as the two that Latin-1 makes of its UTF-8."""
    return check == _MISREAD


def read_back(text: str) -> str:
    """What was meant by a misread text; a text that cannot be misread stays as it is."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def read_back_arguments(arguments: Sequence[str]) -> list[str]:
    """What was meant by expanded arguments; as they are, unless their check before `--` says that they are misread."""
    checks = set(_checks(arguments))
    if not any(is_misread(arguments[at].rpartition("=")[2]) for at in checks):
        return list(arguments)
    return [text if at in checks else read_back(text) for at, text in enumerate(arguments)]


def _checks(arguments: Sequence[str]) -> Iterator[int]:
    """Where values of the option stand, in any of its spellings."""
    for at, argument in enumerate(arguments):
        if argument == "--":
            return
        spelled, equals, _ = argument.partition("=")
        if spelled.replace("_", "-") == OPTION:
            yield at if equals else min(at + 1, len(arguments) - 1)
