"""How long a start takes by the memory of the process that asks for it: what the worker would pay without its helper."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import measure
from measure import Run
from sections import Section, entry

PARENTS: Final = {"50 MB": 50, "1 GB": 1024, "4 GB": 4096}
"""Sizes of the process that starts others, in MiB."""

WAYS: Final = {
    "popen": "Popen(process_group=0)",
    "preexec": "Popen(preexec_fn=...)",
    "direct": "a job in process",
    "helper": "a job by our helper",
}
"""Of `big_parent.py`, and what they are called here."""


def spawning(parents: Mapping[str, int], *, rounds: int) -> Section:
    """Each way to start `/bin/true`, from a process of each size."""
    with ExitStack() as stack:
        asked = {size: stack.enter_context(_parent(mebibytes)) for size, mebibytes in parents.items()}
        cases = {
            f"{called}, parent of {size}": partial(ask, way)
            for size, ask in asked.items()
            for way, called in WAYS.items()
        }
        samples = measure.interleaved(cases, rounds=rounds, warm_up=2)
    return Section("spawn and wait of /bin/true, by the parent's size", tuple(map(entry, samples)))


@contextmanager
def _parent(mebibytes: int) -> Iterator[Callable[[str], Run]]:
    command = [sys.executable, str(Path(__file__).with_name("big_parent.py")), str(mebibytes)]
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
