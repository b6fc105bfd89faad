"""Outputs appear whole, by rename, and never under a reader's feet."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headstart_wrapper import outputs
from headstart_wrapper.errors import RequestError


@pytest.fixture
def private(tmp_path: Path) -> Path:
    file = tmp_path / "private"
    file.write_bytes(b"content")
    file.chmod(0o754)
    return file


@pytest.mark.parametrize("link", [True, False])
def test_publishing_replaces_and_keeps_the_private_file(tmp_path: Path, private: Path, link: bool) -> None:
    target = tmp_path / "new/dir/out"
    for old in (None, b"old"):
        if old:
            target.unlink()
            target.write_bytes(old)
        outputs.publish(str(private), str(target), link=link)
        assert target.read_bytes() == b"content"
        assert target.stat().st_mode & 0o777 == 0o754
        assert (target.stat().st_ino == private.stat().st_ino) is link
        assert [entry.name for entry in target.parent.iterdir()] == ["out"]
    assert private.read_bytes() == b"content"


def test_a_reader_of_the_older_file_keeps_it(tmp_path: Path, private: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"older")
    with target.open("rb") as reader:
        outputs.publish(str(private), str(target), link=True)
        assert reader.read() == b"older"


def test_texts_are_rewritten_on_their_way(tmp_path: Path, private: Path) -> None:
    outputs.publish(str(private), str(tmp_path / "out"), link=True, rewrite=bytes.upper)
    assert (tmp_path / "out").read_bytes() == b"CONTENT"
    assert private.read_bytes() == b"content"


def test_another_file_system_gets_a_copy(private: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == private.stat().st_dev:
        pytest.skip("there is no second file system")
    target = shared / f"headstart-test-{os.getpid()}"
    try:
        outputs.publish(str(private), str(target), link=True)
        assert target.read_bytes() == b"content"
        assert target.stat().st_mode & 0o777 == 0o754
    finally:
        target.unlink(missing_ok=True)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, private: Path) -> None:
    with pytest.raises(FileNotFoundError):
        outputs.publish(str(tmp_path / "none"), str(tmp_path / "out/x"), link=False)
    (tmp_path / "out/taken").mkdir()
    with pytest.raises(IsADirectoryError):
        outputs.publish(str(private), str(tmp_path / "out/taken"), link=True)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["taken"]


def test_what_is_published_again_leaves_one_name(tmp_path: Path, private: Path) -> None:
    target = tmp_path / "out/x"
    before = sorted(tmp_path.iterdir())
    for _ in range(3):
        outputs.publish(str(private), str(target), link=True)
    assert [entry.name for entry in target.parent.iterdir()] == ["x"]
    assert sorted(tmp_path.iterdir()) == sorted([*before, target.parent])


@pytest.mark.parametrize("link", [True, False])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path, private: Path, link: bool) -> None:
    target = tmp_path / ("x" * 255)
    outputs.publish(str(private), str(target), link=link)
    assert target.read_bytes() == b"content"


def test_two_workers_whose_process_ids_are_equal_do_not_meet(tmp_path: Path, private: Path) -> None:
    # As in two containers, or after one that was killed half-way: nothing of a temporary name comes again.
    program = (
        "import os; from headstart_wrapper import outputs; os.getpid = lambda: 7\n"
        "import sys; os.replace = lambda old, new: (print(os.path.basename(old)), os._exit(0))\n"
        "outputs.publish(sys.argv[1], sys.argv[2], link=False)"
    )
    names = []
    for _ in range(2):
        command = (sys.executable, "-u", "-c", program, str(private), str(tmp_path / "out"))
        names.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert len({*names}) == 2


def test_a_worker_killed_while_it_links_leaves_nothing_beside_the_target(
    tmp_path: Path, private: Path
) -> None:
    program = (
        "import os, sys; from headstart_wrapper import outputs\n"
        "os.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        "outputs.publish(sys.argv[1], sys.argv[2], link=True)"
    )
    target = tmp_path / "out/x"
    command = (sys.executable, "-c", program, str(private), str(target))
    assert subprocess.run(command, check=False).returncode == -9
    assert list(target.parent.iterdir()) == []


def test_a_file_system_that_is_full_leaves_the_older_file_whole(tmp_path: Path, private: Path) -> None:
    private.write_bytes(b"x" * 100_000)
    target = tmp_path / "out/x"
    target.parent.mkdir()
    target.write_bytes(b"older")
    program = (
        "import resource, sys; from headstart_wrapper import outputs\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "outputs.publish(sys.argv[1], sys.argv[2], link=False)"
    )
    command = (sys.executable, "-c", program, str(private), str(target))
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "File too large" in ended.stderr
    assert [entry.name for entry in target.parent.iterdir()] == ["x"]
    assert target.read_bytes() == b"older"


@pytest.mark.parametrize("link", [True, False])
def test_two_that_publish_one_target_at_once_leave_one_whole_file(tmp_path: Path, link: bool) -> None:
    contents = [letter * 100_000 for letter in (b"a", b"b")]
    target = tmp_path / "out/x"
    together = threading.Barrier(2)

    def publish(content: bytes) -> None:
        private = tmp_path / content[:1].decode()
        private.write_bytes(content)
        for _ in range(50):
            together.wait()
            outputs.publish(str(private), str(target), link=link)
            assert target.read_bytes() in contents

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(publish, contents))
    assert [entry.name for entry in target.parent.iterdir()] == ["x"]


def test_a_directory_is_not_taken_for_an_older_output(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RequestError, match="out is a directory; declare the files in it"):
        outputs.prepare([str(tmp_path / "out")])
    assert (tmp_path / "out").is_dir()


def test_preparing_makes_room(tmp_path: Path) -> None:
    old = tmp_path / "a/old"
    old.parent.mkdir()
    old.write_text("old")
    outputs.prepare([str(old), str(tmp_path / "b/c/new")])
    assert not old.exists()
    assert (tmp_path / "b/c").is_dir()


def test_discarding_takes_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    outputs.discard([str(tmp_path / name) for name in ("file", "link", "none", "file/below")])
    assert list(tmp_path.iterdir()) == []
