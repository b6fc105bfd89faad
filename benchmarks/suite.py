"""Makes the committed comparison of modes: `results/modes.json`, the report, and the pictures that the documents show.

    benchmarks/suite.py [--short]

Two workspaces, both cut from `examples/search` because the whole takes two cores too long: `service` (an HTTP service's crates, many of them
small) and `matching` (regular expressions: few crates, most of the time in codegen). `--short` builds the smallest
example and a synthetic graph instead, in two minutes, and writes nothing but text unless it is told where.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from headstart_worker import timeline
from headstart_worker.bench import charts, graphs, machine, page, report, result, runner, session, subjects
from headstart_worker.bench.hosts import WARM_UP
from headstart_worker.bench.records import CLEAN, Experiment
from headstart_worker.bench.result import Result
from headstart_worker.bench.session import Turn
from headstart_worker.bench.subjects import DEV, RELEASE, Subject
from headstart_worker.interrupts import interruptible
from headstart_worker.progress import Progress
from headstart_wrapper.errors import HeadstartError

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"

SERVICE: Final = "service"
MATCHING: Final = "matching"

CUTS: Final[Mapping[str, tuple[str, ...]]] = {
    SERVICE: (
        *(
            "aho-corasick@0.7.20",
            "bitflags",
            "bytecount",
            "clap_lex",
            "encoding_rs_io",
            "fnv",
            "grep-matcher",
        ),
        *("hyper", "lazy_static", "log", "memmap2", "once_cell", "ryu", "serde_json"),
        *("strsim", "thread_local", "walkdir"),
    ),
    MATCHING: ("grep-regex",),
}
"""By workspace, the packages of `examples/search` that are wanted with what they need."""

_EVERY: Final = ("cargo", "none", "two_invocation", "hollow", "worker")


@frozen
class Part:
    """One turn, before there are workspaces. Attributes: subject and profile, what is built; the rest as in `session.Turn`, edits instead of clean builds."""

    subject: str
    profile: str
    jobs: int
    modes: tuple[str, ...]
    rounds: int
    edits: tuple[str, ...] = ()

    def of(self, found: Mapping[tuple[str, str], Subject]) -> Turn:
        """With its workspace, of which the import has just built everything."""
        return Turn(
            found[self.subject, self.profile],
            self.jobs,
            self.modes,
            (),
            self.rounds,
            self.edits,
            clean=not self.edits,
            warm_up=False,
        )


FULL: Final = (
    Part(SERVICE, DEV, 2, _EVERY, rounds=5),
    Part(SERVICE, RELEASE, 2, ("cargo", "two_invocation", "hollow", "worker"), rounds=5),
    Part(SERVICE, DEV, 2, ("cargo", "worker"), rounds=5, edits=("top",)),
    Part(MATCHING, DEV, 2, ("none", "worker"), rounds=2),
    Part(SERVICE, DEV, 1, ("worker",), rounds=3),
    Part(MATCHING, DEV, 1, ("worker",), rounds=3),
)
"""Within half an hour with the micro-benchmarks, so nothing is built more often than a sentence of the documents needs."""

SHORT: Final = (
    Part("hello", DEV, 2, _EVERY, rounds=5),
    Part("hello", DEV, 2, ("cargo", "none", "hollow", "worker"), rounds=5, edits=("low",)),
    Part("layered:10", subjects.SYNTHETIC, 2, ("none", "two_invocation", "hollow", "worker"), rounds=5),
)


def main() -> None:
    """Runs the command line of this process and exits."""
    try:
        with interruptible():
            _main()
    except HeadstartError as error:
        sys.stderr.write(f"suite.py: {error}\n")
        sys.exit(error.exit_code)


def _main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="two minutes instead of twenty")
    parser.add_argument(
        "--results", type=Path, help="directory to write to (benchmarks/results; none with --short)"
    )
    options = parser.parse_args()
    target = options.results or (None if options.short else RESULTS)
    with tempfile.TemporaryDirectory(prefix="headstart-suite-", ignore_cleanup_errors=True) as place:
        found = _short(Path(place)) if options.short else _full(Path(place))
        done = measured(SHORT if options.short else FULL, found, Path(place))
        if target is not None:
            _write(done, target)
            _draw_timeline(_turn(Path(place), 0), target)
    sys.stdout.write(report.text(done))


def _full(place: Path) -> dict[tuple[str, str], Subject]:
    with Progress("import") as progress:
        whole = subjects.subjects(
            str(ROOT / "examples" / "search"), place, profiles=(DEV, RELEASE), progress=progress
        )
    return {
        (name, one.profile): evolve(one, name=name, units=graphs.cut(one.units, roots))
        for one in whole
        for name, roots in CUTS.items()
    }


def _short(place: Path) -> dict[tuple[str, str], Subject]:
    with Progress("import") as progress:
        found = [
            *subjects.subjects(str(ROOT / "examples" / "hello"), place, progress=progress),
            *subjects.subjects("layered:10", place, progress=progress),
        ]
    return {(one.name, one.profile): one for one in found}


def measured(parts: Sequence[Part], found: Mapping[tuple[str, str], Subject], place: Path) -> Result:
    """Runs every part, their rounds spread over the whole time, and the model over all of them.

    What the model predicts of one part from another's builds would else be compared with another quarter of an hour, in which the machine may
    have another speed.

    Args:
        parts: in their order.
        found: what they build, by name and profile.
        place: an existing directory.
    """
    begun = session.begun(shlex.join(["benchmarks/suite.py", *sys.argv[1:]]))
    turns = [part.of(found) for part in parts]
    with Progress("bench", total=sum(turn.steps for turn in turns)) as progress:
        several = [
            (turn.all_rounds, session.carry_out(turn, _turn(place, number), progress))
            for number, turn in enumerate(turns)
        ]
        return session.with_turns(begun, runner.spread(several))


def _turn(place: Path, number: int) -> Path:
    """Where a turn's builds lie."""
    return place / f"turn-{number}"


def _draw_timeline(turn: Path, target: Path) -> None:
    """The last builds of a turn without pipelining and with it, one above the other."""
    panels = []
    for mode in ("none", "worker"):
        build = timeline.read_build([(turn / mode / "trace.json").read_text("utf-8")])
        ours = tuple(one for one in build.compiles if one.label != WARM_UP)
        panels.append((mode, evolve(build, compiles=ours)))
    (target / "timeline.svg").write_text(timeline.svg(panels), encoding="utf-8")


def _write(done: Result, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    (target / "modes.json").write_text(result.as_json(done), encoding="utf-8")
    (target / "modes.html").write_text(page.page(done), encoding="utf-8")
    for one in done.experiments:
        if one.scenario == CLEAN and one.jobs == machine.cores():
            name = f"{one.workspace}-{one.profile}"
            (target / f"modes-{name}.svg").write_text(charts.comparison(one), encoding="utf-8")
            curves, points = (_of(one, done, kind) for kind in ("curves", "points"))
            picture = charts.scaling(f"{one.workspace}, {one.profile}", curves, points)
            (target / f"scaling-{name}.svg").write_text(picture, encoding="utf-8")


def _of(experiment: Experiment, done: Result, kind: str) -> list[Mapping[str, Any]]:
    """What the model says of clean builds of a workspace."""
    entries = done.model[kind] if done.model else []
    place = (experiment.workspace, experiment.profile, CLEAN)
    return [one for one in entries if (one["workspace"], one["profile"], one.get("scenario", CLEAN)) == place]


if __name__ == "__main__":
    main()
