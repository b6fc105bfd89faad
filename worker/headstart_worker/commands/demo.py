"""`headstart demo`: the main job on real input, measured, with a picture."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from headstart_worker import timeline
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.cargo.units import Unit, Units
from headstart_worker.demo.hosts import BazelHost, EmbeddedHost, Host, Measured
from headstart_worker.demo.report import faults, table
from headstart_worker.interrupts import interruptible
from headstart_worker.model.plans import REQUESTS_PER_JOB
from headstart_worker.progress import Progress
from headstart_wrapper.errors import RequestError

_MODES: tuple[Mode, ...] = ("none", "worker")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 0 when everything held that must hold.

    Raises:
        HeadstartError: it cannot be done, or a signal broke it off.
    """
    options = _parser().parse_args(arguments)
    with interruptible():
        return _demo(options)


def _demo(options: argparse.Namespace) -> int:
    work = options.work.resolve()
    workspace = work / "workspace"
    say(f"importing {options.source} (one Cargo build, every compile recorded)")
    with Progress("import") as progress:
        units = import_cargo(options.source, workspace, headstart=options.headstart, progress=progress)
    say(f"{len(units)} compiles of {len({unit.package for unit in units})} packages are in {workspace}")
    with (
        Progress("demo", total=len(_MODES) * (1 if options.short else 2)) as progress,
        closing(_host(options, units, workspace, work, progress)) as host,
    ):
        measured = sorted(
            _builds(host, units, workspace, progress, short=options.short), key=lambda result: result.scenario
        )
    say(f"\n{host.name}, {len(os.sched_getaffinity(0))} cores, one run each:\n")
    say(table(measured))
    picture = work / "timeline.html"
    panels = [(f"{result.mode}, {result.scenario}: {result.wall:.1f} s", result.build) for result in measured]
    picture.write_text(timeline.page(panels), encoding="utf-8")
    (work / "timeline.svg").write_text(timeline.svg(panels), encoding="utf-8")
    say(f"\ntimeline: {picture} (open it in a browser)")
    for fault in (found := faults(measured)):
        say(f"FAULT: {fault}")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headstart demo",
        description="Imports a Cargo workspace, builds it without pipelining and with one-process pipelining, clean and after an "
        "edit of the crate that most others depend on, and compares.",
        epilog="example: headstart demo examples/search",
    )
    parser.add_argument("source", type=Path, metavar="DIR", help="directory with a Cargo.toml")
    parser.add_argument(
        "--work", type=Path, default=Path(".demo"), help="where everything is written (.demo)"
    )
    parser.add_argument(
        "--host",
        choices=("auto", "bazel", "embedded"),
        default="auto",
        help="who builds (auto: Bazel if there)",
    )
    parser.add_argument("--headstart", help="where the workspace finds the Bazel rules (this installation)")
    parser.add_argument("--short", action="store_true", help="clean builds only")
    return parser


def _host(options: argparse.Namespace, units: Units, workspace: Path, work: Path, progress: Progress) -> Host:
    bazel = shutil.which("bazel")
    if options.host == "bazel" and bazel is None:
        raise RequestError(
            "there is no bazel on PATH; install Debian's bazel-bootstrap, or use --host=embedded"
        )
    cores = len(os.sched_getaffinity(0))
    if bazel is None or options.host == "embedded":
        say(
            "building with the embedded host"
            + ("" if bazel else " (no bazel on PATH; Debian has it as bazel-bootstrap)")
        )
        return EmbeddedHost(units, workspace, work, jobs=cores, progress=progress.remark)
    return BazelHost(bazel, workspace, work, jobs=REQUESTS_PER_JOB * cores, progress=progress)


def _builds(
    host: Host, units: Units, workspace: Path, progress: Progress, *, short: bool
) -> Iterator[Measured]:
    edited = _most_needed(units)
    for mode in _MODES:
        host.clean(mode)
        progress.begin(f"clean build, mode {mode}")
        built = host.build(mode, "clean")
        progress.done()
        yield built
        if not short:
            progress.begin(f"build after an edit of {edited.package}, mode {mode}")
            with _edit(workspace / edited.root):
                built = host.build(mode, f"edit of {edited.package}")
            progress.done()
            yield built


def _most_needed(units: Units) -> Unit:
    """The library that most compiles depend on, the larger one of equals: an edit there is the worst case."""
    libraries = [unit for unit in units if unit.is_library]
    dependents = {unit.name: 0 for unit in libraries}
    for unit in units:
        for needed in units.needed(unit):
            if needed.name in dependents:
                dependents[needed.name] += 1
    return max(libraries, key=lambda unit: (dependents[unit.name], len(unit.inputs)))


@contextmanager
def _edit(source: Path) -> Iterator[None]:
    """A new public function: the crate's interface changes, so that everything above it is compiled anew."""
    before = source.read_text("utf-8")
    source.write_text(before + "\n#[doc(hidden)]\npub fn headstart_demo_edit() {}\n", encoding="utf-8")
    try:
        yield
    finally:
        source.write_text(before, encoding="utf-8")


def say(line: str) -> None:
    """Tells a person how far it is."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
