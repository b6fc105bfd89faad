"""Workers in a directory of their own, and fifos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from headstart_worker.testing import FakeHost
from process.support import Fifo


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The worker's directory."""
    directory = tmp_path / "workspace"
    directory.mkdir()
    return directory


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where workers of this test make their state directories."""
    return tmp_path / "state"


Worker = Callable[..., FakeHost]


@pytest.fixture
def worker(workspace: Path, state: Path) -> Worker:
    """Makes a host whose worker runs in `workspace`: worker("json", "--jobs=1", env=...)."""

    def make(protocol: str = "proto", *options: str, **more: object) -> FakeHost:
        return FakeHost(protocol, (f"--state-dir={state}", *options), cwd=workspace, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture(params=["proto", "json"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each encoding."""
    return str(request.param)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Callable[[str], Fifo]]:
    """Makes a fifo by name."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(Fifo(tmp_path / f"fifo-{name}"))
