"""Two files of results: what became slower is found, what chance explains is not, and other machines are not compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.bench.regressions import Change, changes, figures, text
from headstart_wrapper.errors import RequestError
from unit.bench_results import of, result

MACHINE = {"cpu": "A Processor", "cores": 2, "memory_bytes": 8 << 30}
SLOW, FAST = [20.0, 20.1, 20.2, 20.3, 20.4], [10.0, 10.1, 10.2, 10.3, 10.4]


def document(machine: dict[str, Any] | None = None, **times: list[float]) -> dict[str, Any]:
    entries = [{"command": name, "times": walls, "median": 0} for name, walls in times.items()]
    return {"machine": machine or MACHINE, "requests": {"results": entries}}


def only(old: list[float], new: list[float], threshold: float = 0.05) -> Change:
    (change,) = changes(document(spawn=old), document(spawn=new), threshold=threshold).both
    return change


def test_a_figure_is_named_by_where_it_stands() -> None:
    nested = {"a": [{"results": [{"command": "x", "times": [1.0]}]}, {"b": {"command": "y", "times": [2.0]}}]}
    assert dict(figures(nested)) == {"a, x": [1.0], "a, b, y": [2.0]}


def test_times_that_share_a_round_count_as_one() -> None:
    times = [1.0, 2.0, 9.0, 4.0, 5.0, 6.0]
    assert dict(figures({"command": "x", "times": times, "rounds": 2})) == {"x": [2.0, 5.0]}
    assert dict(figures({"command": "x", "times": times, "rounds": 6})) == {"x": times}


@pytest.mark.parametrize("rounds", [0, -1, 4, 7, 2.0, "2", [2]])
def test_a_number_of_rounds_that_cannot_be_is_refused(rounds: object) -> None:
    with pytest.raises(RequestError, match=r"has 6 times of .* rounds"):
        dict(figures({"command": "x", "times": [1.0] * 6, "rounds": rounds}))


def test_many_times_of_few_rounds_are_no_proof() -> None:
    old, new = [1.0] * 16 + [1.4] * 4, [1.0] * 4 + [1.2] * 16
    assert only(old, new).is_regression
    of_five = [{"command": "x", "times": times, "rounds": 5} for times in (old, new)]
    assert not changes(*of_five).regressions


def test_a_name_that_comes_again_is_another_figure() -> None:
    twice = [{"command": "x", "times": [1.0]}, {"command": "x", "times": [2.0]}]
    assert dict(figures(twice)) == {"x": [1.0], "x (2)": [2.0]}


def test_an_experiment_has_wall_and_cpu_of_each_mode() -> None:
    names = [name for name, _ in figures(result(of(none=SLOW, worker=FAST)).export())]
    place = "search, dev, clean, 2 jobs"
    assert names == [f"{place}, none", f"{place}, none, CPU", f"{place}, worker", f"{place}, worker, CPU"]


def test_slower_is_a_regression_and_faster_an_improvement() -> None:
    worse, better = only(FAST, SLOW), only(SLOW, FAST)
    assert (worse.verdict, better.verdict) == ("REGRESSION", "improvement")
    assert worse.ratio == pytest.approx(20.2 / 10.2)
    assert better.ratio == pytest.approx(10.2 / 20.2)


def test_intervals_that_overlap_are_no_regression() -> None:
    change = only([10.0, 10.0, 10.0, 10.0, 30.0], [20.0] * 5)
    assert not change.is_regression
    assert change.verdict == "no difference shown"


def test_a_small_difference_is_no_regression_however_sure() -> None:
    assert only([10.0] * 5, [10.4] * 5).verdict == "within 5 %"
    assert only([10.0] * 5, [10.4] * 5, threshold=0.03).is_regression


def test_too_few_runs_are_no_regression() -> None:
    found = changes(document(a=[1.0, 1.0], b=FAST), document(a=[9.0, 9.0], b=FAST))
    assert found.regressions == ()
    assert "with less than 5 runs, which say nothing: 1" in text(found)


TIMES = st.lists(st.floats(0.001, 1e4), min_size=1, max_size=20)


@given(TIMES, TIMES)
def test_a_regression_one_way_is_no_regression_the_other_way(old: list[float], new: list[float]) -> None:
    there, back = only(old, new), only(new, old)
    assert not (there.is_regression and back.is_regression)
    assert there.is_regression == back.is_improvement
    assert there.is_regression <= (min(new) > min(old) and len(old) >= 5 <= len(new))


def test_the_report_begins_with_the_worst_and_tells_what_is_in_one_file_only() -> None:
    found = changes(document(a=FAST, b=FAST, gone=FAST), document(a=FAST, b=SLOW, come=FAST))
    assert text(found).splitlines() == [
        "figure           old      new  new/old",
        "requests, b  10.20 s  20.20 s    1.980  REGRESSION",
        "requests, a  10.20 s  10.20 s    1.000  no difference shown",
        "only in the old file: requests, gone",
        "only in the new file: requests, come",
        "figures: 2, regressions: 1, improvements: 0",
    ]


@pytest.mark.parametrize(
    "other", [{"cpu": "Another"}, {"cores": 4}, {"memory_bytes": 4 << 30}], ids=["cpu", "cores", "memory"]
)
def test_different_machines_are_compared_only_by_force(other: dict[str, Any]) -> None:
    old, new = document(a=FAST), document(MACHINE | other, a=SLOW)
    with pytest.raises(RequestError, match=r"different machines \(.*--force"):
        changes(old, new)
    assert len(changes(old, new, force=True).regressions) == 1


def test_another_kernel_or_python_is_no_other_machine() -> None:
    assert changes(
        document({**MACHINE, "kernel": "6.1"}, a=FAST), document({**MACHINE, "kernel": "6.9"}, a=FAST)
    ).both


@pytest.mark.parametrize("new", [{}, [], "text", None, 3, {"results": []}])
def test_nothing_in_common_is_told(new: Any) -> None:
    with pytest.raises(RequestError, match="no figure in common"):
        changes(document(a=FAST), new)


def test_small_times_are_told_in_small_units() -> None:
    told = text(changes(document(a=[0.0004] * 5, b=[0.02] * 5), document(a=[0.0004] * 5, b=[0.02] * 5)))
    assert "400.00 µs" in told
    assert "20.00 ms" in told


def test_times_that_became_nothing_are_an_improvement() -> None:
    change = only(FAST, [0.0] * 5)
    assert change.is_improvement
    assert not change.is_regression


def test_a_file_whose_machine_is_unknown_can_be_compared() -> None:
    assert changes({**document(a=FAST), "machine": None}, document(a=SLOW)).regressions
