"""Measures what `--sandbox` costs: one rustc compile and one g++ compile through a worker, unchecked and in each mode.

    benchmarks/checks.py [--rounds=10] [--source=examples/search]

The worker is warm (the tools' closure is known), modes take turns within a round, and what counts is processor time: of the compiler and
all that it starts, as the kernel told the worker, and of the worker and its helper beside it. Wall time stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio
from attrs import frozen

import measure
from headstart_worker.cargo import commands
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.digests import Digests
from headstart_worker.messages import Input
from headstart_worker.testing import FakeHost

RESULTS = Path(__file__).parent / "results"

MODES: Final = {
    "off": ("--sandbox=off",),
    "audit": ("--sandbox=audit",),
    "enforce": ("--sandbox=enforce",),
    "strict": ("--sandbox=strict",),
    "audit, files traced": ("--sandbox=audit", "--trace-files"),
}

GOALS: Final = {"audit": 0.01, "enforce": 0.05}
"""CPU time more than unchecked, as a part of it."""

_READABLE: Final = 4
"""Rounds that lie further apart than this many times a goal say nothing about it."""

CRATE: Final = "regex-syntax"

CPP: Final = """#include <iostream>
#include <map>
#include <regex>
int main(int argc, char **argv) {
  std::map<std::string, int> seen;
  std::regex word("[a-z]+");
  for (int at = 1; at < argc; ++at)
    if (std::regex_match(argv[at], word)) ++seen[argv[at]];
  for (auto &each : seen) std::cout << each.first << each.second;
}
"""


@frozen
class Compile:
    """One compile. Attributes: its name, its request without a mode, and its inputs."""

    name: str
    arguments: tuple[str, ...]
    inputs: tuple[Input, ...]


@frozen
class Taken:
    """What one compile took: processor seconds of the compiler, of the worker beside it, and wall seconds."""

    compiler: float
    worker: float
    wall: float


def main() -> None:
    """Runs the rounds and writes `results/checks.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="compiles in each mode (10)")
    parser.add_argument("--source", type=Path, default=Path("examples/search"), help="a Cargo workspace")
    parser.add_argument("--output", type=Path, default=RESULTS / "checks.json", help="file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headstart-checks-") as directory:
        workspace = Path(directory, "workspace")
        compiles = _compiles(options.source, workspace)
        load = measure.load()
        taken = trio.run(_measure, compiles, workspace, options.rounds)
    result: dict[str, Any] = {
        "machine": measure.machine(),
        "load_before": round(load, 2),
        "load_after": round(measure.load(), 2),
        "command": f"benchmarks/checks.py --rounds={options.rounds} --source={options.source}",
        "compiles": {
            name: {mode: _export(runs, modes["off"]) for mode, runs in modes.items()}
            for name, modes in taken.items()
        },
    }
    result["verdict"] = verdict(result["compiles"])
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("\n".join(result["verdict"]), f"\nwritten to {options.output}")


def _compiles(source: Path, workspace: Path) -> list[Compile]:
    units = import_cargo(source, workspace, progress=lambda line: print(line, file=sys.stderr))
    unit = next(unit for unit in units if unit.name.startswith(CRATE) and unit.is_library)
    lines = commands.request_lines(unit, units, mode="none", phase=None, outroot="out", rustc=units.rustc)
    paths = commands.request_inputs(unit, units, mode="none", phase=None, outroot="out")
    (workspace / "regex.cpp").write_text(CPP)
    return [
        Compile(f"rustc, {unit.name}", tuple(lines), _inputs(workspace, paths)),
        Compile(
            "g++, <regex>",
            ("--output=cpp/regex.o", "--", "g++", "-g", "-c", "regex.cpp", "-o", "cpp/regex.o"),
            _inputs(workspace, ["regex.cpp"]),
        ),
    ]


def _inputs(workspace: Path, paths: Sequence[str]) -> tuple[Input, ...]:
    digests = Digests()
    return tuple(Input(path, digests.of_file(str(workspace / path)).hex().encode()) for path in paths)


async def _measure(
    compiles: Sequence[Compile], workspace: Path, rounds: int
) -> dict[str, dict[str, list[Taken]]]:
    taken: dict[str, dict[str, list[Taken]]] = {each.name: {mode: [] for mode in MODES} for each in compiles}
    modes = list(MODES)
    async with FakeHost(options=("--jobs=1",), cwd=workspace) as host:
        for number in range(-1, rounds):  # the first is to warm up
            for each in compiles:
                for mode in modes[number % len(modes) :] + modes[: number % len(modes)]:
                    run = await _compile(host, each, MODES[mode], workspace)
                    if number >= 0:
                        taken[each.name][mode].append(run)
            print(f"  round {number + 1} of {rounds}", file=sys.stderr)
    return taken


async def _compile(host: FakeHost, compile_: Compile, mode: Sequence[str], workspace: Path) -> Taken:
    stats = workspace / "stats.json"
    before, began = _own_seconds(host.pid), trio.current_time()
    response = await host.work((*mode, f"--stats={stats}", *compile_.arguments), compile_.inputs)
    wall, after = trio.current_time() - began, _own_seconds(host.pid)
    if response.exit_code:
        raise SystemExit(f"{compile_.name} failed under {' '.join(mode)}: {response.output}")
    told = json.loads(stats.read_text("utf-8"))
    return Taken(told["user_seconds"] + told["system_seconds"], after - before, wall)


def _own_seconds(worker: int) -> float:
    """Processor seconds of a worker and its helper themselves, the compilers left out."""
    children = Path(f"/proc/{worker}/task/{worker}/children").read_text("ascii").split()
    ticks = 0
    for pid in (str(worker), *children):
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _export(runs: Sequence[Taken], off: Sequence[Taken]) -> dict[str, Any]:
    # The worker's own time comes in ticks of 10 ms: only its mean over all rounds says something.
    own = statistics.fmean(run.worker for run in runs)
    own_off = statistics.fmean(run.worker for run in off)
    ratios = [(run.compiler + own) / (other.compiler + own_off) for run, other in zip(runs, off, strict=True)]
    quietest, quietest_off = (min(run.compiler for run in each) for each in (runs, off))
    return {
        "compiler_seconds": [round(run.compiler, 4) for run in runs],
        "worker_seconds_mean": round(own, 4),
        "wall_seconds": [round(run.wall, 4) for run in runs],
        "own_part": (own - own_off) / quietest_off,
        "cpu_ratio": {
            # What else a machine does makes a run longer, never shorter.
            "quietest": (quietest + own) / (quietest_off + own_off),
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        },
        "wall_ratio_median": statistics.median(
            run.wall / other.wall for run, other in zip(runs, off, strict=True)
        ),
    }


def verdict(compiles: dict[str, dict[str, Any]]) -> list[str]:
    """What may be said, a line for each compile and mode with a goal."""
    lines = []
    for name, modes in compiles.items():
        for mode, told in modes.items():
            if mode == "off":
                continue
            ratio = told["cpu_ratio"]
            said = (
                f"{name}, {mode}: {ratio['quietest']:.3f} of the CPU time unchecked in the quietest runs, {ratio['median']:.3f} in the "
                f"median of rounds ({ratio['min']:.3f} to {ratio['max']:.3f}); the worker's own part is {told['own_part']:+.1%}"
            )
            if mode in GOALS:
                most = 1 + GOALS[mode]
                if ratio["max"] - ratio["min"] > _READABLE * GOALS[mode]:
                    said += f"; rounds are too far apart to see {most:.2f} by them"
                else:
                    said += f"; {'within' if ratio['quietest'] <= most else 'NOT within'} {most:.2f}"
            lines.append(said)
    return lines


if __name__ == "__main__":
    main()
