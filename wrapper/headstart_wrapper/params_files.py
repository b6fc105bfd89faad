"""Params files: arguments that stand in files, for command lines that would be too long.

Reading a file is an effect, so the reader is handed in. Not here: what the arguments mean (`options`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headstart_wrapper.errors import RequestError

Read = Callable[[str], str]
"""Gives the text of a file named in the arguments; raises OSError or UnicodeDecodeError."""

MAX_NESTING = 32
"""Params files inside params files: deeper than any build tool writes, shallow enough to end a cycle at once."""


def expand(arguments: Sequence[str], read: Read) -> list[str]:
    """Replaces `@file` and `--flagfile=file` by the file's lines, recursively, up to `--`.

    Lines are taken raw: UTF-8, no shell unquoting, empty lines kept. `@@x` and `@label//x` stay as they
    are (Bazel's rule). Nothing after `--` is expanded: compilers read their own response files.

    Raises:
        RequestError: a params file is missing, unreadable or nested without end.
    """
    return list(_expanded(arguments, read, depth=0))


def _expanded(arguments: Sequence[str], read: Read, *, depth: int) -> Iterator[str]:
    for index, argument in enumerate(arguments):
        if argument == "--":
            yield from arguments[index:]
            return
        path = _params_file(argument)
        if path is None:
            yield argument
            continue
        if depth == MAX_NESTING:
            raise RequestError(
                f"params files are nested more than {MAX_NESTING} deep at {path}; does one name itself?"
            )
        lines = list(_expanded(_lines(path, read), read, depth=depth + 1))
        yield from lines
        if "--" in lines:
            yield from arguments[index + 1 :]
            return


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
            f"cannot read the params file {path}: {error.strerror}; declare it as an input of the action"
        ) from error
    except UnicodeDecodeError as error:
        raise RequestError(f"the params file {path} is not UTF-8; write it with UTF-8 encoding") from error
    return text.removesuffix("\n").split("\n") if text else []
