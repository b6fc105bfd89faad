"""Early and full halves of one job: when each is answered, by which process, and how often the compiler runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from attrs import frozen

from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, entries, response, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

COMPILER = """
echo run >> {runs}
echo $$ > {pids}
echo early text
printf interface > out/early.tmp && mv out/early.tmp out/early
read x < {go}
echo late text
printf code > out/full
{end}
"""


@frozen
class Compiler:
    """A scripted compiler: it makes its early output, says its process id, and waits for the test before it goes on."""

    runs: Path
    pids: Fifo
    go: Fifo
    workspace: Path
    end: str = "exit 0"
    script: str = COMPILER

    def request(
        self, phase: str, *, digest: bytes = b"1", end: str | None = None, first: bool = False
    ) -> WorkRequest:
        """One half of the job; ids are 1 (early) and 2 (full).

        A full request lists the early output among its inputs, as a build tool's does that had it made before, unless it
        is to be the `first` of the two.
        """
        outputs = ("--output=out/full",) if phase == "full" else ()
        script = self.script.format(runs=self.runs, pids=self.pids, go=self.go, end=end or self.end)
        inputs = [Input("source", digest)]
        if phase == "full":
            inputs += [Input("out/full-2.params", b"full")]
            inputs += [] if first else [Input("out/early", b"whatever")]
        else:
            inputs += [Input("out/early-2.params", b"early")]
        return WorkRequest(
            {"early": 1, "full": 2}[phase],
            sh(script, f"--phase={phase}", "--early-output=out/early", *outputs),
            tuple(inputs),
        )

    @property
    def count(self) -> int:
        """How often it ran."""
        return self.runs.read_text().count("run") if self.runs.exists() else 0

    def made(self) -> dict[str, str]:
        """The outputs that are there."""
        out = self.workspace / "out"
        return {name: (out / name).read_text() for name in entries(out)}


@pytest.fixture
def compiler(tmp_path: Path, workspace: Path, fifo: MakeFifo) -> Compiler:
    return Compiler(tmp_path / "runs", fifo("pids"), fifo("go"), workspace)


async def barrier(host: FakeHost) -> None:
    """Returns when every request that was sent before has its place: in a queue, or with a running job.

    Requests take their places in order, and this one is answered without a slot when it was made before.
    """
    arguments = sh("echo x > barrier", "--phase=early", "--early-output=barrier")
    with trio.fail_after(PATIENCE):
        assert (await host.work(arguments)).exit_code == 0


async def test_early_is_answered_while_the_compiler_runs_and_full_joins_it(
    worker: Worker, protocol: str, compiler: Compiler
) -> None:
    async with worker(protocol) as host:
        await host.send(compiler.request("early"))
        assert await response(host) == WorkResponse(1, 0, "early text\n")
        pid = await compiler.pids.pid()
        assert is_alive(pid)
        assert compiler.made() == {"early": "interface"}
        await host.send(compiler.request("full"))
        assert (await host.work(sh("echo other"))).output == "other\n"
        assert is_alive(pid)
        compiler.go.go()
        assert await response(host) == WorkResponse(2, 0, "late text\n")
        assert compiler.made() == {"early": "interface", "full": "code"}
        assert compiler.count == 1


async def test_full_joins_a_job_that_has_ended(worker: Worker, compiler: Compiler) -> None:
    async with worker() as host:
        compiler.go.go()
        early, full = compiler.request("early"), compiler.request("full")
        first = await host.work(early.arguments, early.inputs)
        second = await host.work(full.arguments, full.inputs)
        assert (first.exit_code, second.exit_code) == (0, 0)
        # where the cut falls is a matter of time; nothing is lost and nothing told twice
        assert first.output + second.output == "early text\nlate text\n"
        assert compiler.count == 1


async def test_full_first_leaves_the_early_half_for_its_request(worker: Worker, compiler: Compiler) -> None:
    async with worker() as host:
        await host.send(compiler.request("full", first=True))
        pid = await compiler.pids.pid()
        await host.send(compiler.request("early"))
        assert await response(host) == WorkResponse(1, 0, "early text\n")
        assert is_alive(pid)
        compiler.go.go()
        assert await response(host) == WorkResponse(2, 0, "late text\n")
        assert compiler.count == 1


async def test_a_repeated_early_is_answered_from_the_same_process(worker: Worker, compiler: Compiler) -> None:
    async with worker() as host:
        for _ in range(3):
            await host.send(compiler.request("early"))
            assert await response(host) == WorkResponse(1, 0, "early text\n")
        await host.send(compiler.request("full"))
        compiler.go.go()
        assert (await response(host)).exit_code == 0
        assert compiler.count == 1


async def test_two_early_requests_at_once_share_one_process(worker: Worker, compiler: Compiler) -> None:
    early = compiler.request("early")
    async with worker("proto", "--jobs=2") as host, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(host.work, early.arguments, early.inputs)
        await compiler.pids.line()
        compiler.go.go()
        full = compiler.request("full")
        assert (await host.work(full.arguments, full.inputs)).exit_code == 0
    assert compiler.count == 1


BEFORE = "echo run >> {runs}; echo broken; {end}; echo {pids} {go}"


@pytest.mark.parametrize("order", [("early", "full"), ("full", "early")])
@pytest.mark.parametrize(
    ("end", "exit_code", "text"),
    [("exit 4", 4, "broken\n"), ("kill -KILL $$", 137, "broken\nprocess-wrapper: sh was killed by signal 9")],
)
async def test_a_failure_before_early_is_told_to_both_and_compiled_once(
    *, worker: Worker, compiler: Compiler, order: tuple[str, str], end: str, exit_code: int, text: str
) -> None:
    failing = Compiler(compiler.runs, compiler.pids, compiler.go, compiler.workspace, end=end, script=BEFORE)
    async with worker() as host:
        for phase in order:
            await host.send(failing.request(phase, first=order[0] == "full"))
            answer = await response(host)
            assert answer.exit_code == exit_code
            assert answer.output.startswith(text)
        assert failing.count == 1
        # the same half asked again is a new try
        await host.send(failing.request("early"))
        assert (await response(host)).exit_code == exit_code
        assert failing.count == 2


async def test_a_failure_after_early_is_the_full_requests(worker: Worker, compiler: Compiler) -> None:
    async with worker() as host:
        await host.send(compiler.request("early", end="exit 6"))
        assert (await response(host)).exit_code == 0
        await host.send(compiler.request("full", end="exit 6"))
        compiler.go.go()
        answer = await response(host)
        assert (answer.exit_code, answer.output) == (6, "early text\nlate text\n")
        assert compiler.count == 1


async def test_I7_a_changed_input_is_not_joined(worker: Worker, compiler: Compiler) -> None:
    async with worker("proto", "--jobs=2") as host:
        await host.send(compiler.request("early", digest=b"1"))
        assert (await response(host)).exit_code == 0
        old = await compiler.pids.pid()
        await host.send(compiler.request("full", digest=b"2"))
        new = await compiler.pids.pid()
        assert new != old
        assert not is_alive(old)
        compiler.go.go()
        assert (await response(host)).exit_code == 0
        assert compiler.count == 2


@pytest.mark.parametrize("what", ["digest", "command", "environment"])
async def test_I7_a_newer_early_supersedes_the_older_job(
    worker: Worker, compiler: Compiler, what: str
) -> None:
    async with worker("proto", "--jobs=2") as host:
        await host.send(compiler.request("early"))
        assert (await response(host)).exit_code == 0
        old = await compiler.pids.pid()
        await host.send(compiler.request("full"))
        changed = {
            "digest": compiler.request("early", digest=b"2"),
            "command": compiler.request("early", end="exit  0"),
            "environment": compiler.request("early"),
        }[what]
        more = ("--env=NEW=1",) if what == "environment" else ()
        await host.send(WorkRequest(3, (*more, *changed.arguments), changed.inputs))
        answers = {answer.request_id: answer for answer in [await response(host), await response(host)]}
        assert answers[3] == WorkResponse(3, 0, "early text\n")
        assert answers[2].exit_code == 125
        assert "superseded" in answers[2].output
        assert not is_alive(old)
        assert is_alive(await compiler.pids.pid())
        assert compiler.count == 2


async def test_I7_without_digests_the_content_of_inputs_counts(worker: Worker, compiler: Compiler) -> None:
    source = compiler.workspace / "source"
    async with worker("proto", "--jobs=2") as host:
        await trio.to_thread.run_sync(source.write_text, "one")
        await host.send(compiler.request("early", digest=b""))
        assert (await response(host)).exit_code == 0
        await trio.to_thread.run_sync(source.write_text, "two")
        await host.send(compiler.request("full", digest=b""))
        await compiler.pids.line()
        await compiler.pids.line()
        compiler.go.go()
        assert (await response(host)).exit_code == 0
        assert compiler.count == 2


async def test_a_full_request_with_nothing_to_join_runs_the_job(worker: Worker, compiler: Compiler) -> None:
    async with worker() as host:
        await host.send(compiler.request("full"))
        compiler.go.go()
        answer = await response(host)
        assert answer.exit_code == 0
        assert compiler.made() == {"early": "interface", "full": "code"}


async def test_an_early_half_that_is_never_followed_costs_nothing_but_its_slot(
    worker: Worker, compiler: Compiler
) -> None:
    async with worker("proto", "--jobs=1") as host:
        await host.send(compiler.request("early"))
        assert (await response(host)).exit_code == 0
        await host.send(WorkRequest(3, sh("echo waits for the slot")))
        compiler.go.go()
        assert (await response(host)).output == "waits for the slot\n"
        assert compiler.made() == {"early": "interface", "full": "code"}


async def test_an_early_output_that_changes_after_its_answer_fails_with_70(
    worker: Worker, compiler: Compiler
) -> None:
    end = "printf changed > out/early"
    async with worker() as host:
        await host.send(compiler.request("early", end=end))
        assert (await response(host)).exit_code == 0
        await host.send(compiler.request("full", end=end))
        compiler.go.go()
        answer = await response(host)
        assert answer.exit_code == 70
        assert "process-wrapper: out/early changed after it was published" in answer.output


async def test_a_full_request_that_makes_another_interface_than_dependents_used_fails_with_70(
    worker: Worker, compiler: Compiler
) -> None:
    out = compiler.workspace / "out"
    await trio.to_thread.run_sync(out.mkdir)
    await trio.to_thread.run_sync((out / "early").write_text, "of another process")
    async with worker() as host:
        compiler.go.go()
        await host.send(compiler.request("full"))
        answer = await response(host)
        assert answer.exit_code == 70
        assert "dependents were built with" in answer.output


async def test_a_command_that_does_not_write_its_early_output_is_told_so(worker: Worker) -> None:
    async with worker() as host:
        answer = await host.work(sh("true", "--phase=early", "--early-output=out/early"))
        assert answer.exit_code == 125
        assert "out/early" in answer.output


async def test_an_early_output_that_vanishes_ends_the_job(worker: Worker, fifo: MakeFifo) -> None:
    # A compiler that breaks what we assume of it must get an answer, and be gone.
    pids = fifo("pids")
    script = f"echo $$ > {pids}; echo x > out/a; rm out/a; echo x > out/b; exec sleep 1000"
    async with worker() as host:
        early = ("--phase=early", "--early-output=out/a", "--early-output=out/b")
        with trio.fail_after(PATIENCE):
            answer = await host.work(sh(script, *early))
        assert answer.exit_code == 125
        assert "out/a" in answer.output
        assert not is_alive(await pids.pid())


async def test_I2_a_cancelled_full_request_leaves_the_early_output_that_was_answered(
    worker: Worker, compiler: Compiler
) -> None:
    async with worker() as host:
        await host.send(compiler.request("early"))
        assert (await response(host)).exit_code == 0
        pid = await compiler.pids.pid()
        await host.send(compiler.request("full"))
        await barrier(host)
        await host.cancel(2)
        assert await response(host) == WorkResponse(2, was_cancelled=True)
        assert not is_alive(pid)
        assert compiler.made() == {"early": "interface"}


async def test_a_cancelled_early_request_lets_a_waiting_full_one_go_on(
    worker: Worker, compiler: Compiler
) -> None:
    slow = Compiler(
        compiler.runs,
        compiler.pids,
        compiler.go,
        compiler.workspace,
        script="echo run >> {runs}; echo $$ > {pids}; read x < {go}; echo i > out/early; echo c > out/full; {end}",
    )
    async with worker() as host:
        await barrier(host)
        await host.send(slow.request("early"))
        await slow.pids.line()
        await host.send(slow.request("full"))
        await barrier(host)
        await host.cancel(1)
        assert await response(host) == WorkResponse(1, was_cancelled=True)
        slow.go.go()
        assert await response(host) == WorkResponse(2)
        assert slow.count == 1


async def test_id_0_is_answered_early_only_at_the_end(worker: Worker, compiler: Compiler) -> None:
    early = compiler.request("early")
    async with worker() as host:
        await host.send(WorkRequest(0, early.arguments, early.inputs))
        pid = await compiler.pids.pid()
        compiler.go.go()
        first = await response(host)
        assert not is_alive(pid)
        full = compiler.request("full")
        await host.send(WorkRequest(0, full.arguments, full.inputs))
        second = await response(host)
        assert (first.request_id, first.exit_code, second.request_id, second.exit_code) == (0, 0, 0, 0)
        assert first.output + second.output == "early text\nlate text\n"
        assert compiler.count == 1


async def test_early_requests_go_before_others_in_the_queue(worker: Worker, fifo: MakeFifo) -> None:
    order, go = fifo("order"), fifo("go")
    async with worker("proto", "--jobs=1") as host:
        await barrier(host)
        await host.send(WorkRequest(1, sh(f"echo first > {order}; read x < {go}")))
        assert await order.line() == "first"
        await host.send(WorkRequest(2, sh(f"echo plain > {order}")))
        early = sh(f"echo early > {order}; echo x > e", "--phase=early", "--early-output=e")
        await host.send(WorkRequest(3, early))
        await barrier(host)
        go.go()
        assert [await order.line(), await order.line()] == ["early", "plain"]


async def test_stop_after_early_kills_the_compiler_and_succeeds(worker: Worker, compiler: Compiler) -> None:
    early = compiler.request("early")
    async with worker() as host:
        await host.send(WorkRequest(1, ("--stop-after-early", *early.arguments), early.inputs))
        assert await response(host) == WorkResponse(1, 0, "early text\n")
        assert not is_alive(await compiler.pids.pid())
        assert compiler.made() == {"early": "interface"}
