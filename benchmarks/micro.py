"""Measures what the worker and the wrapper cost where no compiler hides it: requests, starts, the wire, staging, cancels.

    benchmarks/micro.py [--short] [--peers[=DIR]] [--only=SECTION,...] [--output=FILE]

What is compared is measured in one run, in turn; the file tells the spread and the load. Read the ratios within a run: the absolute figures are
this machine's, on this day. Every figure is in seconds, throughput too (seconds for each), in hyperfine's schema. Not for the wrapper among
other programs of its kind, which is `launchers.py`, nor for builds.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

import measure
import peer_workers
import spawning
import worker_requests
from cancelling import cancelling
from framing_speed import framing
from installed import installed
from peer_workers import Peer
from sections import Section
from stagings import staging
from start_up import start_up
from tracing import tracing
from worker_client import Client, Worker, client, ours

RESULTS: Final = Path(__file__).parent / "results"


@frozen
class Scale:
    """How much is measured: rounds of each section, and what makes a round long."""

    requests: int
    load: int
    loads: tuple[int, ...]
    spawning: int
    parents: Mapping[str, int]
    framing: int
    start_up: int
    stagings: int
    inputs: int
    cancels: int
    tracing: int


FULL: Final = Scale(
    requests=12,
    load=6,
    loads=worker_requests.LOADS,
    spawning=25,
    parents=spawning.PARENTS,
    framing=20,
    start_up=10,
    stagings=10,
    inputs=1000,
    cancels=15,
    tracing=25,
)
SHORT: Final = evolve(
    FULL,
    requests=8,
    load=5,
    spawning=20,
    parents={size: spawning.PARENTS[size] for size in ("50 MB", "1 GB")},
    framing=8,
    start_up=6,
    stagings=6,
    cancels=5,
    tracing=6,
)


def main() -> None:
    """Runs the command line of this process and writes `results/micro.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="in 40 seconds rather than two minutes")
    parser.add_argument(
        "--peers",
        type=Path,
        nargs="?",
        const=peer_workers.CACHE,
        metavar="DIR",
        help=f"measure other workers too; npm packages are installed into DIR ({peer_workers.CACHE})",
    )
    parser.add_argument("--only", default="", help=f"sections, with commas ({', '.join(SECTIONS)})")
    parser.add_argument("--output", type=Path, default=RESULTS / "micro.json", help="file to write")
    options = parser.parse_args()
    wanted = tuple(options.only.split(",")) if options.only else tuple(SECTIONS)
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"there is no section {min(unknown)}; there are {', '.join(SECTIONS)}")
    peers = peer_workers.peers(options.peers, install=True) if options.peers else []
    with installed() as bin_:
        result = measured(SHORT if options.short else FULL, bin_, peers, wanted, tell=print)
    told = {"--short": options.short, "--peers": options.peers, f"--only={options.only}": options.only}
    result["command"] = " ".join(["benchmarks/micro.py", *(name for name, given in told.items() if given)])
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(document(result), encoding="utf-8")
    print(f"\nload {result['load_before']} before, {result['load_after']} after; written to {options.output}")


@frozen
class Ground:
    """What sections are measured on. Attributes: scale; bin_, the installed programs; scratch, an empty directory; workers, ours and the peers'."""

    scale: Scale
    bin_: Path
    scratch: Path
    workers: tuple[Worker, ...]


def measured(
    scale: Scale,
    bin_: Path,
    peers: Sequence[Peer],
    wanted: Sequence[str],
    *,
    tell: Callable[[str], object],
) -> dict[str, Any]:
    """Everything that is wanted, as it goes into the file; without the command.

    Args:
        scale: how much.
        bin_: the directory with `process-wrapper` and the interpreter that it runs on.
        peers: what is measured beside.
        wanted: names of `SECTIONS`.
        tell: takes lines for people, as soon as they are known.
    """
    workers = [ours(bin_, "proto"), ours(bin_, "json"), *(peer.worker for peer in peers if peer.worker)]
    result: dict[str, Any] = {
        "machine": measure.machine(),
        "load_before": measure.load(),
        "peers": {peer.name: peer.told for peer in peers},
    }
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="headstart-micro-") as scratch:
            for key, found in SECTIONS[name](Ground(scale, bin_, Path(scratch), tuple(workers))):
                result[key] = found.export() if isinstance(found, Section) else found
                for line in found.lines() if isinstance(found, Section) else ():
                    tell(line)
    for name, told in result["peers"].items():
        tell(f"{name}: {told}.")
    return {**result, "load_after": measure.load()}


def _requests(ground: Ground) -> Iterator[tuple[str, Section | dict[str, Any]]]:
    with ExitStack() as stack:
        clients = _running(ground.workers, stack)
        yield "memory", clients[0].memory()
        yield "requests", worker_requests.alone(clients, rounds=ground.scale.requests)
        latency, throughput = worker_requests.under_load(
            clients, rounds=ground.scale.load, loads=ground.scale.loads
        )
    yield "load", latency
    yield "throughput", throughput


def _spawning(ground: Ground) -> Iterator[tuple[str, Section]]:
    yield "spawning", spawning.spawning(ground.scale.parents, rounds=ground.scale.spawning)


def _framing(ground: Ground) -> Iterator[tuple[str, Section]]:
    yield "framing", framing(rounds=ground.scale.framing)


def _start_up(ground: Ground) -> Iterator[tuple[str, Section]]:
    yield "start_up", start_up(ground.bin_, ground.scratch, ground.workers, rounds=ground.scale.start_up)


def _staging(ground: Ground) -> Iterator[tuple[str, Section]]:
    yield "staging", staging(ground.scratch, inputs=ground.scale.inputs, jobs=ground.scale.stagings)


def _cancelling(ground: Ground) -> Iterator[tuple[str, Section]]:
    with ExitStack() as stack:
        # What a cancel does does not depend on the encoding.
        workers = [worker for worker in ground.workers if worker.cancels and worker.protocol == "proto"]
        yield (
            "cancelling",
            cancelling(_running(workers, stack), ground.scratch, rounds=ground.scale.cancels),
        )


def _tracing(ground: Ground) -> Iterator[tuple[str, Section]]:
    yield from zip(
        ("tracing", "tracing_cpu", "tracing_events"),
        tracing(ground.bin_, ground.scratch, rounds=ground.scale.tracing),
        strict=True,
    )


def _running(workers: Sequence[Worker], stack: ExitStack) -> list[Client]:
    """Workers that have served requests: everything is imported, and what is compiled while it runs, is."""
    clients = [stack.enter_context(client(worker)) for worker in workers]
    for asked in clients:
        asked.one_at_a_time(worker_requests.ONE_AT_A_TIME)
    return clients


SECTIONS: Final[Mapping[str, Callable[[Ground], Iterator[tuple[str, Any]]]]] = {
    "requests": _requests,
    "spawning": _spawning,
    "framing": _framing,
    "start_up": _start_up,
    "staging": _staging,
    "cancelling": _cancelling,
    "tracing": _tracing,
}


def document(result: Mapping[str, Any]) -> str:
    """The file's text: a list of times stands on one line, because ten thousand lines of them would be no better to read."""
    text = json.dumps(result, indent=1)
    return re.sub(r"\[\n([\d\se.,+-]+)\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


if __name__ == "__main__":
    main()
