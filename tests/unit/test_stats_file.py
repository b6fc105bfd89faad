"""Where statistics go: no reader sees half of a file, and what cannot be written is told."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_wrapper import stats, stats_file
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job, Outcome, Usage


def asked(path: object, form: str = "json") -> Job:
    return Job(command=("cc",), stats=str(path), stats_format=form)


DONE = Outcome(exit_code=0, usage=Usage(started_at=1_800_000_000.25))
TEXT = stats.as_json(Job(command=("cc",)), DONE).encode() + b"\n"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(b"what was there\n")
    path.chmod(0o600)
    with path.open("rb") as reader:
        stats_file.write(asked(path), DONE)
        assert reader.read() == b"what was there\n"
    assert path.read_bytes() == TEXT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["s.json"]  # noqa: PTH208 - names are what is wanted


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("there", "missing"):
        (tmp_path / name).symlink_to(f"real/{name}")
    (tmp_path / "real/there").touch()
    for name in ("there", "missing"):
        stats_file.write(asked(tmp_path / name), DONE)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / name).read_bytes() == TEXT


@pytest.mark.parametrize(("form", "suffix"), [("json", "json"), ("bazel", "pb")])
def test_in_a_directory_each_job_has_a_file_of_its_own(tmp_path: Path, form: str, suffix: str) -> None:
    new = f"{tmp_path}/a/b/"
    for directory in (tmp_path, new, new):
        stats_file.write(asked(directory, form), DONE)
    made = sorted(tmp_path.rglob(f"1800000000.250000-*.{suffix}"))
    assert len(made) == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path not in made] == []


def test_a_fifo_takes_it_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stats_file.write(asked(path), DONE)
    assert os.read(reader, 65536) == TEXT
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_descriptor_goes_on_where_it_was(tmp_path: Path, name: str) -> None:
    with (tmp_path / "log").open("wb") as log:
        log.write(b"before\n")
        log.flush()
        stats_file.write(asked(name.format(log.fileno())), DONE)
        log.write(b"after\n")
    assert (tmp_path / "log").read_bytes() == b"before\n" + TEXT + b"after\n"


@pytest.mark.parametrize("name", ["/dev/fd/1", "/dev/stdout", "/dev/stderr", "/proc/self/fd/4"])
def test_I4_a_request_never_names_the_workers_descriptors(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="stream of the worker's"):
        stats_file.write(asked(name), DONE, str(tmp_path))


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere; others see what permissions are."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A directory in which nobody makes files, with a file that everybody writes."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "s.json")
        file.touch()
        if not os.geteuid():
            os.chown(file, 65534, -1)
        Path(directory).chmod(0o555)
        yield file
        Path(directory).chmod(0o755)


def test_where_nothing_can_be_replaced_the_file_is_written_in_place(closed: Path) -> None:
    number = closed.stat().st_ino
    with as_nobody():
        stats_file.write(asked(closed), DONE)
        with pytest.raises(RequestError, match="Permission denied"):
            stats_file.write(asked(closed.with_name("other")), DONE)
    assert closed.read_bytes() == TEXT
    assert closed.stat().st_ino == number


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_file_stays_that_users(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.touch(0o600)
    os.chown(path, 65534, 65534)
    stats_file.write(asked(path), DONE)
    assert path.read_bytes() == TEXT
    assert path.stat().st_uid == 65534


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(RequestError, match=os.strerror(errno.EFBIG)):
            stats_file.write(asked(path), DONE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["s.json"]  # noqa: PTH208 - names are what is wanted


@pytest.mark.parametrize(
    "path",
    ["none/s.json", "file/", "file/s.json", "nul\0", "x" * 300, "/dev/fd/9999", "/proc/version", "loop"],
)
def test_what_cannot_be_written_is_told_in_one_sentence(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    place = path if path.startswith("/dev") else tmp_path / path
    job = asked(f"{place}/" if path.endswith("/") else place)
    said = stats_file.record(job, DONE)
    assert said.exit_code == 125
    assert said.message.startswith("the statistics file ")
    assert "--stats" in said.message
    assert "\n" not in said.message
    failed = stats_file.record(job, Outcome(exit_code=3, message="it failed"))
    assert (failed.exit_code, failed.message) == (3, f"it failed; {said.message}")
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]  # noqa: PTH208 - names are what is wanted


def test_nothing_is_recorded_unasked() -> None:
    assert stats_file.record(Job(command=("cc",)), DONE) is DONE
