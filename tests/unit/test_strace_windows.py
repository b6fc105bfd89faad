"""The judge of sandboxes: every sentence that it lives by, on logs of a few lines."""

from __future__ import annotations

import json

import pytest

from process.strace_lines import calls
from process.strace_windows import Permitted, Streams, Window, judge, windows

STREAMS = Streams("pipe:[1]", "pipe:[2]")
PERMITTED = Permitted(read=("/usr",), write=("/private", "/dev/null"), leads={"/w/s/in.rs": "/w/in.rs"})


def quoted(value: object) -> tuple[str, int]:
    text = json.dumps(value) + "\n"
    return json.dumps(text), len(text)


def asked(number: int = 7, sandbox: str = "s", **more: object) -> str:
    """The worker's read of a request with an input and an output."""
    text, length = quoted(
        {
            "requestId": number,
            "sandboxDir": sandbox,
            "inputs": [{"path": "in.rs"}],
            "arguments": ["--output=out/a", "--early-output=out/b", "--", "x"],
            **more,
        }
    )
    return f"1 read(3<pipe:[1]>, {text}, 65536) = {length}"


def answered(number: int = 7) -> str:
    """The worker's write of a response."""
    text, length = quoted({"requestId": number})
    return f"1 write(4<pipe:[2]>, {text}, {length}) = {length}"


def log(*lines: str) -> list[str]:
    return [f"{pid} 1.000001 {rest}\n" for pid, _, rest in (line.partition(" ") for line in lines)]


def found(*lines: str) -> set[tuple[str, str]]:
    """The violations in a log: kind and path."""
    events = calls(log(*lines), "/w")
    return {(each.kind, each.path) for each in judge(events, windows(events, STREAMS, "/w"), PERMITTED)}


def inside(*lines: str) -> set[tuple[str, str]]:
    """The same, of what happens between a request and its response."""
    return found(asked(), *lines, answered())


def test_a_window_is_from_the_end_of_the_requests_read_to_the_begin_of_the_responses_write() -> None:
    events = calls(
        log(
            "1 read(3<pipe:[1]>,  <unfinished ...>",
            '2 unlink("/private/a") = 0',
            f"1 <... read resumed>{asked().partition('>,')[2]}",
            f"1 {answered()[2:].partition(') = ')[0]} <unfinished ...>",
            '2 unlink("/private/a") = 0',
            f"1 <... write resumed>{answered()[answered().index(') = ') :]}",
        ),
        "/w",
    )
    assert windows(events, STREAMS, "/w") == [
        Window(7, "/w/s", ("/w/s/in.rs",), ("/w/s/out/a", "/w/s/out/b"), 2, 3)
    ]


def test_frames_may_be_cut_and_joined_anywhere() -> None:
    text, both = (json.dumps({"requestId": number, "sandboxDir": "s"}) for number in (5, 6))
    first, second = text[:9], f"{text[9:]}\n{both}"
    events = calls(
        log(
            f"1 read(3<pipe:[1]>, {json.dumps(first)}, 9) = {len(first)}",
            f"1 read(3<pipe:[1]>, {json.dumps(second)}, 99) = {len(second)}",
            answered(6),
            answered(5),
        ),
        "/w",
    )
    ends = [(each.request_id, each.begin, each.end) for each in windows(events, STREAMS, "/w")]
    assert ends == [(5, 1, 3), (6, 1, 2)]


def test_a_request_without_a_response_has_its_window_for_ever() -> None:
    (window,) = windows(calls(log(asked(), answered(8)), "/w"), STREAMS, "/w")
    assert window.is_open
    assert found(asked(), TOUCH) == set()


def test_an_id_that_is_used_again_has_a_window_for_each_request_and_a_cancel_has_none() -> None:
    events = calls(log(asked(), answered(), asked(cancel=True), asked(), answered()), "/w")
    assert [(each.begin, each.end) for each in windows(events, STREAMS, "/w")] == [(0, 1), (3, 4)]


TOUCH = '2 newfstatat(AT_FDCWD</>, "/w/s/in.rs", {st_mode=S_IFREG|0644, ...}, 0) = 0'


@pytest.mark.parametrize("failed", [False, True])
def test_outside_its_windows_nobody_names_a_sandbox(failed: bool) -> None:
    touch = TOUCH.replace("= 0", "= -1 ENOENT (No such file or directory)") if failed else TOUCH
    after = {("after", "/w/s/in.rs")}
    assert found(asked(), touch, answered()) == set()
    assert found(touch, asked(), answered()) == after
    assert found(asked(), answered(), touch) == after
    assert found(asked(), answered(), asked(8, "t"), touch, answered(8)) == after
    assert found(asked(), answered(), asked(8), touch, answered(8)) == set()


