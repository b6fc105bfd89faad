"""Laws that the simulation must keep for every graph of units."""

from __future__ import annotations

import math
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.cargo.commands import MODES, Mode
from headstart_worker.model.plans import Cost, Machine, Remote, reads_early
from headstart_worker.model.simulation import predict

SECONDS = st.one_of(st.just(0.0), st.floats(0.01, 10))
WIDTHS = st.sampled_from([1.0, 2.0, 3.5, 8.0])
ALL_MODES = st.sampled_from(MODES)
CORES = st.integers(1, 9)
UNLIMITED = 10_000


@st.composite
def graphs(
    draw: st.DrawFn, *, codegen: st.SearchStrategy[float] = SECONDS, link: st.SearchStrategy[float] = SECONDS
) -> list[Cost]:
    """Units that need some of those before them, as compilers read them: with all that lies below."""
    costs: list[Cost] = []
    for number in range(draw(st.integers(1, 6))):
        direct = draw(st.lists(st.sampled_from(costs), max_size=3)) if costs else []
        closure = {name for one in direct for name in (one.name, *one.needs)}
        costs.append(
            Cost(
                f"u{number}",
                tuple(one.name for one in costs if one.name in closure),
                draw(st.booleans()),
                draw(SECONDS),
                draw(codegen),
                draw(link),
                draw(WIDTHS),
                memory=draw(st.integers(0, 1000)),
                metadata=draw(st.integers(0, 1000)),
                code=draw(st.integers(0, 1000)),
            )
        )
    return costs


def machine(cores: int, **more: Any) -> Machine:
    return Machine(cores, cores, in_flight=UNLIMITED, **more)


def ran(cost: Cost, mode: Mode) -> float:
    """Processor seconds that a unit costs in a mode, said without any plan."""
    return cost.work + (cost.front if cost.is_library and mode in {"two_invocation", "hollow"} else 0)


def longest_chain(costs: list[Cost], mode: Mode, threads: int, *, ordered: bool = True) -> float:
    """When the last unit ends, with a core for everybody; each compiler has so many threads."""
    by_name = {one.name: one for one in costs}
    early: dict[str, float] = {}
    full: dict[str, float] = {}
    for cost in costs:
        start = max(
            ((early if reads_early(cost, by_name[name], mode) else full)[name] for name in cost.needs),
            default=0.0,
        )
        whole = cost.front + cost.codegen / min(cost.width, threads) + cost.link
        early[cost.name] = start + cost.front
        twice = cost.is_library and mode in {"two_invocation", "hollow"} and ordered
        full[cost.name] = (early[cost.name] if twice else start) + whole
    return max(full.values())


@given(graphs(), ALL_MODES, CORES)
def test_a_build_takes_at_least_its_work_and_its_longest_chain_and_at_most_their_sum(
    costs: list[Cost], mode: Mode, cores: int
) -> None:
    predicted = predict(costs, mode, machine(cores))
    work = sum(ran(cost, mode) for cost in costs) / cores
    chain = longest_chain(costs, mode, cores)
    assert predicted.wall >= max(work, chain) * (1 - 1e-9)
    assert predicted.wall <= (work + longest_chain(costs, mode, 1)) * (1 + 1e-9)


@given(graphs(), ALL_MODES, st.booleans())
def test_with_cores_for_everybody_a_build_takes_its_longest_chain(
    costs: list[Cost], mode: Mode, ordered: bool
) -> None:
    predicted = predict(costs, mode, machine(UNLIMITED, ordered=ordered))
    assert predicted.wall == pytest.approx(longest_chain(costs, mode, UNLIMITED, ordered=ordered))


@given(graphs(), ALL_MODES, CORES, st.integers(1, 9))
def test_more_cores_are_never_much_slower(costs: list[Cost], mode: Mode, cores: int, more: int) -> None:
    """They may be somewhat slower, as every schedule that never idles may (Graham 1966): work is admitted in another order.

    Slower than twice they cannot be: what bounds such a schedule is the work and the longest chain, and both bound the other, too.
    """
    fewer = predict(costs, mode, machine(cores)).wall
    assert predict(costs, mode, machine(cores + more)).wall <= 2 * fewer * (1 + 1e-9)


