"""What makes two jobs equal: BLAKE3 over a canonical, length-prefixed encoding.

Two requests share a compiler process exactly when their fingerprints are equal (I7), so everything that can
change a compiler's bytes is in it, and nothing that differs between the two halves of one job. Every field
is preceded by its length: no two different jobs have the same encoding. Not here: reading any file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence

from blake3 import blake3

_FORMAT = b"headstart job 3"
"""Changes whenever the encoding does."""


def _put(encoding: list[bytes], value: bytes) -> None:
    encoding.append(len(value).to_bytes(8, "little"))
    encoding.append(value)


def encode(
    *,
    compiler: bytes,
    command: Sequence[str],
    env: Iterable[tuple[str, str]],
    inputs: Iterable[tuple[str, bytes]],
    early_outputs: Sequence[str] = (),
    dialect: str = "",
    held: Sequence[str] = (),
) -> bytes:
    """The canonical encoding: each list with its count, each string with its length, sets sorted."""
    encoding: list[bytes] = []
    _put(encoding, _FORMAT)
    _put(encoding, compiler)
    _put(encoding, dialect.encode())
    for words in (command, sorted(map(posixpath.normpath, early_outputs)), held):
        _put(encoding, len(words).to_bytes(8, "little"))
        for word in words:
            _put(encoding, word.encode("utf-8", "surrogateescape"))
    for pairs in (
        sorted(
            (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
            for name, value in dict(env).items()
        ),
        sorted((path.encode("utf-8", "surrogateescape"), digest) for path, digest in inputs),
    ):
        _put(encoding, len(pairs).to_bytes(8, "little"))
        for left, right in pairs:
            _put(encoding, left)
            _put(encoding, right)
    return b"".join(encoding)


def fingerprint(
    *,
    compiler: bytes,
    command: Sequence[str],
    env: Iterable[tuple[str, str]],
    inputs: Iterable[tuple[str, bytes]],
    early_outputs: Sequence[str] = (),
    dialect: str = "",
    held: Sequence[str] = (),
) -> str:
    """Names a job by its content.

    Args:
        compiler: identity of the compiler's executable.
        command: the command as requested, before `${KEY}` is replaced, without our options.
        env: the child's environment, as far as a request or the worker's own start sets it; of two values of one
            variable the later counts, as it does for the child.
        inputs: every declared input that counts (see `relevant_inputs`), with an opaque digest.
        early_outputs: what has to be complete for the early half to be answered.
        dialect: as what the command is understood, and so what is added to it.
        held: what it is held to, and where it runs: who asks for more must not get what ran under less (I11).
    """
    encoding = encode(
        compiler=compiler,
        command=command,
        env=env,
        inputs=inputs,
        early_outputs=early_outputs,
        dialect=dialect,
        held=held,
    )
    return blake3(encoding).hexdigest()


def relevant_inputs(
    inputs: Iterable[str],
    *,
    declared: Collection[str],
    early_outputs: Collection[str],
    worker_files: Collection[str],
    command: Sequence[str] = (),
) -> list[str]:
    """The inputs that both halves of one job have in common.

    Left out are the job's own early outputs, which the full request lists as inputs; the worker's own tool
    files; and the params file that carried the request, which the host names after the action's first
    output (`<output>-<n>.params`, Bazel's rule). A source file that merely ends in .params stays, and so does a
    file of that name that the command itself is given: its content reaches the compiler.

    Args:
        inputs: paths as the host gave them.
        declared: the request's declared outputs, early ones too.
        early_outputs: the early ones alone.
        worker_files: prefixes of the worker's own files.
        command: the command as requested.
    """
    own = {posixpath.normpath(path) for path in early_outputs}
    outputs = {posixpath.normpath(path) for path in declared}
    prefixes = tuple(posixpath.normpath(prefix) + "/" for prefix in worker_files)

    def carried_the_request(path: str, normal: str) -> bool:
        named = _PARAMS_FILE.fullmatch(normal)
        return (
            named is not None
            and named["output"] in outputs
            and not any(path in word or normal in word for word in command)
        )

    return [
        path
        for path in inputs
        if (normal := posixpath.normpath(path)) not in own
        and not normal.startswith(prefixes)
        and not carried_the_request(path, normal)
    ]


_PARAMS_FILE = re.compile(r"(?P<output>.+)-\d+\.params", re.DOTALL)
