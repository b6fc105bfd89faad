"""Metadata in archives: found where it is, and one clear sentence for everything that is broken."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart_wrapper.elf import MetadataError, agree, embedded_metadata, metadata_of

METADATA = b"rust\0\0\0\x0a" + bytes(range(256)) + b"rust-end-file"


def member(name: str, data: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode()
    return header + data + b"\n" * (len(data) % 2)


def archive(*members: bytes) -> bytes:
    return b"!<arch>\n" + member("/", b"\0\0\0\0") + b"".join(members)


def elf(content: bytes, name: bytes = b".rmeta") -> bytes:
    """An ELF64 object file with one section of a name, and the table of names."""
    names = b"\0" + name + b"\0.shstrtab\0"
    at = 64
    sections = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 0x80000000, 0, at, len(content), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", len(name) + 2, 3, 0, 0, at + len(content), len(names), 0, 0, 1, 0)
    end = at + len(content) + len(names)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 1, 62, 1, 0, 0, end, 0, 64, 0, 0, 64, 3, 2)
    return header + content + names + sections


GOOD = archive(member("lib.rmeta/", elf(METADATA)), member("x.rcgu.o/", b"object"))


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        archive(member("odd/", b"123"), member("lib.rmeta/", METADATA)),
        archive(
            member("//", b"a-long-name.o/\nlib.rmeta/\n"), member("/0", b"x"), member("/15", elf(METADATA))
        ),
    ],
    ids=["elf", "raw", "long names"],
)
def test_embedded_metadata(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "libx.rlib"
    path.write_bytes(content)
    early = tmp_path / "libx.rmeta"
    early.write_bytes(METADATA)
    assert embedded_metadata(str(path)) == metadata_of(str(path)) == metadata_of(str(early)) == METADATA
    assert agree(str(early), str(path))
    early.write_bytes(METADATA[:-1])
    assert not agree(str(early), str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\x7fELF", "neither Rust metadata"),
        (b"!<arch>\n", "without lib.rmeta"),
        (archive(member("other/", b"x")), "without lib.rmeta"),
        (GOOD[:200], "truncated"),
        (GOOD[:75], "no member header at byte 72"),
        (GOOD[:100], "no member header at byte 72"),
        (archive(b"x" * 60), "no member header"),
        (archive(member("/99999", b"x")), "without lib.rmeta"),
        (archive(member("lib.rmeta/", b"junk")), "neither ELF nor raw"),
        (archive(member("lib.rmeta/", b"\x7fELF")), "corrupt ELF"),
        (archive(member("lib.rmeta/", elf(METADATA, b".other"))), "no .rmeta section"),
        (archive(member("lib.rmeta/", elf(b"else"))), "holds no Rust metadata"),
    ],
)
def test_broken_files_are_told_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "libx.rlib"
    path.write_bytes(content)
    with pytest.raises(MetadataError, match=message) as caught:
        metadata_of(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 70


def test_missing_file_and_not_an_archive(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="No such file"):
        metadata_of(str(tmp_path / "missing"))
    with pytest.raises(MetadataError, match="No such file"):
        embedded_metadata(str(tmp_path / "missing"))
    (tmp_path / "raw").write_bytes(METADATA)
    with pytest.raises(MetadataError, match="no archive"):
        embedded_metadata(str(tmp_path / "raw"))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6),
    end=st.integers(0, len(GOOD)) | st.just(len(GOOD)),
)
def test_I9_damage_never_raises_anything_else(tmp_path: Path, flips: list[tuple[int, int]], end: int) -> None:
    damaged = bytearray(GOOD)
    for at, value in flips:
        damaged[at] = value
    path = tmp_path / "libx.rlib"
    path.write_bytes(damaged[:end])
    with contextlib.suppress(MetadataError):
        assert metadata_of(str(path)).startswith(b"rust\0\0\0")
