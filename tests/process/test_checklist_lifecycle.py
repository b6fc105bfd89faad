"""The conformance checklist, points 56 to 63: one job, many jobs, and how a worker ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_worker.testing import Ended, FakeHost
from process.ends import (
    STUBBORN,
    End,
    close_stdin,
    ends_with_its_jobs,
    sigint,
    sigkill,
    sigterm,
    unwritable_answer,
)
from process.support import PATIENCE, Fifo, cancelled, children, gone, response, sh
from survivors import GONE_SECONDS, await_exit, is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

WRAPPER = (sys.executable, "-m", "headstart_worker")


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        pytest.param(
            ("/bin/sh", "-c", "echo $V; echo a > out/a; echo b >&2; cat in > out/b"), 0, id="success"
        ),
        pytest.param(
            ("/bin/sh", "-c", "echo a > out/a; printf 'error: é' >&2; echo; exit 3"), 3, id="failure"
        ),
        pytest.param(("no-such-compiler-at-all",), 127, id="no compiler"),
        pytest.param(("--no-such-option",), 125, id="wrong request"),
    ],
)
async def test_C56_I6_one_job_gives_the_bytes_that_the_worker_gives(
    *, worker: Worker, workspace: Path, protocol: str, command: tuple[str, ...], exit_code: int
) -> None:
    (workspace / "in").write_text("in\n")
    options = ["--env=V=from params", "--output=out/a", "--output=out/b"]
    separator = [] if command[0].startswith("--") else ["--"]
    (workspace / "params").write_text("\n".join([*options, *separator, *command]) + "\n")

    def made() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((workspace / "out").glob("*"))}

    one_shot = await trio.run_process(
        [*WRAPPER, "@params"], cwd=workspace, check=False, capture_stdout=True, stderr=subprocess.STDOUT
    )
    files = made()
    async with worker(protocol) as host:
        answer = await host.work(("@params",))
    assert (answer.exit_code, answer.output) == (one_shot.returncode, one_shot.stdout.decode())
    assert answer.exit_code == exit_code
    assert made() == files
    assert bool(files) is (exit_code in {0, 3})


@pytest.mark.parametrize("spelled", ["--persistent_worker", "--persistent-worker"])
@pytest.mark.parametrize("place", [0, 1, 3])
async def test_C57_the_flag_may_stand_anywhere_and_others_that_we_do_not_know_may_follow_it(
    *, worker: Worker, protocol: str, spelled: str, place: int
) -> None:
    own = ["--jobs=2", "--kill-delay", "1"]
    own.insert(place, spelled)
    # The host appends its own flag, which is dropped here, and what its user adds for every worker.
    program = shlex.join([*WRAPPER, *own])
    script = f'shift; exec {program} "$@" --no-such-flag=1 --other'
    command = ("/bin/sh", "-c", script, "sh")
    async with worker(protocol, command=command) as host:
        assert (await host.work(sh("echo on"))).output == "on\n"
        ended = await host.finish()
    assert ended.exit_code == 0
    assert [("--no-such-flag" in line, "--other" in line) for line in ended.stderr.splitlines()] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("options", [("--",), (), ("--stay", "--"), ("--stay",)])
def test_C57_a_word_of_the_command_is_not_the_flag(options: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*WRAPPER, *options, "echo", "--persistent_worker"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == b"--persistent_worker\n"


async def as_bazel_does(host: FakeHost) -> None:
    host.kill(signal.SIGTERM)
    await host.close_stdin()
    await host.close_stdout()


async def sigterm_until_the_end(host: FakeHost) -> None:
    while host.process.poll() is None:
        host.kill(signal.SIGTERM)
        await trio.sleep(0.0005)


async def test_C58_I3_the_end_of_input_ends_every_job_within_a_second(
    worker: Worker, protocol: str, state: Path, fifo: MakeFifo
) -> None:
    async with worker(protocol, "--jobs=3") as host:
        ended = await ends_with_its_jobs(host, close_stdin, state=state, pids=fifo("pids"))
        assert ended == Ended(0, "")


@pytest.mark.parametrize("end", [sigterm, as_bazel_does])
async def test_C59_I3_a_SIGTERM_does_the_same_though_nobody_reads_any_more(
    *, worker: Worker, protocol: str, state: Path, fifo: MakeFifo, end: End
) -> None:
    async with worker(protocol, "--jobs=3") as host:
        ended = await ends_with_its_jobs(host, end, state=state, pids=fifo("pids"))
        assert ended == Ended(0, "")


async def test_C60_I3_a_SIGINT_does_the_same(
    worker: Worker, protocol: str, state: Path, fifo: MakeFifo
) -> None:
    async with worker(protocol, "--jobs=3") as host:
        ended = await ends_with_its_jobs(host, sigint, state=state, pids=fifo("pids"))
        assert ended == Ended(0, "")


async def test_C60_a_SIGHUP_is_ignored(worker: Worker, protocol: str, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol) as host:
        await host.send(WorkRequest(1, sh(f"echo > {ready}; read x < {go}; echo whole")))
        await ready.line()
        host.kill(signal.SIGHUP)
        assert (await host.work(sh("echo still"))).output == "still\n"
        go.go()
        assert await response(host) == WorkResponse(1, 0, "whole\n")


async def test_C61_I3_an_answer_that_cannot_be_written_ends_the_worker_with_one_sentence(
    worker: Worker, protocol: str, state: Path, fifo: MakeFifo
) -> None:
    async with worker(protocol, "--jobs=3") as host:
        ended = await ends_with_its_jobs(host, unwritable_answer, state=state, pids=fifo("pids"))
        assert ended.exit_code == 125
        (line,) = ended.stderr.splitlines()
        assert line.startswith("process-wrapper: the host does not read")


async def test_C62_I3_more_SIGTERMs_change_nothing(
    worker: Worker, protocol: str, state: Path, fifo: MakeFifo
) -> None:
    async with worker(protocol, "--jobs=3") as host:
        ended = await ends_with_its_jobs(host, sigterm_until_the_end, state=state, pids=fifo("pids"))
        assert ended == Ended(0, "")


SESSION = "setsid sh -c 'echo $$ > {pids}; exec sleep 1000'"
"""A process that leaves its job's group."""

