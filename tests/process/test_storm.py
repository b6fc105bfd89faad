"""A short storm; `make storm` is a long one."""

from __future__ import annotations

from pathlib import Path

from storm.weather import Storm, forget


async def test_I1_I2_I3_I5_I13_no_promise_is_broken_in_a_short_storm(tmp_path: Path) -> None:
    storm = Storm(7, tmp_path, forget, forget)
    await storm.run(4)
    for kind in ("early", "full", "alone"):
        assert storm.counts[f"requests: {kind}"]
    assert storm.counts["answers: cancelled"]
    assert storm.counts["outputs compared"]
    assert storm.counts["workers: end of input, all answered"]
