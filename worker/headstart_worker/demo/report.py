"""The demonstration's table: what was measured, and nothing that was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headstart_worker.demo.hosts import Measured

_COLUMNS = ("mode", "scenario", "wall", "CPU", "compilers", "joins", "most at once")


def table(measured: Sequence[Measured]) -> str:
    """A text table, a row for each build, in the order in which they were made."""
    rows = [
        (
            result.mode,
            result.scenario,
            f"{result.wall:.1f} s",
            f"{result.build.cpu:.1f} s",
            str(len(result.build.compiles)),
            f"{result.build.joins} of {result.build.pipelined}" if result.mode == "worker" else "-",
            str(result.build.peak_compilers),
        )
        for result in measured
    ]
    widths = [max(len(row[column]) for row in (_COLUMNS, *rows)) for column in range(len(_COLUMNS))]
    return "\n".join(_line(row, widths) for row in (_COLUMNS, ["-" * width for width in widths], *rows))


def _line(row: Sequence[str], widths: Iterable[int]) -> str:
    return "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def faults(measured: Iterable[Measured]) -> list[str]:
    """What must hold whatever the machine: sentences about what does not."""
    found = []
    for result in measured:
        build, name = result.build, f"{result.mode}, {result.scenario}"
        if not build.compiles:
            found.append(f"{name}: no compiler ran")
        if result.mode == "worker" and build.joins != build.pipelined:
            found.append(f"{name}: {build.pipelined} crates were pipelined, but {build.joins} were joined")
        found += [
            f"{name}: {done.label} ended with {done.exit_code}" for done in build.compiles if done.exit_code
        ]
    return found
