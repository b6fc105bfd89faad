"""The environment that this process was given, without what Python added to it.

Python gives itself LC_CTYPE where there is no locale (PEP 538), or one that the machine does not know; a compiler that had
it too would speak otherwise than one that was started without us.
"""

from __future__ import annotations

import posix  # os has the same, and costs a launcher half a millisecond
import sys

_COERCED = frozenset({b"C.UTF-8", b"C.utf8", b"UTF-8"})
"""The values that Python gives itself."""


def inherited_bytes() -> dict[bytes, bytes]:
    """As the kernel has it: what a command is to be given."""
    environment: dict[bytes, bytes] = dict(posix.environ)
    if environment.get(b"LC_CTYPE") in _COERCED:
        given = _given(b"LC_CTYPE")
        if given is None:
            del environment[b"LC_CTYPE"]
        else:
            environment[b"LC_CTYPE"] = given
    return environment


def inherited() -> dict[str, str]:
    """The same as text; what is no text in the file system's encoding comes with surrogates."""
    return {text(name): text(value) for name, value in inherited_bytes().items()}


def text(data: bytes) -> str:
    """Bytes of the system's as Python has them in arguments and names of files."""
    return data.decode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


def data(text_: str) -> bytes:
    """The opposite of `text`."""
    return text_.encode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


def _given(name: bytes) -> bytes | None:
    """What a variable was when this process began; None: it was not there, or nobody can tell (no /proc)."""
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - without pathlib
            variables = file.read().split(b"\0")
    except OSError:
        return None
    begin = name + b"="
    return next((variable[len(begin) :] for variable in variables if variable.startswith(begin)), None)