@given(graphs(), ALL_MODES, CORES, st.floats(0, 0.1), st.floats(1, 2))
def test_processor_time_is_what_the_compilers_and_the_requests_take(
    costs: list[Cost], mode: Mode, cores: int, request: float, pace: float
) -> None:
    predicted = predict(costs, mode, machine(cores, request=request, pace=pace))
    requests = sum(1 if mode == "none" or not cost.is_library else 2 for cost in costs)
    assert predicted.cpu == pytest.approx(sum(ran(cost, mode) for cost in costs) + requests * request)


@given(graphs(), ALL_MODES, CORES)
def test_at_half_the_pace_a_build_takes_up_to_twice_as_long_for_the_same_processor_time(
    costs: list[Cost], mode: Mode, cores: int
) -> None:
    usual, slow = (predict(costs, mode, machine(cores, pace=pace)) for pace in (1.0, 2.0))
    assert usual.wall * (1 - 1e-9) <= slow.wall <= 2 * usual.wall * (1 + 1e-9)
    assert slow.cpu == pytest.approx(usual.cpu)
    if cores == 1:
        assert slow.wall == pytest.approx(2 * usual.wall)


@given(graphs(), ALL_MODES, st.integers(2, 9))
def test_one_thread_alone_waits_for_nobody(costs: list[Cost], mode: Mode, cores: int) -> None:
    usual, slow = (predict(costs, mode, evolve(machine(cores, pace=pace), jobs=1)) for pace in (1.0, 2.0))
    assert slow.wall == pytest.approx(usual.wall)


@given(graphs(), ALL_MODES, CORES)
def test_what_waited_here_says_nothing_of_remote_executors(costs: list[Cost], mode: Mode, cores: int) -> None:
    usual, slow = (
        predict(costs, mode, machine(cores, pace=pace, remote=Remote(0.1, 1e9))) for pace in (1.0, 2.0)
    )
    assert slow == usual


@given(st.integers(2, 9), st.floats(1, 3))
def test_threads_on_all_cores_wait_as_long_as_those_that_were_measured(cores: int, pace: float) -> None:
    alike = [Cost(f"u{number}", (), False, 1.0, 0.0, 0.0, 1.0, 0) for number in range(cores)]
    usual, slow = (predict(alike, "none", machine(cores, pace=one, crowd=cores)) for one in (1.0, pace))
    assert slow.wall == pytest.approx(pace * usual.wall)


@given(graphs(), ALL_MODES, CORES)
def test_a_crowd_costs_processor_time_only_where_there_is_one(
    costs: list[Cost], mode: Mode, cores: int
) -> None:
    alone = predict(costs, mode, machine(cores))
    crowded = predict(costs, mode, machine(cores, crowding=0.5, crowd=2))
    assert alone.cpu * (1 - 1e-9) <= crowded.cpu <= 1.5 * alone.cpu * (1 + 1e-9)
    if cores == 1:
        assert crowded == alone


@given(graphs(codegen=st.just(0.0), link=st.just(0.0)))
def test_without_codegen_nothing_is_gained_by_answering_early(costs: list[Cost]) -> None:
    assert predict(costs, "worker", machine(UNLIMITED)).wall == pytest.approx(
        predict(costs, "none", machine(UNLIMITED)).wall
    )


@given(graphs(), ALL_MODES)
def test_where_nothing_is_a_library_all_modes_are_one(costs: list[Cost], mode: Mode) -> None:
    costs = [evolve(cost, is_library=False) for cost in costs]
    assert predict(costs, mode, machine(2)) == predict(costs, "none", machine(2))


@given(graphs())
def test_with_cores_for_everybody_one_process_is_never_slower_than_the_others(costs: list[Cost]) -> None:
    worker = predict(costs, "worker", machine(UNLIMITED)).wall
    for mode in MODES:
        assert worker <= predict(costs, mode, machine(UNLIMITED)).wall * (1 + 1e-9)


@given(graphs())
def test_with_cores_for_everybody_and_unordered_halves_hollow_takes_as_long_as_one_process(
    costs: list[Cost],
) -> None:
    unordered = machine(UNLIMITED, ordered=False)
    assert predict(costs, "hollow", unordered).wall == pytest.approx(predict(costs, "worker", unordered).wall)


