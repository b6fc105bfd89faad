"""Shapes of synthetic graphs, and their file."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.bench.synthetic import (
    SHAPES,
    Part,
    Shape,
    chain,
    diamond,
    fan,
    from_json,
    from_name,
    layered,
    units_of,
)
from headstart_worker.cargo.units import BINARY, LIBRARY, PROC_MACRO
from headstart_wrapper.errors import RequestError


def needs(shape: Shape) -> dict[str, tuple[str, ...]]:
    return {part.name: part.needs for part in shape.units}


def test_shapes() -> None:
    assert needs(chain(3)) == {"u0": (), "u1": ("u0",), "u2": ("u1",)}
    assert needs(fan(4)) == {"u0": (), "u1": ("u0",), "u2": ("u0",), "u3": ("u0",)}
    assert needs(diamond(4)) == {"u0": (), "u1": ("u0",), "u2": ("u0",), "u3": ("u1", "u2")}
    assert needs(layered(6, width=2)) == {
        "u0": (),
        "u1": (),
        "u2": ("u0", "u1"),
        "u3": ("u0", "u1"),
        "u4": ("u2", "u3"),
        "u5": ("u2", "u3"),
    }
    assert needs(layered(3, width=1)) == needs(chain(3))
    assert needs(layered(8))["u5"] == ("u1", "u2")
    assert needs(layered(8))["u7"] == ("u0", "u3")


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 3, 10, 30])
def test_every_shape_has_its_units_and_one_of_them_begins(kind: str, count: int) -> None:
    shape = SHAPES[kind](count, seconds=2.0, early=0.25, memory=7)
    assert len(shape.units) == count
    assert shape.units[0].needs == ()
    assert {(part.front, part.codegen, part.memory) for part in shape.units} == {(0.5, 1.5, 7)}
    assert shape.name == f"{kind}:{count}"
    assert len(units_of(shape, "/rustc")) == count


def test_names_of_shapes() -> None:
    assert from_name("chain:20") == chain(20)
    assert from_name("fan:8:0.3") == fan(8, early=0.3)
    assert from_name("layered:12:0:0.2") == layered(12, early=0, seconds=0.2)
    assert from_name("diamond:5:1") == diamond(5, early=1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("chain", "chain is no shape: write chain, diamond, fan, layered with a number"),
        ("ring:3", "ring:3 is no shape"),
        ("chain:many", "chain:many is no shape"),
        ("chain:3:a", "chain:3:a is no shape"),
        ("chain:3:0.5:1:2", "is no shape"),
        ("chain:0", "the graph has no units"),
        ("chain:-1", "the graph has no units"),
        ("fan:3:1.5", "from 0 to 1"),
        ("fan:3:nan", "from 0 to 1"),
        ("fan:3:0.5:-1", "front -0.5: give a number from 0 up"),
        ("fan:3:0:inf", "give a number from 0 up"),
    ],
)
def test_what_is_no_shape_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        from_name(text)


SECONDS = st.floats(0, 1e6)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    names = [f"u-{number}" for number in range(draw(st.integers(1, 8)))]
    kinds = [draw(st.sampled_from((LIBRARY, PROC_MACRO, BINARY))) for _ in names]
    parts = [
        Part(
            name,
            tuple(
                below
                for below, kind in zip(names[:number], kinds[:number], strict=True)
                if kind != BINARY and draw(st.booleans())
            ),
            draw(SECONDS),
            draw(SECONDS),
            draw(st.integers(0, 1000)),
            kinds[number],
        )
        for number, name in enumerate(names)
    ]
    return Shape(draw(st.text()), tuple(draw(st.permutations(parts))))


@given(shapes())
def test_a_graph_survives_its_file_and_can_be_built_in_its_order(shape: Shape) -> None:
    assert from_json(json.dumps(shape.export())) == shape
    units = units_of(shape, "/rustc")  # Units refuses what comes before what it needs
    assert {unit.name: {below.name for below in units.direct(unit)} for unit in units} == {
        part.name: set(part.needs) for part in shape.units
    }


def test_the_file_in_the_manual_is_read() -> None:
    shape = from_json(
        """{"name": "two",
            "units": [{"name": "high", "needs": ["low"], "front": 0.5, "codegen": 0.1, "memory": 200, "kind": "bin"},
                      {"name": "low", "front": 0.3, "codegen": 0.7, "unknown": 1}]}"""
    )
    assert shape == Shape("two", (Part("low", (), 0.3, 0.7), Part("high", ("low",), 0.5, 0.1, 200, BINARY)))
    assert [part.name for part in shape.units] == ["low", "high"]


@given(shapes())
def test_an_order_that_can_be_built_stays(shape: Shape) -> None:
    assert Shape("again", shape.units).units == shape.units


def test_a_need_told_twice_is_one() -> None:
    shape = from_json('{"units": [{"name": "a"}, {"name": "b", "needs": ["a", "a"]}]}')
    assert shape.units[1].needs == ("a",)
    assert shape.name == "graph"


def test_crates_whose_names_differ_by_a_dash_have_different_files() -> None:
    units = units_of(Shape("s", (Part("a-b"), Part("a_b"))), "/rustc")
    assert len({unit.crate_name for unit in units}) == 1
    assert len({unit.extra_filename for unit in units}) == len({unit.metadata for unit in units}) == 2


@pytest.mark.parametrize(
    ("units", "sentence"),
    [
        ([{"name": "a"}, {"name": "a"}], "two units of the graph have one name"),
        ([{"name": "a", "needs": ["b"]}], "unit a needs b, which is not in the graph"),
        (
            [{"name": "a", "needs": ["b"]}, {"name": "b", "needs": ["a"]}],
            "need each other .. needs . needs .",
        ),
        ([{"name": "a", "needs": ["a"]}], "need each other .a needs a"),
        ([{"name": "../a"}], r"cannot be named '\.\./a'"),
        ([{"name": ""}], "cannot be named"),
        ([{"name": "a", "kind": "dylib"}], "kind 'dylib': take one of lib, proc-macro, bin"),
        ([{"name": "a", "front": -1}], r"front -1\.0"),
        ([{"name": "a", "codegen": math.inf}], "codegen inf"),
        ([{"name": "a", "memory": -5}], "memory -5"),
        ([{"name": "a", "kind": "bin"}, {"name": "b", "needs": ["a"]}], "which is a program"),
        ([{}], "this is no graph of units"),
        (["a"], "this is no graph of units"),
        ([{"name": "a", "needs": 3}], "this is no graph of units"),
        ([{"name": "a", "front": "x"}], "this is no graph of units"),
        ([], "the graph has no units"),
    ],
)
def test_what_is_no_graph_is_refused_with_a_sentence(units: list[object], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        from_json(json.dumps({"name": "x", "units": units}))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"units": 3}', "null"])
def test_what_is_no_file_of_a_graph_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="this is no graph of units"):
        from_json(text)
