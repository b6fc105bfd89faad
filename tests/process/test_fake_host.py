"""The host of the testing package: a worker that ends leaves nobody waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from headstart_worker.testing import FakeHost, WorkerEndedError
from process.support import PATIENCE


async def test_I12_a_request_to_a_worker_that_has_closed_its_stdout_waits_for_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "closed")
    worker = f"exec >&-; echo > {tmp_path}/closed; exec cat >/dev/null"
    async with FakeHost(cwd=tmp_path, command=("/bin/sh", "-c", worker)) as host:
        await trio.to_thread.run_sync((tmp_path / "closed").read_bytes)
        with trio.fail_after(PATIENCE):
            for _ in range(2):  # at the first one the end may not have been seen yet
                with pytest.raises(WorkerEndedError, match="no response to request"):
                    await host.work(("--", "true"))
