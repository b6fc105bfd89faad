"""What a trace costs: a worker that writes one against one that does not, and each event on its own.

A request of `/bin/true` is the worst case: it has the events of a compile, and no compiler. Not for what a trace tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve

import measure
from headstart_worker.producers import Producers
from headstart_wrapper.running_process import processor_seconds
from headstart_wrapper.trace_events import REQUESTS_TRACK, Arrow, Moments, Trace
from measure import Run, Sample
from sections import Section, entry
from worker_client import TRUE, Client, client, ours

ONE_AT_A_TIME: Final = 20
"""Requests of a round; as in `worker_requests`."""

_EVENTS: Final = 1000
"""Of a kind in a round: long against the clock's grain."""

_DEPENDENCIES: Final = 100
"""Inputs of a job that other jobs made: a crate near the top of a big graph."""

_COMPILE: Final = 0.1
"""Seconds: a short compile, to tell what part of it the trace is."""

WITHOUT: Final = "without a trace"
WITH: Final = "with --trace"


def tracing(programs: Path, scratch: Path, *, rounds: int) -> tuple[Section, Section, Section]:
    """Latencies of requests, the worker's own processor time for each, and what single events cost.

    Args:
        programs: the directory with `process-wrapper`.
        scratch: a directory for the trace.
        rounds: how often each is measured.
    """
    plain = evolve(ours(programs, "proto"), name=WITHOUT)
    traced = evolve(plain, name=WITH, command=(*plain.command, f"--trace={scratch / 'trace.json'}"))
    with client(plain) as one, client(traced) as other:
        spent: dict[str, list[float]] = {WITHOUT: [], WITH: []}
        base, sample = measure.interleaved(
            {asked.worker.name: partial(_asked, asked, spent[asked.worker.name]) for asked in (one, other)},
            rounds=rounds,
        )
    used = {
        name: Sample(name, tuple(times[1:])) for name, times in spent.items()
    }  # the first was the warm-up
    more = measure.more(used[WITH], used[WITHOUT])["median"]
    return (
        Section(f"{TRUE}, one request at a time, traced", (entry(base), entry(sample, base))),
        Section(
            "the worker's own processor time for a request",
            (entry(used[WITHOUT]), entry(used[WITH], used[WITHOUT])),
            (f"of a compile that takes {_COMPILE:g} s that is {more / _COMPILE:.2%} more",),
        ),
        _events(rounds),
    )


def _asked(asked: Client, spent: list[float]) -> Run:
    before = processor_seconds(asked.pid) or 0.0
    times = asked.one_at_a_time(ONE_AT_A_TIME)
    spent.append(((processor_seconds(asked.pid) or 0.0) - before) / ONE_AT_A_TIME)
    return Run(times)


def _events(rounds: int) -> Section:
    trace, label = Trace(7, 1e9), "libregex_syntax-1fe60f1889ad7aff.rmeta"
    moments = Moments(
        began=1.0, spawned=1.01, early=1.5, exited=2.0, reaped=2.01, ended=2.1, cpu_at_early=0.5
    )
    arrows = [Arrow(of=job, track=1, at=0.5, early=True) for job in range(_DEPENDENCIES)]
    producers = Producers()
    reads = [(f"bazel-out/k8-fastbuild/bin/lib{n}.rmeta", b"digest") for n in range(_DEPENDENCIES)]
    for (path, _), arrow in zip(reads, arrows, strict=True):
        producers.made([path], arrow)
    kinds: Mapping[str, Callable[[], object]] = {
        "a span": lambda: trace.span("queue", REQUESTS_TRACK, 1.0, 2.0, job=3, label=label),
        "a counter": lambda: trace.counter("slots", 1.0, running=2, waiting=30),
        "an arrow": lambda: trace.arrow(1, arrows[0], job=3, label=label, track=0, at=2.0),
        "all spans of a job": lambda: trace.job(0, moments, job=3, label=label, exit_code=0, cpu=1.25),
        f"who made {_DEPENDENCIES} inputs": lambda: producers.of(reads),
    }
    things = {name: partial(_repeated, make) for name, make in kinds.items()}
    return Section("one event", tuple(map(entry, measure.interleaved(things, rounds=rounds))))


def _repeated(make: Callable[[], object]) -> Run:
    began = time.perf_counter()
    for _ in range(_EVENTS):
        make()
    return Run(((time.perf_counter() - began) / _EVENTS,))
