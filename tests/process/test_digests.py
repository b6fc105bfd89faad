"""Identities of files: equal only when the content is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart_worker import digests
from headstart_worker.digests import MISSING, Digests


def aged(file: Path, content: str) -> Path:
    """A file that was written long ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    os.utime(file, (1, 1))
    return file


def test_a_file_that_was_replaced_with_equal_size_and_time_is_another(tmp_path: Path) -> None:
    known = Digests()
    file = aged(tmp_path / "file", "one")
    first = known.of_file(str(file))
    assert known.of_file(str(file)) == first
    aged(tmp_path / "new", "two").rename(file)
    assert known.of_file(str(file)) != first
    aged(file, "six")  # in its place, and the same file
    assert known.of_file(str(file)) not in {first, MISSING}


def test_I7_what_has_no_content_equals_nothing(tmp_path: Path) -> None:
    known = Digests()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path in (str(tmp_path / "fifo"), str(tmp_path / "loop"), "/dev/zero"):
        assert known.of_file(path) != known.of_file(path)


def test_a_directory_is_what_is_in_it(tmp_path: Path) -> None:
    known = Digests()

    def digest(name: str) -> bytes:
        return known.of_file(str(tmp_path / name))

    aged(tmp_path / "a/deep/x", "1")
    aged(tmp_path / "b/deep/x", "1")
    assert digest("a") == digest("b")
    for name, content in (("c/deep/x", "2"), ("d/deep/y", "1"), ("e/x", "1"), ("f/deep/x", "1"), ("f/y", "")):
        aged(tmp_path / name, content)
    (tmp_path / "g").mkdir()
    assert len({digest(name) for name in "acdefg"}) == 6
    assert MISSING not in {digest(name) for name in "acdefg"}


def test_I7_a_link_to_a_directory_inside_one_is_not_followed_for_ever(tmp_path: Path) -> None:
    aged(tmp_path / "a/x", "1")
    (tmp_path / "a/round").symlink_to(tmp_path / "a")
    known = Digests()
    assert known.of_file(str(tmp_path / "a")) != known.of_file(str(tmp_path / "a"))


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    aged(tmp_path / "file", "")
    assert Digests().of_file(str(tmp_path / "none")) == MISSING
    assert Digests().of_file(str(tmp_path / "file/below")) == MISSING
    assert Digests().of_file(str(tmp_path / "a\0b")) == MISSING
    assert Digests().of_file(str(tmp_path / "file")) != MISSING


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_REMEMBERED", 3)
    monkeypatch.setattr(digests, "_SETTLED_NANOSECONDS", -1)
    known = Digests()
    for number in range(10):
        known.of_file(str(aged(tmp_path / str(number), str(number))))
        assert 0 < len(known._known) <= 3
