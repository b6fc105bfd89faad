"""`headstart advise`: one measured build, and the model's answer to which mode pays, in three sentences.

It measures a clean build in mode worker, once. What it says of other modes and machines is predicted (`model`), not measured: for that there
is `headstart bench`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict, frozen

from headstart_worker.bench import graphs
from headstart_worker.bench.subjects import RELEASE, Subject, subjects
from headstart_worker.cargo import commands
from headstart_worker.demo.hosts import EmbeddedHost, Measured
from headstart_worker.interrupts import interruptible
from headstart_worker.model.advice import Advice, Edit, advise
from headstart_worker.model.costs import Costs, of_build
from headstart_worker.model.plans import Machine, Remote
from headstart_worker.model.simulation import predict
from headstart_worker.progress import Progress

_TIMES: Final = 8
"""How many times as large the other machine is that the last sentence tells of: from a notebook to a build server."""

_EXECUTORS: Final = 50
"""Remote actions at once, when nobody says: what people give to --jobs with a small cluster."""

_BUSY: Final = 1.25
"""Pace from which on it is told: compilers that wait for files alone wait for less."""

_DOUBTFUL: Final = 0.1
"""Error against the one build that was measured from which on it is told."""


@frozen
class _Taken:
    """The measured build.

    Attributes:
        measured: wall time and traces.
        cpu: processor seconds of the worker and of all compilers.
    """

    measured: Measured
    cpu: float


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code.

    Raises:
        HeadstartError: there is nothing to build, it cannot be built, or a signal broke it off.
    """
    options = _parser().parse_args(arguments)
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="headstart-advise-", ignore_cleanup_errors=True) as directory,
        Progress("advise") as progress,
    ):
        place = Path(directory).resolve()
        profiles = (RELEASE,) if options.release else ()
        subject = subjects(options.source, place, profiles=profiles, progress=progress)[0]
        jobs = len(os.sched_getaffinity(0))
        progress.begin(f"clean build of {len(subject.units)} compiles in mode worker, {jobs} jobs")
        taken = _build(subject, place, jobs, progress)
        costs = _costs(subject, taken)
    here, there = _machines(costs, options, jobs)
    answer = advise(costs, _edit(subject), here, there)
    sys.stdout.write(
        _json(answer, costs, taken, jobs) if options.json else "\n".join(answer.sentences) + "\n"
    )
    _doubt(costs, taken, jobs)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headstart advise",
        description="Builds a Cargo workspace once and predicts, in three sentences, which pipelining mode pays on your machine, by how much, "
        "and what more cores would change. Build scripts are left out. headstart bench measures the same.",
        epilog="examples: headstart advise .; headstart advise . --release --cores=16; headstart advise . --latency=50 --bandwidth=100",
    )
    parser.add_argument(
        "source", metavar="DIR", help="a Cargo workspace, or an import of one; shapes of headstart bench, too"
    )
    parser.add_argument("--release", action="store_true", help="Cargo's release profile")
    parser.add_argument(
        "--cores",
        type=_whole,
        metavar="N",
        help=f"predict for so many cores, and jobs (this machine's); with remote executors: actions at once ({_EXECUTORS})",
    )
    parser.add_argument(
        "--latency",
        type=_positive,
        metavar="MS",
        help="remote execution: milliseconds that an action takes beside its work",
    )
    parser.add_argument(
        "--bandwidth",
        type=_positive,
        metavar="MB/S",
        help="remote execution: megabytes a second to and from an executor (no limit)",
    )
    parser.add_argument("--json", action="store_true", help="the sentences, and every number behind them")
    return parser


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 10000")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _build(subject: Subject, place: Path, jobs: int, progress: Progress) -> _Taken:
    scratch = place / "scratch"
    scratch.mkdir()
    host = EmbeddedHost(subject.units, subject.workspace, scratch, jobs=jobs, progress=progress.remark)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured = host.build("worker", "clean")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return _Taken(measured, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _costs(subject: Subject, taken: _Taken) -> Costs:
    paths = {
        path
        for unit in subject.units
        for path in (unit.root, *unit.inputs, *commands.outputs(unit, "out").all)
    }
    sizes = {path: (subject.workspace / path).stat().st_size for path in paths}
    build = taken.measured.build
    return of_build(build, subject.units, requests_cpu=max(0.0, taken.cpu - build.cpu), sizes=sizes)


def _machines(costs: Costs, options: argparse.Namespace, cores: int) -> tuple[Machine, Machine]:
    remote = None
    if options.latency is not None or options.bandwidth is not None:
        bandwidth = math.inf if options.bandwidth is None else options.bandwidth * 1e6
        remote = Remote((options.latency or 0.0) / 1e3, bandwidth)
        cores = _EXECUTORS
    chosen = cores if options.cores is None else options.cores
    return costs.machine(chosen, remote=remote), costs.machine(_TIMES * chosen, remote=remote)


def _edit(subject: Subject) -> Edit:
    places = graphs.edits(subject.units)
    unit = places.get("middle", places["low"])
    above = graphs.dependents(subject.units)[unit.name]
    return Edit(unit.package, above | {unit.name})


def _error(costs: Costs, taken: _Taken, jobs: int) -> float:
    """Of the model against the build that it was made from."""
    return predict(costs.units, "worker", costs.machine(jobs)).wall / taken.measured.wall - 1


def _doubt(costs: Costs, taken: _Taken, jobs: int) -> None:
    """Says what speaks against the answer, where something does."""
    error = _error(costs, taken, jobs)
    if costs.pace > _BUSY:
        sys.stderr.write(
            f"headstart: the machine was busy: a second of a compiler's work took {costs.pace:.1f} s, and so it does in the answer wherever cores are busy; "
            "ask again when nothing else runs\n"
        )
    elif abs(error) > _DOUBTFUL:
        sys.stderr.write(
            f"headstart: the model misses the build that it was made from by {error:+.0%}; let headstart bench measure what matters to you\n"
        )


def _json(answer: Advice, costs: Costs, taken: _Taken, jobs: int) -> str:
    document: dict[str, Any] = {
        **asdict(answer),
        "measured": {
            "mode": "worker",
            "jobs": jobs,
            "wall": taken.measured.wall,
            "cpu": taken.cpu,
            "error_of_the_model": _error(costs, taken, jobs),
        },
        "costs": costs.export(),
    }
    return json.dumps(document, indent=1) + "\n"
