"""Early outputs are seen when they are complete: renamed into place, or closed after writing; never before."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headstart_wrapper.early import EarlyWatch
from headstart_wrapper.errors import MachineError


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[EarlyWatch]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with closing(EarlyWatch([str(tmp_path / "a/one"), str(tmp_path / "b/two")])) as made:
        yield made


def readable(watch: EarlyWatch) -> bool:
    poll = select.poll()
    poll.register(watch.descriptor, select.POLLIN)
    return bool(poll.poll(0))


def test_nothing_is_complete_while_it_is_written(tmp_path: Path, watch: EarlyWatch) -> None:
    with (tmp_path / "a/one").open("wb") as writer:
        writer.write(b"half")
        writer.flush()
        assert not watch.complete()
    assert readable(watch)
    assert not watch.complete()  # two is missing
    assert not readable(watch)  # and the news is taken


def test_closed_and_renamed_are_complete(tmp_path: Path, watch: EarlyWatch) -> None:
    (tmp_path / "a/one").write_bytes(b"x")
    (tmp_path / "b/two.tmp").write_bytes(b"x")
    assert not watch.complete()
    (tmp_path / "b/two.tmp").rename(tmp_path / "b/two")
    assert watch.complete()
    assert watch.complete()


def test_names_of_others_are_not_ours(tmp_path: Path, watch: EarlyWatch) -> None:
    (tmp_path / "b/one").write_bytes(b"x")
    (tmp_path / "a/two").write_bytes(b"x")
    (tmp_path / "a/one.d").write_bytes(b"x")
    assert not watch.complete()


def test_much_news_at_once_is_read(tmp_path: Path, watch: EarlyWatch) -> None:
    for number in range(2000):
        (tmp_path / "a" / f"{number:0200}").write_bytes(b"")
    (tmp_path / "a/one").write_bytes(b"x")
    (tmp_path / "b/two").write_bytes(b"x")
    assert watch.complete()


def test_a_directory_that_is_not_there_is_said_and_costs_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    with pytest.raises(MachineError, match="cannot watch"):
        EarlyWatch([str(tmp_path / "none/x")])
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - a count
