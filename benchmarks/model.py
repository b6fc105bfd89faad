"""Validates the model on results of `headstart bench`: `model.py RESULT.json...`; exit code 1 when a wall time misses the goal.

Predictions are made anew from the costs in the files, so a change of the model is judged without measuring again. It measures nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from headstart_worker.bench import result
from headstart_worker.bench.result import Result
from headstart_worker.model import costs, validation
from headstart_worker.model.validation import GOAL, Place, Point


def main(arguments: Sequence[str]) -> int:
    """Prints a table for each file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")
    found: list[Point] = []
    for path in parser.parse_args(arguments).results:
        read = result.read(path.read_text("utf-8"))
        if read.model is None:
            print(f"{path} has no costs: measure mode worker with as many jobs as cores")
            return 1
        found += _validated(read)
    return int(any(abs(point.error) > GOAL for point in found))


def _validated(read: Result) -> list[Point]:
    model = dict(read.model or {})
    cores = model["cores"]
    learned: dict[Place, costs.Costs] = {
        (one["workspace"], one["profile"]): costs.read(one) for one in model["costs"]
    }
    known = {place: validation.crowded(one, place, read.experiments, cores) for place, one in learned.items()}
    for (workspace, profile), one in known.items():
        print(
            f"{workspace}, {profile}: pace {one.pace:.2f}, crowding {one.crowding:.1%}, {1e3 * one.request:.1f} ms a request"
        )
    found = validation.points(learned, read.experiments, cores)
    for point in found:
        source = " (costs come from such builds)" if point.is_source else ""
        print(
            f"{point.name:<60} wall {point.measured:7.2f} {point.predicted:7.2f} {point.error:+6.1%}   "
            f"cpu {point.cpu_measured:7.2f} {point.cpu_predicted:7.2f} {point.cpu_error:+6.1%}   by work {point.error_per_work:+6.1%}{source}"
        )
    print("\n".join(validation.reading(known, found)))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
