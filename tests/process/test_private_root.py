"""A private root on real directories: it holds exactly the inputs, whatever was in it, and what it is linked to is left alone."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headstart_worker.messages import Input
from headstart_worker.private_root import PrivateRoot, Staged
from process.support import PATIENCE, entries

Tree = dict[str, bytes | str | None]
Stamps = dict[str, tuple[int, int]]


def tree(directory: Path) -> Tree:
    """All that is in it: bytes of files, targets of links, None for directories."""
    return {str(path.relative_to(directory)): content(path) for path in sorted(directory.rglob("*"))}


def content(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None


def stamps(directory: Path) -> Stamps:
    return {str(path): (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in directory.rglob("*")}


def inputs(*paths: str, digest: bytes = b"1") -> list[Input]:
    return [Input(path, digest) for path in paths]


class Ground:
    """An execution root, sandboxes that link there as Bazel's do, and a private root."""

    def __init__(self, directory: Path) -> None:
        self.root, self.own = directory / "execroot", directory / "own"
        self.precious = directory / "precious"
        self.root.mkdir()
        self.precious.mkdir()
        (self.precious / "work").write_text("of years")
        self.private = PrivateRoot(str(self.own))
        self._directory, self._sandboxes = directory, 0

    def write(self, path: str, text: str = "right") -> Path:
        """A file of the execution root, made anew as build tools do."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_text(text)
        return place

    def sandbox(self, *paths: str, bring: Callable[[Path, Path], object] = os.symlink) -> Path:
        """A new sandbox, with these brought into it."""
        self._sandboxes += 1
        sandbox = self._directory / f"sandbox-{self._sandboxes}"
        sandbox.mkdir()
        for path in paths:
            place = sandbox / path
            place.parent.mkdir(parents=True, exist_ok=True)
            bring(self.root / path, place)
        return sandbox

    def stage(self, sandbox: Path, *wanted: Input) -> Staged:
        return self.private.stage(str(sandbox), wanted)

    def stage_all(self, *paths: str, digest: bytes = b"1") -> Staged:
        return self.stage(self.sandbox(*paths), *inputs(*paths, digest=digest))


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path)
    yield ground
    assert tree(ground.precious) == {"work": b"of years"}


def relative(source: Path, place: Path) -> None:
    place.symlink_to(os.path.relpath(source, place.parent))


def two_links(source: Path, place: Path) -> None:
    (other := place.with_name(f"{place.name}.other")).symlink_to(source)
    place.symlink_to(other)


def parent(source: Path, place: Path) -> None:
    place.parent.rmdir()
    place.parent.symlink_to(source.parent)


@pytest.mark.parametrize("bring", [os.symlink, os.link, relative, two_links, parent])
@pytest.mark.parametrize("mode", [0o644, 0o444, 0o555])
def test_what_its_host_never_writes_into_is_linked(
    ground: Ground, bring: Callable[[Path, Path], object], mode: int
) -> None:
    source = ground.write("src/lib.rs")
    source.chmod(mode)
    sandbox = ground.sandbox("src/lib.rs", bring=bring)
    assert ground.stage(sandbox, *inputs("src/lib.rs")) == Staged(linked=1)
    staged = ground.own / "src/lib.rs"
    assert staged.lstat().st_ino == source.stat().st_ino
    shutil.rmtree(sandbox)
    assert tree(ground.own) == {"src": None, "src/lib.rs": b"right"}
    assert stat.S_IMODE(source.stat().st_mode) == mode


@pytest.mark.parametrize("link", [False, True])
def test_I8_what_is_the_sandboxs_alone_is_copied_because_its_host_may_write_into_it(
    ground: Ground, *, link: bool
) -> None:
    ground.write("tool", "#!").chmod(0o755)
    sandbox = ground.sandbox("tool", bring=shutil.copy)
    (sandbox / "link").symlink_to(sandbox / "tool")
    path = "link" if link else "tool"
    assert ground.stage(sandbox, *inputs(path)) == Staged(copied=1)
    (sandbox / "tool").write_text("garbage")
    assert tree(ground.own) == {path: b"#!"}
    assert stat.S_IMODE((ground.own / path).stat().st_mode) == 0o755


def test_equal_inputs_again_touch_nothing(ground: Ground) -> None:
    for path in ("a", "b/c", "b/d/e"):
        ground.write(path)
    ground.stage_all("a", "b/c", "b/d/e")
    before, source = stamps(ground.own), stamps(ground.root)
    assert ground.stage_all("a", "b/c", "b/d/e") == Staged(kept=3)
    assert stamps(ground.own) == before
    assert stamps(ground.root) == source


@pytest.mark.parametrize("bring", [os.symlink, shutil.copy])
@pytest.mark.parametrize("digests", [(b"1", b"2"), (b"", b"")])
def test_what_changed_is_brought_again_and_what_is_gone_is_removed(
    ground: Ground, bring: Callable[[Path, Path], object], digests: tuple[bytes, bytes]
) -> None:
    for path in ("same", "changed", "gone/deep/x"):
        ground.write(path, f"first {path}")
    sandbox = ground.sandbox("same", "changed", "gone/deep/x", bring=bring)
    ground.stage(
        sandbox,
        Input("same", digests[0]),
        Input("changed", digests[0]),
        Input("gone/deep/x", digests[0]),
    )
    ground.write("changed", "second changed")
    ground.write("new/y", "second new")
    second = ground.sandbox("same", "changed", "new/y", bring=bring)
    wanted = [Input("same", digests[0]), Input("changed", digests[1]), Input("new/y", digests[1])]
    done = ground.stage(second, *wanted)
    assert tree(ground.own) == {
        "changed": b"second changed",
        "new": None,
        "new/y": b"second new",
        "same": b"first same",
    }
    linked = done.linked + done.copied
    # A copy without a digest is another file each time, as far as can be told.
    assert (linked, done.kept) == ((3, 0) if bring is shutil.copy and not digests[0] else (2, 1))


def test_a_file_may_become_a_directory_and_a_directory_a_file(ground: Ground) -> None:
    ground.write("a")
    ground.write("b/x")
    ground.stage_all("a", "b/x")
    (ground.root / "a").unlink()
    shutil.rmtree(ground.root / "b")
    ground.write("a/x", "inside a")
    ground.write("b", "a file")
    ground.stage_all("a/x", "b")
    assert tree(ground.own) == {"a": None, "a/x": b"inside a", "b": b"a file"}


def test_a_directory_among_the_inputs_is_all_that_is_in_it_each_time(ground: Ground) -> None:
    ground.write("tree/x", "first")
    ground.write("tree/sub/y")
    (ground.root / "tree/empty").mkdir()
    (ground.root / "tree/link").symlink_to(ground.precious)
    (ground.root / "tree/nowhere").symlink_to("not/there")
    for text in ("first", "second"):
        ground.write("tree/x", text)
        ground.stage_all("tree")
        assert tree(ground.own) == {
            "tree": None,
            "tree/empty": None,
            "tree/link": str(ground.precious),
            "tree/nowhere": "not/there",
            "tree/sub": None,
            "tree/sub/y": b"right",
            "tree/x": text.encode(),
        }
    (ground.root / "tree/x").unlink()
    ground.stage_all("tree")
    assert "tree/x" not in tree(ground.own)


def test_what_a_directory_brought_is_brought_again_when_the_directory_is_no_input_any_more(
    ground: Ground,
) -> None:
    ground.write("tree/x")
    ground.write("tree/y")
    ground.stage(ground.sandbox("tree"), *inputs("tree", "tree/x"))
    ground.stage_all("tree/x")
    assert tree(ground.own) == {"tree": None, "tree/x": b"right"}


def test_I8_no_link_leads_back_into_the_sandbox(ground: Ground) -> None:
    ground.write("d/x")
    sandbox = ground.sandbox("d/x", bring=shutil.copy)
    (sandbox / "other").mkdir()
    (sandbox / "other/y").write_text("right")
    for name, target in (
        ("d/to-other", sandbox / "other"),
        ("d/up", Path("../other")),
        ("d/later", sandbox / "later"),
        ("later-too", sandbox / "d/later"),
    ):
        (sandbox / name).symlink_to(target)
    ground.stage(sandbox, *inputs("d", "other/y", "later-too"))
    made = tree(ground.own)
    assert all(str(sandbox) not in target for target in made.values() if isinstance(target, str))
    shutil.rmtree(sandbox)
    assert (ground.own / "d/to-other/y").read_text() == "right"
    assert (ground.own / "d/up/y").read_text() == "right"
    assert (made["d/later"], made["later-too"]) == ("../later", "d/later")


def test_what_is_not_there_is_for_the_compiler_to_miss(ground: Ground) -> None:
    ground.write("file")
    sandbox = ground.sandbox("file")
    (sandbox / "dangling").symlink_to("not/there")
    (sandbox / "loop").symlink_to("loop")
    (sandbox / "loops").mkdir()
    (sandbox / "loops/loop").symlink_to("loop")
    wanted = inputs("file", "dangling", "loop", "loops", "missing", "deep/missing", "file/below")
    for _ in range(2):
        ground.stage(sandbox, *wanted)
        made = tree(ground.own)
        made.pop("deep", None)  # a directory in which nothing is may be there or not
        assert made == {
            "dangling": "not/there",
            "file": b"right",
            "loop": "loop",
            "loops": None,
            "loops/loop": "loop",
        }
    ground.write("missing", "there now")
    ground.stage(ground.sandbox("file", "missing"), *inputs("file", "missing"))
    assert tree(ground.own) == {"file": b"right", "missing": b"there now"}


def test_what_is_outside_stays_there(ground: Ground) -> None:
    ground.write("in")
    sandbox = ground.sandbox("in")
    outside = (str(ground.precious / "work"), "../precious/work", "a/../../precious/work", "..", ".", "a\0b")
    assert ground.stage(sandbox, *inputs("./sub/../in", *outside, "\ud800")) == Staged(linked=1)
    assert tree(ground.own) == {"in": b"right"}


def test_any_name_is_a_name(ground: Ground) -> None:
    names = ["line\nbreak", "-rf", " ", "\udcff\udcfe", "n" * 255, "ünï/cödé", ".hidden", "a//b", "%s"]
    for name in names:
        ground.write(name, name.encode(errors="surrogateescape").hex())
    for _ in range(2):
        ground.stage_all(*names)
        assert {path: made for path, made in tree(ground.own).items() if made is not None} == {
            name.replace("//", "/"): name.encode(errors="surrogateescape").hex().encode() for name in names
        }


def test_what_is_no_file_is_linked_and_never_opened(ground: Ground) -> None:
    sandbox = ground.sandbox()
    os.mkfifo(sandbox / "fifo")
    (sandbox / "null").symlink_to("/dev/null")
    staging = threading.Thread(target=ground.stage, args=(sandbox, *inputs("fifo", "null")))
    staging.start()
    staging.join(PATIENCE)
    stuck = staging.is_alive()
    if stuck:
        os.close(os.open(sandbox / "fifo", os.O_RDWR))
        staging.join()
    assert not stuck
    assert (ground.own / "fifo").is_fifo()
    assert (ground.own / "null").is_char_device()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm, a file system of its own")
def test_across_file_systems_inputs_are_copied_once(ground: Ground, tag: str, tmp_path: Path) -> None:
    other = Path("/dev/shm", tag)
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the tests run in /dev/shm")
    ground.write("a")
    try:
        private = PrivateRoot(str(other))
        for expected in (Staged(copied=1), Staged(kept=1)):
            assert private.stage(str(ground.sandbox("a")), inputs("a")) == expected
            assert tree(other) == {"a": b"right"}
    finally:
        shutil.rmtree(other)


def removed_whole(ground: Ground) -> None:
    shutil.rmtree(ground.own)


def a_file_removed(ground: Ground) -> None:
    (ground.own / "src/a").unlink()


def a_directory_removed(ground: Ground) -> None:
    shutil.rmtree(ground.own / "src")


def a_file_replaced(ground: Ground) -> None:
    (ground.own / "src/a").unlink()
    (ground.own / "src/a").write_text("wrong")


def a_file_replaced_by_a_directory(ground: Ground) -> None:
    (ground.own / "src/a").unlink()
    (ground.own / "src/a/b").mkdir(parents=True)


def a_file_replaced_by_a_link(ground: Ground) -> None:
    (ground.own / "src/a").unlink()
    (ground.own / "src/a").symlink_to(ground.precious / "work")


def a_file_more(ground: Ground) -> None:
    (ground.own / "src/deep/more").write_text("wrong")


def a_directory_more(ground: Ground) -> None:
    (ground.own / "out/deep").mkdir(parents=True)
    (ground.own / "out/deep/more").write_text("wrong")


def a_link_more(ground: Ground) -> None:
    (ground.own / "more").symlink_to(ground.precious)


def a_directory_replaced_by_a_link(ground: Ground) -> None:
    shutil.rmtree(ground.own / "src")
    (ground.own / "src").symlink_to(ground.precious)


def the_root_replaced_by_a_link(ground: Ground) -> None:
    shutil.rmtree(ground.own)
    ground.own.symlink_to(ground.precious)


def the_root_replaced_by_a_file(ground: Ground) -> None:
    shutil.rmtree(ground.own)
    ground.own.write_text("wrong")


def directories_swapped(ground: Ground) -> None:
    (ground.own / "src/deep").rename(ground.own / "away")
    (ground.own / "src").rename(ground.own / "src2")
    (ground.own / "away").rename(ground.own / "src")


def files_swapped(ground: Ground) -> None:
    (ground.own / "src/a").rename(ground.own / "src/x")
    (ground.own / "src/deep/b").rename(ground.own / "src/a")
    (ground.own / "src/x").rename(ground.own / "src/deep/b")


def a_copy_written_into(ground: Ground) -> None:
    (ground.own / "copy").write_text("wrong")


def a_copy_of_a_directorys_written_into(ground: Ground) -> None:
    (ground.own / "copies/y").write_text("wrong")


DAMAGES = (
    removed_whole,
    a_file_removed,
    a_directory_removed,
    a_file_replaced,
    a_file_replaced_by_a_directory,
    a_file_replaced_by_a_link,
    a_file_more,
    a_directory_more,
    a_link_more,
    a_directory_replaced_by_a_link,
    the_root_replaced_by_a_link,
    the_root_replaced_by_a_file,
    directories_swapped,
    files_swapped,
    a_copy_written_into,
    a_copy_of_a_directorys_written_into,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_I13_damage_costs_time_and_not_correctness(ground: Ground, damage: Callable[[Ground], None]) -> None:
    for path in ("src/a", "src/deep/b", "copy", "copies/y"):
        ground.write(path, path[-1])

    def staged() -> Staged:
        sandbox = ground.sandbox("src/a", "src/deep/b")
        shutil.copy(ground.root / "copy", sandbox / "copy")
        shutil.copytree(ground.root / "copies", sandbox / "copies")
        return ground.stage(sandbox, *inputs("src/a", "src/deep/b", "copy", "copies"))

    staged()
    damage(ground)
    staged()
    expected = tree(ground.own)
    assert expected == {
        "copies": None,
        "copies/y": b"y",
        "copy": b"y",
        "src": None,
        "src/a": b"a",
        "src/deep": None,
        "src/deep/b": b"b",
    }
    # The same again: it was not right by chance.
    staged()
    assert tree(ground.own) == expected


def test_I13_a_root_that_could_not_be_made_is_made_from_nothing(ground: Ground) -> None:
    ground.write("a")
    ground.write("z", "longer than a file may be")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sandbox = ground.sandbox("a", "z", bring=shutil.copy)
    for _ in range(2):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
                ground.stage(sandbox, *inputs("a", "z"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ground.stage(sandbox, *inputs("a", "z"))
    assert tree(ground.own) == {"a": b"right", "z": b"longer than a file may be"}


NOBODY = 65534


def ordinary_user(act: Callable[[], bool], *directories: Path) -> bool:
    """What an act says that is done by somebody for whom permissions count; the directories are his."""
    for directory in [above for each in directories for above in each.parents]:
        if not directory.stat().st_mode & stat.S_IXOTH:
            if directory.stat().st_uid != os.geteuid():
                pytest.skip(f"other users may not look into {directory}")
            directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            if os.geteuid() == 0:
                for directory in directories:
                    os.chown(directory, NOBODY, NOBODY)
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            code = 0 if act() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def close_directories(root: Path) -> None:
    """What a compiler may leave that protects its own files."""
    (root / "cache/module").mkdir(parents=True)
    (root / "cache/module/x").touch(mode=0o444)
    (root / "cache/module").chmod(0o555)
    (root / "cache").chmod(0)


def test_I13_directories_that_a_compiler_closed_are_no_obstacle(ground: Ground, tmp_path: Path) -> None:
    ground.write("a")
    sandbox = ground.sandbox("a")

    def stage_after_that() -> bool:
        for _ in range(2):
            ground.stage(sandbox, *inputs("a"))
            close_directories(ground.own)
        ground.stage(sandbox, *inputs("a"))
        return tree(ground.own) == {"a": b"right"}

    assert ordinary_user(stage_after_that, tmp_path)


def test_what_a_directory_brings_is_whole_when_some_of_it_was_there(ground: Ground) -> None:
    ground.write("tree/x")
    ground.write("tree/sub/y")
    ground.stage_all("tree/x", "tree/sub/y")
    (ground.root / "away").mkdir()
    (ground.root / "away/y").write_text("right")
    shutil.rmtree(ground.root / "tree/sub")
    (ground.root / "tree/sub").symlink_to("../away")
    ground.write("tree/z")
    ground.stage(ground.sandbox("tree"), *inputs("tree", "tree/x", "tree/sub/y"))
    assert entries(ground.own / "tree") == ["sub", "x", "z"]
    ground.stage_all("tree/x")
    assert tree(ground.own) == {"tree": None, "tree/x": b"right"}
    assert tree(ground.root / "away") == {"y": b"right"}
