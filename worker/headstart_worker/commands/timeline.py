"""`headstart timeline`: traces become a page that a browser opens."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from headstart_worker import timeline
from headstart_wrapper.errors import RequestError


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="headstart timeline",
        description="Draws what a worker did: one row a slot, early and codegen parts in two colours.",
        epilog="example: process-wrapper --persistent_worker --trace=build.json ...; headstart timeline build.json -o build.html",
    )
    parser.add_argument(
        "traces", nargs="+", type=Path, metavar="TRACE", help="file written by --trace; one panel each"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("timeline.html"),
        help="page to write (timeline.html); .svg: the picture alone",
    )
    options = parser.parse_args(arguments)
    panels = [(path.stem, timeline.read_build([_text(path)])) for path in options.traces]
    render = timeline.svg if options.output.suffix == ".svg" else timeline.page
    options.output.write_text(render(panels), encoding="utf-8")
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise RequestError(
            f"the trace {path} cannot be read: {error.strerror}; was the worker started with --trace?"
        ) from error
