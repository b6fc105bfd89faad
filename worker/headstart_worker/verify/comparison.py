"""Compares what two runs of a job made: exit codes, texts, and every byte of every file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import field, frozen

from headstart_worker.verify import places
from headstart_worker.verify.copies import Kept
from headstart_wrapper.text import BoundedText

_CHUNK: Final = 1 << 20

_OURS: Final = b"process-wrapper: "
"""How a line of ours begins, which no compiler wrote."""


@frozen
class Made:
    """What one run of the job made.

    Attributes:
        exit_code: the interface's.
        stdout, stderr: what it printed, without lines of ours.
        text: both in one, where the way does not keep them apart (a worker's response); None elsewhere.
        said: lines of ours.
        files: what it wrote, by path relative to the copied directory.
        wall: seconds.
        early: seconds until the early half was answered; None when there was none.
    """

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    text: str | None = None
    said: tuple[str, ...] = ()
    files: dict[str, Kept] = field(factory=dict)
    wall: float = 0.0
    early: float | None = None


@frozen
class Difference:
    """One thing that is not as in the plain run.

    Attributes:
        subject: "exit code", "stdout", "stderr", or a file's path.
        detail: what is different.
        offset: of the first byte that differs; None where there is none to count.
        place: what that offset is called in the file; "".
        names_directory: the file, made in another directory, holds the path of that.
        excused: plain runs differ in it among themselves.
    """

    subject: str
    detail: str
    offset: int | None = None
    place: str = ""
    names_directory: bool = False
    excused: bool = False

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        named = "; it holds the name of its directory" if self.names_directory else ""
        excuse = "; plain runs differ in it too" if self.excused else ""
        return f"{self.subject}: {self.detail}{where}{named}{excuse}"


def apart(text: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A text without lines of ours, and these."""
    lines = text.splitlines(keepends=True)
    ours = tuple(line.decode(errors="replace").rstrip() for line in lines if line.startswith(_OURS))
    return b"".join(line for line in lines if not line.startswith(_OURS)), ours


def differences(plain: Made, made: Made, *, elsewhere: Path | None = None) -> Iterator[Difference]:
    """What is not as in the plain run.

    Files are compared when both succeeded: of a failed compiler no output is promised.

    Args:
        plain: the reference.
        made: the other.
        elsewhere: where the other ran, if not where the plain one did.
    """
    if plain.exit_code != made.exit_code:
        yield Difference("exit code", f"{made.exit_code}, plain {plain.exit_code}")
    yield from _texts(plain, made)
    if plain.exit_code or made.exit_code:
        return
    for name in sorted({**plain.files, **made.files}):
        found = _file(name, plain.files.get(name), made.files.get(name), elsewhere)
        if found is not None:
            yield found


def _texts(plain: Made, made: Made) -> Iterator[Difference]:
    if made.text is None:
        for subject, here, there in (
            ("stdout", made.stdout, plain.stdout),
            ("stderr", made.stderr, plain.stderr),
        ):
            if here != there:
                yield _text(subject, here, there)
        return
    first, second = _as_response(plain.stdout, plain.stderr), _as_response(plain.stderr, plain.stdout)
    # Where both were written to, their order is their order of arrival.
    if made.text not in {first, second} and (
        not (plain.stdout and plain.stderr) or sorted(made.text) != sorted(first)
    ):
        yield _text("output", made.text.encode(), first.encode())


def _as_response(*texts: bytes) -> str:
    whole = BoundedText()
    for text in texts:
        whole.append(text)
    return whole.result()


def _text(subject: str, here: bytes, there: bytes) -> Difference:
    offset = _offset(here, there)
    line = there[:offset].count(b"\n")
    shown = [(text.splitlines() or [b""])[line : line + 1] or [b""] for text in (here, there)]
    told = ", plain ".join(repr(lines[0][:80].decode(errors="replace")) for lines in shown)
    return Difference(subject, f"differs from line {line + 1}: {told}", offset, f"line {line + 1}")


def _offset(here: bytes, there: bytes) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), min(len(here), len(there))
    )


def _file(name: str, plain: Kept | None, made: Kept | None, elsewhere: Path | None) -> Difference | None:
    if plain is None or made is None:
        there, here = ("not written", "written") if plain is None else ("written", "not written")
        return Difference(name, f"{here}, plain {there}")
    if (made.kind, made.target) != (plain.kind, plain.target):
        return Difference(name, f"{_shown(made)}, plain {_shown(plain)}")
    if made.place is None or plain.place is None:
        return None
    offset = first_difference(made.place, plain.place)
    if offset is not None:
        sizes = made.place.stat().st_size, plain.place.stat().st_size
        told = "" if sizes[0] == sizes[1] else f", {sizes[0]} bytes, plain {sizes[1]}"
        return Difference(
            name,
            f"differs from byte {offset}{told}",
            offset,
            places.name(made.place if offset < sizes[0] else plain.place, offset),
            names_directory=elsewhere is not None and bytes(elsewhere) in made.place.read_bytes(),
        )
    if made.mode != plain.mode:
        return Difference(name, f"permissions {made.mode:04o}, plain {plain.mode:04o}")
    return None


def _shown(kept: Kept) -> str:
    return {"gone": "removed", "link": f"a link to {kept.target}", "file": "a file"}[kept.kind]


def first_difference(here: Path, there: Path) -> int | None:
    """The offset of the first byte that differs; None when there is none."""
    with here.open("rb") as first, there.open("rb") as second:
        for at in itertools.count(0, _CHUNK):
            a, b = first.read(_CHUNK), second.read(_CHUNK)
            if a != b:
                return at + _offset(a, b)
            if not a:
                return None
    raise AssertionError("every file ends")
