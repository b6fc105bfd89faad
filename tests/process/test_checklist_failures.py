"""The conformance checklist, points 24 to 37: what goes wrong, and that everybody is answered once whatever does.

Bugs of our own come with the request that has them (`buggy`). What breaks the worker itself (point 26), and faults at many
other places, stand in test_worker_faults.py.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest
import trio
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from headstart_wrapper.spawner import GUARD
from process.support import Fifo, cancelled, children, links, response, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


async def a_bug_costs_its_request_only(host: FakeHost, bug: str, text: str, go: Fifo) -> None:
    """Sends a request that runs, one with a bug, and one more; each gets what it deserves."""
    await host.send(WorkRequest(1, sh(f"read x < {go}; echo fine")))
    await host.send(WorkRequest(2, ("bug", bug, *sh("echo never"))))
    answer = await response(host)
    assert (answer.request_id, answer.exit_code, answer.was_cancelled) == (2, 125, False)
    assert "this is a bug in process-wrapper; please report it" in answer.output
    assert "Traceback (most recent call last):" in answer.output
    assert text in answer.output
    await host.send(WorkRequest(2, sh("echo next")))
    assert await response(host) == WorkResponse(2, 0, "next\n")
    go.go()
    assert await response(host) == WorkResponse(1, 0, "fine\n")
    assert (await host.finish()).exit_code == 0
    assert len(host.responses) == 3


async def test_C24_I1_an_exception_of_ours_is_its_requests_answer(
    buggy: Worker, protocol: str, fifo: MakeFifo
) -> None:
    async with buggy(protocol, "--jobs=2") as host:
        await a_bug_costs_its_request_only(host, "{}['key']", "KeyError: 'key'", fifo("go"))


@pytest.mark.parametrize(
    ("bug", "text"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--what'])", "SystemExit: 2"),
    ],
)
async def test_C25_I1_code_that_wants_to_end_the_process_ends_its_request_only(
    *, buggy: Worker, protocol: str, fifo: MakeFifo, bug: str, text: str
) -> None:
    async with buggy(protocol, "--jobs=2") as host:
        await a_bug_costs_its_request_only(host, bug, text, fifo("go"))


@pytest.mark.parametrize("name", ["SEGV", "KILL", "TERM", "ABRT", "XCPU"])
async def test_C27_a_compiler_that_a_signal_killed_gives_128_and_its_number(
    worker: Worker, protocol: str, name: str
) -> None:
    number = signal.Signals[f"SIG{name}"]
    async with worker(protocol) as host:
        answer = await host.work(sh(f"echo said; kill -{name} $$"))
        assert answer.exit_code == 128 + number
        said, message = answer.output.splitlines()
        assert said == "said"
        assert message.startswith(f"process-wrapper: sh was killed by signal {number:d} (SIG{name})")
        assert not answer.was_cancelled
        assert (await host.work(sh("echo next"))).output == "next\n"


NOT_STARTED = [
    pytest.param("/no/such/compiler", 127, "does not exist", id="missing by path"),
    pytest.param("no-such-compiler-at-all", 127, "PATH", id="missing by name"),
    pytest.param("./plain", 126, "chmod", id="not executable"),
    pytest.param("./directory", 126, "not executable", id="a directory"),
    pytest.param("./nonsense", 126, "cannot be executed", id="not a program"),
    pytest.param("./orphan", 127, "first line", id="interpreter missing"),
]


@pytest.mark.parametrize(("command", "exit_code", "text"), NOT_STARTED)
async def test_C28_a_compiler_that_cannot_be_started_is_named(
    *, worker: Worker, workspace: Path, protocol: str, command: str, exit_code: int, text: str
) -> None:
    (workspace / "plain").write_text("#!/bin/sh\n")
    (workspace / "directory").mkdir()
    for name, content in (("nonsense", b"\x7fELF nonsense"), ("orphan", b"#!/no/such/interpreter\n")):
        (workspace / name).write_bytes(content)
        (workspace / name).chmod(0o755)
    async with worker(protocol) as host:
        answer = await host.work(("--", command, "-c", "x.c"))
        assert answer.exit_code == exit_code
        (line,) = answer.output.splitlines()
        assert line.startswith("process-wrapper: ")
        assert command in line
        assert text in line
        assert (await host.work(sh("echo next"))).output == "next\n"
        assert (await host.finish()).stderr == ""


async def test_C29_warnings_of_a_compiler_that_succeeds_are_shown(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        answer = await host.work(sh("echo compiling; echo 'warning: unused' >&2; exit 0"))
        assert (answer.exit_code, answer.output) == (0, "compiling\nwarning: unused\n")


@pytest.mark.parametrize(
    ("script", "exit_code", "output"),
    [
        (":", 0, ""),
        ("exit 3", 3, ""),
        ("printf x", 0, "x\n"),
        ("printf 'x\\ny' >&2; exit 3", 3, "x\ny\n"),
        ("printf 'x\\n'", 0, "x\n"),
        ("printf '\\n'", 0, "\n"),
        ("printf x; kill -KILL $$", 137, None),
        ("head -c 3000000 /dev/zero | tr '\\0' x", 0, None),
    ],
)
async def test_C30_output_is_empty_or_ends_with_a_newline(
    *, worker: Worker, protocol: str, script: str, exit_code: int, output: str | None
) -> None:
    async with worker(protocol) as host:
        answer = await host.work(sh(script))
        assert answer.exit_code == exit_code
        assert answer.output == output if output is not None else answer.output.endswith("\n")


async def test_C31_output_that_is_no_text_becomes_text(worker: Worker, protocol: str) -> None:
    bad = [r"a\377b", r"c\000d", r"e\355\240\200f", r"g\360\237h", r"\300\257i", r"ends with half of \303"]
    async with worker(protocol) as host:
        answer = await host.work(("--", "/usr/bin/printf", r"\n".join(bad)))
        assert answer.exit_code == 0
        lines = answer.output.splitlines()
        assert [line.replace("\N{REPLACEMENT CHARACTER}", "") for line in lines] == [
            *("ab", "cd", "ef", "gh", "i", "ends with half of "),
        ]
        assert all("\N{REPLACEMENT CHARACTER}" in line for line in lines)
        assert answer.output.endswith("\n")
        answer = await host.work(("--", "/usr/bin/printf", r"\303\251 \033[31mred\033[0m\ttab\n"))
        assert answer.output == "é \x1b[31mred\x1b[0m\ttab\n"


async def test_C32_a_hundred_mebibytes_are_bounded(worker: Worker, protocol: str, fifo: MakeFifo) -> None:
    go = fifo("go")
    async with worker(protocol, "--jobs=2") as host:
        await host.send(WorkRequest(900, sh(f"read x < {go}; echo fine")))
        script = "echo first; head -c 104857600 /dev/zero | tr '\\0' x; echo; echo last"
        answer = await host.work(sh(script))
        assert answer.exit_code == 0
        assert answer.output.startswith("first\n")
        assert answer.output.endswith("last\n")
        assert "left out" in answer.output
        assert len(answer.output) < 2_000_000
        go.go()
        assert (await host.next_response()).output == "fine\n"


PRINT_EVERYWHERE = """
import ctypes, os, subprocess, sys

