"""strace's lines become events."""

from __future__ import annotations

import pytest

from headstart_wrapper.sandbox.strace_log import Event, Use, events


def read(*lines: str) -> list[Event]:
    return list(events("\n".join(lines).encode(), "/job"))


def opened(path: str, *, pid: int = 1) -> str:
    return f'{pid} openat(AT_FDCWD</job>, "{path}", O_RDONLY) = 3</job/{path}>'


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('1 open("a", O_RDONLY) = 3</job/a>', Event(Use.READ, "/job/a", real="/job/a")),
        ('1 openat(5</d>, "a", O_RDONLY) = 3</d/a>', Event(Use.READ, "/d/a", real="/d/a")),
        (
            '1 openat2(AT_FDCWD</d>, "a", {flags=O_WRONLY, resolve=0}, 24) = 3</d/a>',
            Event(Use.WRITE, "/d/a", real="/d/a"),
        ),
        ('1 creat("a", 0666) = 3</job/a>', Event(Use.CREATE, "/job/a", real="/job/a")),
        ('1 open("a", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</job/a>', Event(Use.CREATE, "/job/a", real="/job/a")),
        ('1 open("/d", O_RDONLY|O_DIRECTORY) = 3</d>', Event(Use.LOOK, "/d", real="/d")),
        ('1 open("/d", O_RDONLY|O_PATH) = 3</d>', Event(Use.LOOK, "/d", real="/d")),
        ('1 open("/d", O_RDWR|O_TMPFILE, 0600) = 3</d/#12>(deleted)', Event(Use.LOOK, "/d", real="/d/#12")),
        (
            '1 access("a", R_OK)      = -1 ENOENT (No such file or directory)',
            Event(Use.LOOK, "/job/a", error="ENOENT"),
        ),
        (
            '1 readlink("a", 0x7ffd, 1023) = -1 EINVAL (Invalid argument)',
            Event(Use.LOOK, "/job/a", error="EINVAL"),
        ),
        (
            '1 newfstatat(3</d/a>, "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0',
            Event(Use.LOOK, "/d/a"),
        ),
        ("1 utimensat(3</d/a>, NULL, NULL, 0) = 0", Event(Use.WRITE, "/d/a")),
        ("1 getdents64(3</d>, 0x55 /* 2 entries */, 32768) = 48", Event(Use.LIST, "/d")),
        ('1 rename("a", "b") = 0', Event(Use.MOVE, "/job/b", source="/job/a")),
        (
            '1 renameat2(3</d>, "a", AT_FDCWD</job>, "b", RENAME_NOREPLACE) = 0',
            Event(Use.MOVE, "/job/b", source="/d/a"),
        ),
        ('1 symlinkat("a", 3</d>, "b") = 0', Event(Use.SYMLINK, "/d/b", source="/job/a")),
        ('1 unlinkat(3</d>, "a", 0) = 0', Event(Use.REMOVE, "/d/a")),
        ('1 execve("/bin/x", ["x", "a"], 0x1 /* 2 vars */) = 0', Event(Use.EXECUTE, "/bin/x", program="x")),
        (
            '1 connect(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("1.2.3.4")}, 16) = -1 EINPROGRESS (x)',
            Event(Use.CONNECT, "1.2.3.4:80", error="EINPROGRESS"),
        ),
        (
            '1 bind(3<socket:[1]>, {sa_family=AF_INET6, sin6_port=htons(8), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
            Event(Use.BIND, "[::1]:8"),
        ),
        (
            '1 connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path=@"x"}, 6) = 0',
            Event(Use.CONNECT, "unix:@x"),
        ),
    ],
)
def test_a_line_is_an_event(line: str, event: Event) -> None:
    assert read(line) == [event]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "garbage",
        "1 +++ exited with 0 +++",
        "1 --- SIGCHLD {si_signo=SIGCHLD} ---",
        '1 open("a", O_RDONLY) = ?',
        '1 open("a", O_RDONLY <unfinished ...>',
        "1 <... open resumed>) = 3</job/a>",
        "1 connect(3<socket:[1]>, {sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}, 12) = 0",
        '1 write(1, "open(\\"a\\", O_RDONLY) = 3", 24) = 24',
        "strace: Process 12 attached",
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert read(line) == []


def test_names_are_read_as_strace_writes_them() -> None:
    line = r'1 open("n\303\266\1<x>\"q) = 3\n\\.h", O_RDONLY) = 3</job/n\303\266\1\74x\76"q) = 3\n\\.h>'
    name = '/job/nö\x01<x>"q) = 3\n\\.h'
    assert read(line) == [Event(Use.READ, name, real=name)]
    assert read(r'1 access("\377", R_OK) = 0')[0].path == "/job/\udcff"


def test_a_call_that_others_interrupt_is_put_together() -> None:
    lines = ['1 open("a", O_RDONLY <unfinished ...>', opened("b", pid=2), "1 <... open resumed>) = 3</job/a>"]
    assert [event.path for event in read(*lines)] == ["/job/b", "/job/a"]


@pytest.mark.parametrize(
    ("fork", "place"),
    [
        ("clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f)", "/job/sub/a"),
        ("vfork()", "/job/sub/a"),
        ("clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD, exit_signal=0}, 88)", "/job/sub/deep/a"),
    ],
)
def test_a_directory_is_followed_through_forks_and_shared_by_threads(fork: str, place: str) -> None:
    begun, end = fork[:-1], fork[-1]
    lines = [
        '1 chdir("sub") = 0',
        '1 chdir("nowhere") = -1 ENOENT (No such file or directory)',
        f"1 {begun} <unfinished ...>",
        '2 access("first", R_OK) = 0',
        f"1 <... {fork.partition('(')[0]} resumed>{end} = 2",
        '1 chdir("deep") = 0',
        '2 access("a", R_OK) = 0',
        "2 fchdir(3</other>) = 0",
        '2 access("b", R_OK) = 0',
    ]
    looks = [event.path for event in read(*lines) if event.use is Use.LOOK]
    assert looks == ["/job/sub/first", place, "/other/b"]


def test_the_program_is_known_and_inherited() -> None:
    lines = [
        '1 execve("/usr/bin/cc", ["cc"], 0x1 /* 2 vars */) = 0',
        "1 vfork( <unfinished ...>",
        '2 execve("/none/as", ["as"], 0x1 /* 2 vars */) = -1 ENOENT (No such file or directory)',
        opened("a", pid=2),
        '2 execve("/usr/bin/as", ["as"], 0x1 /* 2 vars */) = 0',
        "1 <... vfork resumed>) = 2",
        opened("b", pid=2),
    ]
    assert [event.program for event in read(*lines) if event.use is Use.READ] == ["cc", "as"]
