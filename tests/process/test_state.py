"""The state directory: of one worker, gone with it, swept by the next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headstart_worker.state import state_directory
from headstart_wrapper.errors import MachineError
from process.support import entries


def test_I13_a_directory_lives_as_long_as_its_owner(tmp_path: Path) -> None:
    parent = tmp_path / "new"
    with state_directory(str(parent)) as first, state_directory(str(parent)) as second:
        assert first != second
        (first / "1").mkdir()
        assert len(entries(parent)) == 2
    assert entries(parent) == []


def test_I13_only_what_dead_owners_left_is_swept(tmp_path: Path) -> None:
    script = f"from headstart_worker.state import *; import os; d = state_directory({str(tmp_path)!r}); d.__enter__(); os._exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True)
    (left,) = entries(tmp_path)
    (tmp_path / "something-else").mkdir()
    (tmp_path / "headstart-worker-file").write_text("no directory")
    with state_directory(str(tmp_path)) as alive:
        with state_directory(str(tmp_path)):
            assert alive.is_dir()
        assert left not in entries(tmp_path)
    assert entries(tmp_path) == ["headstart-worker-file", "something-else"]


def test_it_may_vanish(tmp_path: Path) -> None:
    with state_directory(str(tmp_path)) as directory:
        (directory / "lock").unlink()
        directory.rmdir()


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="--state-dir"), state_directory(str(tmp_path / "file")):
        pass
