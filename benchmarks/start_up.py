"""How long it takes until something is there: a worker's first answer, and a command behind the wrapper. As people have it, installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import measure
import programs
from measure import Run
from sections import Section, entry
from worker_client import Worker, client

INTERPRETER: Final = "python3 -I -S -c pass"
_FRONTS: Final = (programs.BARE, programs.WRAPPER, programs.LAUNCHER, programs.STATISTICS, programs.BAZELS)


def start_up(bin_: Path, scratch: Path, workers: Sequence[Worker], *, rounds: int) -> Section:
    """From the start of a program to the end of `true` behind it, or to a worker's first answer.

    Args:
        bin_: where the wrapper and its interpreter are, and the launcher if it is to be measured.
        scratch: a directory for a file of statistics.
        workers: whose first answers are awaited; ours among them.
        rounds: how often each is started.
    """
    true = programs.which("true")
    things: dict[str, Callable[[], Run]] = {
        front.before("true"): partial(programs.run, (*front.words, true))
        for front in programs.fronts(bin_, scratch)
        if front.name in _FRONTS and not (front.words and not Path(front.words[0]).exists())
    }
    things[INTERPRETER] = partial(programs.run, (str(bin_ / "python"), "-I", "-S", "-c", "pass"))
    things |= {f"{worker.name}, first answer": partial(_first_answer, worker) for worker in workers}
    base, *others = measure.interleaved(things, rounds=rounds)
    return Section("start-up", (entry(base), *(entry(sample, base) for sample in others)))


def _first_answer(worker: Worker) -> Run:
    began = time.perf_counter()
    with client(worker) as asked:
        asked.send(asked.frame(1))
        asked.success()
        seconds = time.perf_counter() - began
    return Run((seconds,))