print("by print", flush=True)
sys.stdout.write("by stdout\\n")
sys.stdout.flush()
os.write(1, b"by descriptor\\n")
subprocess.run(["/bin/echo", "by a child"])
c = ctypes.CDLL(None)
c.printf(b"by C\\n")
c.fflush(None)
"""


async def test_C33_I4_what_our_own_process_prints_goes_to_the_log(buggy: Worker, protocol: str) -> None:
    async with buggy(protocol) as host:
        for number in (1, 2):
            await host.send(WorkRequest(number, ("bug", PRINT_EVERYWHERE, *sh("echo said"))))
            assert await response(host) == WorkResponse(number, 0, "said\n")
        ended = await host.finish()
        assert ended.exit_code == 0
        assert Counter(ended.stderr.splitlines()) == {
            f"by {what}": 2 for what in ("print", "stdout", "descriptor", "a child", "C")
        }


async def test_C33_I4_what_a_compiler_prints_anywhere_is_output(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        answer = await host.work(sh("echo '{}'; echo x > /dev/fd/1; echo y > /dev/stderr; (echo z)"))
        assert answer.output == "{}\nx\ny\nz\n"


READ_STDIN = """
import os, sys

print("stdin:", os.read(0, 100), repr(sys.stdin.read()), flush=True)
"""


async def test_C34_I4_whoever_reads_stdin_is_at_its_end(buggy: Worker, protocol: str) -> None:
    async with buggy(protocol) as host:
        requests = [
            WorkRequest(7, sh("cat; echo eof")),
            WorkRequest(8, ("bug", READ_STDIN, *sh("echo next"))),
            WorkRequest(9, sh("read line || echo none")),
        ]
        # All of them are there to be stolen.
        await host.send_bytes(b"".join(map(host.encode, requests)))
        answers = {answer.request_id: answer.output for answer in [await response(host) for _ in requests]}
        assert answers == {7: "eof\n", 8: "next\n", 9: "none\n"}
        assert (await host.finish()).stderr == "stdin: b'' ''\n"


async def test_C35_I4_a_child_holds_no_descriptor_but_its_own_three_and_its_guard(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol, "--jobs=4") as host, trio.open_nursery() as nursery:
        # Others run and start meanwhile: their pipes must not be seen either.
        for _ in range(2):
            nursery.start_soon(host.work, sh(f"echo $$ > {ready}; read x < {go}"))
        await ready.line()
        await ready.line()
        # listing takes a descriptor itself, which is gone when its name is looked at
        script = (
            "import os; d = '/proc/self/fd/'; "
            "print(*(n + ' ' + os.readlink(d + n) for n in os.listdir(d) if os.path.lexists(d + n)), sep='\\n')"
        )
        answer = await host.work(("--", "/usr/bin/python3", "-I", "-S", "-c", script))
        go.go(2)
        shown = dict(line.split() for line in answer.output.splitlines())
        assert shown.keys() == {"0", "1", "2", str(GUARD)}, answer.output
        assert shown["0"] == "/dev/null"
        assert shown["1"] == shown["2"] != shown[str(GUARD)]
        assert shown["1"].startswith("pipe:")
        assert shown[str(GUARD)].startswith("pipe:")
        # This process holds the other ends of the worker's three.
        assert not (set(shown.values()) - {"/dev/null"}) & set(links(os.getpid()))


async def test_C35_I4_the_helper_holds_nothing_of_the_protocol_nor_of_ended_jobs(worker: Worker) -> None:
    async with worker() as host:
        await host.work(sh("true"))
        (helper,) = children(host.pid)
        places = links(helper)
        # its stderr, which is the worker's
        assert len({place for place in places if place.startswith("pipe:")}) == 1
        assert len(places) == 4
        await host.finish()


QUICK: Final = {
    "succeeds": sh("echo fine"),
    "fails": sh("echo wrong; exit 3"),
    "dies": sh("kill -KILL $$"),
    "is not there": ("--", "/no/such/compiler"),
    "is no command line": ("--no-such-option",),
    "is empty": (),
    "writes what others write": sh("echo out > out", "--output=out"),
}
"""Requests that end by themselves, well or not."""

STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["quick", "quick and cancelled", "quick with id 0"]), st.sampled_from(sorted(QUICK))
    ),
    st.tuples(st.sampled_from(["endless", "cancel"]), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.just(77)),
)


class Account:
    """How many responses each id has to get, at least and at most, by what was sent."""

    def __init__(self) -> None:
        self.least: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        self._running: set[int] = set()
        self._cancelled: set[int] = set()

    def request(self, number: int, *, endless: bool) -> None:
        if number in self._running:
            self._forget(number)
        self.least[number] += 1
        self.most[number] += 1
        if endless:
            self._running.add(number)

    def cancel(self, number: int) -> None:
        if number in self._running:
            self._cancelled.add(number)

    def to_cancel(self) -> set[int]:
        """The ids of endless requests that nobody has cancelled."""
        return self._running - self._cancelled

    def _forget(self, number: int) -> None:
        """The id comes again: nothing for the older one, unless its cancel may have been answered by now."""
        self.least[number] -= 1
        self.most[number] -= number not in self._cancelled
        self._cancelled.discard(number)


async def carry_out(host: FakeHost, steps: Iterable[tuple[str, str | int]]) -> None:
    """Sends what the steps say without waiting for anything, and sees who is answered."""
    account = Account()
    for number, (what, which) in enumerate(steps, 100):
        match what, which:
            case "cancel", int():
                account.cancel(which)
                await host.cancel(which)
            case "endless", int():
                account.request(which, endless=True)
                await host.send(WorkRequest(which, sh("exec sleep 1000")))
            case _, str():
                new = 0 if what.endswith("id 0") else number
                account.request(new, endless=False)
                await host.send(WorkRequest(new, QUICK[which]))
                if what.endswith("cancelled"):
                    await host.cancel(new)
    for number in account.to_cancel():
        await host.cancel(number)
    for _ in range(account.least.total()):
        await response(host)
    assert (await host.finish()).stderr == ""
    counts = Counter(answer.request_id for answer in host.responses)
    assert set(counts) <= set(account.most)
    for number, most in account.most.items():
        assert account.least[number] <= counts[number] <= most, (number, host.responses)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ],  # a response that does not come takes PATIENCE: no time to shrink
)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
@example(
    steps=[
        ("endless", 1),
        ("endless", 1),
        ("cancel", 1),
        *[("quick with id 0", "succeeds")] * 3,
        ("cancel", 77),
    ]
)
def test_C36_I1_every_request_gets_one_response_whatever_comes_between(
    worker: Worker, protocol: str, steps: list[tuple[str, str | int]]
) -> None:
    async def run() -> None:
        async with worker(protocol, "--jobs=3") as host:
            await carry_out(host, steps)

    trio.run(run)


async def test_C37_I1_nothing_is_called_cancelled_that_nobody_cancelled(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    endless = f"echo $$ > {pids}; exec sleep 1000"
    early = ("--kill-delay=0", "--phase=early", "--early-output=early", "--output=full")
    async with worker(protocol, "--jobs=4") as host:
        # Jobs that are ended by force: by an id and by outputs that come again, by the time, by ourselves.
        await host.send(WorkRequest(1, sh(endless)))
        await pids.line()
        await host.send(WorkRequest(1, sh(endless, "--output=mine")))
        await pids.line()
        await host.send(WorkRequest(2, sh("echo newer", "--output=mine")))
        await host.send(WorkRequest(3, ("--timeout=0.05", *sh("exec sleep 1000"))))
        await host.send(WorkRequest(4, sh("echo x > early; exec sleep 1000", "--stop-after-early", *early)))
        for number, arguments in enumerate(QUICK.values(), 5):
            await host.send(WorkRequest(number, arguments))
        answers = {
            answer.request_id: answer for answer in [await response(host) for _ in range(4 + len(QUICK))]
        }
        assert not [answer for answer in answers.values() if answer.was_cancelled]
        assert answers[1].exit_code == 125
        assert answers[2] == WorkResponse(2, 0, "newer\n")
        assert answers[3].exit_code == 124
        # And a cancel of another id is no cancel of this one.
        await host.send(WorkRequest(50, sh(endless)))
        await pids.line()
        await host.send(WorkRequest(51, sh("echo > go; exit 3")))
        await host.cancel(50)
        last = [await response(host), await response(host)]
        assert sorted(last, key=lambda answer: answer.request_id) == [cancelled(50), WorkResponse(51, 3)]
