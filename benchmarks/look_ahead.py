"""Tells whether `--look-ahead` pays: clean builds with it, without it, and with the order turned round as a control.

    benchmarks/look_ahead.py [--source=examples/search] [--only=clap,hyper,serde_json] [--rounds=5] [--in-flight=4,16]

The host is the embedded one, which sends what is ready, in Cargo's order, as many requests at once as it may. So a worker's queue
is as long as the host lets it be, and there is one way each for a host that is careful and for one that sends all it has. The control
has the same trace with the lengths of all paths turned round: a bad order, though not always the worst one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, final

import trio
from attrs import evolve

from headstart_worker import timeline
from headstart_worker.bench import graphs, hosts, machine, runner, verdicts
from headstart_worker.bench.hosts import Phases, Setting
from headstart_worker.bench.out_tree import OutTree
from headstart_worker.bench.records import Experiment, Taken
from headstart_worker.bench.runner import Plan
from headstart_worker.bench.sampling import Watch
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.cargo.units import Unit, decode
from headstart_worker.look_ahead import longest_paths
from headstart_worker.progress import Progress
from headstart_worker.testing import BuildReport, FakeHost, build

RESULTS: Final = Path(__file__).parent / "results"
JOBS: Final = 2
PLAIN, AHEAD, REVERSED = "worker", "worker+look-ahead", "worker+reversed"


@final
class Way:
    """A worker that is told one order, and a host with so many requests in flight for each job. A `hosts.BenchHost`."""

    mode: Mode = "worker"
    same_bytes_as = "one run"

    def __init__(self, setting: Setting, kind: str, in_flight: int) -> None:
        self.name = f"{kind}, {in_flight} in flight"
        self.phases: Phases = {}
        self.traced: timeline.Build | None = None
        self._setting = setting
        self._kind = kind
        self._in_flight = in_flight * setting.jobs
        self._tree = OutTree(setting, "look-ahead", self.mode)  # one place for all, since they take turns
        self._trace = setting.scratch / "trace.json"
        self._hint = setting.scratch / f"{kind}.json"

    def prepare(self) -> None:
        """Builds once, in the usual order, and keeps from it what this way is to be told; all ways are told of the same build."""
        usual = self._setting.scratch / f"{AHEAD}.json"
        self.clean()
        if not usual.exists():
            self._run(())
            shutil.copyfile(self._trace, usual)
        paths = longest_paths(timeline.read_build([usual.read_text("utf-8")]))
        if not paths:
            raise SystemExit("the trace tells of nothing that needed anything; measure a graph with edges")
        (self._setting.scratch / f"{REVERSED}.json").write_text(reversed_trace(paths), encoding="utf-8")

    def clean(self) -> None:
        """See `hosts.BenchHost`."""
        self._tree.clean()

    def edited(self, unit: Unit) -> AbstractContextManager[None]:
        """See `hosts.BenchHost`; not measured here: few jobs wait for each other after an edit."""
        return self._tree.edited(unit, self.build)

    def build(self) -> Taken:
        """See `hosts.BenchHost`."""
        return self._run(() if self._kind == PLAIN else (f"--look-ahead={self._hint}",))

    def _run(self, options: tuple[str, ...]) -> Taken:
        stale = self._tree.stale()
        with Watch() as watch:
            report = trio.run(self._build, options)
        self._tree.is_built(report, self.name, stale)
        self.traced = timeline.read_build([self._trace.read_text("utf-8")])
        self.phases = hosts.phases(self.traced, self._setting.units, self.mode)
        return hosts.taken(
            self,
            report.seconds,
            watch.seen,
            actions=report.requests,
            compilers=len(self.traced.compiles),
            joins=self.traced.joins,
        )

    async def _build(self, more: tuple[str, ...]) -> BuildReport:
        setting = self._setting
        options = (f"--jobs={setting.jobs}", f"--trace={self._trace}", *more)
        async with FakeHost(options=options, cwd=setting.workspace, env=hosts.environment()) as host:
            report = await build(
                setting.units,
                workspace=setting.workspace,
                outroot=self._tree.root,
                mode=self.mode,
                jobs=self._in_flight,
                host=host,
                up_to_date=self._tree.up_to_date(),
            )
            if "says nothing about the order" in host.stderr:
                raise SystemExit(f"{self.name} was not told its order: {host.stderr}")
        return report

    def outputs(self) -> Mapping[str, Path]:
        """See `hosts.BenchHost`."""
        return self._tree.outputs()

    def close(self) -> None:
        """See `hosts.BenchHost`: there are no processes between builds."""


def reversed_trace(paths: Mapping[str, float]) -> str:
    """A trace that makes the longest path the shortest one, and so on."""
    most = max(paths.values())
    span = {"ph": "X", "name": "compile", "pid": 1, "tid": 0, "ts": 1_000_000}
    detail = {"exit_code": 0, "cpu": 0, "peak_memory": 0}
    events: list[dict[str, Any]] = [
        {
            **span,
            "dur": round((most - path) * 1e6),
            "args": {"job": job, "label": label, **detail},
        }
        for job, (label, path) in enumerate(paths.items(), 1)
    ]
    # A trace in which nobody needs anything is taken for one of an old release.
    events.append({**span, "ts": 0, "dur": 0, "args": {"job": 0, "label": "", **detail}})
    arrow = {"cat": "needs", "name": "full", "id": 1, "pid": 1, "tid": 0}
    events.append({**arrow, "ph": "s", "ts": 0})
    events.append({**arrow, "ph": "f", "bp": "e", "ts": 1_000_000, "args": {"job": 1, "of": 0}})
    return json.dumps(events)


def main() -> None:
    """Measures, and writes `results/look_ahead.json`."""
    options = _options()
    before, began = machine.machine(), machine.load()
    with tempfile.TemporaryDirectory(prefix="headstart-look-ahead-") as directory:
        experiments = [
            _experiment(options, profile, Path(directory, profile)) for profile in options.profile.split(",")
        ]
    told = [sentence for experiment in experiments for sentence in sentences(experiment)]
    result = {
        "machine": before,
        "tools": machine.tools(),
        "load_before": began,
        "command": "benchmarks/look_ahead.py " + " ".join(sys.argv[1:]),
        "experiments": [experiment.export() for experiment in experiments],
        "verdicts": told,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print("\n".join([*told, f"written to {options.output}"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source",
        default="examples/search",
        help="a Cargo workspace (examples/search), or, with {profile} in its name, imports",
    )
    parser.add_argument(
        "--only", default="clap,hyper,serde_json", help="packages, with what they need; empty: all"
    )
    parser.add_argument("--profile", default="dev,release", help="dev, release or both (dev,release)")
    parser.add_argument("--in-flight", default="4,16", help="requests at once for each job (4,16)")
    parser.add_argument(
        "--rounds", type=int, default=verdicts.ENOUGH, help="builds of each way (%(default)s)"
    )
    parser.add_argument("--no-control", action="store_true", help="without the order turned round")
    parser.add_argument("--output", type=Path, default=RESULTS / "look_ahead.json", help="file to write")
    return parser.parse_args()


def _experiment(options: argparse.Namespace, profile: str, scratch: Path) -> Experiment:
    scratch.mkdir()
    workspace = _workspace(options.source, profile, scratch)
    units = decode((workspace / "units.json").read_text("utf-8"))
    units = graphs.cut(units, [name for name in options.only.split(",") if name])
    setting = Setting(units, workspace, scratch, JOBS)
    ways = tuple(
        Way(setting, kind, int(count))
        for count in options.in_flight.split(",")
        for kind in (PLAIN, AHEAD, *([] if options.no_control else [REVERSED]))
    )
    plan = Plan(Path(options.source).name, profile, JOBS, units, ways, rounds=options.rounds)
    with Progress(f"look-ahead, {profile}", total=plan.steps) as progress:
        (experiment,) = runner.run(plan, progress)
    return evolve(experiment, workspace=f"{experiment.workspace} ({options.only or 'all'})")


def _workspace(source: str, profile: str, scratch: Path) -> Path:
    """A workspace of our own: a copy of an import, or an import."""
    workspace = scratch / "workspace"
    imported = Path(source.replace("{profile}", profile))
    if (imported / "units.json").is_file():
        shutil.copytree(imported, workspace, ignore=shutil.ignore_patterns("out"))
        return workspace
    with Progress(f"import, {profile}") as progress:
        import_cargo(imported, workspace, release=profile == "release", progress=progress)
    return workspace


def sentences(experiment: Experiment) -> list[str]:
    """What may be said: of the order that is told, and of the control, against the usual one."""
    modes = experiment.modes
    ends = sorted({mode.partition(", ")[2] for mode in modes}, key=lambda end: int(end.split()[0]))
    return [
        f"{experiment.profile}: {verdicts.sentence(comparison)}"
        for end in ends
        for kind in (AHEAD, REVERSED)
        if f"{kind}, {end}" in modes
        for comparison in verdicts.compare(experiment, f"{kind}, {end}", f"{PLAIN}, {end}")
        if comparison.what == "wall time"
    ]


if __name__ == "__main__":
    main()
