"""What a traced job did is held to what it declared; whatever the log is."""

from __future__ import annotations

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.records import evolve
from headstart_wrapper.sandbox.accesses import Observed
from headstart_wrapper.sandbox.declared import Declared
from headstart_wrapper.sandbox.observed import Free, denials, findings
from headstart_wrapper.sandbox.strace_log import Event, events
from headstart_wrapper.sandbox.verdict import Kind

LINKS = {"/job/link": "/store/file", "/job/linked": "/store/directory", "/view": "/job"}
"""The symbolic links of the file system that these tests think of."""


def resolve(path: str) -> str:
    assert not path.startswith("/proc/self"), "who asks is another process"
    resolved = "/"
    for name in path.split("/"):
        resolved = posixpath.normpath(posixpath.join(resolved, name))
        resolved = LINKS.get(resolved, resolved)
    return resolved


def read(*lines: str) -> list[Event]:
    return list(events("\n".join(lines).encode(), "/job"))


DECLARED = Declared(
    directory="/job",
    inputs=("/job/a.c", "/job/include"),
    search=("/job/search", "/far/search"),
    outputs=(("/job/out/a.o", "/job/out/a.o"),),
    writable=("/scratch",),
)
FREE = Free(read=("/usr", "/proc"), listed=("/toolchains",), write=("/dev/null",))


def found(*lines: str, declared: Declared = DECLARED, unused: bool = False) -> list[tuple[Kind, str]]:
    seen = Observed(read(*lines), resolve)
    return [(each.kind, each.path) for each in findings(seen, declared, FREE, unused=unused)]


def opened(path: str, *, pid: int = 1, flags: str = "O_RDONLY", real: str = "") -> str:
    return f'{pid} openat(AT_FDCWD</job>, "{path}", {flags}) = 3<{real or posixpath.join("/job", path)}>'


def absent(path: str, pid: int = 1) -> str:
    return f'{pid} openat(AT_FDCWD</job>, "{path}", O_RDONLY) = -1 ENOENT (No such file or directory)'


def test_everything_declared_is_no_finding() -> None:
    assert not found(
        '1 execve("/usr/bin/cc", ["cc"], 0x1 /* 2 vars */) = 0',
        opened("a.c"),
        opened("include/deep/b.h"),
        opened("/proc/self/maps"),
        '1 readlink("/proc/self/exe", "/usr/bin/cc", 1023) = 11',
        opened("/dev/null", flags="O_RDWR"),
        opened("/scratch/x", flags="O_WRONLY|O_CREAT"),
        '1 mkdir("out", 0777) = 0',
        opened("out/a.o", flags="O_RDWR|O_CREAT|O_TRUNC"),
        opened("out/a.o"),
        "1 getdents64(3</job/search>, 0x55 /* 2 entries */, 32768) = 48",
        "1 getdents64(3</toolchains>, 0x55 /* 2 entries */, 32768) = 48",
        "1 getdents64(3</usr/lib>, 0x55 /* 2 entries */, 32768) = 48",
        absent("/elsewhere/x"),
        absent("include/c.h"),
        absent("out/a.o"),
        unused=True,
    )


def test_reads_and_writes_beyond_the_declaration_are_told_with_the_program() -> None:
    lines = [
        '1 execve("/usr/bin/cc", ["cc"], 0x1 /* 2 vars */) = 0',
        opened("b.c"),
        opened("/opt/x.h"),
        opened("new", flags="O_WRONLY|O_CREAT"),
        opened("a.c", flags="O_RDWR"),
        '1 unlink("/job/old") = 0',
        '1 execve("/opt/tool", ["tool"], 0x1 /* 2 vars */) = 0',
    ]
    seen = Observed(read(*lines), resolve)
    assert [(each.kind.value, each.path, each.detail) for each in findings(seen, DECLARED, FREE)] == [
        ("undeclared-read", "/opt/tool", "executed by tool"),
        ("undeclared-read", "/opt/x.h", "read by cc"),
        ("undeclared-read", "b.c", "read by cc"),
        ("undeclared-write", "a.c", "written by cc"),
        ("undeclared-write", "new", "written by cc"),
        ("undeclared-write", "old", "removed by cc"),
    ]


