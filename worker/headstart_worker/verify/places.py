"""What an offset in a file is called: a section of an ELF object, a member of an archive, a line of a text."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

_ARCHIVE: Final = b"!<arch>\n"
_HEADER: Final = 60
"""Bytes before each member of an archive, ar(5)."""
_ELF: Final = b"\x7fELF"
_NEWLINE: Final = b"\n"
_TEXT: Final = 8192
"""Bytes without a NUL that make a file a text, as grep has it."""


def name(path: Path, offset: int) -> str:
    """The place of a byte; "" when there is no name for it."""
    data = path.read_bytes()
    if data.startswith(_ARCHIVE):
        return _in_archive(data, offset)
    if data.startswith(_ELF):
        return _in_object(data, offset)
    if b"\0" not in data[:_TEXT]:
        return f"line {1 + data[:offset].count(_NEWLINE)}"
    return ""


def _in_archive(data: bytes, offset: int) -> str:
    at = len(_ARCHIVE)
    names = b""
    while at + _HEADER <= len(data):
        header = data[at : at + _HEADER]
        size = header[48:58].strip()
        if not size.isdigit():
            return ""
        begin, end = at + _HEADER, at + _HEADER + int(size)
        called = header[:16].rstrip()
        if called == b"//":
            names = data[begin:end]
        elif called[:1] == b"/" and called[1:].isdigit():
            called = names[int(called[1:]) :].partition(b"\n")[0]
        shown = {b"/": "the symbol table", b"//": "the table of names"}.get(
            called, f"member {called.removesuffix(b'/').decode(errors='replace')}"
        )
        if offset < begin:
            return f"{shown}, header"
        if offset < end:
            inner = _in_object(data[begin:end], offset - begin) if data.startswith(_ELF, begin) else ""
            return f"{shown}, {inner}" if inner else shown
        at = end + int(size) % 2
    return ""


def _in_object(data: bytes, offset: int) -> str:
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - 38 ms that only a difference costs

    try:
        for section in ELFFile(io.BytesIO(data)).iter_sections():
            begin, size = int(section["sh_offset"]), int(section["sh_size"])
            if section["sh_type"] != "SHT_NOBITS" and begin <= offset < begin + size:
                return f"section {section.name}"
    except Exception:  # noqa: BLE001 - pyelftools raises whatever its parsing trips over; then there is no name
        return ""
    return "between sections"
