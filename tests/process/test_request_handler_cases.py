"""The cases of Bazel's own request loop for workers (`WorkRequestHandlerTest`), against the real executable.

Their work is a function in the worker's process; ours is a command in a process of its own, so what they do with threads is done
here with processes. Where another test is that case already, it is only named.

| their case | here |
|---|---|
| normalWorkRequest, multiplexWorkRequest | `..._its_id_and_exit_code` |
| multiplexWorkRequest_stopsThreadsOnShutdown | `test_C58_...` |
| multiplexWorkRequest_stopsWorkerOnException | `..._raises_is_answered`: theirs ends the worker, and nobody is answered; ours goes on |
| output | `test_both_streams_come_in_order_and_end_in_a_newline` |
| exception | `test_C24_C25_...` |
| cancelRequest_exactlyOneResponseSent | `test_C42_...`, `test_C43_...` |
| cancelRequest_sendsResponseWhenDone | `..._when_its_job_is_done` |
| cancelRequest_noDoubleCancelResponse | `test_C39_...` |
| cancelRequest_sendsNoResponseWhenAlreadySent | `test_C41_...` |
| withWorkRequestCallback | `..._what_the_request_says` |
| WorkerIO: doesWrapSystemStreams, doesCaptureStandardOutAndErrorStreams | `..._the_workers_own_prints`, `test_I4_stdin_is_empty_...` |
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import Fifo, cancelled, response, sh, waiting_for_term

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


@pytest.mark.parametrize(("request_id", "exit_code"), [(0, 1), (42, 0)])
async def test_C13_C14_a_request_gets_its_id_and_exit_code(
    worker: Worker, protocol: str, request_id: int, exit_code: int
) -> None:
    async with worker(protocol) as host:
        await host.send(WorkRequest(request_id, sh(f"exit {exit_code}")))
        assert await response(host) == WorkResponse(request_id, exit_code, "")
        await host.finish()
        assert len(host.responses) == 1


async def test_C24_I1_a_request_that_raises_is_answered_and_another_one_goes_on(
    buggy: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    bug = "raise RuntimeError('Intentional death!')"
    async with buggy(protocol) as host:
        await host.send(WorkRequest(42, sh(f"echo > {ready}; read x < {go}; echo alive")))
        await ready.line()
        await host.send(WorkRequest(43, ("bug", bug, "--", "true")))
        died = await response(host)
        assert (died.request_id, died.exit_code, died.was_cancelled) == (43, 125, False)
        assert died.output.endswith("RuntimeError: Intentional death!\n")
        go.go()
        assert await response(host) == WorkResponse(42, 0, "alive\n")
        await host.finish()
        assert len(host.responses) == 2


async def test_C38_I2_a_cancel_is_answered_when_its_job_is_done(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    """A job that takes its time to end, and calls that a success: no answer before, and one after it."""
    ready, go = fifo("ready"), fifo("go")
    says, told, waits = (
        f"open('{ready}', 'w').write('\\n')",
        f"open('{ready}', 'w').write('told\\n')",
        f"open('{go}').readline()",
    )
    job = waiting_for_term(says, f"{told}; {waits}; print('done')")
    async with worker(protocol) as host:
        await host.send(WorkRequest(42, ("--kill-delay=900", "--", *job)))
        await ready.line()
        await host.cancel(42)
        assert await ready.line() == "told"
        assert (await host.work(sh("true"), request_id=1)).exit_code == 0
        assert [answer.request_id for answer in host.responses] == [1]
        go.go()
        assert await response(host) == cancelled(42)
        await host.finish()
        assert len(host.responses) == 2


async def test_C70_a_job_gets_what_the_request_says(worker: Worker, protocol: str) -> None:
    """The command's words; digests say nothing that a job could see."""
    words = ("--", "/bin/sh", "-c", "exit $#", "sh", "--sources", "B.java")
    async with worker(protocol) as host:
        assert await host.work(words, [Input("B.java", b"\xff")], request_id=0) == WorkResponse(0, 2, "")


async def test_C33_C34_I4_the_workers_own_prints_and_reads_stay_off_the_protocol(
    buggy: Worker, protocol: str
) -> None:
    """Whatever a library of ours does with descriptors 0 and 1, in Python or in C."""
    odd = (
        "import ctypes, os, sys; print('printed', flush=True); os.write(1, b'written\\n'); "
        "c = ctypes.CDLL(None); c.puts(b'put'); c.fflush(None); "
        "assert sys.stdin.read() == '' and os.read(0, 1) == b''"
    )
    async with buggy(protocol) as host:
        first = host.encode(WorkRequest(1, ("bug", odd, *sh("echo odd"))))
        await host.send_bytes(first + host.encode(WorkRequest(2, sh("echo even"))))
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(2)]}
        assert answers == {1: WorkResponse(1, 0, "odd\n"), 2: WorkResponse(2, 0, "even\n")}
        ended = await host.finish()
        assert ended.exit_code == 0
        assert {"printed", "written", "put"} <= set(ended.stderr.splitlines())
