"""`headstart timeline`: traces become a page that a browser opens."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from headstart_worker import timeline
from headstart_worker.commands import traces
from headstart_worker.timeline.merge import merge
from headstart_worker.timeline.reading import printable
from headstart_wrapper.console import answer
from headstart_wrapper.errors import RequestError


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="headstart timeline",
        description="Draws what a worker did: every compile over time, its codegen tail in a second colour, the critical path, "
        "how many compilers ran and waited, and a table that says what delayed the build.",
        epilog="example: process-wrapper --persistent_worker --trace=build.json ...; headstart timeline build.json -o build.html",
    )
    parser.add_argument(
        "traces",
        nargs="+",
        type=Path,
        metavar="TRACE",
        help="file written by --trace (.gz too), or a directory of them, written by --trace=DIR/, as one build; one panel each",
    )
    parser.add_argument(traces.ALL_BUILDS, action="store_true", help=traces.ALL_BUILDS_HELP)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("timeline.html"),
        help="page to write (timeline.html); .svg: the picture alone; .json: one trace of all, for a trace viewer, in which "
        "profiles of Bazel (bazel build --profile=FILE) have a place too",
    )
    options = parser.parse_args(arguments)
    text = _merged(options.traces) if options.output.suffix == ".json" else _picture(options)
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{options.output} cannot be written: {error.strerror}") from error
    return 0


def _picture(options: argparse.Namespace) -> str:
    panels = [(_title(path), traces.read([path], all_builds=options.all_builds)) for path in options.traces]
    render = timeline.svg if options.output.suffix == ".svg" else timeline.page
    return render(panels)


def _merged(paths: Sequence[Path]) -> str:
    merged = merge([traces.text(path) for path in traces.files(paths)])
    for note in merged.notes:
        answer(f"{note}\n")
    return merged.text


def _title(path: Path) -> str:
    name = path.name or path.resolve().name  # of the directory we are in
    return printable(name.removesuffix(".gz").removesuffix(".json"))
