"""Tells whether `--look-ahead` pays: clean builds with it, without it, and with the order turned round as a control.

    benchmarks/look_ahead.py [--source=examples/search] [--only=service] [--rounds=5] [--in-flight=4,16]

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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from headstart_worker import look_ahead
from headstart_worker.bench import graphs, machine, runner, verdicts
from headstart_worker.bench.embedded import Embedded
from headstart_worker.bench.hosts import Setting
from headstart_worker.bench.records import Experiment
from headstart_worker.bench.runner import Plan
from headstart_worker.bench.verdicts import Comparison, Interval
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.cargo.units import decode
from headstart_worker.progress import Progress
from suite import CUTS, SERVICE

RESULTS: Final = Path(__file__).parent / "results"
JOBS: Final = 2
PLAIN, AHEAD, REVERSED = "worker", "worker+look-ahead", "worker+reversed"


def told_of_one_build(setting: Setting) -> dict[str, Path]:
    """Builds once, in the usual order; by kind of way, the trace that it is told of, where it is told any."""
    usual = Embedded(setting, "worker", name="told")
    usual.prepare()
    usual.clean()
    usual.build()
    found = look_ahead.read(str(usual.trace))
    if found is None:
        raise SystemExit("measure a graph with edges")
    turned = setting.scratch / "reversed.json"
    turned.write_text(reversed_trace(found.paths), encoding="utf-8")
    return {AHEAD: usual.trace, REVERSED: turned}


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
        "--only", default=SERVICE, help="packages, with what they need; service: the suite's; empty: all"
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
    only = CUTS[SERVICE] if options.only == SERVICE else tuple(filter(None, options.only.split(",")))
    units = graphs.cut(units, only)
    setting = Setting(units, workspace, scratch, JOBS)
    told = told_of_one_build(setting)
    ways = tuple(
        Embedded(
            setting,
            "worker",
            name=_name(kind, count),
            options=(f"--look-ahead={told[kind]}",) if kind in told else (),
            requests_per_job=int(count),
        )
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
    ends = sorted({mode.rpartition("*")[2] for mode in modes}, key=int)
    return [
        f"{experiment.profile}: {told}"
        for end in ends
        for kind in (AHEAD, REVERSED)
        if _name(kind, end) in modes
        for told in _told(experiment, _name(kind, end), _name(PLAIN, end))
    ]


def _name(kind: str, in_flight: str) -> str:
    """A way, and how many requests in flight it has for each job; directories are called so."""
    return f"{kind}*{in_flight}"


def _told(experiment: Experiment, ours: str, base: str) -> Iterator[str]:
    """Wall time, and wall time in units of what no order can beat.

    The second is what an order can change, and the machine's speed, which wavers more than that, is in both of its parts.
    """
    (wall,) = (one for one in verdicts.compare(experiment, ours, base) if one.what == "wall time")
    yield verdicts.sentence(wall)
    bound = Comparison("", ours, base, _over_bound(experiment, ours), _over_bound(experiment, base))
    a, b = bound.our_interval, bound.base_interval
    yield (
        f"wall time over processor time for each job, {ours} against {base}: {bound.verdict.value} "
        f"({a.median:.3f}, {a.low:.3f} to {a.high:.3f}, and {b.median:.3f}, {b.low:.3f} to {b.high:.3f})"
    )


def _over_bound(experiment: Experiment, mode: str) -> Interval:
    return verdicts.interval([one.wall * experiment.jobs / one.cpu for one in experiment.of(mode)])


if __name__ == "__main__":
    main()
