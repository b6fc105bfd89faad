"""Which names of a compilation unit hold a directory: `DW_AT_comp_dir` and `DW_AT_name`, read with pyelftools.

Only the first unit of an object file is asked, and a few of a linked file. pyelftools would apply every relocation of an object file's
debugging information before it reads one name, which takes longer than many a compilation; here only those of the two names are. And it
would make an object of each section to find one by its name, of which C++ has thousands; here they are told.
"""

from __future__ import annotations

import io
import os
from itertools import islice

from elftools.elf.elffile import ELFFile

from headstart_wrapper.hints import TYPE_CHECKING, Final, final
from headstart_wrapper.sandbox.binaries import Bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NAMES: Final = ("DW_AT_comp_dir", "DW_AT_name")
_STRINGS: Final = {"DW_FORM_strp": ".debug_str", "DW_FORM_line_strp": ".debug_line_str"}
_MOST_UNITS: Final = 16  # of a linked file: they are alike
_MOST_BYTES: Final = 1 << 26  # of an object file that is read whole; larger ones go without


@final
class _Elf(ELFFile):
    """A file whose sections are known by name."""

    def __init__(self, file: Any, sections: Mapping[str, int]) -> None:
        self._known = sections
        super().__init__(file)

    def get_section_by_name(self, name: str) -> Any:
        """See `ELFFile`."""
        return self.get_section(self._known[name]) if name in self._known else None

    def has_section(self, section_name: str) -> bool:
        """See `ELFFile`."""
        return section_name in self._known


def attributes_with(data: Bytes, place: bytes, sections: Mapping[str, int]) -> list[str]:
    """The names of a compilation unit that begin with a directory; none when that cannot be told.

    Args:
        data: an ELF file.
        place: the directory.
        sections: the file's sections, by name.
    """
    try:
        if data.start == 0:
            with os.fdopen(os.dup(data.descriptor), "rb") as file:
                return _attributes(_Elf(file, sections), place)
        if data.size <= _MOST_BYTES:
            return _attributes(_Elf(io.BytesIO(data.read(0, data.size, "it")), sections), place)
    except Exception:  # noqa: BLE001 - pyelftools raises whatever its parsing trips over, and this only adorns a message
        return []
    return []


def _attributes(elf: Any, place: bytes) -> list[str]:
    relocatable = elf.header.e_type == "ET_REL"
    units = elf.get_dwarf_info(relocate_dwarf_sections=False).iter_CUs()
    for unit in islice(units, 1 if relocatable else _MOST_UNITS):
        top = unit.get_top_DIE().attributes
        found = [
            name
            for name in _NAMES
            if name in top and _text(elf, top[name], relocatable=relocatable).startswith(place)
        ]
        if found:
            return found
    return []


def _text(elf: Any, attribute: Any, *, relocatable: bool) -> bytes:
    """An attribute's text: in an object file its place in the strings' section is the relocation's to say."""
    section = _STRINGS.get(attribute.form)
    if not relocatable or section is None:
        return bytes(attribute.value)
    at = attribute.raw_value
    relocations = elf.get_section_by_name(".rela.debug_info")
    if relocations is not None:
        at = next(
            (
                one["r_addend"]
                for one in relocations.iter_relocations()
                if one["r_offset"] == attribute.offset
            ),
            at,
        )
    strings = elf.get_section_by_name(section).data()
    return bytes(strings[at : strings.index(b"\0", at)])