def test_links_are_judged_by_every_name_and_by_where_they_lead() -> None:
    linked = evolve(DECLARED, inputs=("/job/link", "/job/linked", "/view/d.c"))
    assert not found(
        opened("/store/file"),
        opened("/store/directory/x"),
        opened("d.c"),
        opened("/job/link", real="/store/file"),
        declared=linked,
        unused=True,
    )
    assert found(opened("link", real="/store/file")) == [(Kind.UNDECLARED_READ, "link")]
    assert found(opened("/usr/share/x", real="/var/x")) == []
    assert found(opened("sub/../include/x", real="/job/include/x")) == []


def test_of_a_descriptors_name_counts_where_it_leads() -> None:
    assert found(opened("/proc/self/fd/3", real="/job/b.c")) == [(Kind.UNDECLARED_READ, "b.c")]
    assert not found(opened("/dev/fd/3", real="/job/a.c"))


def test_what_the_job_makes_and_removes_is_temporary() -> None:
    assert not found(
        opened("/tmp/cc1.s", flags="O_RDWR|O_CREAT|O_EXCL"),
        opened("/tmp/cc1.s"),
        '1 unlink("/tmp/cc1.s") = 0',
        '1 mkdir("tmp", 0777) = 0',
        opened("tmp/x", flags="O_WRONLY|O_CREAT"),
        "1 getdents64(3</job/tmp>, 0x55 /* 2 entries */, 32768) = 48",
        absent("tmp/not"),
        '1 rename("tmp/x", "out/a.o") = 0',
        '1 rmdir("tmp") = 0',
    )


def test_a_moved_directory_takes_what_is_in_it_along() -> None:
    lines = [
        '1 mkdir("working", 0777) = 0',
        opened("working/x", flags="O_WRONLY|O_CREAT"),
        '1 rename("working", "done") = 0',
    ]
    assert found(*lines) == [(Kind.UNDECLARED_WRITE, "done"), (Kind.UNDECLARED_WRITE, "done/x")]
    assert not found(*lines, '1 unlink("done/x") = 0', '1 rmdir("done") = 0')


def test_what_was_there_before_is_not_temporary() -> None:
    assert found('1 access("x", R_OK) = 0', opened("x", flags="O_WRONLY|O_CREAT"), '1 unlink("x") = 0') == [
        (Kind.UNDECLARED_WRITE, "x")
    ]
    assert found('1 rename("x", "out/a.o") = 0') == [(Kind.UNDECLARED_WRITE, "x")]


def test_a_directory_that_is_opened_is_not_read() -> None:
    assert not found(opened("/far"), opened("/far/search"), '1 access("/far/search/x", R_OK) = 0')
    assert found(opened("/far"), "1 getdents64(3</far>, 0x55 /* 2 entries */, 32768) = 48") == [
        (Kind.UNDECLARED_LISTING, "/far")
    ]


def test_absent_files_count_where_they_could_change_something() -> None:
    assert found(
        absent("b.h"),
        absent("/far/search/b.h"),
        absent("/elsewhere/b.h"),
        absent("/usr/include/b.h"),
        absent("nothing"),
        absent("nothing/deep/b.h"),
        '1 readlink("c.h", 0x7ffd, 1023) = -1 EINVAL (Invalid argument)',
        '1 unlink("gone") = -1 ENOENT (No such file or directory)',
        '1 rename("gone", "out/a.o") = -1 ENOENT (No such file or directory)',
        absent("later"),
        '1 mkdir("later", 0777) = 0',
        '1 rmdir("later") = 0',
    ) == [
        (Kind.UNDECLARED_PROBE, "/far/search/b.h"),
        (Kind.UNDECLARED_PROBE, "b.h"),
        (Kind.UNDECLARED_PROBE, "nothing"),
    ]


def test_connections_are_told_whatever_became_of_them() -> None:
    inet = (
        "1 connect(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(%s)}, 16) = %s"
    )
    unix = '1 connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="%s"}, 110) = %s'
    assert found(
        inet % ('"1.2.3.4"', "-1 ECONNREFUSED (Connection refused)"),
        unix % ("/run/nscd", "-1 ENOENT (No such file or directory)"),
        unix % ("/run/daemon", "0"),
        unix % ("/scratch/socket", "0"),
    ) == [(Kind.NETWORK, "1.2.3.4:80"), (Kind.NETWORK, "unix:/run/daemon")]


