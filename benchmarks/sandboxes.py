"""Measures what multiplex sandboxes cost: pipelined builds with them and without, and staging one job with many inputs.

    benchmarks/sandboxes.py [--rounds=5] [--source=examples/search] [--inputs=1000] [--stagings=20]

Clean builds in mode worker take turns, unsandboxed and sandboxed, each with a worker of its own. The host is the embedded one, which makes
sandboxes as Bazel does and leaves out the garbage that tests put into them. Its own processor time is told apart: the wall time of
a sandboxed build holds it, and no worker can do anything about it. That the bytes are the same is for the tests (`tests/host`).
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

import measure
from headstart_worker import timeline
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.cargo.units import Units
from headstart_worker.model.plans import REQUESTS_PER_JOB
from headstart_worker.testing import FakeHost, Sandboxes, build
from stagings import COUNTED, stage, staged

RESULTS = Path(__file__).parent / "results"

PLAIN, SANDBOXED = "unsandboxed", "sandboxed"
WAYS: Final = (PLAIN, SANDBOXED)

MOST_TIMES: Final = 1.05
"""What a build may take with sandboxes, in wall and in processor time, against one without in the same round."""

MOST_SECONDS: Final = {"first": 0.020, "repeated": 0.005}
"""What staging a job with 1,000 inputs may take: into an empty root, and when the inputs are the same again."""

FEWEST_ROUNDS: Final = 3
"""With fewer there is no spread to tell."""


def main() -> None:
    """Runs the rounds and writes `results/sandboxes.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="clean builds in each way (5)")
    parser.add_argument(
        "--source", type=Path, default=Path("examples/search"), help="a Cargo workspace (examples/search)"
    )
    parser.add_argument("--inputs", type=int, default=1000, help="inputs of the job that is staged (1000)")
    parser.add_argument("--stagings", type=int, default=20, help="jobs that are staged, twice each (20)")
    parser.add_argument("--output", type=Path, default=RESULTS / "sandboxes.json", help="file to write")
    options = parser.parse_args()
    loads = [measure.load()]
    with tempfile.TemporaryDirectory(prefix="headstart-sandboxes-") as scratch:
        stagings = trio.run(stage, Path(scratch), options.inputs, options.stagings)
        loads.append(measure.load())
        builds = _builds(Path(scratch), options.source, options.rounds)
        loads.append(measure.load())
    verdicts = [*_verdicts_of_builds(builds), *_verdicts_of_stagings(stagings, options.inputs)]
    result: dict[str, Any] = {
        "machine": measure.machine(),
        "loads": loads,
        "command": f"benchmarks/sandboxes.py --rounds={options.rounds} --source={options.source} "
        f"--inputs={options.inputs} --stagings={options.stagings}",
        "builds": builds,
        "stagings": stagings,
        "verdicts": verdicts,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("\n" + "\n".join(verdicts) + f"\nwritten to {options.output}")


def _builds(scratch: Path, source: Path, rounds: int) -> list[dict[str, Any]]:
    workspace = scratch / "workspace"
    # It builds everything once, so that no round is the first to read it from disk.
    units = import_cargo(source, workspace, progress=lambda line: print(line, file=sys.stderr))
    taken = []
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            taken.append(
                {"round": number + 1, "way": way, **_build(units, workspace, sandboxed=way == SANDBOXED)}
            )
            print("  round {round}  {way:12}{wall:8.2f} s, processor {cpu:8.2f} s".format(**taken[-1]))
    return taken


def _build(units: Units, workspace: Path, *, sandboxed: bool) -> dict[str, Any]:
    """One clean build: seconds, of wall and of processors, and what its trace tells of staging."""
    cores, trace = measure.cores(), workspace.with_name("trace.json")
    jobs = REQUESTS_PER_JOB * cores
    directory = workspace.with_name("worker") if sandboxed else workspace
    for old in (workspace / "out", workspace.with_name("worker")):
        shutil.rmtree(old, ignore_errors=True)
    directory.mkdir(exist_ok=True)
    sandboxes = Sandboxes(directory, workspace, slots=jobs) if sandboxed else None

    async def run() -> float:
        options = (f"--jobs={cores}", f"--trace={trace}", f"--state-dir={workspace.with_name('state')}")
        async with FakeHost(options=options, cwd=directory) as host:
            report = await build(
                units,
                workspace=workspace,
                outroot="out",
                mode="worker",
                jobs=jobs,
                host=host,
                sandboxes=sandboxes,
            )
        if report.failures:
            raise SystemExit(f"a build failed, nothing can be compared: {report.failures[0]}")
        return report.seconds

    children, host_began = _children(), time.process_time()
    wall = trio.run(run)
    worker_and_compilers = _children() - children
    seen = timeline.read_build([trace.read_text("utf-8")])
    spans = staged(trace)
    return {
        "wall": round(wall, 3),
        "cpu": round(worker_and_compilers, 3),
        "cpu_compilers": round(seen.cpu, 3),
        "cpu_worker": round(worker_and_compilers - seen.cpu, 3),
        "cpu_host": round(time.process_time() - host_began, 3),
        "compilers": len(seen.compiles),
        "joins": seen.joins,
        "staged": len(spans),
        "staging_seconds": round(sum(span["seconds"] for span in spans), 4),
        **{what: sum(span[what] for span in spans) for what in COUNTED},
    }


def _children() -> float:
    """Processor seconds of every process that this one waited for, and that those did."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _verdicts_of_builds(builds: Sequence[dict[str, Any]]) -> list[str]:
    return [_verdict(what, *_samples(builds, key)) for what, key in (("wall", "wall"), ("processor", "cpu"))]


def _samples(builds: Sequence[dict[str, Any]], key: str) -> tuple[measure.Sample, measure.Sample]:
    def sample(way: str) -> measure.Sample:
        rounds = sorted((one for one in builds if one["way"] == way), key=lambda one: int(one["round"]))
        return measure.Sample(way, tuple(one[key] for one in rounds))

    return sample(SANDBOXED), sample(PLAIN)


def _verdict(what: str, sandboxed: measure.Sample, plain: measure.Sample) -> str:
    """What may be said about the cost of sandboxes, and no more."""
    ratio = measure.ratio(sandboxed, plain)
    low, median, high = ratio["min"], ratio["median"], ratio["max"]
    told = f"a sandboxed build took {median:.3f} times the {what} time in the median (a round's {low:.3f} to {high:.3f})"
    if len(plain.times) < FEWEST_ROUNDS:
        return f"Too few rounds to say anything: {told}."
    if high - low > 2 * (MOST_TIMES - 1):
        return f"The machine was too busy with other things to see {MOST_TIMES}: {told}."
    if low <= MOST_TIMES < high:
        return f"Rounds disagree about {MOST_TIMES}: {told}."
    return f"{'Within' if median <= MOST_TIMES else 'NOT within'} {MOST_TIMES}: {told}."


def _verdicts_of_stagings(stagings: Sequence[dict[str, Any]], inputs: int) -> list[str]:
    verdicts = []
    for turn, most in MOST_SECONDS.items():
        times = [one["seconds"] for one in stagings if one["turn"] == turn]
        median = statistics.median(times)
        verdicts.append(
            f"{'Within' if median <= most else 'NOT within'} {most * 1000:.0f} ms: staging {inputs} inputs, {turn}, took "
            f"{median * 1000:.1f} ms in the median of {len(times)} ({min(times) * 1000:.1f} to {max(times) * 1000:.1f})."
        )
    return verdicts


if __name__ == "__main__":
    main()
