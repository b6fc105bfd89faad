"""Workers in a directory of their own, and fifos."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

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


WITH_BUGS: Final = """
from attrs import evolve
from headstart_worker.__main__ import main
from headstart_worker.preparation import Preparation

prepare = Preparation.prepare

def prepare_with_bug(self, request, *more):
    if request.arguments[:1] == ("bug",):
        exec(request.arguments[1], {})
        request = evolve(request, arguments=request.arguments[2:])
    return prepare(self, request, *more)

Preparation.prepare = prepare_with_bug
main()
"""


@pytest.fixture
def buggy(worker: Worker) -> Worker:
    """Like `worker`, with bugs of our own on demand.

    A request whose first word is "bug" runs its second word as Python before it is prepared, in the thread where that
    happens; the rest is the request.
    """

    def make(protocol: str, *options: str) -> FakeHost:
        return worker(protocol, *options, command=(sys.executable, "-c", WITH_BUGS))

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
