"""Keeps on disk what was found for a tool, for launchers that live no longer than one compile: finding it costs a tenth of a second.

A directory of ours, one file for each tool, named by what was asked. A file is believed when it is whole, was written for the
same question, and nothing that it was found by has changed; else the tool is asked anew and the file replaced (I13). What
another user could have written is not believed at all, because it would widen a sandbox (I11).
"""

from __future__ import annotations

import contextlib
import os
import posixpath

from headstart_wrapper.hints import Final
from headstart_wrapper.records import as_tuple
from headstart_wrapper.sandbox.closure import State, Tools
from headstart_wrapper.sandbox.libraries import entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORMAT: Final = 1
"""Changes whenever a file's content does, or how a closure is found."""

_MOST: Final = 256
"""Files in the directory, of some ten kilobytes each; when there are more, all are removed."""

_OTHERS_WRITE: Final = 0o022


def load(directory: str, question: str) -> tuple[State, Tools] | None:
    """What was kept; None: nothing, or nothing that can be believed.

    Args:
        directory: see `save`.
        question: what the tools depend on, in words.
    """
    import json  # noqa: PLC0415 - only who keeps tools needs it

    try:
        with open(_place(directory, question), encoding="ascii") as file:  # noqa: PTH123 - without pathlib
            if not (_is_ours(directory) and _is_ours(file.fileno())):
                return None
            return _read(json.load(file), question)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def save(directory: str, question: str, state: State, tools: Tools) -> None:
    """Keeps tools; whatever keeps us from it costs the next one time.

    Args:
        directory: a place for such files, made where it is missing.
        question: see `load`.
        state: what they were found by.
        tools: what was found.
    """
    import json  # noqa: PLC0415 - see `load`

    place = _place(directory, question)
    temporary = f"{place}.{os.getpid()}"
    with contextlib.suppress(OSError):
        os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103 - without pathlib
        if not _is_ours(directory):
            return
        if len(old := entries(directory)) >= _MOST:
            for name in old:
                with contextlib.suppress(OSError):
                    os.unlink(posixpath.join(directory, name))  # noqa: PTH108 - without pathlib
        written = [_FORMAT, question, state.stamps, state.steps, as_tuple(tools)]
        try:
            with open(temporary, "x", encoding="ascii") as file:  # noqa: PTH123 - without pathlib
                json.dump(written, file)
            os.replace(temporary, place)  # noqa: PTH105 - without pathlib
        except OSError:
            os.unlink(temporary)  # noqa: PTH108 - without pathlib


def _place(directory: str, question: str) -> str:
    from blake3 import blake3  # noqa: PLC0415 - see `load`

    return posixpath.join(directory, blake3(question.encode("utf-8", "surrogateescape")).hexdigest())


def _is_ours(where: str | int) -> bool:
    """Nobody else but root could have written it."""
    found = os.stat(where)  # noqa: PTH116 - without pathlib
    return found.st_uid in {0, os.geteuid()} and not found.st_mode & _OTHERS_WRITE


def _read(said: Any, question: str) -> tuple[State, Tools] | None:
    kind, asked, stamps, steps, found = said
    if (kind, asked) != (_FORMAT, question):
        return None
    files, directories, programs, listed = (tuple(field) for field in found[:4])
    links = tuple((at, written) for at, written in found[4])
    state = State(
        stamps={path: None if stamp is None else tuple(stamp) for path, stamp in stamps.items()}, steps=steps
    )
    return state, Tools(files=files, directories=directories, programs=programs, listed=listed, links=links)
