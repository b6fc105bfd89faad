"""Traces become costs, and experiments the model's errors."""

from __future__ import annotations

import json
import math
import re

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.bench.records import Experiment
from headstart_worker.bench.synthetic import Part, Shape, units_of
from headstart_worker.cargo import commands
from headstart_worker.cargo.commands import MODES
from headstart_worker.cargo.units import BINARY, LIBRARY, Extern, Unit, Units
from headstart_worker.model import costs as reading
from headstart_worker.model.costs import Costs, calibrated, middle, of_build
from headstart_worker.model.plans import Cost
from headstart_worker.model.simulation import predict
from headstart_worker.model.validation import CORES, points, section
from headstart_worker.timeline import Build, Compile
from headstart_wrapper.errors import RequestError
from unit.bench_results import experiment, taken

PLACE = "search", "dev"


def unit(name: str, *needs: str, kind: str = LIBRARY, args: tuple[str, ...] = ()) -> Unit:
    return Unit(
        name=f"{name}-1.0.0-{name}",
        package=name,
        version="1.0.0",
        directory=name,
        crate_name=name,
        kind=kind,
        edition="2021",
        root=f"{name}/lib.rs",
        args=args,
        metadata=name,
        extra_filename=f"-{name}",
        env={},
        inputs=(f"{name}/lib.rs", f"{name}/more.rs"),
        externs=tuple(Extern(need, f"{need}-1.0.0-{need}") for need in needs),
        native=(),
    )


def units(*several: Unit) -> Units:
    return Units("rustc 1.95.0\n", "/usr/bin/rustc", several)


def compiled(made: Unit, cpu: float, early: float | None = None, *, wall: float | None = None) -> Compile:
    """A compile that spent `cpu` seconds, `early` of them until its early output, in twice the time unless told otherwise."""
    label = commands.outputs(made, "out").all[0].rpartition("/")[2]
    until = None if early is None else 100 + 2 * early
    end = 100 + (2 * cpu if wall is None else wall)
    return Compile(label, 0, 100, end, until, cpu, 7 << 20, 0, cpu_early=early)


LOW, HIGH, APP = unit("low"), unit("high", "low"), unit("app", "high", kind=BINARY)
GRAPH = units(LOW, HIGH, APP)
BUILD = Build((compiled(LOW, 4, 1), compiled(HIGH, 2, 1), compiled(APP, 3)), joins=2)


def test_the_front_end_is_what_was_used_until_the_early_output() -> None:
    low, high, app = of_build(BUILD, GRAPH).units
    assert (low.front, high.front) == (1, 1)
    assert low.codegen + low.link == pytest.approx(3)
    assert app.front == pytest.approx(3 * 2 / 6)
    assert [cost.work for cost in (low, high, app)] == pytest.approx([4, 2, 3])
    assert (low.needs, high.needs) == ((), (LOW.name,))
    assert (low.is_library, app.is_library) == (True, False)


def test_a_trace_without_the_early_processor_time_is_read_by_its_walls() -> None:
    old = Build((evolve(compiled(LOW, 4, 1), cpu_early=None),), joins=0)
    costs = of_build(old, units(LOW))
    assert costs.units[0].front == 2
    assert costs.pace == 1


def test_the_pace_is_how_long_front_ends_took() -> None:
    assert of_build(BUILD, GRAPH).pace == 2


def test_requests_share_what_host_and_worker_used() -> None:
    assert of_build(BUILD, GRAPH, requests_cpu=10).request == 2


def test_a_failed_run_is_not_what_a_unit_costs() -> None:
    failed = evolve(compiled(LOW, 9, 9), exit_code=1)
    assert of_build(Build((compiled(LOW, 4, 1), failed), joins=0), units(LOW)).units[0].work == pytest.approx(
        4
    )


def test_a_trace_of_something_else_is_refused_with_what_to_do() -> None:
    with pytest.raises(RequestError, match=r"tells nothing of app-1\.0\.0-app \(1 of 3 units are missing\)"):
        of_build(Build(BUILD.compiles[:2], 0), GRAPH)


@pytest.mark.parametrize(
    ("args", "width"),
    [
        ((), 2),
        (("-C", "debuginfo=2"), 2),
        (("-C", "opt-level=3"), 8),
        (("-Copt-level=s",), 8),
        (("-C", "opt-level=0"), 2),
        (("-C", "opt-level=3", "-C", "codegen-units=1"), 1),
        (("-C", "codegen-units=256"), 2),
    ],
)
def test_codegen_is_as_wide_as_the_crate_is_compiled(args: tuple[str, ...], width: float) -> None:
    made = unit("low", args=args)
    assert of_build(Build((compiled(made, 4, 1),), 0), units(made)).units[0].width == width


