"""A worker that was told an earlier build: who waits is started in the order of the paths, and nothing depends on the trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import Input, WorkRequest
from headstart_worker.testing import FakeHost
from process import queue_probe
from process.support import PATIENCE, Fifo, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

COMPILER = """
echo {name} > {ready}; read x < {go}
printf x > early-{name}.tmp && mv early-{name}.tmp early-{name}
printf x > full-{name}
"""


def trace_of(paths: Mapping[str, int]) -> str:
    """The trace of a build in which each job alone took as many seconds as its path; one of them needed another."""
    events: list[dict[str, object]] = []
    for job, (label, seconds) in enumerate({"first": 0, **paths}.items()):
        span = {
            "ph": "X",
            "name": "compile",
            "pid": 1,
            "tid": 0,
            "ts": job * 1_000_000,
            "dur": seconds * 1_000_000,
        }
        detail = {"job": job, "label": label, "exit_code": 0, "cpu": 0.0, "peak_memory": 0}
        events.append({**span, "args": detail})
    arrow = {"cat": "needs", "name": "full", "id": 1, "pid": 1, "tid": 0}
    events.append({**arrow, "ph": "s", "ts": 0})
    events.append(
        {
            **arrow,
            "ph": "f",
            "bp": "e",
            "ts": 1_000_000,
            "args": {"job": 1, "label": next(iter(paths)), "of": 0},
        }
    )
    return json.dumps(events)


def request(number: int, word: str, ready: Fifo, go: Fifo) -> WorkRequest:
    """A capital letter asks for early outputs, another for the whole."""
    name = word.lower()
    phase = (
        ("--phase=early", f"--early-output=early-{name}") if word.isupper() else (f"--output=full-{name}",)
    )
    return WorkRequest(number, sh(COMPILER.format(name=name, ready=ready, go=go), *phase))


async def order(host: FakeHost, words: str, ready: Fifo, go: Fifo) -> str:
    """The order in which jobs start that came while both slots were taken."""
    await queue_probe.prepare(host)
    for number in (101, 102):
        await host.send(WorkRequest(number, sh(f"echo busy > {ready}; read x < {go}")))
        await ready.line()
    for number, word in enumerate(words, 1):
        await host.send(request(number, word, ready, go))
    await queue_probe.all_attached(host)
    started = []
    for _ in words:
        go.go()
        started.append(await ready.line())
    go.go(2)
    with trio.fail_after(PATIENCE):
        assert {(await host.next_response()).exit_code for _ in range(len(words) + 2)} == {0}
    return "".join(started)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ({"full-a": 1, "full-b": 3, "full-c": 4, "full-d": 2}, "abcd cbda"),
        # what others wait for comes first, however short its path
        ({"full-a": 9, "full-b": 10, "early-c": 1, "early-d": 2}, "abCD dcba"),
        # equal paths in the order of their coming; what is not known is as urgent as the usual
        ({"full-a": 1, "full-b": 5, "full-d": 5, "full-e": 2}, "abcde bdcea"),
    ],
)
async def test_the_longest_path_comes_first(
    worker: Worker, fifo: MakeFifo, tmp_path: Path, paths: Mapping[str, int], expected: str
) -> None:
    trace = tmp_path / "trace.json"
    trace.write_text(trace_of(paths))
    came, started = expected.split()
    async with worker("proto", "--jobs=2", f"--look-ahead={trace}") as host:
        assert await order(host, came, fifo("ready"), fifo("go")) == started


@pytest.mark.parametrize(
    "content",
    [None, "no trace", trace_of({"full-c": 9}).replace("needs", "")],
    ids=["missing", "corrupt", "old"],
)
async def test_I13_without_a_trace_of_use_the_order_is_that_of_coming(
    worker: Worker, fifo: MakeFifo, tmp_path: Path, content: str | None
) -> None:
    trace = tmp_path / "trace.json"
    if content is not None:
        trace.write_text(content)
    async with worker("proto", "--jobs=2", f"--look-ahead={trace}") as host:
        assert await order(host, "abc", fifo("ready"), fifo("go")) == "abc"
    assert f"process-wrapper: the trace {trace} says nothing about the order of jobs" in host.stderr


async def test_a_workers_own_trace_is_understood_and_may_be_written_over_by_the_next(
    worker: Worker, fifo: MakeFifo, tmp_path: Path
) -> None:
    """In the first build c needs a and takes longer than b; so a starts before b in the second, though it comes later."""
    trace = tmp_path / "trace.json"
    ready, go, end_of_c = fifo("ready"), fifo("go"), fifo("end of c")
    needs_a = sh(f"echo c > {ready}; read x < '{end_of_c}'; printf x > full-c", "--output=full-c")
    async with worker("proto", "--jobs=2", f"--trace={trace}") as host:
        await host.send(request(1, "a", ready, go))
        await finished(host, ready, go)
        made = Input("full-a", b"digest")
        await host.send(WorkRequest(2, needs_a, (made,)))
        assert await ready.line() == "c"
        await host.send(request(3, "b", ready, go))
        await finished(host, ready, go)
        end_of_c.go()
        with trio.fail_after(PATIENCE):
            assert (await host.next_response()).exit_code == 0
    before = trace.read_text()
    async with worker("proto", "--jobs=2", f"--look-ahead={trace}", f"--trace={trace}") as host:
        assert await order(host, "ba", ready, go) == "ab"
    assert "says nothing" not in host.stderr
    assert trace.read_text() != before


async def finished(host: FakeHost, ready: Fifo, go: Fifo) -> None:
    """Lets the one job that came last run to its end."""
    await ready.line()
    go.go()
    with trio.fail_after(PATIENCE):
        assert (await host.next_response()).exit_code == 0