@given(graphs(), ALL_MODES, CORES, st.data())
def test_only_what_is_stale_is_compiled(
    costs: list[Cost], mode: Mode, cores: int, data: st.DataObject
) -> None:
    stale = data.draw(st.sets(st.sampled_from([cost.name for cost in costs])))
    predicted = predict(costs, mode, machine(cores), stale)
    assert predicted.cpu == pytest.approx(sum(ran(cost, mode) for cost in costs if cost.name in stale))
    assert (predicted.compilers == 0) == (not stale)


@given(graphs(), ALL_MODES, CORES, st.integers(1, 3))
def test_compilers_at_once_and_their_memory_stay_within_the_jobs(
    costs: list[Cost], mode: Mode, jobs: int, a_job: int
) -> None:
    predicted = predict(costs, mode, Machine(4, jobs, in_flight=a_job * jobs, request=0.01))
    assert 1 <= predicted.peak_compilers <= jobs
    largest = sorted((cost.memory for cost in costs for _ in range(2)), reverse=True)
    assert max(cost.memory for cost in costs) <= predicted.peak_memory <= sum(largest[:jobs])


@given(graphs(), ALL_MODES, CORES)
def test_one_request_in_flight_is_enough_for_every_mode_to_end(
    costs: list[Cost], mode: Mode, cores: int
) -> None:
    """The host's limit can only delay: a full request that joins waits for nobody who waits for it."""
    predicted = predict(costs, mode, Machine(cores, cores, in_flight=1))
    assert predicted.compilers == sum(
        2 if cost.is_library and mode in {"two_invocation", "hollow"} else 1 for cost in costs
    )
    assert math.isfinite(predicted.wall)


@given(graphs(), ALL_MODES, st.floats(0, 1), st.integers(1, 4))
def test_remote_executors_take_a_latency_for_every_action_of_a_chain(
    costs: list[Cost], mode: Mode, latency: float, cores: int
) -> None:
    chained = [
        evolve(cost, needs=tuple(one.name for one in costs[:number])) for number, cost in enumerate(costs)
    ]
    chained = [evolve(cost, is_library=False) for cost in chained]
    remote = Remote(latency, bandwidth=math.inf, cores=cores)
    predicted = predict(chained, mode, machine(3, remote=remote))
    own = sum(cost.front + cost.codegen / min(cost.width, cores) + cost.link for cost in chained)
    assert predicted.wall == pytest.approx(own + latency * len(chained))


def test_remote_executors_of_one_process_pipelining_compile_every_library_twice() -> None:
    library = Cost("a", (), is_library=True, front=1, codegen=1, link=0, width=1, memory=0)
    program = Cost("b", ("a",), is_library=False, front=1, codegen=0, link=0, width=1, memory=0)
    predicted = predict([library, program], "worker", machine(8, remote=Remote(0, math.inf)))
    assert predicted.cpu == 5
    assert predicted.wall == 5


def test_transfers_take_what_the_sizes_and_the_bandwidth_say() -> None:
    library = Cost(
        "a", (), is_library=True, front=0, codegen=0, link=0, width=1, memory=0, sources=30, code=50
    )
    program = Cost(
        "b", ("a",), is_library=False, front=0, codegen=0, link=0, width=1, memory=0, sources=5, code=7
    )
    predicted = predict([library, program], "none", machine(8, remote=Remote(0, bandwidth=10)))
    assert predicted.wall == pytest.approx((30 + 50 + 5 + 50 + 7) / 10)


def test_a_library_compiled_against_metadata_starts_at_the_early_answer() -> None:
    below = Cost("a", (), is_library=True, front=1, codegen=4, link=0, width=1, memory=0)
    above = Cost("b", ("a",), is_library=True, front=3, codegen=1, link=0, width=1, memory=0)
    walls = {mode: predict([below, above], mode, machine(4)).wall for mode in MODES}
    assert walls == {"none": 9, "worker": 5, "hollow": 8, "two_invocation": 8}


def test_early_work_goes_before_the_rest() -> None:
    """The program came first; but somebody waits for the library, so that it gets the first slot in the modes that tell the worker."""

    def unit(name: str, front: float, *needs: str, is_library: bool = False) -> Cost:
        return Cost(name, needs, is_library, front, codegen=0, link=0, width=1, memory=0)

    units = [
        unit("two", 2),
        unit("one", 1),
        unit("program", 9),
        unit("library", 1, is_library=True),
        unit("above", 9, "library", is_library=True),
    ]
    assert predict(units, "none", machine(2)).wall == 12
    assert predict(units, "worker", machine(2)).wall == 11


