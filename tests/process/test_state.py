"""The state directory: of one worker, gone with it, swept by the next."""

from __future__ import annotations

import os
import shutil
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


def test_I13_who_lost_his_lock_is_not_taken_for_dead(tmp_path: Path) -> None:
    # Whoever cleans up temporary files may have taken it, and a job may have made the directory again.
    with state_directory(str(tmp_path)) as alive:
        shutil.rmtree(alive)
        stage = alive / "1"
        stage.mkdir(parents=True)
        with state_directory(str(tmp_path)):
            assert stage.is_dir()


def test_I13_what_another_user_left_is_left_alone(tmp_path: Path) -> None:
    for name in ("headstart-worker-1-theirs", "headstart-worker-1-ours"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").write_text("")
    (tmp_path / "headstart-worker-1-link").symlink_to("headstart-worker-1-theirs")
    try:
        os.chown(tmp_path / "headstart-worker-1-theirs", 12345, -1)
    except PermissionError:
        pytest.skip("this user may not give directories away")
    with state_directory(str(tmp_path)):
        pass
    assert entries(tmp_path) == ["headstart-worker-1-link", "headstart-worker-1-theirs"]


def test_it_may_vanish(tmp_path: Path) -> None:
    with state_directory(str(tmp_path)) as directory:
        (directory / "lock").unlink()
        directory.rmdir()


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="--state-dir"), state_directory(str(tmp_path / "file")):
        pass