@pytest.mark.parametrize(
    "call",
    [
        "close(5</w/s/in.rs>(deleted))",
        "mmap(NULL, 9, PROT_READ, MAP_PRIVATE, 5</w/s/in.rs>, 0)",
        'open("/private/link", O_RDONLY)',
        'unlink("in.rs")',
        'chdir("/w/s/in.rs")',
    ],
)
def test_outside_means_descriptors_links_and_relative_names_too(call: str) -> None:
    result = "5</w/s/in.rs>" if call.startswith("open") else "0"
    assert ("after", "/w/s/in.rs") in found(
        '2 chdir("/w/s") = 0', asked(), answered(), f"2 {call} = {result}"
    )


def test_a_call_on_a_windows_edge_is_outside() -> None:
    begun, ended = (
        '2 openat(AT_FDCWD</>, "/w/s/in.rs", O_RDONLY <unfinished ...>',
        "2 <... openat resumed>) = 5</w/s/in.rs>",
    )
    after = {("after", "/w/s/in.rs")}
    assert found(asked(), begun, answered(), ended) == after
    assert found(begun, asked(), ended, answered()) == after
    assert found(asked(), begun, ended, answered()) == set()
    assert found(asked(), begun, answered(), "2 +++ killed by SIGKILL +++") == after


def test_nobody_is_in_a_sandbox_when_its_response_is_written() -> None:
    went = '2 chdir("/w/s") = 0'
    held = {("held", "/w/s")}
    assert inside(went) == held
    assert inside(went, '2 chdir("/") = 0') == set()
    assert inside(went, "2 +++ exited with 0 +++") == set()
    assert inside("2 fchdir(4</w/s>) = 0") == held


def test_what_is_read_in_a_sandbox_is_declared() -> None:
    def opened(path: str) -> str:
        return f'2 openat(AT_FDCWD</w>, "{path}", O_RDONLY) = 5<{path}>'

    assert inside(opened("/w/s/in.rs")) == set()
    assert inside(opened("/w/s/out/a")) == set()
    assert inside(opened("/w/s/other.rs")) == {("read", "/w/s/other.rs")}
    assert inside(opened("/w/s/in.rs2")) == {("read", "/w/s/in.rs2")}
    assert inside('2 open("/w/s/out", O_RDONLY) = 5</w/s/out>') == {("read", "/w/s/out")}
    assert inside('2 lstat("/w/s", {st_mode=S_IFDIR|0755, ...}) = 0') == set()
    assert inside('2 openat(AT_FDCWD</w>, "/w/s/more", O_RDONLY|O_DIRECTORY) = 5</w/s/more>') == {
        ("read", "/w/s/more")
    }
    assert inside('2 open("/w/s/other.rs", O_RDONLY) = -1 ENOENT (No such file or directory)') == set()


def test_what_is_read_elsewhere_is_known() -> None:
    def opened(path: str, real: str) -> str:
        return f'2 openat(AT_FDCWD</w>, "{path}", O_RDONLY) = 5<{real}>'

    assert inside(opened("/usr/lib/x", "/usr/lib/x")) == set()
    assert inside(opened("/private/x", "/private/x")) == set()
    assert inside(opened("/w/s/in.rs", "/w/in.rs")) == set(), "where a declared link leads"
    assert inside(opened("/w/s/in.rs", "/w/hidden.rs")) == {("read", "/w/hidden.rs")}
    assert inside(opened("/home/x", "/home/x")) == {("read", "/home/x")}
    assert inside(opened("/private/x", "/home/x")) == {("read", "/home/x")}
    assert inside('2 execve("/home/x", ["x"], 0x7f /* 1 var */) = 0') == {("read", "/home/x")}
    assert inside('2 stat("/home/x", {st_mode=S_IFREG|0644, ...}) = 0') == {("read", "/home/x")}
    assert inside('2 stat("/", {st_mode=S_IFDIR|0755, ...}) = 0') == set()
    assert found(asked(), answered(), opened("/w/in.rs", "/w/in.rs")) == {("read", "/w/in.rs")}
    assert inside('2 read(5</home/x>, "a", 9) = 1') == set(), "whoever opened it was judged"


