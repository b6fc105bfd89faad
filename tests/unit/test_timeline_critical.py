"""What held a build up: chains of waits, slack, and what each compile cost."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headstart_worker.timeline import Build, Compile, Need
from headstart_worker.timeline.critical import Critical, Why


def ran(
    job: int,
    start: float,
    end: float,
    *,
    early: float | None = None,
    slot: int = 0,
    queued: float | None = None,
    needs: tuple[Need, ...] = (),
    expected_memory: int | None = None,
) -> Compile:
    return Compile(
        f"lib{job}.rlib",
        slot,
        start,
        end,
        early,
        cpu=0.0,
        peak_memory=0,
        exit_code=0,
        job=job,
        queued=start if queued is None else queued,
        needs=needs,
        expected_memory=expected_memory,
    )


def early(job: int, at: float) -> Need:
    return Need(f"lib{job}.rlib", early=True, at=at, job=job)


def full(job: int, at: float) -> Need:
    return Need(f"lib{job}.rlib", early=False, at=at, job=job)


def critical(*compiles: Compile, **counters: list[tuple[float, float]]) -> Critical:
    return Critical(Build(tuple(sorted(compiles, key=lambda one: one.start)), 0, counters))


def test_the_path_follows_what_came_last_and_takes_of_each_compile_what_was_waited_for() -> None:
    told = critical(
        ran(1, 0, 4, early=1),
        ran(2, 0, 2, slot=1),
        ran(3, 2.5, 6, slot=1, needs=(early(1, 1), full(2, 2))),
        ran(4, 6.25, 7, slot=1, needs=(full(1, 4), full(3, 6))),
    )
    found = [(piece.index, piece.start, piece.end, piece.why, piece.lag) for piece in told.path]
    assert found == [(1, 0, 2, Why.FULL, 0.5), (2, 2.5, 6, Why.FULL, 0.25), (3, 6.25, 7, None, 0.0)]


def test_an_early_output_puts_only_the_time_until_it_on_the_path() -> None:
    told = critical(ran(1, 0, 9, early=3), ran(2, 3, 10, slot=1, needs=(early(1, 3),)))
    assert [(piece.index, piece.start, piece.end, piece.why) for piece in told.path] == [
        (0, 0, 3, Why.EARLY),
        (1, 3, 10, None),
    ]
    assert [blame.slack for blame in told.blames] == [0, 0]


def test_who_waited_for_a_slot_was_held_up_by_its_holder() -> None:
    told = critical(ran(1, 0, 5), ran(2, 0, 1, slot=1), ran(3, 5, 6, queued=1, needs=(full(2, 1),)))
    held = told.held_by[2]
    assert held is not None
    assert (held.of, held.at, held.why) == (0, 5, Why.SLOT)
    assert told.unlocked == {0: [2]}


def test_a_slot_that_was_free_holds_nobody_up() -> None:
    told = critical(ran(1, 0, 1), ran(2, 1, 3, queued=1))
    assert told.held_by[1] is None


@pytest.mark.parametrize(
    ("counters", "expected_memory", "why"),
    [
        ({"free": [(0.0, 2.0), (1.0, 0.0), (5.0, 1.0)]}, None, Why.TOKEN),
        ({"free": [(0.0, 2.0)]}, 1 << 30, Why.MEMORY),
        ({}, None, Why.TURN),
    ],
)
def test_who_waited_beside_a_free_slot_waited_for_something_else(
    counters: dict[str, list[tuple[float, float]]], expected_memory: int | None, why: Why
) -> None:
    told = critical(ran(1, 0, 5), ran(2, 5, 6, slot=1, queued=1, expected_memory=expected_memory), **counters)
    held = told.held_by[1]
    assert held is not None
    assert (held.of, held.why) == (0, why)


def test_slots_of_another_worker_hold_nobody_up_and_equal_numbers_there_are_other_jobs() -> None:
    told = critical(ran(1, 0, 5), ran(1, 1, 6, slot=1000), ran(2, 6, 7, slot=1000, needs=(full(1, 6),)))
    held = told.held_by[2]
    assert held is not None
    assert held.of == 1


def test_slack_is_what_fits_before_somebody_is_held_up() -> None:
    told = critical(
        ran(1, 0, 10),
        ran(2, 0, 2, slot=1),
        ran(3, 3, 5, slot=1, needs=(full(2, 2),)),
        ran(4, 7, 9, slot=1),
    )
    # The fourth has one second until the end, the third two more until the fourth comes; what lies between the second and the
    # third is the host's and stays.
    assert [blame.slack for blame in told.blames] == [0, 3, 3, 1]


def test_delay_is_what_the_build_would_gain() -> None:
    told = critical(
        ran(1, 0, 4),
        ran(2, 0, 3, slot=1),
        ran(3, 4, 6, needs=(full(1, 4), full(2, 3))),
    )
    # Without the first, the second is waited for; without the second, nothing changes.
    assert [blame.delay for blame in told.blames] == [1, 0, 2]
    assert told.longest_chain == 6


def test_delay_counts_the_slot_that_becomes_free() -> None:
    told = critical(
        ran(1, 0, 4),
        ran(2, 4, 8, queued=0),
        ran(3, 8, 10, queued=4, needs=(full(1, 4),)),
    )
    assert [blame.delay for blame in told.blames] == [4, 4, 2]
    assert told.longest_chain == 6


def test_nothing_is_said_of_delays_when_the_trace_tells_no_needs() -> None:
    told = critical(ran(1, 0, 1), ran(2, 1, 2))
    assert not told.knows_needs
    assert told.path == ()
    assert [blame.delay for blame in told.blames] == [None, None]


def test_an_empty_build_has_no_path() -> None:
    told = critical()
    assert (told.path, told.blames) == ((), ())


@st.composite
def schedules(draw: st.DrawFn) -> Build:
    """What some slots make of random needs when nobody idles: whoever comes next takes the slot that is free first."""
    free = [0] * draw(st.integers(1, 4))
    made: list[Compile] = []
    for job in range(draw(st.integers(1, 12))):
        needs = []
        for of in draw(st.sets(st.integers(0, job - 1), max_size=3)) if job else ():
            producer = made[of]
            if producer.early is not None and draw(st.booleans()):
                needs.append(early(of, producer.early))
            else:
                needs.append(full(of, producer.end))
        slot = free.index(min(free))
        asked = max((int(need.at) for need in needs), default=0)
        start = max(asked, free[slot])
        end = free[slot] = start + draw(st.integers(1, 20))
        front = draw(st.none() | st.integers(start, end))
        made.append(ran(job, start, end, early=front, slot=slot, queued=asked, needs=tuple(needs)))
    return Build(tuple(sorted(made, key=lambda one: one.start)), 0)


@given(build=schedules())
def test_the_path_of_a_build_that_never_idles_is_as_long_as_the_build(build: Build) -> None:
    told = Critical(build)
    assume(told.knows_needs)
    assert sum(piece.seconds + piece.lag for piece in told.path) == build.wall
    for piece, after in zip(told.path, told.path[1:], strict=False):
        assert piece.end + piece.lag == after.start


@given(build=schedules())
def test_nothing_on_the_path_has_slack_and_nothing_has_less_than_none(build: Build) -> None:
    told = Critical(build)
    assert all(blame.slack >= 0 for blame in told.blames)
    for piece in told.path:
        assert told.blames[piece.index].slack == 0


@given(build=schedules())
def test_no_build_is_shorter_than_its_longest_chain_and_no_delay_negative(build: Build) -> None:
    told = Critical(build)
    assert told.longest_chain <= build.wall
    assert all(blame.delay is None or 0 <= blame.delay <= build.wall for blame in told.blames)
