"""A reader is told what speaks against the figures, and nothing when nothing does."""

from __future__ import annotations

import os

import pytest
from attrs import evolve

from headstart_worker.bench import machine
from headstart_worker.bench.warnings import Condition, warnings
from unit.bench_results import QUIET, experiment, of, taken

FINE = of(none=[10.0, 10.1, 10.0, 9.9, 10.0], worker=[9.0, 9.1, 9.0, 8.9, 9.0])


def test_good_figures_have_no_warning() -> None:
    assert warnings(QUIET, [FINE]) == ()
    assert warnings(Condition(cores=2, load=0.0), [FINE]) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"load": 0.6}, "the machine was busy before the first build (load 0.6 on 2 cores): stop"),
        ({"pressure": 9.0}, "something waited for a core during 9 % of the last ten seconds"),
        ({"cores": 1}, "there is one core"),
        ({"boost": True}, "turbo"),
        ({"governor": "powersave"}, "governor powersave"),
    ],
)
def test_the_machine(change: dict[str, float | str | bool], said: str) -> None:
    told = warnings(evolve(QUIET, **change), [FINE])  # type: ignore[arg-type]
    assert any(said in one for one in told), told


def test_a_machine_that_is_busy_in_two_ways_is_told_of_once() -> None:
    (only,) = warnings(evolve(QUIET, load=2.0, pressure=50.0), [FINE])
    assert "load 2.0" in only
    assert "50 %" in only


def test_more_jobs_than_cores() -> None:
    builds = [taken("none", 10.0) for _ in range(5)]
    (only,) = warnings(QUIET, [experiment(*builds, jobs=4)])
    assert only.startswith("4 jobs share 2 cores")
    assert warnings(QUIET, [experiment(*builds, jobs=2)]) == ()


def test_too_few_runs_are_told_once_for_all_experiments() -> None:
    few = of(none=[10.0, 10.0], worker=[9.0, 9.0])
    (only,) = warnings(QUIET, [few, evolve(few, scenario="edit of memchr (low)")])
    assert only.startswith("2 runs of each mode")
    assert "--rounds=5" in only


def test_a_wide_spread_names_the_mode() -> None:
    (only,) = warnings(QUIET, [of(none=[10.0, 10.0, 10.0, 10.0, 14.0], worker=[9.0] * 5)])
    assert "spread widely (none 17 %): something else ran" in only


def test_stolen_time_explains_the_spread() -> None:
    walls = [10.0, 10.0, 10.0, 10.0, 14.0]
    told = warnings(QUIET, [experiment(*(taken("none", wall, stolen=0.2) for wall in walls))])
    assert "up to 20 %" in told[0]
    assert told[1].endswith("spread widely (none 17 %)")


def test_what_is_not_known_is_no_warning() -> None:
    assert warnings(QUIET, [experiment(*(taken("none", 10.0, stolen=None) for _ in range(5)))]) == ()


def test_builds_of_less_than_a_second() -> None:
    (only,) = warnings(QUIET, [of(none=[0.5] * 5, worker=[1.5] * 5)])
    assert "less than a second (none)" in only


def test_the_condition_of_this_machine_can_be_read() -> None:
    now = machine.condition()
    assert now.cores == len(os.sched_getaffinity(0))
    assert now.load >= 0
    assert now.pressure is None or 0 <= now.pressure <= 100


def test_the_machine_and_its_tools_can_be_read() -> None:
    told = machine.machine()
    assert told["memory_bytes"] > 1 << 20
    assert told["cpu"]
    assert all("\n" not in line for line in machine.tools().values())
