"""No claim goes beyond what the intervals show."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.bench.verdicts import (
    COVERAGE,
    ENOUGH,
    Comparison,
    Interval,
    Verdict,
    compare,
    comparisons,
    interval,
    sentence,
)
from unit.bench_results import experiment, of, taken

TIMES = st.floats(min_value=0.001, max_value=1e4, allow_nan=False)
SAMPLES = st.lists(TIMES, min_size=1, max_size=40)


def wall(ours: list[float], base: list[float]) -> Comparison:
    return compare(of(a=ours, b=base), "a", "b")[0]


@given(SAMPLES)
def test_an_interval_is_made_of_two_of_the_values_around_the_median(values: list[float]) -> None:
    found = interval(values)
    assert found.low in values
    assert found.high in values
    assert found.low <= found.median <= found.high
    assert found.runs == len(values)


def test_thousands_of_runs_are_no_trouble() -> None:
    """As hyperfine makes of a short command."""
    found = interval(range(4000))
    assert COVERAGE <= found.coverage < COVERAGE + 0.01
    assert found.low + found.high == 3999
    assert 1900 < found.low < 1999


@pytest.mark.parametrize(
    ("runs", "trimmed", "coverage"),
    # Tables of the sign test's intervals: 1 - 2 P(Binomial(n, 1/2) <= trimmed).
    [
        (1, 0, 0.0),
        (2, 0, 0.5),
        (3, 0, 0.75),
        (5, 0, 0.9375),
        (6, 0, 0.96875),
        (8, 0, 0.9921875),
        (9, 1, 0.9609375),
        (20, 5, 0.95861053),
    ],
)
def test_coverage_is_that_of_the_order_statistics(runs: int, trimmed: int, coverage: float) -> None:
    found = interval(range(runs))
    assert (found.low, found.high) == (trimmed, runs - 1 - trimmed)
    assert found.trimmed == trimmed
    assert found.coverage == pytest.approx(coverage)


@pytest.mark.parametrize("runs", range(1, 60))
def test_an_interval_reaches_its_coverage_as_soon_as_it_can(runs: int) -> None:
    assert (interval(range(runs)).coverage >= COVERAGE) == (runs >= ENOUGH)


def test_an_interval_holds_the_median_as_often_as_it_says() -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    samples = [[chance.expovariate(1.0) for _ in range(9)] for _ in range(4000)]
    true_median = 0.6931471805599453
    held = sum(found.low <= true_median <= found.high for found in map(interval, samples))
    # Three standard deviations of such a share.
    assert held / 4000 == pytest.approx(interval(range(9)).coverage, abs=0.0093)


@given(SAMPLES, SAMPLES)
def test_a_difference_is_claimed_only_when_the_intervals_do_not_overlap(
    ours: list[float], base: list[float]
) -> None:
    made = wall(ours, base)
    one, other = made.our_interval, made.base_interval
    overlap = one.low <= other.high and other.low <= one.high
    claims = made.verdict in {Verdict.LESS, Verdict.MORE}
    assert claims == (not overlap and min(len(ours), len(base)) >= ENOUGH)
    told = sentence(made)
    assert ("times" in told or "%" in told) == claims
    assert ("no difference shown" in told) == (made.verdict is Verdict.NOT_SHOWN)


@given(SAMPLES, SAMPLES)
def test_a_comparison_turned_round_says_the_opposite(ours: list[float], base: list[float]) -> None:
    opposite = {Verdict.LESS: Verdict.MORE, Verdict.MORE: Verdict.LESS}
    one, other = wall(ours, base), wall(base, ours)
    assert other.verdict is opposite.get(one.verdict, one.verdict)
    assert one.ratio * other.ratio == pytest.approx(1)
    assert one.reach[0] * other.reach[1] == pytest.approx(1)
    assert one.reach[0] <= one.ratio <= one.reach[1]
    assert one.chance == pytest.approx(other.chance)


@given(st.lists(TIMES, min_size=ENOUGH, max_size=40))
def test_a_thing_is_never_faster_than_itself(values: list[float]) -> None:
    assert wall(values, values).verdict is Verdict.NOT_SHOWN


def test_intervals_that_touch_overlap() -> None:
    assert wall([1, 1, 1, 1, 2], [2, 3, 3, 3, 3]).verdict is Verdict.NOT_SHOWN
    assert wall([1, 1, 1, 1, 1.999], [2, 3, 3, 3, 3]).verdict is Verdict.LESS


@pytest.mark.parametrize(("ours", "base"), [(4, 4), (1, 9), (4, 5)])
def test_too_few_runs_say_nothing_however_far_apart_they_are(ours: int, base: int) -> None:
    made = wall([1.0] * ours, [100.0] * base)
    assert made.verdict is Verdict.TOO_FEW
    fewest = min(ours, base)
    assert sentence(made) == (
        f"wall time of a against b: nothing can be said from {fewest} run{'s' if fewest > 1 else ''} (--rounds=5)"
    )


@pytest.mark.parametrize(
    ("ours", "base"), [((2, 0), (3, 0)), ((3, 1), (4, 1)), ((5, 0), (3, 1)), ((5, 0), (5, 0))]
)
def test_chance_is_the_share_of_all_orders(ours: tuple[int, int], base: tuple[int, int]) -> None:
    (runs, trimmed), (others, others_trimmed) = ours, base
    total = runs + others
    apart = count = 0
    for chosen in itertools.combinations(range(total), runs):
        rest = [number for number in range(total) if number not in chosen]
        low, high = chosen[trimmed], chosen[runs - 1 - trimmed]
        low_rest, high_rest = rest[others_trimmed], rest[others - 1 - others_trimmed]
        apart += high < low_rest or high_rest < low
        count += 1
    made = Comparison(
        "wall time",
        "a",
        "b",
        Interval(1, 1, 1, 0, runs, trimmed),
        Interval(1, 1, 1, 0, others, others_trimmed),
    )
    assert made.chance == pytest.approx(float(Fraction(apart, count)))


def test_sentences_for_people() -> None:
    slow, fast = [20.0, 21.0, 20.0, 19.0, 20.0], [10.0, 10.0, 10.0, 9.5, 10.5]
    faster, less = compare(of(worker=fast, none=slow), "worker", "none")
    slower, more = compare(of(worker=fast, none=slow), "none", "worker")
    assert (
        sentence(faster) == "worker is 2.00 times (1.81 to 2.21) as fast as none; medians 10.00 s and 20.00 s"
    )
    assert (
        sentence(less)
        == "worker takes 50 % (45 to 55 %) less CPU time than none; medians 20.00 s and 40.00 s"
    )
    assert (
        sentence(slower)
        == "none takes 2.00 times (1.81 to 2.21) as long as worker; medians 20.00 s and 10.00 s"
    )
    assert (
        sentence(more)
        == "none takes 100 % (81 to 121 %) more CPU time than worker; medians 40.00 s and 20.00 s"
    )
    same = compare(of(worker=slow, none=slow), "worker", "none")[0]
    assert (
        sentence(same)
        == "wall time of worker against none: no difference shown (19.00 to 21.00 s and 19.00 to 21.00 s)"
    )


def test_nothing_is_divided_by_zero() -> None:
    nothing = experiment(*(taken(mode, 0.0, 0.0) for mode in ("a", "b") for _ in range(5)))
    for made in compare(nothing, "a", "b"):
        assert made.verdict is Verdict.NOT_SHOWN
        sentence(made)


def test_the_worker_is_compared_with_everything_that_the_same_host_built() -> None:
    walls = {
        mode: [1.0] for mode in ("none", "cargo", "worker", "worker+sandbox", "bazel:none", "bazel:worker")
    }
    pairs = {(made.ours, made.base) for made in comparisons(of(**walls))}
    assert pairs == {
        ("worker", "none"),
        ("worker", "cargo"),
        ("worker", "worker+sandbox"),
        ("bazel:worker", "bazel:none"),
    }


def test_without_a_worker_the_first_mode_is_compared() -> None:
    pairs = {(made.ours, made.base) for made in comparisons(of(none=[1.0], hollow=[2.0], cargo=[3.0]))}
    assert pairs == {("none", "hollow"), ("none", "cargo")}
