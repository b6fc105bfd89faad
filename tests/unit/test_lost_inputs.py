"""What a command may read late: kept all the time, or taken away and brought back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart_wrapper.lost_inputs import Witness


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A directory with a file of two names, a link to it, and a directory with a file."""
    made = tmp_path / "inputs"
    (made / "directory").mkdir(parents=True)
    (made / "file").write_text("file")
    (made / "directory/inner").write_text("inner")
    (made / "link").symlink_to("file")
    (made / "other").hardlink_to(made / "file")
    return made


def replaced(directory: Path, name: str, fill: Callable[[Path, Path], object]) -> None:
    """Takes a file away and brings back its like."""
    aside = directory / "aside"
    fill(directory / name, aside)
    (directory / name).unlink()
    fill(aside, directory / name)
    aside.unlink()


def nothing(_inputs: Path) -> None:
    pass


def loses_another_name(inputs: Path) -> None:
    (inputs / "other").unlink()


def gets_another_name(inputs: Path) -> None:
    (inputs / "third").hardlink_to(inputs / "file")


def is_read(inputs: Path) -> None:
    (inputs / "link").read_text()


def is_gone(inputs: Path) -> None:
    (inputs / "file").unlink()


def is_a_copy(inputs: Path) -> None:
    replaced(inputs, "file", shutil.copy2)


def is_another_link(inputs: Path) -> None:
    (inputs / "link").unlink()
    (inputs / "link").symlink_to("file")


def is_linked_anew(inputs: Path) -> None:
    (inputs / "file").unlink()
    (inputs / "file").hardlink_to(inputs / "other")


def leads_elsewhere(inputs: Path) -> None:
    """The link stays, and what it leads to is made anew."""
    replaced(inputs.parent, "target", shutil.copy2)


def is_another_directory(inputs: Path) -> None:
    shutil.rmtree(inputs / "directory")
    (inputs / "directory").mkdir()
    (inputs / "directory/inner").write_text("inner")


KEPT = (nothing, is_read, gets_another_name, loses_another_name)
LOST = (is_gone, is_a_copy, is_another_link, is_linked_anew, leads_elsewhere, is_another_directory)


@pytest.mark.parametrize("happens", [*KEPT, *LOST])
def test_what_was_brought_back_is_not_what_was_there(inputs: Path, happens: Callable[[Path], None]) -> None:
    (inputs.parent / "target").write_text("target")
    (inputs / "leads").symlink_to("../target")
    witness = Witness(str(inputs / name) for name in ("file", "link", "leads", "directory"))
    assert not witness.misses_any()
    a_tick_passes(inputs.parent)
    happens(inputs)
    assert witness.misses_any() == (happens in LOST)


def test_what_was_not_there_is_not_expected(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    witness = Witness([str(tmp_path / "absent"), str(tmp_path / "dangling"), f"{tmp_path}/n\0ul"])
    (tmp_path / "absent").touch()
    (tmp_path / "nowhere").touch()
    assert not witness.misses_any()


def a_tick_passes(directory: Path) -> None:
    """Some kernels stamp files with a clock of a few milliseconds."""
    probe = directory / "probe"
    probe.touch()
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        os.utime(probe)
