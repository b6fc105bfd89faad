"""What a view is planned to hold: decided from rules and from what is on a disk, here a disk of our own invention."""

from __future__ import annotations

from typing import Final

import pytest

from headstart_wrapper.errors import RequestError
from headstart_wrapper.sandbox import view
from headstart_wrapper.sandbox.landlock import Rules
from headstart_wrapper.sandbox.mounts import View

Disk = dict[str, str | bool]

DISK: Final[Disk] = {
    "/proc": True,
    "/proc/self": "12",
    "/proc/12": True,
    "/proc/12/fd": True,
    "/proc/12/fd/0": "/store/b",
    "/usr": True,
    "/usr/lib": True,
    "/usr/lib/libc.so": "libc.so.6",
    "/usr/lib/libc.so.6": False,
    "/lib": "usr/lib",
    "/w": True,
    "/w/in": True,
    "/w/in/a": False,
    "/w/in/b": False,
    "/w/in/sub": True,
    "/w/in/sub/c": False,
    "/w/link": "/store/a",
    "/w/up": "in/../other/file",
    "/w/other": True,
    "/w/other/file": False,
    "/w/dangling": "nothing",
    "/w/loop": "loop",
    "/w/dir": "in",
    "/w/out": True,
    "/w/out/old": False,
    "/store": True,
    "/store/a": "b",
    "/store/b": False,
}


def planned(
    *read: str,
    listed: tuple[str, ...] = (),
    write: tuple[str, ...] = (),
    directory: str = "/w",
    disk: Disk = DISK,
) -> View:
    return view.plan(Rules(read=read, list=listed, write=write), directory, disk.get)


def test_a_declared_file_is_mounted_on_a_file_in_an_empty_directory() -> None:
    assert planned("/w/in/a") == ("/w", ("/proc", "/w", "/w/in"), (), ("/w/in/a",), ("/proc", "/w/in/a"), ())


def test_a_whole_directory_is_one_mount_and_brings_what_is_below() -> None:
    _, made, links, files, readable, _ = planned("/w/in/a", "/w/in", "/w/in/sub", "/w/in/sub/c")
    assert made == ("/proc", "/w", "/w/in")
    assert (links, files) == ((), ())
    assert readable == ("/proc", "/w/in")


def test_what_does_not_exist_is_left_out_with_its_directory_there() -> None:
    _, made, links, files, readable, writable = planned("/w/in/none", "/none/x", write=("/w/none",))
    assert made == ("/proc", "/w", "/w/in")
    assert (links, files, readable, writable) == ((), (), ("/proc",), ())


def test_a_link_and_what_it_leads_to_are_both_there() -> None:
    _, made, links, files, readable, _ = planned("/w/link")
    assert links == (("/store/a", "b"), ("/w/link", "/store/a"))
    assert files == ("/store/b",)
    assert readable == ("/proc", "/store/b")
    assert "/store" in made


def test_a_link_on_the_way_is_there() -> None:
    _, made, links, files, _, _ = planned("/lib/libc.so", "/w/dir/a")
    assert links == (("/lib", "usr/lib"), ("/usr/lib/libc.so", "libc.so.6"), ("/w/dir", "in"))
    assert files == ("/usr/lib/libc.so.6", "/w/in/a")
    assert set(made) >= {"/usr", "/usr/lib", "/w/in"}


def test_a_link_that_goes_up_finds_the_directory_that_it_goes_up_from() -> None:
    _, made, _, files, _, _ = planned("/w/up")
    assert "/w/in" in made
    assert files == ("/w/other/file",)


def test_a_link_in_a_whole_directory_is_there_with_it() -> None:
    _, _, links, files, readable, _ = planned("/usr/lib", "/lib/libc.so")
    assert links == (("/lib", "usr/lib"),)
    assert files == ()
    assert readable == ("/proc", "/usr/lib")


def test_a_link_to_nothing_is_there_and_leads_to_nothing() -> None:
    _, _, links, files, readable, _ = planned("/w/dangling")
    assert links == (("/w/dangling", "nothing"),)
    assert (files, readable) == ((), ("/proc",))