def test_unused_inputs_are_told_on_request() -> None:
    lines = ['1 access("a.c", R_OK) = 0', absent("include/x.h")]
    assert found(*lines, unused=True) == [(Kind.UNUSED_INPUT, "include")]
    assert not found(*lines)


def test_a_private_directory_is_spelled_as_the_declaration_does() -> None:
    private = evolve(DECLARED, directory="/state/r1", spellings=(("/state/r1", "/job"),))
    assert found(opened("/state/r1/b.c"), declared=private) == [(Kind.UNDECLARED_READ, "/job/b.c")]


def test_denials_name_what_was_refused_or_hidden() -> None:
    refused = "-1 EACCES (Permission denied)"
    lines = [
        '1 execve("/usr/bin/cc", ["cc"], 0x1 /* 2 vars */) = 0',
        f'1 openat(AT_FDCWD</job>, "b.h", O_RDONLY) = {refused}',
        f'1 openat(AT_FDCWD</job>, "/etc/x", O_WRONLY|O_CREAT, 0666) = {refused}',
        f'1 openat(AT_FDCWD</job>, "sub", O_RDONLY|O_DIRECTORY) = {refused}',
        f'1 access("looked-at", R_OK) = {refused}',
        absent("hidden.h"),
        absent("nowhere.h"),
        f'1 connect(3<socket:[1]>, {{sa_family=AF_INET, sin_port=htons(8), sin_addr=inet_addr("::")}}, 16) = {refused}',
        opened("a.c"),
    ]
    seen = Observed(read(*lines), resolve)
    told = denials(seen, DECLARED, exists=lambda path: path == "/job/hidden.h")
    assert {each.kind for each in told} == {Kind.DENIED}
    assert [(each.path, each.detail) for each in told] == [
        ("/etc/x", "writing by cc was refused"),
        (":::8", "the connection by cc was refused"),
        ("b.h", "reading by cc was refused"),
        ("hidden.h", "reading by cc failed: it is hidden"),
        ("sub", "reading by cc was refused"),
    ]
    assert "--output=/etc/x" in told[0].remedy
    assert "--input=b.h" in told[2].remedy


# Any bytes at all

LOG = "\n".join(
    [
        '1 execve("/usr/bin/cc", ["cc", "a\\"b"], 0x1 /* 2 vars */) = 0',
        "1 clone3({flags=CLONE_VM|CLONE_FS} => {parent_tid=[2]}, 88 <unfinished ...>",
        opened("a\\303\\266.c", pid=2),
        "1 <... clone3 resumed>) = 2",
        '1 renameat2(3</d>, "a", AT_FDCWD</job>, "b", 0) = 0',
        '1 connect(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("1.2.3.4")}, 16) = 0',
        "1 getdents64(3</d>, 0x55 /* 2 entries */, 32768) = 48",
        absent("x"),
    ]
).encode()


def judge(log: bytes) -> None:
    seen = Observed(events(log, "/job"), resolve)
    findings(seen, DECLARED, FREE, unused=True)
    denials(seen, DECLARED, exists=lambda _: True)


@given(st.integers(0, len(LOG)), st.integers(0, len(LOG)), st.binary(max_size=12))
def test_a_log_that_is_cut_or_overwritten_anywhere_raises_nothing(cut: int, at: int, written: bytes) -> None:
    judge((LOG[:at] + written + LOG[at + len(written) :])[:cut])


LINE_PARTS = st.sampled_from(
    (
        *(
            "1 ",
            "2 ",
            "open(",
            "rename(",
            "chdir(",
            "clone(",
            '"',
            "a",
            "/",
            "..",
            "\\",
            "303",
            "<",
            ">",
            ", ",
        ),
        *(
            "AT_FDCWD",
            "O_RDONLY",
            ") = ",
            "3",
            "-1 ENOENT",
            " <unfinished ...>",
            "<... open resumed>",
            "\n",
            "é",
        ),
    )
)


@given(st.lists(LINE_PARTS, max_size=40))
def test_parts_of_lines_in_any_order_raise_nothing(parts: list[str]) -> None:
    judge("".join(parts).encode())