def test_the_compiler_of_synthetic_graphs_has_one_thread() -> None:
    synthetic = evolve(units(LOW), compiler="rustc 1.0.0 (synthetic)")
    assert of_build(Build((compiled(LOW, 4, 1),), 0), synthetic).units[0].width == 1


def test_sizes_are_what_remote_executors_read_and_write() -> None:
    made = commands.outputs(LOW, "out")
    sizes = {"low/lib.rs": 1, "low/more.rs": 2, made.metadata or "": 30, made.code: 400}
    low = of_build(BUILD, GRAPH, sizes=sizes).units[0]
    assert (low.sources, low.metadata, low.code) == (3, 30, 400)


def test_costs_survive_json() -> None:
    costs = of_build(BUILD, GRAPH, requests_cpu=1)
    assert reading.read(json.loads(json.dumps(costs.export()))) == costs


def test_of_several_builds_the_median_counts() -> None:
    costs = of_build(BUILD, GRAPH, requests_cpu=5)
    odd = evolve(costs, units=tuple(cost.scaled(100) for cost in costs.units), pace=9.0)
    assert middle([costs, odd, costs]) == costs


def test_what_is_above_a_unit_is_what_is_compiled_again() -> None:
    costs = of_build(BUILD, GRAPH)
    assert costs.above(HIGH.name) == {HIGH.name, APP.name}
    assert costs.above(LOW.name) == {LOW.name, HIGH.name, APP.name}


@given(st.floats(1, 100), st.floats(1, 2), st.floats(1.1, 8), st.integers(2, 64))
def test_calibrated_costs_tell_both_processor_times_again(
    alone: float, more: float, busy: float, cores: int
) -> None:
    """One unit of a thread, so that exactly one core is busy; and as many such as there are cores, for the whole build."""
    busy = min(busy, cores)
    cost = Cost("a", (), is_library=False, front=alone * more, codegen=0, link=0, width=1, memory=0)
    found = calibrated(Costs((cost,)), alone, alone * more, busy, cores)
    assert found.units[0].work == pytest.approx(alone)
    assert found.machine(cores).slowdown(busy) * found.units[0].work == pytest.approx(alone * more)
    assert predict(found.units, "none", found.machine(cores)).cpu == pytest.approx(alone)


def test_less_processor_time_together_than_alone_is_noise_and_calibrates_nothing() -> None:
    costs = of_build(BUILD, GRAPH)
    assert calibrated(costs, 10, 9, 1.9, 2) is costs
    assert calibrated(costs, 10, 11, 1.0, 2) is costs
    assert calibrated(costs, 10, 11, 1.0, 1) is costs


def measured(walls: dict[str, float], *, jobs: int = 2) -> Experiment:
    builds = [taken(mode, wall, cpu=9.0 if jobs == 1 else 10.0) for mode, wall in walls.items()]
    return evolve(experiment(*builds, jobs=jobs), units=3)


COSTS = {PLACE: of_build(BUILD, GRAPH)}


def test_a_point_is_the_median_beside_the_prediction() -> None:
    one = evolve(experiment(taken("none", 8), taken("none", 10), taken("none", 90)), units=3)
    (point,) = points(COSTS, [one], cores=2)
    predicted = predict(COSTS[PLACE].units, "none", COSTS[PLACE].machine(2, 2))
    assert (point.measured, point.predicted) == (10, predicted.wall)
    assert point.error == pytest.approx(predicted.wall / 10 - 1)


@given(st.floats(0.1, 10))
def test_a_machine_that_was_slower_meanwhile_is_no_error_of_the_model(slower: float) -> None:
    predicted = predict(COSTS[PLACE].units, "none", COSTS[PLACE].machine(2, 2))
    at_once = taken("none", predicted.wall * slower * 1.25, cpu=predicted.cpu * slower)
    (point,) = points(COSTS, [evolve(experiment(at_once), units=3)], cores=2)
    assert point.error == pytest.approx(0.8 / slower - 1)
    assert point.error_per_work == pytest.approx(-0.2)