def test_what_is_written_is_an_output_or_private() -> None:
    def made(path: str) -> str:
        return f'2 openat(AT_FDCWD</w>, "{path}", O_WRONLY|O_CREAT, 0666) = 5<{path}>'

    assert inside(made("/w/s/out/a"), made("/w/s/out/b"), made("/private/x"), made("/dev/null")) == set()
    assert inside(made("/w/s/out/c")) == {("write", "/w/s/out/c")}
    assert inside(made("/w/s/in.rs")) == {("write", "/w/s/in.rs")}
    assert inside(made("/usr/x")) == {("write", "/usr/x")}
    assert inside(made("/w/out/a")) == {("write", "/w/out/a")}
    assert inside('2 mkdir("/w/s/out", 0777) = 0') == set()
    assert inside('2 chmod("/w/s/out", 0777) = 0') == {("write", "/w/s/out")}
    assert inside('2 mkdir("/w/s/other", 0777) = 0') == {("write", "/w/s/other")}
    assert inside('2 unlink("/w/s/in.rs") = 0') == {("write", "/w/s/in.rs")}


def test_a_file_that_becomes_an_output_by_rename_may_be_written_beside_it() -> None:
    made = '2 openat(AT_FDCWD</w>, "/w/s/out/.new", O_WRONLY|O_CREAT|O_EXCL, 0666) = 5</w/s/out/.new>'
    look = '2 stat("/w/s/out/.new", {st_mode=S_IFREG|0644, ...}) = 0'
    assert inside(made, look, '2 rename("/w/s/out/.new", "/w/s/out/a") = 0') == set()
    assert inside(made, '2 rename("/w/s/out/.new", "/w/s/out/a") = -1 EXDEV (Invalid cross-device link)') == {
        ("write", "/w/s/out/.new")
    }
    assert ("write", "/w/s/out/.new") in inside(made, '2 rename("/w/s/out/.new", "/w/s/out/c") = 0')


LINKED = '2 linkat(5</w/s>, "in.rs", 6</private/r>, "in.rs", AT_SYMLINK_FOLLOW) = 0'


@pytest.mark.parametrize(
    "call",
    [
        'open("/private/r/in.rs", O_RDWR) = 7</private/r/in.rs>',
        'truncate("/private/r/in.rs", 0) = 0',
        'chmod("/private/r/in.rs", 0600) = 0',
        'write(7</private/r/in.rs>, "x", 1) = 1',
    ],
)
def test_an_input_that_was_linked_is_not_written(call: str) -> None:
    shared = {("shared", "/private/r/in.rs")}
    assert inside(LINKED, f"2 {call}") == shared
    assert found(asked(), LINKED, answered(), f"2 {call}") == shared
    real = LINKED.replace("5</w/s>", "5</w>")
    assert inside(real, f"2 {call}") == shared
    assert inside(LINKED, '2 unlink("/private/r/in.rs") = 0', f"2 {call}") == set()
    assert inside(LINKED, '2 rename("/private/x", "/private/r/in.rs") = 0', f"2 {call}") == set()
    moved = call.replace("/private/r", "/private/moved")
    assert inside(LINKED, '2 rename("/private/r", "/private/moved") = 0', f"2 {moved}") == {
        ("shared", "/private/moved/in.rs")
    }


@pytest.mark.parametrize(
    "published",
    [
        ['link("/private/a", "/w/s/out/a") = 0'],
        ['link("/private/a", "/private/b") = 0', 'rename("/private/b", "/w/s/out/a") = 0'],
    ],
)
def test_an_output_that_was_linked_is_not_written_after_its_response(published: list[str]) -> None:
    lines = [f"2 {call}" for call in published]
    write = '2 write(7</private/a>, "x", 1) = 1'
    assert found(asked(), *lines, write, answered()) == set()
    assert found(asked(), *lines, answered(), write) == {("shared", "/private/a")}
    assert found(asked(), *lines, answered(), '2 unlink("/private/a") = 0') == set()


def test_no_link_leads_into_a_sandbox() -> None:
    assert inside('2 symlink("/w/s/in.rs", "/private/in.rs") = 0') == {("link", "/w/s/in.rs")}
    assert inside('2 symlinkat("../w/s", 5</private>, "s") = 0') == {("link", "/w/s")}
    assert inside('2 symlink("/w/in.rs", "/private/in.rs") = 0') == set()
    assert inside('2 symlink("in.rs", "/w/s/out/a") = 0') == set()
