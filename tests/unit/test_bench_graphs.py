"""Cutting graphs, choosing edits, and the longest path through one."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.bench.graphs import cut, dependents, edits, longest_path
from headstart_worker.bench.synthetic import Part, Shape, chain, fan, from_name, units_of
from headstart_worker.cargo.commands import MODES
from headstart_worker.cargo.units import BINARY, BUILD_SCRIPT, LIBRARY, PROC_MACRO, Unit, Units
from headstart_wrapper.errors import RequestError

PARTS = (
    Part("base"),
    Part("hidden"),
    Part("macro", ("hidden",), kind=PROC_MACRO),
    Part("helper"),  # only the build script of `middle` needs it
    Part("middle", ("base", "macro")),
    Part("other", ("base",)),
    Part("top", ("middle", "other")),
    Part("app", ("top",), kind=BINARY),
    Part("tool", ("other",), kind=BINARY),
)


def with_a_script() -> Units:
    """The graph of PARTS, in which the package `middle` has a build script too."""
    made = units_of(Shape("graph", (*PARTS, Part("script", ("helper",), kind=BINARY))), "/rustc")
    return evolve(
        made,
        units=tuple(
            evolve(unit, kind=BUILD_SCRIPT, package="middle") if unit.name == "script" else unit
            for unit in made
        ),
    )


UNITS = with_a_script()


def names(units: Units) -> set[str]:
    return {unit.name for unit in units}


def test_build_scripts_and_what_only_they_need_are_left_out() -> None:
    assert names(UNITS) - names(cut(UNITS)) == {"helper", "script"}
    assert names(cut(UNITS, build_scripts=True)) == names(UNITS)


def test_named_packages_come_with_what_they_need() -> None:
    assert names(cut(UNITS, ["middle"])) == {"middle", "base", "macro", "hidden"}
    assert names(cut(UNITS, ["other", "macro"])) == {"other", "base", "macro", "hidden"}
    assert names(cut(UNITS, ["helper"])) == {"helper"}


def test_a_package_may_be_named_with_its_version_where_there_are_several() -> None:
    both = evolve(
        UNITS, units=tuple(evolve(unit, package="base", version=version_of(unit)) for unit in UNITS)
    )
    old, new = cut(both, ["base@1.0.0"]), cut(both, ["base@2.0.0"])
    assert names(old) == {"base"}
    assert names(new) >= {"other", "top"}
    assert "base" not in names(cut(both, without=["base@1.0.0"]))
    with pytest.raises(RequestError, match=r"no package base@3\.0\.0: name one of base$"):
        cut(both, ["base@3.0.0"])


def version_of(unit: Unit) -> str:
    """The lowest package is an old one."""
    return "1.0.0" if unit.name == "base" else "2.0.0"


def test_named_packages_come_with_their_build_scripts_when_these_are_wanted() -> None:
    wanted = {"middle", "base", "macro", "hidden", "script", "helper"}
    assert names(cut(UNITS, ["middle"], build_scripts=True)) == wanted
    assert names(cut(UNITS, ["other"], build_scripts=True)) == {"other", "base"}


def test_what_needs_an_unwanted_package_goes_with_it() -> None:
    assert names(cut(UNITS, without=["middle"])) == {"base", "hidden", "macro", "other", "tool"}
    assert names(cut(UNITS, ["tool", "app"], without=["hidden"])) == {"base", "other", "tool"}


def test_the_order_stays() -> None:
    kept = [unit.name for unit in cut(UNITS, ["top"])]
    assert kept == [unit.name for unit in UNITS if unit.name in kept]


def test_unknown_packages_and_empty_graphs_are_refused() -> None:
    with pytest.raises(RequestError, match="there is no package tpo: name one of app, base, "):
        cut(UNITS, ["tpo"])
    with pytest.raises(RequestError, match="there is no package tpo"):
        cut(UNITS, without=["tpo"])
    with pytest.raises(RequestError, match="nothing is left"):
        cut(UNITS, ["base"], without=["base"])


@st.composite
def graphs(draw: st.DrawFn) -> Units:
    """Any graph of libraries and macros."""
    count = draw(st.integers(1, 9))
    parts = [
        Part(
            f"u{number}",
            tuple(f"u{below}" for below in sorted(draw(st.sets(st.integers(0, number - 1)))))
            if number
            else (),
            kind=draw(st.sampled_from((LIBRARY, LIBRARY, PROC_MACRO))),
        )
        for number in range(count)
    ]
    return units_of(Shape("any", tuple(parts)), "/rustc")


@given(graphs(), st.data())
def test_a_cut_is_what_is_wanted_and_can_be_built(units: Units, data: st.DataObject) -> None:
    some = st.sets(st.sampled_from(sorted(names(units))))
    roots, without = data.draw(some), data.draw(some)
    above = dependents(units)
    gone = {name for name in names(units) if name in without or any(name in above[each] for each in without)}
    wanted = {name for name in names(units) if not roots or name in roots or above[name] & roots} - gone
    if not wanted:
        with pytest.raises(RequestError):
            cut(units, roots, without)
        return
    found = cut(units, roots, without)  # Units itself refuses a graph that lacks something
    assert names(found) == wanted


@given(graphs())
def test_dependents_are_what_needs_a_unit_directly_or_not(units: Units) -> None:
    found = dependents(units)
    for unit in units:
        direct = {other.name for other in units if unit in units.direct(other)}
        assert found[unit.name] == direct.union(*(found[name] for name in direct))


def test_edits_are_low_in_the_middle_and_at_the_top() -> None:
    # dependents: base 5, middle 2, other 3, top 1, hidden 4, helper 1
    assert {name: unit.name for name, unit in edits(UNITS).items()} == {
        "low": "base",
        "middle": "middle",
        "top": "top",
    }
    long = edits(units_of(chain(21), "/rustc"))
    assert {name: unit.name for name, unit in long.items()} == {"low": "u00", "middle": "u10", "top": "u19"}


def test_a_small_graph_has_fewer_edits() -> None:
    assert [(name, unit.name) for name, unit in edits(units_of(chain(1), "/rustc")).items()] == [
        ("low", "u0")
    ]
    assert list(edits(units_of(fan(5), "/rustc"))) == ["low"]  # what nothing needs is no edit to speak of
    assert list(edits(units_of(chain(3), "/rustc"))) == ["low", "top"]
    program = Shape("program", (Part("main", kind=BINARY),))
    assert list(edits(units_of(program, "/rustc"))) == ["low"]


@given(graphs())
def test_edits_are_different_libraries_with_more_dependents_below(units: Units) -> None:
    found = edits(units)
    above = {name: len(each) for name, each in dependents(units).items()}
    assert "low" in found
    assert len({unit.name for unit in found.values()}) == len(found)
    counts = [above[unit.name] for unit in found.values()]
    assert counts == sorted(counts, reverse=True)
    if any(unit.is_library for unit in units):
        assert all(unit.is_library for unit in found.values())


PATH = units_of(
    Shape("path", (Part("a"), Part("b", ("a",)), Part("c", ("b",)), Part("main", ("c",), kind=BINARY))),
    "/rustc",
)
SECONDS = {"a": (1.0, 4.0), "b": (2.0, 3.0), "c": (1.0, 9.0), "main": (2.0, 2.0)}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", 4 + 3 + 9 + 2),
        ("worker", 1 + 2 + 9 + 2),
        ("hollow", 1 + 2 + (1 + 9) + 2),
        ("two_invocation", 1 + 2 + (1 + 9) + 2),
    ],
)
def test_the_longest_path_is_as_the_mode_lets_units_start(mode: str, expected: float) -> None:
    assert longest_path(PATH, SECONDS, mode) == expected  # type: ignore[arg-type]


def test_the_tail_of_a_unit_that_nothing_waits_for_counts() -> None:
    assert longest_path(PATH, {**SECONDS, "a": (1.0, 100.0), "main": (0.0, 0.0)}, "worker") == 100


def test_what_is_up_to_date_takes_no_time() -> None:
    assert longest_path(PATH, {"b": (2.0, 3.0)}, "none") == 3
    assert longest_path(PATH, {}, "worker") == 0


def test_macros_are_waited_for_whole() -> None:
    parts = (Part("low"), Part("macro", ("low",), kind=PROC_MACRO), Part("user", ("macro",)))
    seconds = {"low": (1.0, 5.0), "macro": (7.0, 7.0), "user": (1.0, 2.0)}
    assert longest_path(units_of(Shape("m", parts), "/rustc"), seconds, "worker") == 5 + 7 + 2


@given(graphs(), st.data())
def test_pipelining_in_one_process_makes_no_path_longer(units: Units, data: st.DataObject) -> None:
    times = st.integers(0, 20).map(float)
    seconds = {}
    for unit in units:
        early = data.draw(times)
        seconds[unit.name] = (early, early + data.draw(times))
    found = {mode: longest_path(units, seconds, mode) for mode in MODES}
    assert found["worker"] <= found["none"]
    assert found["worker"] <= found["hollow"] == found["two_invocation"]
    assert found["none"] >= max(whole for _, whole in seconds.values())
    whole = {name: (each, each) for name, (_, each) in seconds.items()}
    assert longest_path(units, whole, "worker") == found["none"]


def test_a_long_chain_is_no_trouble() -> None:
    units = units_of(from_name("chain:400"), "/rustc")
    assert longest_path(units, {unit.name: (1.0, 2.0) for unit in units}, "worker") == 401
