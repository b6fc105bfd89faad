"""A storm of requests, cancels and deaths over real workers, and a judge that believes nothing.

    python -m storm.storm --seconds=60 --seed=1

One worker after another serves on one state directory, about a second each, in both encodings in turn. Jobs fail, die of signals,
ignore TERM, leave children behind and escape; ids and outputs are used again while they are in use; the host pauses;
workers are killed, some with their helpers. After each answer and each end what can be seen from outside is compared with what is
promised. A seed decides what is asked for; when things happen is the machine's affair, so a seed is no replay.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from storm.book import ViolationError
from storm.weather import Storm, forget


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _append(journal: Path, line: str) -> None:
    with journal.open("a") as file:
        file.write(f"{line}\n")


def main() -> int:
    """Storms as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="for the dice"
    )
    parser.add_argument(
        "--journal",
        type=Path,
        help="a file for everything that is sent and read",
    )
    options = parser.parse_args()
    _write(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        journal = partial(_append, options.journal) if options.journal else forget
        storm = Storm(options.seed, Path(directory), _write, journal)
        try:
            trio.run(storm.run, options.seconds)
        except ViolationError as error:
            violation: str | None = str(error)
        else:
            violation = None
    for line in storm.table():
        _write(line)
    if violation is not None:
        _write(f"VIOLATION (--seed={options.seed}): {violation}")
        return 1
    _write(f"no promise was broken (seed {options.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
