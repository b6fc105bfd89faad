"""What a request costs against starting the same command oneself, alone and under load."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import measure
from measure import Run, Sample
from sections import Section, entry, turns
from worker_client import TRUE, Burst, Client

ONE_AT_A_TIME: Final = 20
"""Requests of a round, so that one round is long against the clock's grain and short against the machine's moods."""

LOADS: Final = (1, 4, 16, 64)
"""Requests in flight."""

_COUNTED: Final = 64
"""Requests of a round under load, or three times as many as are in flight where that is more."""

_THREADS: Final = 16
"""That start commands at once where there is no worker."""

BARE: Final = "bare spawn"
SUBPROCESS: Final = "subprocess"


def alone(clients: Sequence[Client], *, rounds: int) -> Section:
    """One request at a time, and what it takes over a bare spawn in the same round."""
    things: dict[str, Callable[[], Run]] = {
        BARE: partial(_one_at_a_time, _spawn_bare),
        SUBPROCESS: partial(_one_at_a_time, _spawn),
        **{asked.worker.name: partial(_asked, asked) for asked in clients},
    }
    base, *others = measure.interleaved(things, rounds=rounds)
    return Section(
        f"{TRUE}, one request at a time", (entry(base), *(entry(sample, base) for sample in others))
    )


def _asked(asked: Client) -> Run:
    return Run(asked.one_at_a_time(ONE_AT_A_TIME))


def under_load(
    clients: Sequence[Client], *, rounds: int, loads: Sequence[int] = LOADS
) -> tuple[Section, Section]:
    """Latencies with so many requests always in flight, and from the same requests the time that each takes of all."""
    with ThreadPoolExecutor(_THREADS) as pool:
        things: dict[str, tuple[int, Callable[[], Burst]]] = {
            f"{asked.worker.name}, {load} in flight": (
                load,
                partial(asked.together, load, max(_COUNTED, 3 * load)),
            )
            for asked in clients
            for load in loads
            if load <= asked.worker.in_flight
        }
        if _THREADS in loads:
            things[f"{SUBPROCESS}, {_THREADS} in flight"] = _THREADS, partial(_spawn_together, pool)
        bursts: dict[str, list[Burst]] = {name: [] for name in things}
        for name in turns([*things], rounds):
            bursts[name].append(things[name][1]())
    latencies, each = [], []
    for name, taken in bursts.items():
        load, _ = things[name]
        times = tuple(time for burst in taken for time in burst.latencies)
        latencies.append(entry(Sample(name, times, rounds=len(taken)), in_flight=load))
        each.append(entry(Sample(name, tuple(burst.each for burst in taken)), in_flight=load))
    return (
        Section(f"{TRUE}, latency under load", tuple(latencies)),
        Section(f"{TRUE}, seconds for each when so many are in flight", tuple(each)),
    )


def _spawn() -> float:
    began = time.perf_counter()
    # What the worker does for each job too: a group of its own, and its output in a pipe.
    subprocess.run(
        [TRUE],
        process_group=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    return time.perf_counter() - began


def _spawn_bare() -> float:
    began = time.perf_counter()
    os.waitpid(os.posix_spawn(TRUE, [TRUE], os.environ, setpgroup=0), 0)
    return time.perf_counter() - began


def _one_at_a_time(spawn: Callable[[], float]) -> Run:
    return Run(tuple(spawn() for _ in range(ONE_AT_A_TIME)))


def _spawn_together(pool: ThreadPoolExecutor) -> Burst:
    began = time.perf_counter()
    times = tuple(pool.map(lambda _: _spawn(), range(_COUNTED)))
    return Burst(times, time.perf_counter() - began)
