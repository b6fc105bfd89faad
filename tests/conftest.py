"""No test of real processes leaves a process or a descriptor behind."""

from __future__ import annotations

import gc
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from survivors import VARIABLE, await_none, descriptors, zombies

# A shell ignores these for what it starts in the background, and so would everything that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)

# How long an example takes is the machine's affair, which may have other work.
settings.register_profile("suite", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_WATCHED = {"process", "host", "real"}
"""Directories of the tests that start processes."""

_LEFT_SECONDS = 5.0
"""How long a process may go on ending before it counts as left: the second of I3 is measured by tests of their own."""


@pytest.fixture(autouse=True)
def tag(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The value of the variable that every process of this test has; fails the test when one survives it."""
    value = uuid.uuid4().hex
    if Path(request.path).parent.name not in _WATCHED:
        yield value
        return
    monkeypatch.setenv(VARIABLE, value)
    before = descriptors()
    yield value
    survivors = await_none(value, _LEFT_SECONDS)
    gc.collect()
    leaked = {number: place for number, place in descriptors().items() if before.get(number) != place}
    if survivors:
        pytest.fail(f"processes survived the test: {survivors}")
    if leaked:
        pytest.fail(f"descriptors were left open: {leaked}")
    if left := zombies():
        pytest.fail(f"children were not reaped: {left}")
