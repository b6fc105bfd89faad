"""The conformance checklist, points 38 to 49: what a cancel does, and what it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, cancelled, response, sh
from survivors import is_alive, living

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

CANCEL_OF_ID_0 = {"proto": b"\x02\x20\x01", "json": b'{"cancel":true}'}
"""As hosts write it: the id is left out."""

ACKNOWLEDGED_SECONDS = 0.1
"""What the checklist gives a cancel, from its writing to its answer."""


async def test_C38_I2_the_whole_group_is_dead_when_a_cancel_is_answered_and_that_is_soon(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    tree = f"sh -c 'sleep 1000 & echo $! > {pids}; echo $$ > {pids}; wait' & echo $$ > {pids}; wait"
    took = []
    async with worker(protocol, "--jobs=1") as host:
        for number in range(1, 8):
            # It takes TERM, so nobody waits for the end of the grace.
            await host.send(WorkRequest(number, sh(f"echo said; {tree}", "--kill-delay=900")))
            found = [await pids.pid() for _ in range(3)]
            assert all(map(is_alive, found))
            began = trio.current_time()
            await host.cancel(number)
            assert await response(host) == WorkResponse(number, 0, "", was_cancelled=True)
            took.append(trio.current_time() - began)
            assert not list(filter(is_alive, found))
        assert (await host.work(sh("echo alive"))).output == "alive\n"
    # The fastest tells what the worker does; the others tell also what the machine did meanwhile.
    assert min(took) < ACKNOWLEDGED_SECONDS


SLOW_TO_DIE = """
import os, sys
memory = b"x" * (512 << 20)
with open(sys.argv[1], "w") as pids:
    print(os.getpid(), file=pids)
for descriptor in (0, 1, 2):
    os.close(descriptor)
while True:
    os.read(os.open(sys.argv[2], os.O_RDONLY), 1)
