"""The metadata inside a Rust library, read with pyelftools; and whether it is the metadata that dependents saw.

An `.rlib` is an `ar` archive whose member `lib.rmeta` is an ELF object with a section `.rmeta`; that section holds
byte for byte what the same run wrote as `.rmeta` file. Older compilers, and targets that are not ELF, put the raw
metadata into the member. Nothing in here looks into the metadata itself, which is rustc's own business.

Equal bytes are the right question in every mode: a run killed at its early output, a run to the end, and the two runs
of the `-Zno-codegen` mode write equal metadata for a deterministic crate, given equal `--emit`, environment and options.

pyelftools is imported where it is used: it costs every other start 38 ms.
"""

from __future__ import annotations

import io

from headstart_wrapper.errors import InterfaceChangedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_ARCHIVE = b"!<arch>\n"
_HEADER = 60  # ar(5): name 16, date 12, uid 6, gid 6, mode 8, size 10, and two bytes of magic
_HEADER_END = b"`\n"
_MEMBER = b"lib.rmeta"
_SECTION = ".rmeta"
_RAW = b"rust\0\0\0"  # one more byte follows: the version of the metadata's format
_ELF = b"\x7fELF"


class MetadataError(InterfaceChangedError):
    """A file does not hold the metadata that it should: it is missing, truncated, corrupt or something else."""


def metadata_of(path: str) -> bytes:
    """Return a crate's metadata: an `.rmeta` file's content, or what an `.rlib` embeds. The content decides which.

    Raises:
        MetadataError: there is none, or the file cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - without pathlib
            if file.read(len(_ARCHIVE)) == _ARCHIVE:
                return _embedded(file, path)
            file.seek(0)
            content = file.read()
    except OSError as error:
        raise MetadataError(f"cannot read {path}: {error.strerror}") from error
    if not content:
        raise MetadataError(
            f"{path} is empty: rustc writes empty metadata for crates that nothing can depend on"
        )
    if not content.startswith(_RAW):
        raise MetadataError(f"{path} is neither Rust metadata nor an archive that holds some")
    return content


def embedded_metadata(path: str) -> bytes:
    """Return the metadata that an `.rlib` embeds.

    Raises:
        MetadataError: it is no archive, embeds none, or cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - without pathlib
            if file.read(len(_ARCHIVE)) != _ARCHIVE:
                raise MetadataError(f"{path} is no archive, so it embeds no Rust metadata")
            return _embedded(file, path)
    except OSError as error:
        raise MetadataError(f"cannot read {path}: {error.strerror}") from error


def agree(early: str, final: str) -> bool:
    """Tell whether two files (`.rmeta` or `.rlib` each) hold the same metadata, byte for byte.

    Raises:
        MetadataError: one of them holds none.
    """
    return metadata_of(early) == metadata_of(final)


def _embedded(file: BinaryIO, path: str) -> bytes:
    """Return the metadata in an archive whose magic has been read."""
    member = _member(file, path)
    if member.startswith(_RAW):
        return member
    if not member.startswith(_ELF):
        raise MetadataError(f"the {_MEMBER.decode()} of {path} is neither ELF nor raw metadata")
    content = _section(member, path)
    if not content.startswith(_RAW):
        raise MetadataError(f"the {_SECTION} section in {path} holds no Rust metadata")
    return content


def _member(file: BinaryIO, path: str) -> bytes:
    """Return the archive's `lib.rmeta`, reading headers only on the way to it."""
    end = file.seek(0, io.SEEK_END)
    at = len(_ARCHIVE)
    long_names = b""
    while at < end:
        file.seek(at)
        header = file.read(_HEADER)
        if len(header) < _HEADER or header[58:] != _HEADER_END or not header[48:58].strip().isdigit():
            raise MetadataError(f"{path} is a corrupt archive: no member header at byte {at}")
        size = int(header[48:58])
        at += _HEADER
        if size > end - at:
            raise MetadataError(f"{path} is truncated: a member of {size} bytes begins at byte {at} of {end}")
        name = header[:16].rstrip()
        if name == b"//":
            long_names = file.read(size)
        elif _full_name(name, long_names) == _MEMBER:
            return file.read(size)
        at += size + size % 2  # members begin at even bytes
    raise MetadataError(
        f"{path} is an archive without {_MEMBER.decode()}: not a Rust library, or a truncated one"
    )


def _full_name(name: bytes, long_names: bytes) -> bytes:
    """Return a member's name: GNU's archives end it with a slash, or give its place in a table of long names."""
    if name[:1] == b"/" and name[1:].isdigit():
        name = long_names[int(name[1:]) :].partition(b"\n")[0]
    return name.removesuffix(b"/")


def _section(member: bytes, path: str) -> bytes:
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - see the module's docstring

    try:
        section = ELFFile(io.BytesIO(member)).get_section_by_name(_SECTION)
        content = b"" if section is None else bytes(section.data())
        size = 0 if section is None else int(section.data_size)
    except Exception as error:  # pyelftools raises whatever its parsing trips over
        raise MetadataError(f"the metadata of {path} is a corrupt ELF file: {error}") from error
    if section is None:
        raise MetadataError(f"the metadata of {path} has no {_SECTION} section")
    if len(content) != size:
        raise MetadataError(f"the metadata of {path} is truncated: {len(content)} bytes of {size}")
    return content
