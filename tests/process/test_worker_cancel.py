"""Cancels, ids that come again and outputs that are asked for again: who is answered, and who is dead by then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, gone, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


def cancelled(request_id: int) -> WorkResponse:
    return WorkResponse(request_id=request_id, was_cancelled=True)


async def response(host: FakeHost) -> WorkResponse:
    with trio.fail_after(PATIENCE):
        return await host.next_response()


async def test_I2_a_cancelled_tree_is_dead_when_its_response_is_read(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    tree = (
        f"(trap '' TERM; echo $(exec sh -c 'echo $PPID') > {pids}; while :; do sleep 1000; done) & "
        f"sleep 1000 & echo $! > {pids}; "
        f"printf half > out/half; echo $$ > {pids}; wait"
    )
    (workspace / "out").mkdir()
    async with worker(protocol, "--jobs=2") as host:
        await host.send(WorkRequest(5, sh(tree, "--output=out/half", "--kill-delay=0.2")))
        found = [await pids.pid() for _ in range(3)]
        assert all(map(is_alive, found))
        assert (workspace / "out/half").read_bytes() == b"half"
        await host.cancel(5)
        assert await response(host) == cancelled(5)
        assert not list(filter(is_alive, found))
        assert not (workspace / "out/half").exists()
        assert (await host.work(sh("echo alive"))).output == "alive\n"


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


async def test_I2_a_cancel_waits_for_a_process_that_takes_long_to_die(
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


async def test_I2_a_compiler_that_calls_its_cancel_a_success_leaves_nothing_half_written(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    script = f"trap 'exit 0' TERM; printf half > half; echo > {ready}; while :; do sleep 1000 & wait; done"
    async with worker() as host:
        await host.send(WorkRequest(5, sh(script, "--output=half")))
        await ready.line()
        await host.cancel(5)
        assert await response(host) == cancelled(5)
        assert not (workspace / "half").exists()


async def test_a_cancel_takes_a_request_out_of_the_queue(worker: Worker, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker("proto", "--jobs=1") as host:
        await host.send(WorkRequest(1, sh(f"echo > {ready}; read x < {go}; echo first")))
        await ready.line()
        await host.send(WorkRequest(2, sh(f"echo second > {ready}")))
        await host.send(WorkRequest(3, sh("echo third")))
        await host.cancel(2)
        assert await response(host) == cancelled(2)
        go.go()
        assert {(await response(host)).output, (await response(host)).output} == {"first\n", "third\n"}
        assert ready.silent()


async def test_I1_a_second_cancel_an_unknown_one_and_a_late_one_are_not_answered(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    async with worker(protocol) as host:
        await host.send(WorkRequest(1, sh(f"echo > {ready}; sleep 1000")))
        await ready.line()
        await host.cancel(77)
        await host.cancel(1)
        await host.cancel(1)
        assert await response(host) == cancelled(1)
        await host.cancel(1)
        await host.cancel(0)
        assert (await host.work(sh("echo next"), request_id=2)).output == "next\n"
        await host.cancel(2)
        assert (await host.work(sh("echo last"), request_id=3)).output == "last\n"
        await host.finish()
        assert [answer.request_id for answer in host.responses] == [1, 2, 3]


async def test_I1_a_request_and_its_cancel_in_one_write_get_one_answer(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        for number in range(1, 51):
            work = WorkRequest(number, sh("sleep 1000"))
            await host.send_bytes(host.encode(work) + host.encode(WorkRequest(number, cancel=True)))
            assert await response(host) == cancelled(number)
        await host.finish()
        assert len(host.responses) == 50


async def test_I1_a_cancel_that_races_the_end_gets_one_answer_of_either_kind(
    worker: Worker, protocol: str
) -> None:
    count = 200
    async with worker(protocol, "--jobs=4") as host:

        async def one(number: int) -> None:
            await host.send(WorkRequest(number, ("--", "/bin/true")))
            # Between no time and about what a job takes, so that cancels fall on every one of its moments.
            await trio.sleep((number % 20) * 0.0005)
            await host.cancel(number)

        for start in range(1, count, 4):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 4):
                    nursery.start_soon(one, number)
                answers = [await response(host) for _ in range(4)]
            assert sorted(answer.request_id for answer in answers) == list(range(start, start + 4))
            assert all(
                answer in {cancelled(answer.request_id), WorkResponse(answer.request_id)}
                for answer in answers
            )
        assert (await host.work(sh("echo end"))).output == "end\n"
        await host.finish()
        assert len(host.responses) == count + 1


async def test_I5_an_active_id_that_comes_again_gets_the_new_work_alone(
    worker: Worker, workspace: Path, protocol: str, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker(protocol, "--jobs=2") as host:
        await host.send(
            WorkRequest(1, sh(f"echo $$ > {pids}; sleep 1000; echo old | tee out", "--output=out"))
        )
        old = await pids.pid()
        await host.send(
            WorkRequest(1, sh(f"test -d /proc/{old} && echo both; echo new | tee out", "--output=out"))
        )
        assert await response(host) == WorkResponse(1, 0, "new\n")
        assert not is_alive(old)
        assert (workspace / "out").read_text() == "new\n"
        await host.finish()
        assert len(host.responses) == 1


async def test_I5_an_id_that_comes_again_before_its_cancel_is_answered_is_answered_once(
    worker: Worker, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    async with worker() as host:
        script = f"trap '' TERM; echo > {ready}; while :; do sleep 1000; done"
        await host.send(WorkRequest(1, sh(script, "--kill-delay=0.3")))
        await ready.line()
        await host.send_bytes(
            host.encode(WorkRequest(1, cancel=True)) + host.encode(WorkRequest(1, sh("echo new")))
        )
        assert await response(host) == WorkResponse(1, 0, "new\n")
        await host.finish()
        assert len(host.responses) == 1


async def test_I5_an_output_that_is_asked_for_again_supersedes_the_older_request(
    worker: Worker, workspace: Path, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; sleep 1000; echo old > out", "--output=out")))
        old = await pids.pid()
        await host.send(
            WorkRequest(2, sh(f"test -d /proc/{old} && echo both; echo new > out", "--output=./out"))
        )
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(2)]}
        assert answers[1].exit_code == 125
        assert "superseded" in answers[1].output
        assert not answers[1].was_cancelled
        assert answers[2] == WorkResponse(2)
        assert (workspace / "out").read_text() == "new\n"


async def test_an_id_may_be_used_again_after_its_answer(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        for text in ("a", "b", "c"):
            assert (await host.work(sh(f"echo {text}"), request_id=1)).output == f"{text}\n"


async def test_id_0_is_served_in_order_and_alone(worker: Worker, protocol: str, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol, "--jobs=3") as host:
        for number in range(3):
            await host.send(WorkRequest(0, sh(f"echo {number} > {ready}; read x < {go}; echo {number}")))
        for number in range(3):
            assert await ready.line() == str(number)
            # others are served meanwhile, so the one that waits waits for its turn and not for a slot
            assert (await host.work(sh("true"))).exit_code == 0
            assert ready.silent()
            go.go()
            assert (await response(host)).output == f"{number}\n"


@pytest.mark.parametrize("waiting", [0, 2])
async def test_a_cancel_of_id_0_means_the_oldest(
    worker: Worker, protocol: str, fifo: MakeFifo, waiting: int
) -> None:
    ready = fifo("ready")
    async with worker(protocol) as host:
        await host.send(WorkRequest(0, sh(f"echo > {ready}; sleep 1000")))
        await ready.line()
        for number in range(waiting):
            await host.send(WorkRequest(0, sh(f"echo {number}")))
        await host.cancel(0)
        assert await response(host) == cancelled(0)
        assert [(await response(host)).output for _ in range(waiting)] == [f"{n}\n" for n in range(waiting)]


async def test_I12_a_host_that_does_not_read_still_has_its_cancels_carried_out(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids, done = fifo("pids"), fifo("done")
    async with worker(protocol, "--jobs=3") as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; exec sleep 1000")))
        pid = await pids.pid()
        host.pause_reading()
        # More than the pipe and the host's one read take; each says by itself when it is over.
        for number in range(2, 8):
            await host.send(WorkRequest(number, sh(f"head -c 200000 /dev/zero | tr '\\0' x; echo > {done}")))
        for _ in range(6):
            await done.line()
        await host.cancel(1)
        await gone(pid)
        await host.send(WorkRequest(8, sh(f"echo ran > {done}")))
        assert await done.line() == "ran"
        host.resume_reading()
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(8)]}
        assert answers[1] == cancelled(1)
        assert {len(answers[number].output) for number in range(2, 8)} == {200001}