def test_edits_are_predicted_for_what_they_compile() -> None:
    edit = evolve(experiment(taken("worker", 8), scenario="edit of high (middle)"), units=2)
    (point,) = points(COSTS, [edit], cores=2)
    assert point.cpu_predicted == pytest.approx(5)
    assert not point.is_source


@pytest.mark.parametrize(
    ("scenario", "units"), [("clean", 4), ("edit of high (middle)", 3), ("edit of other (low)", 2)]
)
def test_nothing_is_said_of_another_graph(scenario: str, units: int) -> None:
    other = evolve(experiment(taken("worker", 8), scenario=scenario), units=units)
    assert points(COSTS, [other], cores=2) == []


def test_modes_that_the_model_does_not_know_are_left_out() -> None:
    assert points(COSTS, [measured({"cargo": 3, "worker+sandbox": 3, "bazel:none": 3})], cores=2) == []


def test_a_section_has_points_curves_sentences_and_the_costs_themselves() -> None:
    found = section(COSTS, [measured({"none": 9, "worker": 8}), measured({"worker": 16}, jobs=1)], cores=2)
    assert [(point["jobs"], point["mode"], point["is_source"]) for point in found["points"]] == [
        (2, "none", False),
        (2, "worker", True),
        (1, "worker", False),
    ]
    assert {(one["mode"], one["cores"]) for one in found["curves"]} == {
        (mode, cores) for mode in MODES for cores in CORES
    }
    assert all(math.isfinite(one["wall"]) for one in found["curves"])
    assert reading.read(json.loads(json.dumps(found["costs"][0]))) == COSTS[PLACE]
    assert len(found["reading"]) == 4
    assert found["reading"][0].startswith(
        "Model against measurement: 2 points"
    )  # what it learned from says little


def said(*costs: Cost) -> list[str]:
    sentences: list[str] = section({PLACE: Costs(costs)}, [], cores=2)["reading"]
    return sentences


def library(name: str, front: float, codegen: float, *needs: str) -> Cost:
    return Cost(name, needs, is_library=True, front=front, codegen=codegen, link=0, width=1, memory=0)


def test_a_chain_with_half_its_time_in_codegen_reads_as_twice_as_fast_with_cores() -> None:
    names = [f"u{number}" for number in range(20)]
    chain = [library(name, 1, 1, *names[:number]) for number, name in enumerate(names)]
    against_none, against_hollow, look_ahead = said(*chain)
    assert "as good up to 1 core, and mode worker gains most with 2 cores, where" in against_none
    assert "1.90 times as fast" in against_none
    assert "from 4 cores on, hollow takes no longer" not in against_hollow
    assert (
        "never meets worker: with 256 cores it takes 1.05 times as long, for 50% more processor time"
        in against_hollow
    )
    assert "sent both at once, it would from 4 cores on" in against_hollow
    assert look_ahead.endswith("to look ahead would make mode worker no faster, with 1 to 256 cores.")


def test_independent_crates_read_as_no_gain() -> None:
    against_none, *_ = said(*(library(f"u{number}", 1, 1) for number in range(300)))
    assert against_none.endswith("a clean build is no faster with one-process pipelining than without.")


def test_crates_without_codegen_read_as_hollow_being_slower() -> None:
    _, against_hollow, _ = said(library("low", 1, 0), library("high", 1, 0, "low"))
    assert "1.50 times as long, for 100% more processor time" in against_hollow


def test_a_synthetic_graph_is_predicted_from_what_its_parts_burn() -> None:
    graph = units_of(Shape("two", (Part("low", (), 1, 2), Part("high", ("low",), 1, 2))), "/rustc")
    builds = [compiled(one, 3, 1, wall=3) for one in graph]
    costs = of_build(Build(tuple(builds), 2), graph)
    assert predict(costs.units, "worker", Costs(costs.units).machine(4)).wall == pytest.approx(4)
    assert predict(costs.units, "none", Costs(costs.units).machine(4)).wall == pytest.approx(6)


def test_a_long_chain_behind_short_units_reads_as_worth_looking_ahead() -> None:
    sides = [library(f"side{number}", 1, 0) for number in range(12)]
    chain = [library(f"u{number}", 1, 0, *(f"u{below}" for below in range(number))) for number in range(6)]
    *_, look_ahead = said(*sides, *chain)
    assert re.search(
        r"to look ahead would make mode worker faster by \d\d% at best, with \d cores", look_ahead
    )
