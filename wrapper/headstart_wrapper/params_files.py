"""Params files: arguments that stand in files, for command lines that would be too long.

Reading a file is an effect, so the reader is handed in. Not here: what the arguments mean (`options`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headstart_wrapper.errors import RequestError
from headstart_wrapper.option_values import shown

Arity = Callable[[str], float]
"""Tells how many words behind an option, spelled as it stands there, are its values; `MANY`: all up to the next option."""

MANY = float("inf")

Read = Callable[[str], str]
"""Gives the text of a file named in the arguments; raises OSError or UnicodeDecodeError."""

MAX_NESTING = 32
"""Params files inside params files: deeper than any build tool writes, shallow enough to end a cycle at once."""


def expand(arguments: Sequence[str], read: Read, *, arity: Arity) -> list[str]:
    """Replaces `@file` and `--flagfile=file` by the file's lines, recursively, up to the command.

    Lines are taken raw: UTF-8, no shell unquoting, empty lines kept. `@@x` and `@label//x` stay as they
    are (Bazel's rule). Neither after `--` nor after the command's first word is anything expanded: compilers read their
    own response files.

    Args:
        arguments: the command line.
        read: gives a file's text.
        arity: tells how many words behind an option belong to it.

    Raises:
        RequestError: a params file is missing, unreadable or nested without end.
    """
    return list(_Expansion(read, arity).of(arguments, depth=0, separated=False))


class _Expansion:
    """One command line on its way from left to right."""

    def __init__(self, read: Read, arity: Arity) -> None:
        self._read = read
        self._arity = arity
        self._expected: float = 0
        self._at_command = False

    def of(self, arguments: Sequence[str], *, depth: int, separated: bool) -> Iterator[str]:
        separated = separated or "--" in arguments
        for argument in arguments:
            path = None if self._at_command else _params_file(argument)
            if path is None:
                self._pass(argument, separated=separated)
                yield argument
                continue
            if depth == MAX_NESTING:
                raise RequestError(
                    f"params files are nested more than {MAX_NESTING} deep at {shown(path)}; does one name itself?"
                )
            yield from self.of(_lines(path, self._read), depth=depth + 1, separated=separated)

    def _pass(self, word: str, *, separated: bool) -> None:
        if word == "--":
            self._at_command = True
        elif word.startswith("-") and self._expected in {0, MANY}:
            self._expected = self._arity(word)
            if self._expected == MANY and not separated:
                self._expected = 1  # without `--`, nothing else tells where the command begins
        elif self._expected:
            self._expected -= 1
        else:
            self._at_command = True


def _params_file(argument: str) -> str | None:
    if argument.startswith("@"):
        path = argument[1:]
        return None if not path or path.startswith("@") or "//" in path else path
    for prefix in ("--flagfile=", "-flagfile="):
        if argument.startswith(prefix):
            return argument.removeprefix(prefix)
    return None


def _lines(path: str, read: Read) -> list[str]:
    try:
        text = read(path)
    except OSError as error:
        raise RequestError(
            f"cannot read the params file {shown(path)}: {error.strerror}; declare it as an input of the action"
        ) from error
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the params file {shown(path)} is not UTF-8; write it with UTF-8 encoding"
        ) from error
    except ValueError as error:
        raise RequestError(
            f"no params file can have the name {shown(path)}: correct what wrote it"
        ) from error
    return text.removesuffix("\n").split("\n") if text else []
