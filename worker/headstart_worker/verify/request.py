"""What `headstart verify` is asked for: its own options, the job's options, the command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from headstart_wrapper import option_table, params_files
from headstart_wrapper import options as grammar
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job
from headstart_wrapper.option_values import to_size, to_text
from headstart_wrapper.records import fields_of

MAX_SIZE: Final = 1 << 30
"""Bytes of a directory that are copied without being told so: twice at a time on disk, a second or two for each way."""

_OWN: Final = ("--root", "--max-size", "--wrapper", "--json")

_TAKEN: Final = frozenset(
    {
        "command",
        "dialect",
        "early_outputs",
        "env",
        "graceful_sigterm",
        "inputs",
        "kill_delay",
        "outputs",
        "substitutions",
        "timeout",
    }
)
"""What a job may say. The rest writes beside the outputs, or chooses the way, which is what we do."""


@frozen
class Request:
    """One verification.

    Attributes:
        words: the job's options, as given, params files expanded.
        job: what they and the command say.
        cwd: the working directory, physical and absolute.
        root: the directory to copy: `cwd` or one above it.
        max_size: bytes that `root` may have.
        wrapper: another `process-wrapper` to verify; None: this installation's.
        json: the report as data.
    """

    words: tuple[str, ...]
    job: Job
    cwd: Path
    root: Path
    max_size: int
    wrapper: str | None
    json: bool


def read(arguments: Sequence[str]) -> Request:
    """Reads a command line.

    Raises:
        RequestError: it is wrong.
    """
    expanded = params_files.expand(
        arguments, lambda path: Path(path).read_bytes().decode("utf-8"), arity=_arity
    )
    if "--" not in expanded:
        raise RequestError("put -- before the command: headstart verify [options] -- command arg...")
    end = expanded.index("--")
    own, words = _apart(list(expanded[:end]))
    options = grammar.parse([*words, *expanded[end:]], request=True)
    job = grammar.check(options)
    for name in fields_of(Job):
        if name not in _TAKEN and getattr(job, name) != getattr(Job(), name):
            spelled = next((each.name for each in option_table.OPTIONS if each.target == name), name)
            raise RequestError(f"{spelled} has no place here: verify chooses the ways to run; leave it out")
    try:
        cwd = Path.cwd()
    except OSError as error:
        raise RequestError(
            f"the working directory cannot be told: {error.strerror}; change to one"
        ) from error
    size = to_size("--max-size", own["--max-size"]) if "--max-size" in own else None
    if size is not None and size.percent:
        raise RequestError(
            "--max-size is an amount of disk, not a percentage; give for example --max-size=4G"
        )
    return Request(
        words=tuple(words),
        job=job,
        cwd=cwd,
        root=_root(own.get("--root"), cwd),
        max_size=MAX_SIZE if size is None else size.amount,
        wrapper=own.get("--wrapper"),
        json="--json" in own,
    )


def _arity(word: str) -> float:
    """How many words behind an option are its values."""
    name, equals, _ = word.replace("_", "-").partition("=")
    if name in _OWN:
        return 0 if equals or name == "--json" else 1
    return grammar.arity(word)


def _apart(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Our own options and their values; the rest is the job's."""
    own: dict[str, str] = {}
    rest = []
    while words:
        word = words.pop(0)
        spelled, equals, value = word.partition("=")
        name = spelled.replace("_", "-")
        if name not in _OWN:
            rest.append(word)
        elif name == "--json":
            if equals:
                raise RequestError("--json takes no value")
            own[name] = ""
        else:
            own[name] = to_text(name, value if equals else words.pop(0) if words else "")
    return own, rest


def _root(given: str | None, cwd: Path) -> Path:
    root = cwd if given is None else Path(given).resolve()
    if not root.is_dir() or not cwd.is_relative_to(root):
        raise RequestError(
            f"--root={given} is no directory above this one; name one that holds it, as --root=.."
        )
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 - Path's own raises where there is no home
    if root == Path("/") or (home != Path("/") and home.is_relative_to(root)):
        raise RequestError(
            f"the directory {root} holds everything of yours, and would be copied; change to the project's directory first"
        )
    return root
