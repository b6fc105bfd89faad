"""The conformance checklist, points 64 to 70: the environment, what is said on stderr, what grows, and digests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart_worker.messages import Input, WorkRequest
from headstart_worker.testing import Ended, FakeHost
from process.support import Fifo, entries, response, sh

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

ENV = ("--", "/usr/bin/env")
OF_EACH_JOB = "HEADSTART_JOB="
"""The one variable that differs between jobs: it names them."""


async def test_C64_a_worker_needs_no_environment(workspace: Path, state: Path, protocol: str) -> None:
    async with FakeHost(protocol, (f"--state-dir={state}",), cwd=workspace, env={}) as host:
        # found where commands are when nobody says where
        answer = await host.work(("--output=é", "--", "sh", "-c", "echo ü > é; cat é; cat < no-such"))
        assert answer.exit_code != 0
        assert answer.output.startswith("ü\n")
        assert "no-such" in answer.output
        given = [line.partition("=")[0] for line in (await host.work(ENV)).output.splitlines()]
        assert sorted(given) == ["CARGO_MAKEFLAGS", "HEADSTART_JOB", "MAKEFLAGS"]
        assert await host.finish() == Ended(0, "")


async def test_C64_a_worker_without_an_environment_finds_a_place_for_its_state(
    workspace: Path, protocol: str
) -> None:
    async with FakeHost(protocol, cwd=workspace, env={}) as host:
        assert (await host.work(sh("echo on"))).output == "on\n"
        assert await host.finish() == Ended(0, "")
    assert entries(workspace) == []


def test_C64_one_job_needs_no_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headstart_worker", "--", "env"]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, check=True, timeout=60)
    assert done.stdout == b""


def without_job(output: str) -> list[str]:
    """What `env` printed, but for the job's name."""
    return sorted(line for line in output.splitlines() if not line.startswith(OF_EACH_JOB))


async def test_C65_a_requests_variables_are_its_own(worker: Worker, protocol: str, fifo: MakeFifo) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol, "--jobs=3") as host:
        before = without_job((await host.work(ENV)).output)

        def own(value: str) -> tuple[str, ...]:
            script = f"echo > {ready}; read x < {go}; exec /usr/bin/env"
            return sh(script, f"--env=OWN={value}", f"--env=HOME=/home/{value}")

        for number, value in ((1, "first"), (2, "second")):
            await host.send(WorkRequest(number, own(value)))
        for _ in range(2):
            await ready.line()
        assert without_job((await host.work(ENV)).output) == before
        go.go(2)
        seen = {answer.request_id: answer.output for answer in [await response(host) for _ in range(2)]}
        for number, mine, others in ((1, "first", "second"), (2, "second", "first")):
            assert {f"OWN={mine}", f"HOME=/home/{mine}"} <= set(seen[number].splitlines())
            assert others not in seen[number]
        assert without_job((await host.work(ENV)).output) == before


DIGESTS = [
    pytest.param(b"", id="empty"),
    pytest.param(b"e3b0c44298fc1c14", id="hex"),
    pytest.param(b"not hex at all", id="text"),
    pytest.param(bytes(range(256)), id="any bytes"),
    pytest.param(b"\n\x2c26b46b68ffc68f\x10\x03", id="a message"),
]


@pytest.mark.parametrize("digest", DIGESTS)
async def test_C70_I7_of_a_digest_only_its_equality_counts(
    worker: Worker, workspace: Path, protocol: str, digest: bytes
) -> None:
    command = sh("echo run >> runs; echo e > early.tmp; mv early.tmp early; echo f > full")
    options = ("--early-output=early", "--output=full")
    (workspace / "in").write_text("content")

    async def half(host: FakeHost, phase: str, digest: bytes) -> int:
        """Asks for one half of the job; returns how many compilers ran so far."""
        answer = await host.work((f"--phase={phase}", *options, *command), (Input("in", digest),))
        assert answer.exit_code == 0, answer.output
        return len((workspace / "runs").read_text().split())

    async with worker(protocol) as host:
        assert await half(host, "early", digest) == 1
        assert await half(host, "full", digest) == 1  # it joined
        assert await half(host, "early", digest + b"x") == 2
        assert await half(host, "full", digest) == 3  # another job's


async def test_C70_I7_where_there_is_no_digest_the_content_counts(
    worker: Worker, workspace: Path, protocol: str
) -> None:
    command = sh("echo run >> runs; echo e > early.tmp; mv early.tmp early; echo f > full")
    options = ("--early-output=early", "--output=full")
    runs = []
    async with worker(protocol) as host:
        for phase, content in (("early", "same"), ("full", "same"), ("early", "same"), ("full", "another")):
            (workspace / "in").write_text(content)
            answer = await host.work((f"--phase={phase}", *options, *command), (Input("in"),))
            assert answer.exit_code == 0, answer.output
            runs.append(len((workspace / "runs").read_text().split()))
    assert runs == [1, 1, 2, 3]
