"""Directories of this machine that an output names: where in it, how often, and an example.

An output that names the directory that it was made in is another one on the next machine, so nobody else's cache has it. Found are the
bytes of a directory's path as they stand in the file; in ELF files, and archives of them, sections that zlib compressed (`-gz`) are searched
too, and the place is told as member, section and symbol. Paths in encodings of their own (rustc's compressed metadata in a
shared library) are not found. A directory of one component (`/root`) is short enough to be part of other paths: it counts only where
no name stands before it and a slash, or the string's end, after it.
"""

from __future__ import annotations

import os
import re
import zlib
from bisect import bisect_right

from headstart_wrapper.hints import TYPE_CHECKING, Final
from headstart_wrapper.records import Record
from headstart_wrapper.sandbox.binaries import (
    ARCHIVE,
    ELF,
    SHF_ALLOC,
    Bytes,
    Elf,
    Section,
    members,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 1 << 20  # small enough for a core's cache, large enough that reading costs nothing
_SAMPLE: Final = 120  # characters of an example after the directory: a line
_ENDS: Final = " \"'\ufffd"
_MOST_INFLATED: Final = (
    1 << 28
)  # bytes of one compressed section: a defence against a few that claim to be many
_ZLIB: Final = 1  # ELFCOMPRESS_ZLIB
_ALONE: Final = rb'%s(?=[/\0\n"]|\Z)(?<![A-Za-z0-9._-]%s)'
"""A directory of one component; what must not stand before it comes last, so that its first byte can be searched for."""


class Leak(Record):
    """One directory in one part of an output.

    Attributes:
        place: the directory.
        where: the first of them, as a phrase: `in .debug_str of x.o (DW_AT_comp_dir)`, `in line 3`, `at byte 17`.
        count: how often it stands in that part.
        sample: what stands there, from the directory's path on.
    """

    place: str
    where: str
    count: int
    sample: str


class _Hit(Record):
    """A directory's path, at a byte of the file or of what a compressed section holds."""

    at: int
    place: bytes
    sample: str


class _Spot(Record):
    """Where a hit is, as far as the file's structure tells: a member, and a section of it."""

    member: str
    data: Bytes
    elf: Elf
    section: Section
    at: int


def leaks(data: Bytes, places: tuple[str, ...]) -> tuple[list[Leak], list[str]]:
    """Searches an output.

    Args:
        data: all of it; a complete file.
        places: absolute directories; one that lies in another one counts for itself where it stands.

    Returns:
        What was found, by part, in the file's order; and clauses about what could not be searched.

    Raises:
        BrokenError: its structure is not that of a complete file (see `completeness`).
    """
    pattern = _pattern(places)
    if pattern is None:
        return [], []
    hits = list(_hits(data, pattern, max(len(os.fsencode(place)) for place in places)))
    objects = list(_objects(data))
    pressed, notes = _in_compressed(objects, pattern)
    groups: dict[tuple[bytes, str], list[tuple[_Hit, _Spot | None]]] = {}
    for hit, spot in [*_placed(hits, objects), *pressed]:
        part = "" if spot is None else _family(spot.section.name)
        groups.setdefault((hit.place, part), []).append((hit, spot))
    return [_leak(data, group) for group in groups.values()], notes


def _pattern(places: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """Finds the longest of the directories that begins somewhere, all of them in one pass; None: there are none."""
    found = {os.fsencode(place.rstrip("/")) for place in places} - {b""}
    parts = [
        re.escape(one) if one.count(b"/") > 1 else _ALONE % (re.escape(one), re.escape(one))
        for one in sorted(found, key=len, reverse=True)
    ]
    return re.compile(b"|".join(parts)) if parts else None


def _hits(data: Bytes, pattern: re.Pattern[bytes], longest: int) -> Iterator[_Hit]:
    """Every hit in the bytes as they are: chunks overlap by what a hit and its neighbours need."""
    for begin in range(0, data.size, _CHUNK):
        before = min(begin, 1)
        end = min(begin + _CHUNK + longest + _SAMPLE, data.size)
        chunk = data.read(begin - before, end - begin + before, "the file")
        for found in pattern.finditer(chunk, before):
            if found.start() >= before + _CHUNK:
                break
            yield _Hit(begin - before + found.start(), found.group(), _sample(chunk, found))


def _sample(chunk: bytes, found: re.Match[bytes]) -> str:
    """The text from a directory's path on: as long as its characters can be printed, and no blank or quote ends it."""
    place = os.fsdecode(found.group())
    rest = chunk[found.end() : found.end() + _SAMPLE].decode("utf-8", "replace")
    end = next((i for i, one in enumerate(rest) if one in _ENDS or not one.isprintable()), len(rest))
    return place + rest[:end]


def _objects(data: Bytes) -> Iterator[tuple[str, Bytes, Elf]]:
    """The ELF files that the output is, or holds as members."""
    start = data.read(0, min(data.size, len(ARCHIVE)), "the file")
    parts = members(data) if start == ARCHIVE else [("", data)]
    for name, part in parts:
        if part.size >= len(ELF) and part.read(0, len(ELF), "it") == ELF:
            yield name, part, Elf(part)


def _placed(hits: list[_Hit], objects: list[tuple[str, Bytes, Elf]]) -> Iterator[tuple[_Hit, _Spot | None]]:
    """Each hit with its place in an ELF file, if it is in a section of one."""
    starts = [part.start for _, part, _ in objects]
    for hit in hits:
        index = bisect_right(starts, hit.at) - 1
        if index < 0 or hit.at >= starts[index] + objects[index][1].size:
            yield hit, None
            continue
        name, part, elf = objects[index]
        at = hit.at - part.start
        holder = elf.holder(at)
        yield hit, None if holder is None else _Spot(name, part, elf, holder, at - holder.at)


def _in_compressed(
    objects: list[tuple[str, Bytes, Elf]], pattern: re.Pattern[bytes]
) -> tuple[list[tuple[_Hit, _Spot]], list[str]]:
    found: list[tuple[_Hit, _Spot]] = []
    notes: dict[str, None] = {}
    for name, part, elf in objects:
        for section in elf.compressed():
            content = _inflated(part, elf, section)
            if content is None:
                notes[f"{section.name} is compressed in a way that is not read here"] = None
                continue
            for one in pattern.finditer(content):
                hit = _Hit(one.start(), one.group(), _sample(content, one))
                found.append((hit, _Spot(name, part, elf, section, one.start())))
    return found, list(notes)


def _inflated(part: Bytes, elf: Elf, section: Section) -> bytes | None:
    """What a compressed section holds; None: that cannot be told."""
    content = part.read(section.at, section.size, section.name)
    if elf.compression(content) != _ZLIB:
        return None
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(content[elf.compression_header :], _MOST_INFLATED)
    except zlib.error:
        return None
    return inflated if inflater.eof else None


def _family(section: str) -> str:
    """A section's name without what makes it one of many: `.rodata` for `.rodata.str1.1` and `.rodata.NAME`."""
    return section[: section.find(".", 1)] if "." in section[1:] else section


def _leak(data: Bytes, group: list[tuple[_Hit, _Spot | None]]) -> Leak:
    hit, spot = group[0]
    where = _in_file(data, hit.at) if spot is None else _in_section(spot, hit)
    return Leak(os.fsdecode(hit.place), where, len(group), hit.sample)


def _in_file(data: Bytes, at: int) -> str:
    """Line or byte of a hit in a file without sections: text is what has no NUL at its beginning."""
    if b"\0" in data.read(0, min(data.size, 8192), "the file"):
        return f"at byte {at}"
    lines = 1
    for begin in range(0, at, _CHUNK):
        lines += data.read(begin, min(_CHUNK, at - begin), "the file").count(b"\n")
    return f"in line {lines}"


def _in_section(spot: _Spot, hit: _Hit) -> str:
    said = f"in {spot.section.name}" + (f" of {spot.member}" if spot.member else "")
    if spot.section.flags & SHF_ALLOC:
        symbol = spot.elf.symbol(spot.section, spot.at)
        return f"{said} (symbol {symbol})" if symbol else said
    if spot.section.name.startswith(".debug_"):
        from headstart_wrapper.sandbox import debug_names  # noqa: PLC0415 - pyelftools is slow to import

        names = debug_names.attributes_with(spot.data, hit.place, spot.elf.sections())
        return f"{said} ({', '.join(names)})" if names else said
    return said