def test_a_codegen_uses_the_tokens_that_nobody_else_needs() -> None:
    wide = Cost("wide", (), is_library=False, front=0, codegen=8, link=0, width=4, memory=0)
    other = Cost("other", (), is_library=False, front=1, codegen=0, link=0, width=1, memory=0)
    assert predict([wide], "none", machine(2)).wall == 4
    assert predict([wide], "none", machine(8)).wall == 2
    assert predict([wide, other], "none", machine(4)).wall == pytest.approx(1 + (8 - 3) / 4)


def test_tokens_bound_the_threads_of_all_compilers_and_are_shared_evenly() -> None:
    """Six tokens, and cores enough: the narrow one has two threads and the wide one four, and all six when it is alone."""
    wide = Cost("wide", (), is_library=False, front=0, codegen=8, link=0, width=8, memory=0)
    narrow = Cost("narrow", (), is_library=False, front=0, codegen=2, link=0, width=2, memory=0)
    assert predict([wide], "none", Machine(16, 2)).wall == 4
    assert predict([wide, evolve(wide, name="other")], "none", Machine(16, 4)).wall == 4
    assert predict([wide, narrow], "none", Machine(16, 6)).wall == pytest.approx(1 + 4 / 6)


def test_more_threads_than_cores_share_them() -> None:
    one = Cost("one", (), is_library=False, front=2, codegen=0, link=0, width=1, memory=0)
    costs = [one, evolve(one, name="two"), evolve(one, name="three")]
    assert predict(costs, "none", Machine(2, 3)).wall == 3


def test_a_host_with_one_request_in_flight_builds_one_by_one() -> None:
    one = Cost("one", (), is_library=False, front=1, codegen=0, link=0, width=1, memory=0)
    costs = [one, evolve(one, name="two"), evolve(one, name="three")]
    walls = [predict(costs, "none", Machine(4, 4, in_flight=limit)).wall for limit in (1, 2, 3)]
    assert walls == [3, 2, 1]


def test_looking_ahead_takes_the_longest_path_first() -> None:
    def unit(name: str, front: float, *needs: str) -> Cost:
        return Cost(name, needs, is_library=False, front=front, codegen=0, link=0, width=1, memory=0)

    costs = [
        unit("one", 1),
        unit("two", 1),
        unit("side", 6),
        unit("aside", 6),
        unit("low", 1),
        unit("high", 6, "low"),
    ]
    assert predict(costs, "none", machine(2)).wall == 14
    assert predict(costs, "none", machine(2, look_ahead=True)).wall == 13


@given(graphs(), ALL_MODES, CORES)
def test_looking_ahead_changes_the_order_and_nothing_else(costs: list[Cost], mode: Mode, cores: int) -> None:
    known, unknown = (predict(costs, mode, machine(cores, look_ahead=ahead)) for ahead in (True, False))
    assert known.cpu == pytest.approx(unknown.cpu)
    assert known.compilers == unknown.compilers
    assert known.wall <= 2 * unknown.wall * (1 + 1e-9)


def test_what_runs_in_a_crowd_takes_more_of_both_times() -> None:
    one = Cost("one", (), is_library=False, front=1, codegen=0, link=0, width=1, memory=0)
    predicted = predict([one, evolve(one, name="two")], "none", machine(2, crowding=0.5))
    assert (predicted.wall, predicted.cpu) == (1.5, 3)


def test_halves_transfer_what_they_read_and_make() -> None:
    """The upper library's early half waits for 30 bytes of metadata, reads them and makes 20; its full half reads them again and makes 70."""
    low = Cost(
        "low", (), is_library=True, front=0, codegen=0, link=0, width=1, memory=0, metadata=30, code=50
    )
    high = evolve(low, name="high", needs=("low",), metadata=20, code=70)
    predicted = predict([low, high], "hollow", machine(8, remote=Remote(0, bandwidth=10)))
    assert predicted.wall == pytest.approx(3 + (3 + 2) + (3 + 7))
