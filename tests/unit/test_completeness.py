"""Files that were cut off are told from whole ones by their own tables; nothing else is judged, and nothing raises."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart_wrapper.sandbox.binaries import Bytes
from headstart_wrapper.sandbox.completeness import fault
from unit.elf_files import ORDERS, Sections, loadable, member, symbol_table

Fault = Callable[..., str]


@pytest.fixture
def fault_in(tmp_path: Path) -> Iterator[Fault]:
    """Judges bytes as the content of a file."""
    path = tmp_path / "output"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def judge(content: bytes, name: str = "x.o") -> str:
        os.truncate(path, 0)
        os.pwrite(descriptor, content, 0)
        return fault(name, Bytes(descriptor, 0, len(content)))

    yield judge
    os.close(descriptor)


def elf(bits: int = 64, order: str = "<", room: int = 0) -> bytes:
    sections = Sections(bits, order, room)
    sections.add(".text", b"code" * 20)
    sections.add(".bss", b"", kind=8, size=1 << 30)
    sections.add(".rodata", b"text" * 30)
    return sections.file()


MAKERS = (elf, partial(elf, room=9), partial(loadable, content=b"content"))
OBJECT = elf()
ARCHIVE = b"!<arch>\n" + symbol_table(88, 88) + member("a.o/", OBJECT) + member("odd/", b"123")
LONG_NAMES = b"!<arch>\n" + member("//", b"a-name-that-is-long.o/\n") + member("/0", OBJECT)
BSD = b"!<arch>\n" + member("#1/20", b"a-long-name.o".ljust(20, b"\0") + OBJECT)
THIN = (
    b"!<thin>\n"
    + symbol_table(88)
    + member("//", b"dir/a.o/\n")
    + member("/0", b"", size=len(OBJECT))
    + member("b.o/", b"", size=5000)
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("make", MAKERS, ids=["table behind", "table in front", "segments"])
def test_every_cut_of_an_elf_file_is_seen(
    fault_in: Fault, make: Callable[[int, str], bytes], bits: int, order: str
) -> None:
    whole = make(bits, order)
    assert not fault_in(whole)
    assert not fault_in(whole + b"more")
    for size in range(4, len(whole)):
        assert fault_in(whole[:size]), size


def test_the_number_of_very_many_sections_stands_in_the_first(fault_in: Fault) -> None:
    content = bytearray(elf(room=9))
    (count,) = struct.unpack_from("<H", content, 60)
    struct.pack_into("<H", content, 60, 0)
    struct.pack_into("<Q", content, 64 + 32, count)
    assert not fault_in(bytes(content))
    assert fault_in(bytes(content[:-1]))


@pytest.mark.parametrize(
    ("whole", "last"),
    [(ARCHIVE, member("odd/", b"123")), (LONG_NAMES, member("/0", OBJECT)), (BSD, b"")],
    ids=["gnu", "long names", "bsd"],
)
def test_every_cut_of_an_archive_but_between_members_is_seen(
    fault_in: Fault, whole: bytes, last: bytes
) -> None:
    assert not fault_in(whole, "x.a")
    between = len(whole) - len(last)
    unseen = {size for size in range(9, len(whole)) if not fault_in(whole[:size], "x.a")}
    padding = {between - 1, len(whole) - 1}
    assert unseen <= {between} | padding


def test_a_cut_between_members_is_seen_when_symbols_name_one_beyond_it(fault_in: Fault) -> None:
    first = 8 + len(symbol_table(0, 0))
    second = first + len(member("a.o/", OBJECT))
    whole = b"!<arch>\n" + symbol_table(first, second) + member("a.o/", OBJECT) + member("b.o/", OBJECT)
    assert not fault_in(whole)
    assert "names a member at byte" in fault_in(whole[:second])


def test_a_thin_archive_holds_only_tables(fault_in: Fault) -> None:
    assert not fault_in(THIN, "x.a")
    assert fault_in(THIN[:-1], "x.a")
    assert fault_in(THIN[:80], "x.a")


def test_the_member_that_is_cut_off_is_named(fault_in: Fault) -> None:
    cut = b"!<arch>\n" + member("good.o/", OBJECT) + member("cut.o/", OBJECT[:-70])
    assert fault_in(cut, "x.a").startswith("its member cut.o: ")
    names = b"!<arch>\n" + member("//", b"a-name-that-is-long.o/\n") + member("/0", OBJECT[:-70])
    assert fault_in(names, "x.a").startswith("its member a-name-that-is-long.o: ")
    bsd = b"!<arch>\n" + member("#1/20", b"a-long-name.o".ljust(20, b"\0") + OBJECT[:-70])
    assert fault_in(bsd, "x.a").startswith("its member a-long-name.o: ")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "x.d"),
        (b"", "x.rmeta"),  # rustc writes nothing for crates that nothing depends on
        (b"text", "x.txt"),
        (b"rust\0\0\0\x0a", "x.rmeta"),
        (b"/* a linker's script */", "libc.so"),
        (b"!<arch>\n", "x.a"),
        (b"BC\xc0\xde", "x.o"),
        (b"!<arch>\n" + member("/", b"\0\0\0\0") + member("/", b"\1\2\3\4another form"), "x.lib"),
    ],
)
def test_what_is_whole_or_another_thing_is_not_told(fault_in: Fault, content: bytes, name: str) -> None:
    assert not fault_in(content, name)


@pytest.mark.parametrize("name", ["libx.rlib", "libx.a", "x.o", "libx.so"])
def test_an_empty_library_is_told(fault_in: Fault, name: str) -> None:
    assert fault_in(b"", name) == "it is empty"


def test_the_beginning_of_an_archives_magic_is_told(fault_in: Fault) -> None:
    assert fault_in(b"!<arch", "libx.rlib") == "it ends after 6 bytes"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.sampled_from(
        [OBJECT, elf(32, ">"), loadable(64, "<", b"content"), ARCHIVE, LONG_NAMES, BSD, THIN]
    ),
    changes=st.lists(st.tuples(st.integers(0, 1000), st.binary(min_size=1, max_size=9)), max_size=4),
    cut=st.integers(0, 1000),
)
def test_nothing_raises(fault_in: Fault, whole: bytes, changes: list[tuple[int, bytes]], cut: int) -> None:
    content = bytearray(whole)
    for at, new in changes:
        content[at : at + len(new)] = new
    assert isinstance(fault_in(bytes(content[: len(content) - cut])), str)
