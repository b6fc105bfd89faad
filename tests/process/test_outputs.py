"""Outputs appear whole, by rename, and never under a reader's feet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart_wrapper import outputs


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
