"""ELF files and archives of any kind, made byte by byte."""

from __future__ import annotations

import struct
import zlib
from typing import Final

ORDERS: Final = ("<", ">")
ALLOC, COMPRESSED = 0x2, 0x800
_HEADER = {64: "HHIQQQIHHHHHH", 32: "HHIIIIIHHHHHH"}
_SECTION = {64: "IIQQQQIIQQ", 32: "IIIIIIIIII"}
_SYMBOL = {64: "IBBHQQ", 32: "IIIBBH"}


class Sections:
    """An object file's sections, in the order in which they are added; the table of them is at its end, or has room at its beginning."""

    def __init__(self, bits: int = 64, order: str = "<", room: int = 0) -> None:
        self.bits, self.order = bits, order
        self.header_size = struct.calcsize("<16s" + _HEADER[bits])
        self.room = room * struct.calcsize(order + _SECTION[bits])
        self.start = self.header_size + self.room
        self.body = b""
        self.names = b"\0"
        self.table = [self._header(0, 0)]

    def _header(
        self, name: int, kind: int, *, flags: int = 0, at: int = 0, size: int = 0, link: int = 0
    ) -> bytes:
        return struct.pack(self.order + _SECTION[self.bits], name, kind, flags, 0, at, size, link, 0, 1, 0)

    def add(
        self,
        name: str,
        content: bytes,
        *,
        kind: int = 1,
        flags: int = 0,
        link: int = 0,
        size: int | None = None,
    ) -> int:
        """Adds one; returns its number."""
        at = self.start + len(self.body)
        size = len(content) if size is None else size
        self.table.append(self._header(len(self.names), kind, flags=flags, at=at, size=size, link=link))
        self.names += name.encode() + b"\0"
        self.body += content
        return len(self.table) - 1

    def add_compressed(self, name: str, content: bytes, how: int = 1) -> None:
        """Adds one that is compressed."""
        header = struct.pack(
            self.order + ("IIQQ" if self.bits == 64 else "III"),
            *((how, 0, len(content), 1) if self.bits == 64 else (how, len(content), 1)),
        )
        self.add(name, header + zlib.compress(content), flags=COMPRESSED)

    def add_symbols(self, *symbols: tuple[str, int, int]) -> None:
        """Adds a table of objects: (name, section, value)."""
        names, table = b"\0", b""
        for name, section, value in symbols:
            at, info = len(names), 1
            fields = (at, info, 0, section, value, 1) if self.bits == 64 else (at, value, 1, info, 0, section)
            table += struct.pack(self.order + _SYMBOL[self.bits], *fields)
            names += name.encode() + b"\0"
        strings = self.add(".strtab", names, kind=3)
        self.add(".symtab", table, kind=2, link=strings)

    def file(self) -> bytes:
        """The whole file."""
        names = self.add(".shstrtab", b"", kind=3)
        at = self.start + len(self.body)
        name = len(self.names) - len(".shstrtab") - 1
        self.table[names] = self._header(name, 3, at=at, size=len(self.names))
        body = self.body + self.names
        table = b"".join(self.table)
        if self.room:
            return header(self, names, self.header_size, len(self.table)) + table.ljust(self.room) + body
        return header(self, names, self.start + len(body), len(self.table)) + body + table


def header(
    kind: Sections,
    names: int,
    table: int,
    count: int,
    *,
    segments: int = 0,
    segments_at: int = 0,
    number_of_segments: int = 0,
) -> bytes:
    """An ELF file's first bytes."""
    wide = kind.bits == 64
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if kind.order == "<" else 2, 1]) + bytes(9)
    each = struct.calcsize(kind.order + _SECTION[kind.bits]) if table else 0
    rest = (
        1,
        62,
        1,
        0,
        segments_at,
        table,
        0,
        kind.header_size,
        segments,
        number_of_segments,
        each,
        count,
        names,
    )
    return ident + struct.pack(kind.order + _HEADER[kind.bits], *rest)


def loadable(bits: int, order: str, content: bytes) -> bytes:
    """An ELF file without sections: one segment."""
    kind = Sections(bits, order)
    each = struct.calcsize(order + ("IIQQQQQQ" if bits == 64 else "IIIIIIII"))
    at = kind.start + each
    fields = (
        (1, 4, at, 0, 0, len(content), len(content), 1)
        if bits == 64
        else (1, at, 0, 0, len(content), len(content), 4, 1)
    )
    segment = struct.pack(order + ("IIQQQQQQ" if bits == 64 else "IIIIIIII"), *fields)
    return (
        header(kind, 0, 0, 0, segments=each, segments_at=kind.start, number_of_segments=1) + segment + content
    )


def member(name: str, data: bytes, size: int | None = None) -> bytes:
    """An archive's member."""
    size = len(data) if size is None else size
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n".encode() + data + b"\n" * (len(data) % 2)


def symbol_table(*places: int) -> bytes:
    """GNU's table of symbols, which names members by their places."""
    return member("/", struct.pack(f">{len(places) + 1}L", len(places), *places) + b"symbol\0" * len(places))
