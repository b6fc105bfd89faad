"""Measures what the worker stands on: asking it, spawning, memory.

`make bench` runs it in its quick form. What is compared is measured in one run, in turn; the file tells the spread and the load.
Read the ratios within a run: the absolute figures are this machine's, on this day. Not for the wrapper as a program, which is
`launchers.py`, nor for builds: those are `modes.py` and `builds.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import measure
import worker_requests
from measure import Run, Sample

RESULTS = Path(__file__).parent / "results"
PARENTS = {"50 MB": 50, "1 GB": 1024, "4 GB": 4096}
WAYS = {
    "popen": "Popen(process_group=0)",
    "preexec": "Popen(preexec_fn=...)",
    "direct": "a job in process",
    "helper": "a job by our helper",
}


def main() -> None:
    """Runs everything and writes `results/spine.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often each thing is measured (30)")
    parser.add_argument("--output", type=Path, default=RESULTS / "spine.json", help="file to write")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be at least 2: one measurement has no spread")
    before = measure.load()
    sections: dict[str, list[Sample]] = {}
    with ExitStack() as stack:
        clients = {name: stack.enter_context(worker_requests.client(name)) for name in ("proto", "json")}
        memory = clients["proto"].memory()
        taken = measure.interleaved(worker_requests.cases(clients), rounds=options.rounds)
        sections["requests"] = _section("/bin/true through the worker", taken)
    with ExitStack() as stack:
        parents = {size: stack.enter_context(_parent(ballast)) for size, ballast in PARENTS.items()}
        cases = {
            f"{way}, parent of {size}": partial(ask, name)
            for size, ask in parents.items()
            for name, way in WAYS.items()
        }
        taken = measure.interleaved(cases, rounds=options.rounds * 5, warm_up=5)
        sections["spawning"] = _section("spawn and wait of /bin/true, by the parent's size", taken)
    _tell_memory(memory)
    result = {
        "machine": measure.machine(),
        "load_before": before,
        "load_after": measure.load(),
        "command": f"benchmarks/spine.py --rounds={options.rounds}",
        "memory": memory,
        **{name: [sample.export() for sample in samples] for name, samples in sections.items()},
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\nload {before} before, {result['load_after']} after; written to {options.output}")


@contextmanager
def _parent(ballast: int) -> Iterator[Callable[[str], Run]]:
    command = [sys.executable, str(Path(__file__).with_name("big_parent.py")), str(ballast)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        to, answers = process.stdin, process.stdout
        if to is None or answers is None:
            raise AssertionError("both streams are pipes")

        def ask(way: str) -> Run:
            to.write(way + "\n")
            to.flush()
            seconds, peak = answers.readline().split()
            return Run((float(seconds),), peak_memory=int(peak))

        yield ask
        to.close()


def _section(title: str, samples: list[Sample]) -> list[Sample]:
    print(f"\n{title}\n  {'':44}{'median':>11}{'p10':>11}{'min':>11}{'stddev':>11}")
    for sample in samples:
        told = sample.export()
        row = "".join(f"{told[column] * 1e3:8.2f} ms" for column in ("median", "p10", "min", "stddev"))
        peak = f", child's peak {sample.peak_memory >> 20} MiB" if sample.peak_memory is not None else ""
        print(f"  {sample.command:44}{row}{peak}")
    return samples


def _tell_memory(memory: dict[str, Any]) -> None:
    print("\nmemory of an idle worker")
    for name, bytes_ in memory.items():
        print(f"  {name:12} RSS {bytes_['rss'] / 2**20:.1f} MiB, PSS {bytes_['pss'] / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