"""
"""A killed process is gone when the kernel has taken its memory back, which takes a while for this much. It holds no
pipe of ours, so that nothing but its own end tells of its end."""


async def test_C38_I2_a_cancel_waits_for_a_process_that_takes_long_to_die(
    worker: Worker, tmp_path: Path, fifo: MakeFifo
) -> None:
    pids, never = fifo("pids"), fifo("never")
    program = tmp_path / "slow.py"
    program.write_text(SLOW_TO_DIE)
    async with worker() as host:
        await host.send(WorkRequest(5, sh(f"/usr/bin/python3 -I -S {program} {pids} {never} & wait")))
        slow = await pids.pid()
        await host.cancel(5)
        assert await response(host) == cancelled(5)
        assert not is_alive(slow)


async def test_C38_a_cancel_takes_a_request_out_of_the_queue(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol, "--jobs=1") as host:
        await host.send(WorkRequest(1, sh(f"echo > {ready}; read x < {go}; echo first")))
        await ready.line()
        await host.send(WorkRequest(2, sh(f"echo second > {ready}"), verbosity=1))
        await host.send(WorkRequest(3, sh("echo third")))
        with trio.fail_after(PATIENCE):
            while "request 2: queued" not in host.stderr:  # noqa: ASYNC110 - a host tells no event of that stream
                await trio.sleep(0.001)
        await host.cancel(2)
        assert await response(host) == cancelled(2)
        go.go()
        assert {(await response(host)).output, (await response(host)).output} == {"first\n", "third\n"}
        assert ready.silent()


async def test_C39_I1_a_second_cancel_is_not_answered(worker: Worker, protocol: str, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    async with worker(protocol) as host:
        # The second one comes while the first is carried out, the third when it is.
        script = f"trap '' TERM; echo $$ > {pids}; while :; do sleep 1000; done"
        await host.send(WorkRequest(1, sh(script, "--kill-delay=0.1")))
        job = await pids.pid()
        await host.cancel(1)
        await host.cancel(1)
        assert await response(host) == cancelled(1)
        assert not is_alive(job)
        await host.cancel(1)
        assert (await host.work(sh("echo next"), request_id=2)).output == "next\n"
        await host.finish()
        assert [answer.request_id for answer in host.responses] == [1, 2]


async def test_C40_I1_a_cancel_of_an_unknown_id_is_not_answered_and_stops_nothing(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol) as host:
        await host.cancel(77)
        await host.send_bytes(CANCEL_OF_ID_0[protocol])
        await host.send(WorkRequest(1, sh(f"echo > {ready}; read x < {go}; echo whole")))
        await ready.line()
        await host.cancel(78)
        await host.send_bytes(CANCEL_OF_ID_0[protocol])
        await host.send(WorkRequest(78, sh("echo later")))
        go.go()
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(2)]}
        assert answers == {1: WorkResponse(1, 0, "whole\n"), 78: WorkResponse(78, 0, "later\n")}
        await host.finish()
        assert len(host.responses) == 2


async def test_C41_I1_a_cancel_after_the_response_is_not_answered(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        for number in (0, 1, 2):
            assert (await host.work(sh("echo whole"), request_id=number)).output == "whole\n"
            await host.cancel(number)
        assert (await host.work(sh("echo last"), request_id=3)).output == "last\n"
        await host.finish()
        assert [answer.request_id for answer in host.responses] == [0, 1, 2, 3]


async def test_C42_I1_a_thousand_cancels_that_race_the_end_get_one_answer_each_of_either_kind(
    worker: Worker, protocol: str
) -> None:
    count, lanes = 1000, 4
    numbers = iter(range(1, count + 1))
    # After an answer that a cancel won, the next one comes a little later, after one that it lost, a little sooner: so
    # they stay where the end of a job is, however fast the machine is.
    delay = 0.002
    won: Counter[bool] = Counter()

    async with worker(protocol, f"--jobs={lanes}") as host:

        async def cancel_after(seconds: float, number: int) -> None:
            await trio.sleep(seconds)
            await host.cancel(number)

        async def lane() -> None:
            nonlocal delay
            for number in numbers:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, delay, number)
                    answer = await host.work(("--", "/bin/true"), request_id=number)
                assert answer in {cancelled(number), WorkResponse(number)}
                won[answer.was_cancelled] += 1
                delay *= 1.1 if answer.was_cancelled else 1 / 1.1

        with trio.fail_after(3 * PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(lanes):
                    nursery.start_soon(lane)
        assert (await host.work(sh("echo end"))).output == "end\n"
        await host.finish()
        assert len(host.responses) == count + 1
    assert min(won[True], won[False]) > count / 20, won


async def test_C43_I1_a_request_and_its_cancel_in_one_read_get_one_answer(
    worker: Worker, protocol: str
) -> None:
    async with worker(protocol) as host:
        for number in range(50):
            work = WorkRequest(number, sh("sleep 1000"))
            await host.send_bytes(host.encode(work) + host.encode(WorkRequest(number, cancel=True)))
            assert await response(host) == cancelled(number)
        await host.finish()
        assert len(host.responses) == 50


@pytest.mark.parametrize("waiting", [0, 2])
async def test_C44_a_cancel_of_id_0_means_the_oldest_request_with_that_id(
    worker: Worker, protocol: str, fifo: MakeFifo, waiting: int
) -> None:
    ready = fifo("ready")
    async with worker(protocol) as host:
        await host.send(WorkRequest(0, sh(f"echo > {ready}; sleep 1000")))
        await ready.line()
        for number in range(waiting):
            await host.send(WorkRequest(0, sh(f"echo {number}")))
        await host.send_bytes(CANCEL_OF_ID_0[protocol])
        assert await response(host) == cancelled(0)
        assert [(await response(host)).output for _ in range(waiting)] == [f"{n}\n" for n in range(waiting)]


async def test_C45_a_cancel_that_carries_arguments_and_inputs_is_a_cancel_and_no_work(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo
) -> None:
    ready = fifo("ready")

    def cancel(number: int) -> WorkRequest:
        return WorkRequest(
            number, sh("touch ran"), (Input("no/such/file", b"digest"),), "no/such/sandbox", 10, cancel=True
        )

    async with worker(protocol) as host:
        await host.send(cancel(1))
        await host.send(WorkRequest(1, sh(f"echo > {ready}; sleep 1000")))
        await ready.line()
        await host.send(cancel(1))
        assert await response(host) == cancelled(1)
        await host.send(cancel(1))
        assert (await host.work(sh("true"))).exit_code == 0
        await host.finish()
        assert len(host.responses) == 2
    assert not (workspace / "ran").exists()


async def test_C46_I2_a_cancelled_request_leaves_no_half_written_output_and_no_process(
    worker: Worker, workspace: Path, protocol: str, tag: str, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    options = ("--phase=early", "--early-output=out/early", "--output=out/half", "--output=out/none")
    script = f"printf half > out/half; printf e > out/early.tmp; sleep 1000 & echo > {ready}; wait"
    async with worker(protocol) as host:
        await host.work(sh("true"))
        workers_own = set(living(tag))
        await host.send(WorkRequest(5, sh(script, *options)))
        await ready.line()
        assert (workspace / "out/half").read_bytes() == b"half"
        await host.cancel(5)
        assert await response(host) == cancelled(5)
        assert set(living(tag)) == workers_own
        assert [path.name for path in (workspace / "out").iterdir()] == ["early.tmp"]  # nobody declared it


async def test_C46_I2_a_compiler_that_calls_its_cancel_a_success_leaves_nothing_half_written(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    script = f"trap 'exit 0' TERM; printf half > half; echo > {ready}; while :; do sleep 1000 & wait; done"
    async with worker(protocol) as host:
        await host.send(WorkRequest(5, sh(script, "--output=half")))
        await ready.line()
        await host.cancel(5)
        assert await response(host) == cancelled(5)
        assert not (workspace / "half").exists()


async def test_C47_an_id_may_be_used_again_as_soon_as_its_cancel_is_answered(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    rounds = 20
    async with worker(protocol) as host:
        for number in range(rounds):
            await host.send(WorkRequest(1, sh(f"echo old > out; echo > {ready}; sleep 1000", "--output=out")))
            await ready.line()
            await host.cancel(1)
            assert await response(host) == cancelled(1)
            new = await host.work(sh(f"echo {number} | tee out", "--output=out"), request_id=1)
            assert new == WorkResponse(1, 0, f"{number}\n")
            assert (workspace / "out").read_text() == f"{number}\n"
        await host.finish()
        assert len(host.responses) == 2 * rounds


async def test_C48_I5_an_id_that_comes_again_before_its_cancel_is_answered_is_answered_once_for_the_new_work(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker(protocol, "--jobs=2") as host:
        script = f"trap '' TERM; echo $$ > {pids}; while :; do sleep 1000; done"
        await host.send(WorkRequest(1, sh(script, "--kill-delay=0.3")))
        old = await pids.pid()
        new = WorkRequest(1, sh(f"test -d /proc/{old} && echo both; echo new"))
        await host.send_bytes(host.encode(WorkRequest(1, cancel=True)) + host.encode(new))
        assert await response(host) == WorkResponse(1, 0, "new\n")
        await host.finish()
        assert len(host.responses) == 1


async def test_C49_I2_there_is_no_job_that_cannot_be_cancelled_one_that_ignores_TERM_is_killed(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids, told = fifo("pids"), fifo("told")
    tree = (
        f"(trap '' TERM; echo $(exec sh -c 'echo $PPID') > {pids}; while :; do sleep 1000; done) & "
        f"trap 'echo TERM > {told}' TERM; sleep 1000 & echo $! > {pids}; echo $$ > {pids}; "
        "while :; do wait; sleep 1000; done"
    )
    async with worker(protocol, "--jobs=2") as host:
        await host.send(WorkRequest(5, sh(tree, "--kill-delay=2")))
        found = [await pids.pid() for _ in range(3)]
        assert all(map(is_alive, found))
        await host.cancel(5)
        assert await told.line() == "TERM"  # it could have ended well
        assert await response(host) == cancelled(5)
        assert not list(filter(is_alive, found))
        assert (await host.work(sh("echo alive"))).output == "alive\n"
