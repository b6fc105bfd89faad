"""The checklist is whole: each of its points has tests by name and a mutant that they are to kill."""

from __future__ import annotations

import pytest

from mutants.table import POINTS, ROOT, Mutant, find_tests, known_tests, mutants


def points_of(name: str) -> set[str]:
    return set(POINTS) & set(name.split("_"))


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: f"{mutant.test[:40]} {mutant.why}")
def test_a_mutant_breaks_code_that_is_there_and_names_tests_that_are(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text("utf-8")
    assert mutant.broken(text) != text
    assert find_tests(mutant.test)


@pytest.mark.parametrize("point", POINTS)
def test_every_point_of_the_checklist_has_a_test_and_a_mutant(point: str) -> None:
    assert any(point in points_of(name) for _, name in known_tests())
    assert any(point in points_of(mutant.test) for mutant in mutants())


def test_a_mutant_whose_place_is_not_told_by_its_text_is_refused() -> None:
    mutant = Mutant(test="C01", file="x.py", old="a", new="b", why="", table="x.toml")
    assert mutant.broken("a = 1") == "b = 1"
    with pytest.raises(ValueError, match="`old` occurs 2 times"):
        mutant.broken("a = a")
    with pytest.raises(ValueError, match="`old` occurs 0 times"):
        mutant.broken("c = 1")
    with pytest.raises(ValueError, match="no Python any more"):
        mutant.broken("if a")