DAEMON = (
    '(setsid env -i /bin/bash -c \'for fd in /proc/$$/fd/*; do eval "exec ${{fd##*/}}>&-"; done; '
    "echo $$ > {pids}; exec sleep 1000' &)"
)
"""One that leaves everything: group, session, parent, environment and descriptors."""


@pytest.mark.parametrize("end", [close_stdin, sigterm, sigkill])
async def test_C63_I3_what_left_its_group_does_not_outlive_the_worker(
    *, worker: Worker, protocol: str, fifo: MakeFifo, end: End
) -> None:
    pids, go = fifo("pids"), fifo("go")
    escapees = f"{DAEMON.format(pids=pids)}; {SESSION.format(pids=pids)} &"
    async with worker(protocol, "--jobs=2") as host:
        # of a job that runs, and of one that ended
        await host.send(WorkRequest(1, sh(f"{escapees} wait")))
        await host.send(WorkRequest(2, sh(f"{escapees} read x < {go}")))
        found = [await pids.pid() for _ in range(4)]
        go.go()
        assert (await response(host)).request_id == 2
        await end(host)
        with trio.fail_after(PATIENCE):
            await host.process.wait()
        assert await_exit(found, GONE_SECONDS)


@pytest.mark.parametrize("end", [close_stdin, sigterm, sigkill])
async def test_C63_the_hosts_own_group_is_not_signalled(
    worker: Worker, protocol: str, fifo: MakeFifo, end: End
) -> None:
    # A group of their own for the worker and one that stands for the host: should this fail, the test itself goes on.
    pids = fifo("pids")
    script = f'sleep 1000 & echo $! > {pids}; exec "$@"'
    command = ("setsid", "/bin/sh", "-c", script, "sh", *WRAPPER)
    async with worker(protocol, "--jobs=3", command=command) as host:
        bystander = await pids.pid()
        assert os.getpgid(bystander) == os.getpgid(host.pid) != os.getpgrp()
        for number in (1, 2):
            await host.send(WorkRequest(number, sh(STUBBORN.format(pids=pids), "--kill-delay=0.1")))
            await pids.pid()
        await host.cancel(1)
        assert await response(host) == cancelled(1)
        (helper,) = set(children(host.pid)) - {bystander}
        assert os.getpgid(helper) == helper
        await end(host)
        await host.process.wait()
        assert is_alive(bystander)
        os.kill(bystander, signal.SIGKILL)
        await gone(bystander)
