"""A run as an object: what is left of it."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path

import pytest

from headstart_wrapper.job import Job, Outcome, Sandbox
from headstart_wrapper.process_group import DirectSpawner
from headstart_wrapper.run import Ended, Run
from headstart_wrapper.sandbox import audit


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


def run_of(job: Job, tmp_path: Path) -> Outcome:
    run = Run(
        job,
        cwd=str(Path.cwd()),
        env=dict(os.environ),
        spawner=DirectSpawner(),
        capture=True,
        private=str(tmp_path / "private"),
        inputs=("in",),
    )
    return next(event.outcome for event in run.events() if isinstance(event, Ended))


def test_I11_an_audit_that_fails_for_a_reason_of_ours_is_no_assurance_and_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(audit, "audit", broken)
    unasked = run_of(Job(command=("/bin/true",)), tmp_path)
    assert (unasked.exit_code, unasked.remarks, unasked.assurance) == (0, (), "")
    assert unasked.findings == ("the audit could not be done, which is a bug: KeyError: 'ours'",)
    with pytest.raises(KeyError):
        run_of(Job(command=("/bin/true",), sandbox=Sandbox.AUDIT), tmp_path)
