"""Measures whole builds with the wrapper in front of their compilers, and without: a Cargo workspace and GoogleTest with CMake.

    benchmarks/builds.py [--cargo-rounds=3] [--cmake-rounds=5] [--googletest=/usr/src/googletest]

Clean builds take turns: without the wrapper, with it as it becomes the compiler, and with it as it stays and writes statistics. Each is
compared with the build without it in the same round. That the bytes are the same is for the tests (`tests/real`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import measure
from installed import ROOT, installed
from measure import Run

RESULTS = Path(__file__).parent / "results"

CARGO: Final = "cargo"
CMAKE: Final = "cmake"
WITHOUT, WITH, STATISTICS = "without", "process-wrapper", "process-wrapper with statistics"

MOST_TIMES: Final = 1.03
"""What a build may take with the wrapper, against one without."""

FEWEST_ROUNDS: Final = 3
"""With fewer there is no spread to tell."""

_JOBS: Final = "-j2"


def main() -> None:
    """Runs the rounds and writes `results/builds.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cargo-rounds", type=int, default=3, help="clean builds with Cargo in each way (3)")
    parser.add_argument("--cmake-rounds", type=int, default=5, help="clean builds with CMake in each way (5)")
    parser.add_argument("--googletest", type=Path, default=Path("/usr/src/googletest"), help="its sources")
    parser.add_argument("--output", type=Path, default=RESULTS / "builds.json", help="file to write")
    options = parser.parse_args()
    builds: dict[str, list[dict[str, Any]]] = {}
    loads = [measure.load()]
    with installed() as bin_, tempfile.TemporaryDirectory(prefix="headstart-builds-") as scratch:
        wrapper, place = str(bin_ / "process-wrapper"), Path(scratch)
        for tool, cases, rounds in (
            (CARGO, _cargo(wrapper, place), options.cargo_rounds),
            (CMAKE, _cmake(wrapper, place, options.googletest), options.cmake_rounds),
        ):
            cases[WITHOUT]()  # so that no round is the first to read compilers and sources from disk
            builds[tool] = _measured(cases, rounds)
            loads.append(measure.load())
    verdicts = [_verdict(tool, taken) for tool, taken in builds.items()]
    print("\n" + "\n".join(verdicts))
    result = {
        "machine": measure.machine(),
        "loads": loads,
        "command": f"benchmarks/builds.py --cargo-rounds={options.cargo_rounds} --cmake-rounds={options.cmake_rounds}",
        "builds": builds,
        "verdicts": verdicts,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\nload {loads[0]} before, {loads[-1]} after; written to {options.output}")


def _cargo(wrapper: str, scratch: Path) -> dict[str, Callable[[], Run]]:
    workspace = scratch / "search"
    shutil.copytree(ROOT / "examples" / "search", workspace, ignore=shutil.ignore_patterns("target"))
    _check(["cargo", "fetch", "--locked"], workspace)
    command = ["cargo", "build", _JOBS, "--locked", "--offline"]

    def build(environment: Mapping[str, str]) -> Run:
        shutil.rmtree(workspace / "target", ignore_errors=True)
        return _build(command, workspace, environment)

    return {
        WITHOUT: partial(build, {}),
        WITH: partial(build, {"RUSTC_WRAPPER": wrapper}),
        STATISTICS: partial(build, {"RUSTC_WRAPPER": wrapper, **_statistics(scratch, CARGO)}),
    }


def _cmake(wrapper: str, scratch: Path, source: Path) -> dict[str, Callable[[], Run]]:
    """Each way has a build directory of its own, which is configured before and cleaned between builds, both untimed."""

    def case(name: str, environment: Mapping[str, str], *settings: str) -> Callable[[], Run]:
        place = scratch / name
        _check(["cmake", "-S", str(source), "-B", str(place), "-Dgtest_build_samples=ON", *settings], scratch)

        def build() -> Run:
            _check(["cmake", "--build", str(place), "--target", "clean"], scratch)
            return _build(["cmake", "--build", str(place), _JOBS], scratch, environment)

        return build

    launcher = [f"-DCMAKE_{language}_COMPILER_LAUNCHER={wrapper}" for language in ("C", "CXX")]
    return {
        WITHOUT: case("without", {}),
        WITH: case("with", {}, *launcher),
        STATISTICS: case("statistics", _statistics(scratch, CMAKE), *launcher),
    }


def _statistics(scratch: Path, tool: str) -> dict[str, str]:
    directory = scratch / f"statistics-of-{tool}"
    directory.mkdir()
    return {"HEADSTART_STATS": f"{directory}/"}


def _build(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> Run:
    """Runs a build tool; its processor time holds that of every process that it or its children waited for."""
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**_plain_environment(), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed with {dict(environment)}; it cannot be measured")
    return Run((seconds,), usage.ru_utime, usage.ru_stime)


def _check(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(
        command, cwd=directory, env=_plain_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed, nothing can be measured: {done.stderr}")


def _plain_environment() -> dict[str, str]:
    """Without what a caller's make, Cargo or wrapper would change in the builds."""
    changing = ("HEADSTART_", "MAKE", "MFLAGS", "RUSTC", "CMAKE_", "CARGO_BUILD", "CARGO_TARGET")
    return {name: value for name, value in os.environ.items() if not name.startswith(changing)}


def _measured(cases: Mapping[str, Callable[[], Run]], rounds: int) -> list[dict[str, Any]]:
    samples = measure.interleaved(cases, rounds=rounds, warm_up=0)
    bare = next(sample for sample in samples if sample.command == WITHOUT)
    return [{**sample.export(), "times_without": measure.ratio(sample, bare)} for sample in samples]


def _verdict(tool: str, taken: Sequence[dict[str, Any]]) -> str:
    """What may be said about the wrapper that becomes the compiler, and no more."""
    ours = next(one for one in taken if one["command"] == WITH)
    ratio = ours["times_without"]
    low, median, high = ratio["min"], ratio["median"], ratio["max"]
    told = f"with the wrapper a build by {tool} took {median:.3f} times as long in the median (a round's {low:.3f} to {high:.3f})"
    if len(ours["times"]) < FEWEST_ROUNDS:
        return f"Too few rounds to say anything: {told}."
    if high - low > 2 * (MOST_TIMES - 1):
        return f"The machine was too busy with other things to see {MOST_TIMES}: {told}."
    if low <= MOST_TIMES < high:
        return f"Rounds disagree about {MOST_TIMES}: {told}."
    return f"{'Within' if median <= MOST_TIMES else 'NOT within'} {MOST_TIMES}: {told}."


if __name__ == "__main__":
    main()
