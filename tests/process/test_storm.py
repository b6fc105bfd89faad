"""A short storm; `make storm` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from storm.processes import Found, are_one_start
from storm.weather import Storm, forget

WORKER, FIRST, SECOND, THIRD = (Found(pid, "sleep 1000", escaped=False, start=pid) for pid in range(4))


async def test_I1_I2_I3_I5_I13_no_promise_is_broken_in_a_short_storm(tmp_path: Path) -> None:
    storm = Storm(7, tmp_path, forget, forget)
    await storm.run(4)
    for kind in ("early", "full", "alone"):
        assert storm.counts[f"requests: {kind}"]
    assert storm.counts["answers: cancelled"]
    assert storm.counts["outputs compared"]
    assert storm.counts["workers: end of input, all answered"]


@pytest.mark.parametrize(
    ("found", "seen", "allowed"),
    [
        ([THIRD, THIRD], [WORKER, FIRST, SECOND, THIRD], True),
        ([THIRD], [], True),
        ([SECOND], [FIRST, SECOND, THIRD], False),
        ([SECOND, THIRD], [FIRST], False),
        ([WORKER], [], False),
        ([WORKER, THIRD], [FIRST], False),
    ],
    ids=[
        "the last job",
        "the last job, seen by nobody",
        "one before",
        "two jobs",
        "no job",
        "no job beside one",
    ],
)
def test_only_what_can_be_one_start_may_outlive_worker_and_helper(
    found: list[Found], seen: list[Found], *, allowed: bool
) -> None:
    assert are_one_start(found, seen) is allowed
