"""Figures from `results/micro.json`: requests, load, spawning, the wire, start-up, staging, cancels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from figure_parts import ms, note, results, sentences, table

_MIB = 1 << 20


def requests_table() -> str:
    """One request at a time against a bare spawn, the worker's memory, and which peers there are."""
    data = results("micro")
    rows = (
        (one["command"], ms(one["median"]), ms(one["p99"]), _over(one)) for one in data["requests"]["results"]
    )
    idle = ", ".join(
        f"the {name} {size['rss'] / _MIB:.0f} MiB (proportional: {size['pss'] / _MIB:.0f} MiB)"
        for name, size in data["memory"].items()
    )
    head = ("`/bin/true`, one request at a time", "median", "p99", "over a bare spawn: median (middle half)")
    return table(head, rows) + sentences([f"Idle, {idle}.", *_peers(data)]) + note(data)


def load_table() -> str:
    """Latency and throughput by the number of requests in flight."""
    data = results("micro")
    each = {one["command"]: one["median"] for one in data["throughput"]["results"]}
    rows = (
        (one["command"], ms(one["median"]), ms(one["p99"]), f"{1 / each[one['command']]:,.0f}")
        for one in data["load"]["results"]
    )
    return table(("`/bin/true` under load", "latency, p50", "p99", "requests a second"), rows) + note(data)


def spawning_table() -> str:
    """Ways to start a command, and what the kernel then says about its memory."""
    data = results("micro")
    found = data["spawning"]["results"]
    rows = (
        (one["command"], ms(one["median"]), ms(one["p99"]), f"{one['memory_usage_byte'] // _MIB} MiB")
        for one in found
    )
    ours = [one["median"] for one in found if "our helper" in one["command"]]
    ratio = f"By our helper, the biggest parent against the smallest: {ours[-1] / ours[0]:.2f} of the time."
    head = ("way", "median", "p99", "peak memory of `true`, as reported")
    return table(head, rows) + sentences([ratio]) + note(data)


def wire_table() -> str:
    """How fast messages are read and written."""
    data = results("micro")
    rows = (
        (
            one["command"],
            f"{one['message_bytes']:,}",
            f"{1 / one['median']:,.0f}",
            f"{one['message_bytes'] / one['median'] / 1e6:,.1f}",
        )
        for one in data["framing"]["results"]
    )
    return table(("message", "bytes", "messages a second", "MB/s"), rows) + note(data)


def start_up_table() -> str:
    """From the start of a program until something is there."""
    data = results("micro")
    rows = (
        (f"`{one['command']}`", ms(one["median"]), ms(one["p99"]), _over(one))
        for one in data["start_up"]["results"]
    )
    return (
        table(("from the start to the end, or to the first answer", "median", "p99", "over `true`"), rows)
        + sentences(_peers(data))
        + note(data)
    )


def staging_table() -> str:
    """What a private root costs."""
    data = results("micro")
    rows = (
        (f"{one['inputs']:,} inputs, {one['command']}", ms(one["median"]), ms(one["p99"]), ms(one["min"]))
        for one in data["staging"]["results"]
    )
    return table(("staging a job", "median", "p99", "min"), rows) + note(data)


def cancel_table() -> str:
    """From a cancel until the job is dead, and until the answer is read."""
    data = results("micro")
    section = data["cancelling"]
    rows = ((one["command"], ms(one["median"]), ms(one["p99"])) for one in section["results"])
    told = sentences([*section["sentences"], *_peers(data)])
    return table(("from writing the cancel", "median", "p99"), rows) + told + note(data)


def tracing_table() -> str:
    """What a trace costs a worker."""
    data = results("micro")
    cpu = data["tracing_cpu"]
    rows = (
        (f"{section['title']}, {one['command']}", ms(one["median"]), ms(one["p99"]), _over(one))
        for section in (data["tracing"], cpu)
        for one in section["results"]
    )
    told = (f"{one[0].upper()}{one[1:]}." for one in cpu["sentences"])
    return (
        table(("with a trace and without", "median", "p99", "over without"), rows)
        + sentences(told)
        + note(data)
    )


FIGURES: Mapping[str, Callable[[], str]] = {
    "requests-table": requests_table,
    "load-table": load_table,
    "spawning-table": spawning_table,
    "wire-table": wire_table,
    "start-up-table": start_up_table,
    "staging-table": staging_table,
    "cancel-table": cancel_table,
    "tracing-table": tracing_table,
}


def _over(one: dict[str, Any]) -> str:
    if "over" not in one:
        return ""
    return "{median:+.2f} ms ({q1:+.2f} to {q3:+.2f})".format(
        **{name: seconds * 1e3 for name, seconds in one["over"].items()}
    )


def _peers(data: dict[str, Any]) -> Iterator[str]:
    for name, told in data["peers"].items():
        yield f"{name}: {told}."
