"""Whether an output is all there: the tables of ELF files and archives against the bytes that the file really has.

A compiler that was killed, or whose disk was full, leaves files that are cut off. Every cut inside of an ELF file's sections, a member
or a table is seen. What is not: a byte that changed (only a digest sees it), a cut between two members of an archive without a table of
symbols, and anything in files that are neither.
"""

from __future__ import annotations

from headstart_wrapper.hints import Final
from headstart_wrapper.sandbox.binaries import ARCHIVE, ELF, THIN_ARCHIVE, BrokenError, Bytes, Elf, members

_NEVER_EMPTY: Final = (".a", ".o", ".rlib", ".so")
"""Ends of names of files that always have a magic at their beginning."""


def fault(path: str, data: Bytes) -> str:
    """What an output lacks, as a clause; "" for one that is complete, and for one that is neither ELF nor an archive.

    Args:
        path: its name, which tells what an empty file should have been.
        data: all of it.
    """
    if not data.size:
        return "it is empty" if path.endswith(_NEVER_EMPTY) else ""
    start = data.read(0, min(len(ARCHIVE), data.size), "the file")
    if len(start) < len(ARCHIVE) and any(magic.startswith(start) for magic in (ARCHIVE, THIN_ARCHIVE)):
        return f"it ends after {data.size} bytes"
    try:
        if start in {ARCHIVE, THIN_ARCHIVE}:
            _check_members(data)
        elif start.startswith(ELF):
            Elf(data).check()
    except BrokenError as broken:
        return str(broken)
    return ""


def _check_members(data: Bytes) -> None:
    for name, member in members(data):
        try:
            if member.size >= len(ELF) and member.read(0, len(ELF), "it") == ELF:
                Elf(member).check()
        except BrokenError as broken:
            raise BrokenError(f"its member {name}: {broken}") from broken
