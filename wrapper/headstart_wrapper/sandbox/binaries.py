"""The outer structure of archives and ELF files: members, sections, symbols, and whether their bytes are all there.

Read with `struct`, headers only: for a library of five megabytes that is a millisecond, where pyelftools takes 160 (measured). What is
inside of a section is nobody's business here.
"""

from __future__ import annotations

import os
import struct

from headstart_wrapper.hints import Final
from headstart_wrapper.records import Record

TYPE_CHECKING = False  # what type checkers take for typing's own
if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVE: Final = b"!<arch>\n"
THIN_ARCHIVE: Final = b"!<thin>\n"
ELF: Final = b"\x7fELF"

SHF_ALLOC: Final = 0x2
SHF_COMPRESSED: Final = 0x800

_MEMBER_HEADER = 60  # ar(5): name 16, date 12, uid 6, gid 6, mode 8, size 10, and two bytes of magic
_MEMBER_END = b"`\n"
_GNU_TABLES = {b"/": 4, b"/SYM64/": 8}
"""An archive's tables of symbols, by the bytes of each of their numbers."""

_NULL, _SYMBOLS, _NO_BITS = 0, 2, 8  # section types: SHT_NULL, SHT_SYMTAB, SHT_NOBITS
_ELSEWHERE = 0xFFFF  # SHN_XINDEX: the number stands in the first section's header
_SECTION_SYMBOL, _FILE_SYMBOL = 3, 4  # symbol types: STT_SECTION, STT_FILE


class BrokenError(Exception):
    """A file's structure reaches beyond its bytes, or is none; `str()` is a clause."""


