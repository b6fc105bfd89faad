"""Records: what attrs' frozen classes give, without attrs."""

from __future__ import annotations

import pytest

from headstart_wrapper.records import Record, as_tuple, evolve, fields_of


class Point(Record):
    x: int
    y: int = 0


class Other(Record):
    x: int
    y: int = 0


def test_fields_by_place_by_name_and_by_default() -> None:
    assert Point(1) == Point(1, 0) == Point(y=0, x=1) == Point(1, y=0)
    assert as_tuple(Point(1)) == (1, 0)
    assert fields_of(Point) == ("x", "y")
    assert repr(Point(1)) == "Point(x=1, y=0)"


def test_equal_when_class_and_fields_are() -> None:
    assert Point(1) != Point(2)
    assert Point(1) != Other(1)
    assert Point(1) != (1, 0)
    assert len({Point(1), Point(1, 0), Other(1), Point(2)}) == 3


def test_a_record_matches_by_place() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_a_record_cannot_be_changed_but_in_a_copy() -> None:
    point = Point(1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match="Point is frozen"):
            setattr(point, name, 2)
    with pytest.raises(AttributeError, match="Point is frozen"):
        del point.x
    assert evolve(point, y=3) == Point(1, 3)
    assert point == Point(1)
    assert not hasattr(point, "__dict__")


@pytest.mark.parametrize(
    ("values", "named", "said"),
    [
        ((), {}, "wants its field x"),
        ((1, 2, 3), {}, "has 2 fields, not 3"),
        ((1,), {"x": 2}, "has no free field x"),
        ((1,), {"z": 2, "w": 3}, "has no free field z, w"),
    ],
)
def test_a_wrong_making_names_the_field(values: tuple[int, ...], named: dict[str, int], said: str) -> None:
    with pytest.raises(TypeError, match=f"Point {said}"):
        Point(*values, **named)
    with pytest.raises(TypeError, match="has no free field z"):
        evolve(Point(1), z=2)
