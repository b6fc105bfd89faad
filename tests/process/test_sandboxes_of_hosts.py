"""The sandboxes that `headstart_worker.testing` gives to those who test: what a host does, and that it notices what it should."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import Input
from headstart_worker.testing import FakeHost, Garbage, Sandboxes, WorkerEndedError
from headstart_worker.testing.sandboxes import Kind
from process.support import PATIENCE, Fifo, entries, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

INPUTS = (Input("in/a", b"1"), Input("in/b", b"2"))
ROUNDS = 40
"""So that everything that chance may put into a sandbox comes up."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The execution root."""
    directory = tmp_path / "execroot" / "ws"
    (directory / "in").mkdir(parents=True)
    (directory / "in/a").write_text("right\n")
    (directory / "in/b").write_text("beside\n")
    return directory


KINDS = {"symlink": "symbolic link 1", "hardlink": "regular file 2", "copy": "regular file 1"}
"""What an input of each kind is, and how many links its inode has."""


@pytest.mark.parametrize("kind", KINDS)
async def test_outputs_are_moved_and_inputs_survive_whatever_comes_into_the_sandbox(
    worker: Worker, workspace: Path, root: Path, kind: Kind
) -> None:
    garbage = Garbage()
    sandboxes = Sandboxes(workspace, root, slots=1, kind=kind, garbage=garbage)
    script = sh("cat in/a params > out/file; cp in/b .; ls; stat -c '%F %h' in/a", "--output=out/file")
    async with worker() as host:
        for number in range(ROUNDS):
            answer = await sandboxes.work(
                host, script, INPUTS, outputs=("out/file",), texts={"params": f"{number}\n"}
            )
            # Nothing of the sandbox's last request, and nothing of the garbage, is there.
            assert (answer.exit_code, answer.output) == (0, f"b\nin\nout\nparams\n{KINDS[kind]}\n")
            assert (root / "out/file").read_text() == f"right\n{number}\n"
    assert entries(root) == ["in", "out"]
    assert {name: (root / "in" / name).read_text() for name in entries(root / "in")} == {
        "a": "right\n",
        "b": "beside\n",
    }
    assert sandboxes.touched() == []
    assert garbage.written
    assert garbage.removed
    assert garbage.written + garbage.removed == ROUNDS


async def test_the_sandbox_is_anothers_before_anybody_hears_of_the_response(
    worker: Worker, workspace: Path, root: Path
) -> None:
    sandboxes = Sandboxes(workspace, root, slots=1, garbage=Garbage())
    async with worker() as host:
        seen: list[str] = []

        async def watch() -> None:
            """Runs in the first moment in which anything but the host can run."""
            while not host.responses:
                await trio.lowlevel.checkpoint()
            place = workspace / "__sandbox/1/ws/in/a"
            seen.append(place.read_text() if place.is_file() else "")

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                nursery.start_soon(partial(sandboxes.work, host, sh("true"), INPUTS))
    assert seen
    assert "right\n" not in seen


async def test_a_slot_serves_one_request_at_a_time(
    worker: Worker, workspace: Path, root: Path, fifo: MakeFifo
) -> None:
    sandboxes = Sandboxes(workspace, root, slots=2)
    began, go = fifo("began"), fifo("go")
    script = sh(f'mkdir mine; echo "$(pwd)" > {began}; read x < {go}')
    async with worker("proto", "--jobs=8") as host, trio.open_nursery() as nursery:
        answers: list[int] = []

        async def one() -> None:
            answers.append((await sandboxes.work(host, script, INPUTS)).exit_code)

        for _ in range(6):
            nursery.start_soon(one)
        for _ in range(3):
            assert {await began.line(), await began.line()} == {
                str(workspace / slot) for slot in sandboxes.slots
            }
            assert began.silent()
            go.go(2)
    assert answers == [0] * 6
    assert sum(sandboxes.served.values()) == 6


async def test_I8_whoever_changes_a_sandbox_after_its_response_is_told_of(
    worker: Worker, workspace: Path, root: Path
) -> None:
    """The negative control of every test that asks `touched`."""
    sandboxes = Sandboxes(workspace, root, slots=1, garbage=Garbage())
    slot = workspace / "__sandbox/1/ws"
    texts = {f"text-{number}": "" for number in range(20)}  # so many that garbage is put over some

    async def request(host: FakeHost) -> None:
        assert (await sandboxes.work(host, sh("true"), INPUTS, texts=texts)).exit_code == 0

    async with worker() as host:
        await request(host)
        (slot / "late").write_text("late")
        await request(host)
        assert sandboxes.touched() == ["__sandbox/1/ws/late"]
        files = [path for path in slot.rglob("*") if path.is_file()]
        files[0].write_text("late")
        (root / "linked").hardlink_to(files[1])
        changed = sorted(str(path.relative_to(workspace)) for path in files[:2])
    assert sandboxes.touched() == sorted(["__sandbox/1/ws/late", *changed])


async def test_a_slot_is_held_until_the_response_though_nobody_waits_for_it(
    worker: Worker, workspace: Path, root: Path, fifo: MakeFifo
) -> None:
    sandboxes = Sandboxes(workspace, root, slots=1)
    began, go = fifo("began"), fifo("go")
    async with worker() as host, trio.open_nursery() as nursery:
        with trio.CancelScope() as forgotten:

            async def forget() -> None:
                await began.line()
                forgotten.cancel()

            nursery.start_soon(forget)
            await sandboxes.work(
                host, sh(f"echo > {began}; read x < {go}; cp in/a out"), INPUTS, outputs=("out",)
            )
        assert forgotten.cancelled_caught
        assert sandboxes._free == []
        go.go()
        with trio.fail_after(PATIENCE):
            assert (await sandboxes.work(host, sh("ls"), INPUTS)).output == "in\n"
    assert (root / "out").read_text() == "right\n"


async def test_without_garbage_a_sandbox_keeps_all_but_its_outputs(
    worker: Worker, workspace: Path, root: Path
) -> None:
    sandboxes = Sandboxes(workspace, root, slots=1)
    async with worker() as host:
        script = sh("touch moved left")
        assert (await sandboxes.work(host, script, INPUTS, outputs=("moved", "none"))).exit_code == 0
        assert entries(workspace / "__sandbox/1/ws") == ["in", "left"]
        assert entries(root) == ["in", "moved"]
        assert (await sandboxes.work(host, sh("ls"), INPUTS)).output == "in\n"


async def test_whoever_waits_for_a_slot_hears_of_the_workers_end(
    worker: Worker, workspace: Path, root: Path
) -> None:
    sandboxes = Sandboxes(workspace, root, slots=1)
    async with worker() as host:
        for _ in range(3):
            with pytest.raises((WorkerEndedError, trio.BrokenResourceError)), trio.fail_after(PATIENCE):
                await sandboxes.work(host, sh(f"kill -KILL {host.pid}; sleep 60"), INPUTS)


async def test_an_input_that_is_not_there_is_the_callers_fault(
    worker: Worker, workspace: Path, root: Path
) -> None:
    sandboxes = Sandboxes(workspace, root, slots=1)
    async with worker() as host:
        with pytest.raises(FileNotFoundError, match="in/none"):
            await sandboxes.work(host, sh("true"), [*INPUTS, Input("in/none", b"3")])
        with trio.fail_after(PATIENCE):
            assert (await sandboxes.work(host, sh("true"), INPUTS)).exit_code == 0
