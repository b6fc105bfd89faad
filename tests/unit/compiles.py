"""A compile of a build that nobody made, for tests of what is told and drawn of it."""

from __future__ import annotations

from headstart_worker.timeline import Compile


def compile_(
    label: str = "liba.rlib",
    *,
    slot: int = 0,
    start: float = 0.0,
    end: float = 1.0,
    early: float | None = None,
    code: int = 0,
    cancelled: bool = False,
) -> Compile:
    return Compile(
        label, slot, start, end, early, cpu=0.5, peak_memory=1 << 20, exit_code=code, cancelled=cancelled
    )
