"""What tests of views share: a process of its own that makes one, and the beginning of its script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from headstart_wrapper.sandbox import view
from process.confined import python

NOBODY: Final = 65534
AS_NOBODY: Final = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
ENV: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
TRY: Final = "from headstart_wrapper.sandbox import view; print(view.can_be_made())"


def asked(*before: str, script: str = TRY) -> str:
    """What a process of its own says."""
    env = os.environ | {"PYTHONPATH": str(Path(view.__file__).parent.parent.parent)}
    command = [*before, *python(script)]
    told = subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd="/", timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


IN_A_VIEW: Final = """
import os, signal
from contextlib import closing
from headstart_wrapper.errors import MachineError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup
from headstart_wrapper.sandbox import system, view
from headstart_wrapper.sandbox.confinement import Confinement
from headstart_wrapper.sandbox.landlock import Rules

SEEN = view.plan(Rules(read=(*system.READ, *system.PROGRAMS, *system.LIBRARIES)), "/")

def run(spawner, *command, seen=SEEN):
    group = ProcessGroup.start(
        spawner, command, cwd="/", env={"PATH": "/bin"}, streams=(0, 1, 2), confinement=Confinement(view=seen)
    )
    os.waitid(os.P_PIDFD, group.pidfd, os.WEXITED | os.WNOWAIT) if isinstance(spawner, DirectSpawner) else None
    group.reap()
"""
"""How a script begins that starts programs."""

WHY_NOT: Final = view.can_be_made()

needs_view: Final = pytest.mark.skipif(WHY_NOT != "", reason=f"no view can be made here: {WHY_NOT}")
