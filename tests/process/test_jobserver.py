"""One jobserver for all compilers, ours or the one that we were started under; its tokens come back."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from headstart_wrapper.jobserver import Jobserver
from process.support import PATIENCE, Fifo, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

COUNT = """
import fcntl, os, re, struct, termios
path = re.search(r"--jobserver-auth=fifo:(\\S+)", os.environ["CARGO_MAKEFLAGS"])[1]
assert os.environ["CARGO_MAKEFLAGS"] == os.environ["MAKEFLAGS"]
fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)
print(struct.unpack("i", fcntl.ioctl(fifo, termios.FIONREAD, bytes(4)))[0])
"""
TOKENS = ("--", "/usr/bin/python3", "-I", "-S", "-c", COUNT)
STEAL = 'path=${MAKEFLAGS##*fifo:}; exec 3<> "$path"; head -c 2 <&3 > /dev/null; '


async def test_a_child_sees_the_tokens_that_are_left(worker: Worker, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker("proto", "--jobs=5") as host:
        assert (await host.work(TOKENS)).output == "4\n"
        for number in (1, 2):
            await host.send(WorkRequest(number, sh(f"echo > {ready}; read x < {go}")))
            await ready.line()
        assert (await host.work(TOKENS)).output == "2\n"
        go.go(2)
        for _ in range(2):
            await host.next_response()
        assert (await host.work(TOKENS)).output == "4\n"


async def test_tokens_that_a_killed_compiler_held_come_back(worker: Worker, fifo: MakeFifo) -> None:
    ready = fifo("ready")
    async with worker("proto", "--jobs=4") as host:
        await host.send(WorkRequest(1, sh(STEAL + f"echo > {ready}; sleep 1000")))
        await ready.line()
        assert (await host.work(TOKENS)).output == "0\n"
        await host.cancel(1)
        assert (await host.next_response()).was_cancelled
        assert (await host.work(TOKENS)).output == "3\n"


async def test_a_queue_without_tokens_goes_on_when_one_comes_back(worker: Worker, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker("proto", "--jobs=2") as host:
        steal = 'path=${MAKEFLAGS##*fifo:}; exec 3<> "$path"; head -c 1 <&3 > /dev/null; '
        await host.send(
            WorkRequest(1, sh(steal + f"echo > {ready}; read x < {go}; printf + >&3; sleep 1000"))
        )
        await ready.line()
        await host.send(WorkRequest(2, sh("echo second")))
        go.go()
        with trio.fail_after(PATIENCE):
            assert (await host.next_response()).output == "second\n"


@contextlib.contextmanager
def outer(tmp_path: Path, tokens: int, *, pair: bool) -> Iterator[tuple[str, int]]:
    """A jobserver of somebody else: what it says in MAKEFLAGS, and a descriptor of it."""
    if pair:
        reader, writer = os.pipe()
        auth = f"{reader},{writer}"
    else:
        os.mkfifo(tmp_path / "outer")
        reader = os.open(tmp_path / "outer", os.O_RDWR)
        writer = os.dup(reader)
        auth = f"fifo:{tmp_path / 'outer'}"
    os.set_blocking(reader, False)
    os.write(writer, b"x" * tokens)
    try:
        yield f" -j{tokens + 1} --jobserver-auth={auth}", reader
    finally:
        os.close(reader)
        os.close(writer)


def waiting(descriptor: int) -> int:
    with contextlib.suppress(BlockingIOError):
        return len(os.read(descriptor, 100))
    return 0


@pytest.mark.parametrize("pair", [False, True], ids=["fifo", "pair"])
@pytest.mark.parametrize("variable", ["MAKEFLAGS", "CARGO_MAKEFLAGS"])
async def test_an_outer_jobserver_is_honoured(
    *, workspace: Path, tmp_path: Path, pair: bool, variable: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    with outer(tmp_path, 2, pair=pair) as (flags, descriptor):
        # A pair of descriptors has to be inherited, which only a shell between us does.
        numbers = re.search(r"=(\d+),(\d+)", flags)
        inherit = [int(number) for number in numbers.groups()] if numbers else []
        for number in inherit:
            os.set_inheritable(number, True)
        host = FakeHost(
            options=(f"--state-dir={tmp_path / 'state'}", "--jobs=8"),
            cwd=workspace,
            env={**os.environ, variable: flags},
            pass_fds=inherit,
        )
        async with host:
            # The first compiler runs on the token that came with our start, two more on those of the others.
            for number in range(1, 5):
                await host.send(WorkRequest(number, sh(f"echo {number} > {ready}; read x < {go}")))
            started = {await ready.line() for _ in range(3)}
            assert len(started) == 3
            assert waiting(descriptor) == 0
            assert ready.silent()
            go.go()
            started.add(await ready.line())
            assert len(started) == 4
            go.go(3)
            with trio.fail_after(PATIENCE):
                assert {(await host.next_response()).exit_code for _ in range(4)} == {0}
        assert waiting(descriptor) == 2


async def test_the_token_that_came_with_our_start_is_enough(workspace: Path, tmp_path: Path) -> None:
    with outer(tmp_path, 0, pair=False) as (flags, _):
        host = FakeHost(
            options=(f"--state-dir={tmp_path / 'state'}", "--jobs=4"),
            cwd=workspace,
            env={**os.environ, "MAKEFLAGS": flags},
        )
        async with host:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for number in range(10):
                        nursery.start_soon(host.work, sh(f"echo {number}"))


async def test_descriptors_that_make_names_but_does_not_give_are_not_taken_for_others(
    worker: Worker,
) -> None:
    # 3 and up are what the worker's own descriptors would get: the request stream among them.
    for pair in ("3,4", "4,5", "0,1"):
        async with worker(env={**os.environ, "MAKEFLAGS": f" -j9 --jobserver-auth={pair}"}) as host:
            for number in range(3):
                assert (await host.work(sh(f"echo {number}"))).output == f"{number}\n"


def test_a_file_is_no_jobserver(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"++++")
    assert Jobserver.outer({"MAKEFLAGS": f"--jobserver-auth=fifo:{file}"}) is None
    assert Jobserver.outer({"MAKEFLAGS": f"--jobserver-auth=fifo:{tmp_path / 'none'}"}) is None
    assert Jobserver.outer({"MAKEFLAGS": "-j8"}) is None
    assert file.read_bytes() == b"++++"


def test_a_jobservers_tokens(tmp_path: Path) -> None:
    with contextlib.closing(Jobserver.create(tmp_path, 2)) as jobserver:
        assert [jobserver.take() for _ in range(3)] == [True, True, False]
        jobserver.put_back()
        assert [jobserver.take(), jobserver.take()] == [True, False]
        for _ in range(2):
            jobserver.put_back()
        assert os.read(jobserver.descriptor, 10) == b"++"


def test_a_state_directory_with_a_blank_in_its_name_can_be_reached(tmp_path: Path) -> None:
    directory = tmp_path / "a directory"
    directory.mkdir()
    with contextlib.closing(Jobserver.create(directory, 3)) as jobserver:
        outer = Jobserver.outer(jobserver.environment)
        assert outer is not None
        with contextlib.closing(outer):
            assert len(os.read(outer.descriptor, 10)) == 3