def test_a_link_that_tools_are_found_by_is_there_without_what_it_leads_to() -> None:
    _, made, links, files, readable, _ = view.plan(Rules(), "/w", DISK.get, links=["/w/link", "/w/none"])
    assert links == (("/store/a", "b"), ("/w/link", "/store/a"))
    assert set(made) >= {"/w", "/store"}
    assert (files, readable) == ((), ("/proc",))


def test_links_in_a_circle_end() -> None:
    _, _, links, files, _, _ = planned("/w/loop")
    assert (links, files) == ((("/w/loop", "loop"),), ())


def test_outputs_are_mounted_writable_also_in_a_directory_that_is_only_read() -> None:
    _, made, _, files, readable, writable = planned("/w", write=("/w/out",))
    assert made == ("/proc", "/w")
    assert files == ()
    assert readable == ("/proc", "/w")
    assert writable == ("/w/out",)


def test_what_is_read_and_written_is_writable() -> None:
    disk = DISK | {"/dev": True, "/dev/null": False}
    _, made, _, files, readable, writable = planned("/w/out", write=("/w/out", "/dev/null"), disk=disk)
    assert "/w/out" in made
    assert files == ("/dev/null",)
    assert readable == ("/proc",)
    assert writable == ("/dev/null", "/w/out")


def test_an_input_below_a_writable_directory_is_there_with_it() -> None:
    _, _, _, files, readable, writable = planned("/w/out/old", write=("/w/out", "/w"))
    assert (files, readable, writable) == ((), ("/proc",), ("/w",))


def test_a_directory_to_be_listed_is_there_with_nothing_but_what_is_declared() -> None:
    _, made, _, files, readable, _ = planned("/w/in/a", listed=("/w/in", "/w/other"))
    assert set(made) >= {"/w/in", "/w/other"}
    assert files == ("/w/in/a",)
    assert readable == ("/proc", "/w/in/a")


def test_the_directory_of_the_job_is_there() -> None:
    directory, made, *_ = planned(directory="/w/dir")
    assert directory == "/w/dir"
    assert set(made) >= {"/w", "/w/in"}


def test_proc_is_there_whole_because_its_links_are_different_for_each_process() -> None:
    _, _, links, files, readable, _ = planned("/proc/self/maps", "/proc/self/fd/0", "/proc/none")
    assert (links, files, readable) == ((), (), ("/proc",))


def test_devices_and_their_links_are_always_there() -> None:
    disk = {"/proc": True, "/w": True, "/dev": True, "/dev/null": False, "/dev/sda": False}
    links = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0"}
    _, _, made_links, files, readable, _ = planned(disk=disk | links)
    assert made_links == tuple(links.items())
    assert files == ("/dev/null",)
    assert readable == ("/dev/null", "/proc")


def test_parents_come_first() -> None:
    disk: Disk = dict.fromkeys(("/a", "/a/b", "/a/b/c", "/a-b", "/a-b/c", "/w"), True)
    _, made, _, _, readable, writable = planned("/a", "/a-b/c", write=("/a/b", "/a/b/c"), disk=disk)
    assert made.index("/a-b") < made.index("/a-b/c")
    assert readable == ("/a", "/a-b/c")
    assert writable == ("/a/b",)


@pytest.mark.parametrize("path", ["/", "//", "/w/..", "/.", "/w/../usr/.."])
@pytest.mark.parametrize("writes", [False, True])
def test_everything_is_nothing_to_hide(path: str, *, writes: bool) -> None:
    with pytest.raises(RequestError, match="--sandbox=enforce"):
        planned(*(() if writes else (path,)), write=(path,) if writes else ())


def test_each_place_is_looked_at_once() -> None:
    seen: list[str] = []

    def look(path: str) -> str | bool | None:
        seen.append(path)
        return DISK.get(path)

    view.plan(Rules(read=("/w/in/a", "/w/in/b", "/w/in/sub/c", "/lib/libc.so", "/lib/libc.so.6")), "/w", look)
    assert len(seen) == len(set(seen))
