"""A run as an object: what is left of it."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path

import pytest

from headstart_wrapper.job import Job, Sandbox
from headstart_wrapper.process_group import DirectSpawner
from headstart_wrapper.run import Run


@pytest.mark.parametrize("sandbox", [None, Sandbox.OFF, Sandbox.AUDIT])
def test_a_run_that_is_over_is_gone_at_once(sandbox: Sandbox | None, tmp_path: Path) -> None:
    """A ring of objects would live until it is looked for: a worker that serves thousands of jobs would hold thousands."""
    gc.disable()
    try:
        run = Run(
            Job(command=("/bin/true",), sandbox=sandbox),
            cwd=str(Path.cwd()),
            env=dict(os.environ),
            spawner=DirectSpawner(),
            capture=True,
            private=str(tmp_path / "private"),
            inputs=("in",),
        )
        for _ in run.events():
            pass
        known = weakref.ref(run)
        del run
        assert known() is None
    finally:
        gc.enable()
