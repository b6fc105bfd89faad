"""The reading of strace's log that judges sandboxes: halves, directories, and which paths a call names."""

from __future__ import annotations

import pytest

from process.strace_lines import Call, Exit, Name, Role, calls, raw_calls


def read(*lines: str, cwd: str = "/w") -> list[Call]:
    """The calls of a log; a line without a thread is of thread 1."""
    numbered = (line if line[:1].isdigit() else f"1 {line}" for line in lines)
    stamped = (f"{pid} 1.000001 {rest}\n" for pid, _, rest in (line.partition(" ") for line in numbered))
    return [event for event in calls(stamped, cwd) if isinstance(event, Call)]


def names(line: str, cwd: str = "/w") -> list[tuple[str, Role]]:
    """What one call names."""
    (call,) = read(line, cwd=cwd)
    return [(name.path, name.role) for name in call.names()]


def test_halves_of_a_call_are_joined_and_span_what_came_between() -> None:
    first, second = read(
        '1 openat(AT_FDCWD</w>, "a b", O_RDONLY <unfinished ...>',
        '2 unlink("x") = 0',
        "1 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---",
        "1 <... openat resumed>) = 3</w/a b>",
    )
    assert (first.name, first.began, first.ended) == ("unlink", 1, 1)
    assert (second.name, second.began, second.ended) == ("openat", 0, 3)
    assert list(second.names()) == [Name("/w/a b", Role.READ)] * 2


def test_a_call_that_its_process_did_not_survive_is_there_and_failed() -> None:
    killed, ended = raw_calls(['7 1.0 unlink("x" <unfinished ...>\n', "7 1.1 +++ killed by SIGKILL +++\n"])
    assert isinstance(killed, Call)
    assert killed.failed
    assert (killed.args, killed.ended) == (('"x"',), 1)
    assert ended == Exit(7, 1)


def test_what_is_no_log_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2 is not strace's"):
        list(raw_calls(["7 1.0 close(3) = 0\n", "strace: Process 8 attached\n"]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('openat(AT_FDCWD</w>, "../a", O_RDONLY) = 3</b>', [("/a", Role.READ), ("/b", Role.READ)]),
        ('openat(AT_FDCWD</w>, "a", O_RDONLY|O_DIRECTORY) = 3</w/a>', [("/w/a", Role.DIRECTORY)] * 2),
        ('openat(AT_FDCWD</w>, "a", O_RDONLY|O_PATH) = 3</w/a>', [("/w/a", Role.LOOK)] * 2),
        ('open("a", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</w/a>', [("/w/a", Role.WRITE)] * 2),
        (
            'openat2(3</d>, "a", {flags=O_RDWR, resolve=0}, 24) = -1 ENOENT (No such file)',
            [("/d", Role.TOUCH), ("/d/a", Role.WRITE)],
        ),
        (
            'newfstatat(3</d>, "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0',
            [("/d", Role.TOUCH), ("/d", Role.LOOK)],
        ),
        ('lstat("a/b", {st_mode=S_IFDIR|0755, ...}) = 0', [("/w/a/b", Role.DIRECTORY)]),
        (
            'statx(AT_FDCWD</w>, "a", 0, STATX_ALL, {stx_mode=S_IFDIR|0755, ...}) = 0',
            [("/w/a", Role.DIRECTORY)],
        ),
        ('readlink("a", "/target, not named", 4096) = 7', [("/w/a", Role.LOOK)]),
        ('execve("/bin/x", ["x", "/not/named"], 0x7ffd /* 9 vars */) = 0', [("/bin/x", Role.READ)]),
        (
            'renameat(3</d>, "a", AT_FDCWD</w>, "b") = 0',
            [("/d", Role.TOUCH), ("/d/a", Role.WRITE), ("/w/b", Role.WRITE)],
        ),
        ('link("a", "b") = 0', [("/w/a", Role.READ), ("/w/b", Role.WRITE)]),
        ('symlink("/not/named", "b") = 0', [("/w/b", Role.WRITE)]),
        ('write(3</w/a>, "/not/named", 10) = 10', [("/w/a", Role.WRITE)]),
        ('read(3</w/a>, "text, \\"more\\") = 3", 4096) = 5', [("/w/a", Role.TOUCH)]),
        ("copy_file_range(3</a>, NULL, 4</b>, NULL, 9, 0) = 9", [("/a", Role.TOUCH), ("/b", Role.WRITE)]),
        ("mmap(NULL, 9, PROT_READ, MAP_PRIVATE, 3</a>, 0) = 0x7f00", [("/a", Role.TOUCH)]),
        ("mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 3</a>, 0) = 0x7f00", [("/a", Role.WRITE)]),
        ("close(3</w/a>(deleted)) = 0", [("/w/a", Role.TOUCH)]),
        ('stat(AT_FDCWD</w (deleted)>, "a", {...}) = 0', [("/w/a", Role.LOOK)]),
        ("close(3<pipe:[77]>) = 0", []),
        ('memfd_create("name", 0) = 3</memfd:name (deleted)>', []),
        (r'unlink("\303\244\"\n") = 0', [('/w/ä"\n', Role.WRITE)]),
    ],
)
def test_the_paths_that_a_call_names(line: str, expected: list[tuple[str, Role]]) -> None:
    assert names(line) == expected


def test_a_thread_is_where_it_went_and_its_threads_with_it() -> None:
    found = read(
        "1 clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD, exit_signal=0}, 88) = 2",
        '2 chdir("sub") = 0',
        '1 unlink("a") = 0',
        '1 chdir("absent") = -1 ENOENT (No such file or directory)',
        "1 fchdir(4</elsewhere>) = 0",
        '2 unlink("a") = 0',
    )
    assert [call.cwd for call in found if call.name == "unlink"] == ["/w/sub", "/elsewhere"]


def test_a_process_starts_where_its_parent_was_and_goes_its_own_way() -> None:
    # The child's lines come before that of the vfork that made it: its parent waits.
    found = read(
        '1 chdir("sub") = 0',
        "1 vfork( <unfinished ...>",
        '2 unlink("a") = 0',
        '2 chdir("/elsewhere") = 0',
        "1 <... vfork resumed>) = 2",
        '1 unlink("a") = 0',
        '2 unlink("a") = 0',
        "2 +++ exited with 0 +++",
        "1 unshare(CLONE_FS) = 0",
        "1 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 2",
        '2 unlink("a") = 0',
    )
    assert [call.cwd for call in found if call.name == "unlink"] == [
        "/w/sub",
        "/w/sub",
        "/elsewhere",
        "/w/sub",
    ]


def test_straces_own_word_on_a_directory_wins() -> None:
    # Somebody renamed it: no call of this thread told.
    found = read(
        'chdir("sub") = 0', 'newfstatat(AT_FDCWD</w/other>, "", {...}, AT_EMPTY_PATH) = 0', 'unlink("a") = 0'
    )
    assert found[-1].cwd == "/w/other"
    assert (found[0].cwd, found[0].then) == ("/w", "/w/sub")


def test_what_was_moved_is_told_whole_or_not_at_all() -> None:
    whole, cut = read(r'read(0<pipe:[1]>, "a\0\377\"", 9) = 4', 'read(0<pipe:[1]>, "abc"..., 9000) = 9000')
    assert whole.data() == b'a\0\xff"'
    with pytest.raises(ValueError, match="larger -s"):
        cut.data()