class Bytes:
    """A range of an open file, of which any part can be read; passive, does not own the descriptor."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        """Takes the range; nothing is read."""
        self.descriptor = descriptor
        self.start = start
        self.size = size

    def read(self, at: int, size: int, what: str) -> bytes:
        """That many bytes from a place in the range.

        Raises:
            BrokenError: the range ends before them.
        """
        if at + size > self.size:
            raise BrokenError(f"{what} ends at byte {at + size} of {self.size}")
        data = os.pread(self.descriptor, size, self.start + at)
        if len(data) != size:
            raise BrokenError(f"{what} cannot be read: the file became shorter")
        return data

    def part(self, at: int, size: int, what: str) -> Bytes:
        """A range inside of this one.

        Raises:
            BrokenError: it reaches beyond this one.
        """
        if at + size > self.size:
            raise BrokenError(f"{what} ends at byte {at + size} of {self.size}")
        return Bytes(self.descriptor, self.start + at, size)


class Section(Record):
    """One section of an ELF file.

    Attributes:
        index: its number.
        name: its name; "" when the table of names lacks it.
        at, size: where its bytes are in the ELF file.
        address: where it will be in memory; 0 in object files.
        flags: `sh_flags`.
    """

    index: int
    name: str
    at: int
    size: int
    address: int
    flags: int


def members(archive: Bytes) -> Iterator[tuple[str, Bytes]]:
    """The members of an archive, with their names: GNU's and BSD's long names too; tables are checked and left out.

    A thin archive's members are other files, so it has only tables.

    Raises:
        BrokenError: the archive is cut off, or no archive at all.
    """
    thin = archive.read(0, len(ARCHIVE), "the archive's magic") == THIN_ARCHIVE
    at, long_names = len(ARCHIVE), b""
    while at < archive.size:
        header = archive.read(at, _MEMBER_HEADER, f"the header of the member at byte {at}")
        size = header[48:58].strip()
        if header[58:] != _MEMBER_END or not size.isdigit():
            raise BrokenError(f"there is no member's header at byte {at}")
        at += _MEMBER_HEADER
        name = header[:16].rstrip()
        if thin and name not in {b"//", *_GNU_TABLES}:
            continue
        member = archive.part(at, int(size), f"the member at byte {at}")
        if name == b"//":
            long_names = member.read(0, member.size, "the table of names")
        elif name in _GNU_TABLES:
            if at == len(ARCHIVE) + _MEMBER_HEADER:  # archives for Windows have a second one, of another form
                _check_symbol_table(archive, member, _GNU_TABLES[name])
        else:
            yield _member(name, member, long_names)
        at += member.size + member.size % 2  # members begin at even bytes


def _check_symbol_table(archive: Bytes, table: Bytes, width: int) -> None:
    """Sees that every member that the table of symbols names can be in the archive: one that was cut off between members has fewer."""
    what = "the table of symbols"
    if table.size < width:
        return
    count = int.from_bytes(table.read(0, width, what), "big")
    places = table.read(width, count * width, what)
    last = max(struct.unpack(f">{count}{'L' if width == 4 else 'Q'}", places), default=0)
    if last + _MEMBER_HEADER > archive.size:
        raise BrokenError(f"its table of symbols names a member at byte {last} of {archive.size}")


def _member(name: bytes, member: Bytes, long_names: bytes) -> tuple[str, Bytes]:
    if name.startswith(b"#1/") and name[3:].isdigit():  # BSD: the name is in front of the content
        length = int(name[3:])
        name = member.read(0, length, "a member's name").rstrip(b"\0")
        member = member.part(length, member.size - length, "a member")
    elif name[:1] == b"/" and name[1:].isdigit():
        name = long_names[int(name[1:]) :].partition(b"\n")[0]
    return name.removesuffix(b"/").decode("utf-8", "replace"), member


class Elf:
    """An ELF file's headers, of either class and byte order."""

    def __init__(self, data: Bytes) -> None:
        """Reads the header.

        Raises:
            BrokenError: it is cut off, or of no class and byte order that there is.
        """
        self._data = data
        ident = data.read(0, 16, "the ELF header")
        if ident[4] not in {1, 2} or ident[5] not in {1, 2}:
            raise BrokenError("its ELF header has neither 32 nor 64 bits, or no byte order")
        self._wide = ident[4] == 2
        self._order = "<" if ident[5] == 1 else ">"
        kind = "HHIQQQIHHHHHH" if self._wide else "HHIIIIIHHHHHH"
        header = self._unpack(kind, data.read(16, 48 if self._wide else 36, "the ELF header"))
        self._segment_table = (header[4], header[8], header[9])
        self._section_table = (header[5], header[10], header[11])
        self._name_table = header[12]
        self._headers: list[tuple[int, ...]] | None = None

    def _unpack(self, kind: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack(self._order + kind, data)

    def check(self) -> None:
        """Sees that everything that the headers name is there.

        Segments count only in a file without sections: those of a file that holds nothing but debugging information (`objcopy
        --only-keep-debug`) are elsewhere.

        Raises:
            BrokenError: something lies beyond the end.
        """
        headers = self._section_headers()
        for index, (_, kind, _, _, at, size, *_) in enumerate(headers):
            if at + size > self._data.size and kind not in {_NULL, _NO_BITS}:
                raise BrokenError(f"section {index} ends at byte {at + size} of {self._data.size}")
        if not headers:
            self._check_segments()

    def _check_segments(self) -> None:
        at, each, count = self._segment_table
        kind = "IIQQQQQQ" if self._wide else "IIIIIIII"
        if not at or each != struct.calcsize(self._order + kind):
            return
        table = self._data.read(at, each * count, "the table of segments")
        for header in struct.iter_unpack(self._order + kind, table):
            start, size = (header[2], header[5]) if self._wide else (header[1], header[4])
            if start + size > self._data.size:
                raise BrokenError(f"a segment ends at byte {start + size} of {self._data.size}")

    def _section_headers(self) -> list[tuple[int, ...]]:
        """Each section's header: name, type, flags, address, place, size, link, and three more."""
        if self._headers is None:
            self._headers = self._read_section_headers()
        return self._headers

    def _read_section_headers(self) -> list[tuple[int, ...]]:
        at, each, count = self._section_table
        kind = "IIQQQQIIQQ" if self._wide else "IIIIIIIIII"
        if not at:
            return []
        if each != struct.calcsize(self._order + kind):
            raise BrokenError(f"its sections' headers have {each} bytes")
        if not count:  # more than 65,279: the first header has the number in its field for the size
            count = self._unpack(kind, self._data.read(at, each, "the table of sections"))[5]
        table = self._data.read(at, each * count, "the table of sections")
        return list(struct.iter_unpack(self._order + kind, table))

    @property
    def compression_header(self) -> int:
        """Bytes before a compressed section's content."""
        return 24 if self._wide else 12

    def compression(self, content: bytes) -> int:
        """How a compressed section is compressed: `ch_type`; 0 when it says nothing."""
        return self._unpack("I", content[:4])[0] if len(content) >= self.compression_header else 0

    def compressed(self) -> list[Section]:
        """The sections whose content is compressed.

        Raises:
            BrokenError: the tables reach beyond the end.
        """
        headers = self._section_headers()
        return [self._section(index) for index, one in enumerate(headers) if one[2] & SHF_COMPRESSED]

    def holder(self, at: int) -> Section | None:
        """The section that a byte of the file is in, if it is in one.

        Raises:
            BrokenError: the tables reach beyond the end.
        """
        for index, (_, kind, _, _, start, size, *_) in enumerate(self._section_headers()):
            if start <= at < start + size and kind not in {_NULL, _NO_BITS}:
                return self._section(index)
        return None

    def _section(self, index: int) -> Section:
        headers = self._section_headers()
        name, _, flags, address, at, size, *_ = headers[index]
        names = self._names()
        return Section(index, _name(names, name), at, size, address, flags)

    def _names(self) -> bytes:
        headers = self._section_headers()
        place = headers[0][6] if self._name_table == _ELSEWHERE else self._name_table
        return self._content(headers[place]) if place < len(headers) else b""

    def sections(self) -> dict[str, int]:
        """Each section's number, by its name; of several with one name, the first one's."""
        names, found = self._names(), dict[str, int]()
        for index, header in enumerate(self._section_headers()):
            found.setdefault(_name(names, header[0]), index)
        return found

    def _content(self, header: tuple[int, ...]) -> bytes:
        return self._data.read(header[4], header[5], "a section")

    def symbol(self, section: Section, at: int) -> str:
        """The name of the symbol that a byte of a section belongs to, or the nearest before it; "" when none has a name.

        Raises:
            BrokenError: the tables reach beyond the end.
        """
        headers = self._section_headers()
        best, name = -1, ""
        for header in headers:
            if header[1] != _SYMBOLS or header[6] >= len(headers):
                continue
            names = self._content(headers[header[6]])
            for place, kind, index, value in self._symbols(self._content(header)):
                if (
                    index == section.index
                    and best < value <= section.address + at
                    and kind & 0xF not in {_SECTION_SYMBOL, _FILE_SYMBOL}
                    and (found := _name(names, place))
                ):
                    best, name = value, found
        return name

    def _symbols(self, table: bytes) -> Iterator[tuple[int, int, int, int]]:
        """Name, info, section and value of each symbol of a table."""
        kind = "IBBHQQ" if self._wide else "IIIBBH"
        each = struct.calcsize(self._order + kind)
        for fields in struct.iter_unpack(self._order + kind, table[: len(table) // each * each]):
            if self._wide:
                yield fields[0], fields[1], fields[3], fields[4]
            else:
                yield fields[0], fields[3], fields[5], fields[1]


def _name(names: bytes, at: int) -> str:
    end = names.find(b"\0", at)
    return names[at:end].decode("utf-8", "replace") if end > at else ""
