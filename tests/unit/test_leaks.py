"""Directories in outputs are found wherever they stand, and told by the part of the file that holds them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headstart_wrapper.sandbox.binaries import Bytes
from headstart_wrapper.sandbox.leaks import Leak, leaks
from unit.elf_files import ALLOC, ORDERS, Sections, member

CHUNK = 1 << 20

Search = Callable[..., tuple[list[Leak], list[str]]]


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    path = tmp_path / "output"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def searched(content: bytes, *places: str) -> tuple[list[Leak], list[str]]:
        os.truncate(path, 0)
        os.pwrite(descriptor, content, 0)
        return leaks(Bytes(descriptor, 0, len(content)), places)

    yield searched
    os.close(descriptor)


def test_text_is_told_by_line(search: Search) -> None:
    content = b'one\ntwo "/state/roots/1/src/a.c" x\n/state/roots/1\n'
    assert search(content, "/state/roots/1") == (
        [Leak("/state/roots/1", "in line 2", 2, "/state/roots/1/src/a.c")],
        [],
    )


def test_bytes_are_told_by_place(search: Search) -> None:
    assert search(b"rust\0\0\0\x0a\x16/state/roots/1/src/a.rs\xc1", "/state/roots/1") == (
        [Leak("/state/roots/1", "at byte 9", 1, "/state/roots/1/src/a.rs")],
        [],
    )


def test_the_longest_directory_counts(search: Search) -> None:
    found, _ = search(b"/home/u/w/a /home/u/b", "/home/u", "/home/u/w", "/home/u/w/")
    assert [(leak.place, leak.count) for leak in found] == [("/home/u/w", 1), ("/home/u", 1)]


def test_a_short_directory_is_no_part_of_another_path(search: Search) -> None:
    found, _ = search(b"/rootfs a/root/b /root.x \0/root\0 /root/a '/root/b' chroot /root", "/root")
    assert [(leak.place, leak.count) for leak in found] == [("/root", 4)]


@pytest.mark.parametrize("places", [(), ("/",), ("",)])
def test_no_directory_is_no_search(search: Search, places: tuple[str, ...]) -> None:
    assert search(b"/ /a", *places) == ([], [])


@pytest.mark.parametrize("place", ["/state/roots/1", "/root"])
@pytest.mark.parametrize("shift", [-20, -14, -5, -4, -2, -1, 0, 1])
def test_a_path_across_two_chunks_is_found_once(search: Search, place: str, shift: int) -> None:
    before = bytes(CHUNK + shift)
    found, _ = search(before + f"{place}/a".encode() + bytes(9), place)
    assert found == [Leak(place, f"at byte {CHUNK + shift}", 1, f"{place}/a")]


def test_what_stands_before_a_chunk_counts_for_a_short_directory(search: Search) -> None:
    assert search(b"x" * CHUNK + b"/root/a", "/root") == ([], [])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [32, 64])
def test_elf_files_are_told_by_section_and_symbol(search: Search, bits: int, order: str) -> None:
    sections = Sections(bits, order)
    sections.add(".text", b"/w/x in code, without a symbol", flags=ALLOC)
    data = sections.add(".rodata.str", b"other\0/w/x/one\0/w/x/two", flags=ALLOC)
    sections.add(".comment", b"/w/x")
    sections.add_compressed(".debug_line", b"much " * 100 + b"/w/x/deep")
    sections.add_symbols(("OTHER", data, 0), ("ONE", data, 6), ("TWO", data, 15), ("ELSE", 1, 6))
    object_file = sections.file()
    expected = [
        Leak("/w/x", "in .text{}", 1, "/w/x"),
        Leak("/w/x", "in .rodata.str{} (symbol ONE)", 2, "/w/x/one"),
        Leak("/w/x", "in .comment{}", 1, "/w/x"),
        Leak("/w/x", "in .debug_line{}", 1, "/w/x/deep"),
    ]

    def of(name: str) -> list[Leak]:
        return [Leak(one.place, one.where.format(name), one.count, one.sample) for one in expected]

    assert search(object_file, "/w/x") == (of(""), [])
    archive = b"!<arch>\n" + member("raw/", b"text") + member("a.o/", object_file)
    assert search(archive, "/w/x") == (of(" of a.o"), [])


def test_members_without_sections_are_told_by_place(search: Search) -> None:
    archive = (
        b"!<arch>\n" + member("lib.rmeta/", b"rust\0\0\0\x0a/w/x/a\0") + member("b.o/", Sections().file())
    )
    assert search(archive, "/w/x") == ([Leak("/w/x", "at byte 76", 1, "/w/x/a")], [])


def test_sections_of_the_same_kind_are_told_together(search: Search) -> None:
    sections = Sections()
    for number in range(3):
        sections.add(f".rodata.L{number}", f"/w/x/{number}\0".encode(), flags=ALLOC)
    assert search(sections.file(), "/w/x") == ([Leak("/w/x", "in .rodata.L0", 3, "/w/x/0")], [])


def test_what_cannot_be_read_is_said(search: Search) -> None:
    sections = Sections()
    sections.add_compressed(".debug_str", b"/w/x", how=2)
    sections.add(".debug_line", b"\1\0\0\0" + bytes(20) + b"no zlib", flags=0x800)
    cut = zlib.compress(b"much /w/x " * 50)[:-2]
    sections.add(".debug_info", b"\1\0\0\0" + bytes(20) + cut, flags=0x800)
    assert search(sections.file(), "/w/x") == (
        [],
        [f".debug_{what} is compressed in a way that is not read here" for what in ("str", "line", "info")],
    )
