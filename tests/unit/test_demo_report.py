"""The demonstration's table says what was measured, and its faults what must not be."""

from __future__ import annotations

from headstart_worker.cargo.commands import Mode
from headstart_worker.demo.hosts import Measured
from headstart_worker.demo.report import faults, table
from headstart_worker.timeline import Build, Compile


def compile_(label: str, *, early: float | None = None, code: int = 0) -> Compile:
    return Compile(label, 0, 0.0, 2.0, early, cpu=1.25, peak_memory=1, exit_code=code)


def measured(mode: Mode, *compiles: Compile, joins: int = 0, scenario: str = "clean") -> Measured:
    return Measured(mode, scenario, 12.34, Build(compiles, joins))


def test_the_table_has_a_row_for_each_build_in_their_order() -> None:
    lines = table(
        [
            measured("none", compile_("a")),
            measured("worker", compile_("a", early=1.0), compile_("b"), joins=1, scenario="edit of a"),
        ]
    ).splitlines()
    head, rule, none, worker = (line.split("  ") for line in lines)
    assert [cell.strip() for cell in head if cell][:2] == ["mode", "scenario"]
    assert set("".join(rule).strip()) == {"-"}
    assert [cell.strip() for cell in none if cell.strip()] == [
        "none",
        "clean",
        "12.3 s",
        "1.2 s",
        "1",
        "-",
        "1",
    ]
    told = [cell.strip() for cell in worker if cell.strip()]
    assert told == ["worker", "edit of a", "12.3 s", "2.5 s", "2", "1 of 1", "2"]


def test_columns_stand_under_their_heads() -> None:
    head, _, row = table([measured("none", compile_("a"), scenario="edit of a-long-package")]).splitlines()
    for name, cell in (("scenario", "edit"), ("wall", "12.3"), ("CPU", "1.2")):
        assert head.index(name) == row.index(cell)


def test_a_good_demonstration_has_no_faults() -> None:
    assert (
        faults(
            [
                measured("none", compile_("a")),
                measured("worker", compile_("a", early=1.0), compile_("b", early=1.0), joins=2),
            ]
        )
        == []
    )


def test_a_build_without_compilers_is_a_fault() -> None:
    assert faults([measured("none")]) == ["none, clean: no compiler ran"]


def test_a_pipelined_crate_that_was_not_joined_is_a_fault() -> None:
    result = measured("worker", compile_("a", early=1.0), compile_("b", early=1.0), joins=1)
    assert faults([result]) == ["worker, clean: 2 crates were pipelined, but 1 were joined"]


def test_joins_are_not_asked_of_a_mode_that_has_none() -> None:
    assert faults([measured("none", compile_("a", early=1.0))]) == []


def test_a_compiler_that_failed_is_a_fault_by_its_name() -> None:
    result = measured("none", compile_("good"), compile_("bad", code=101), scenario="edit of x")
    assert faults([result]) == ["none, edit of x: bad ended with 101"]
