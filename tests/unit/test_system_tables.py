"""DESIGN.md shows what every job may read, write and inherit, with the same reasons as the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart_wrapper.sandbox import system

DESIGN = (Path(__file__).parents[2] / "DESIGN.md").read_text("utf-8")


@pytest.mark.parametrize("table", [system.WHY_READ, system.WHY_WRITE, system.WHY_KEPT])
def test_the_design_shows_the_whole_table_in_order(table: dict[str, str]) -> None:
    assert "\n".join(f"| `{name}` | {reason} |" for name, reason in table.items()) in DESIGN


def test_nothing_may_be_written_that_is_not_read() -> None:
    assert set(system.WRITE) <= set(system.READ)
    assert all(path.startswith("/") for path in system.READ)


def test_a_job_inherits_what_it_needs_and_what_it_declares() -> None:
    strangers = (
        *("CPATH", "LIBRARY_PATH", "LD_PRELOAD", "RUSTC_BOOTSTRAP", "GCC_EXEC_PREFIX", "CARGOS", "X"),
        *("PATHS", "LCX", "XLC_ALL"),
    )
    of_cargo = ("CARGO", "CARGO_PKG_NAME", "OUT_DIR")
    env = dict.fromkeys((*strangers, *system.KEPT, "LC_ALL", *of_cargo), "1")
    assert set(system.environment(env, ())) == {*system.KEPT, "LC_ALL", *of_cargo}
    assert set(system.environment(env, ("CPATH", "absent"))) == {*system.KEPT, "LC_ALL", "CPATH", *of_cargo}
