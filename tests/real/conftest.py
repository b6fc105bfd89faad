"""The ways in which the wrapper runs a compiler, for tests of builds through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from real.through import BECOMES, STAYS, Way


@pytest.fixture(params=[BECOMES, STAYS])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    """Each way; the test fails when it was not the one that was taken."""
    stats = tmp_path / "stats"
    stats.mkdir()
    chosen = Way(str(request.param), stats)
    yield chosen
    assert (chosen.staid() > 0) == (chosen.name == STAYS)
