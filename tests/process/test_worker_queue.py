"""The order in which waiting jobs get a slot."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from headstart_worker.messages import WorkRequest
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


@pytest.mark.parametrize(
    ("requests", "order"),
    [
        ("a b c d e f g h", "a b c d e f g h"),
        ("a b C d E f g H", "C E H a b d f g"),
        # a full request (/) that comes first, and the early one of the same job that joins it while it queues
        ("a /b C d E B", "b C E a d"),
        ("/a /b c D A B /D", "a b D c"),
    ],
)
async def test_early_ones_come_first_then_the_rest_each_in_order_of_coming(
    worker: Worker, protocol: str, fifo: MakeFifo, requests: str, order: str
) -> None:
    ready, go = fifo("ready"), fifo("go")

    def request(number: int, word: str) -> WorkRequest:
        name = word.removeprefix("/").lower()
        phases = {"/": ("--phase=full", f"--output=full-{name}"), name: (f"--output=full-{name}",)}
        options = phases.get(word[0], ("--phase=early",))
        early = (f"--early-output=early-{name}",) if options[0].startswith("--phase") else ()
        return WorkRequest(number, sh(COMPILER.format(name=name, ready=ready, go=go), *options, *early))

    words = requests.split()
    async with worker(protocol, "--jobs=2") as host:
        await queue_probe.prepare(host)
        for number in (101, 102):
            await host.send(WorkRequest(number, sh(f"echo busy > {ready}; read x < {go}")))
            await ready.line()
        for number, word in enumerate(words, 1):
            await host.send(request(number, word))
        await queue_probe.all_attached(host)
        started = []
        for _ in order.split():
            go.go()
            started.append(await ready.line())
        assert " ".join(started) == order.lower()
        go.go(2)
        with trio.fail_after(PATIENCE):
            assert {(await host.next_response()).exit_code for _ in range(len(words) + 2)} == {0}
