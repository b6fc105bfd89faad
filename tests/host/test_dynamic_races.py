"""Dynamic execution: every action runs in a worker and beside it, and the slower one is cancelled. Two hundred rounds each way.

Bazel 4 then uses sandboxed workers with one request at a time, id 0. A cancel that is not answered keeps a worker for ever, and
there are four: the build hangs. An answer too many is taken for the next action's: its output is missing or wrong.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import final

import pytest

from headstart_worker.messages import WorkRequest
from host.bazel_workspace import BazelWorkspace
from host.recordings import Recording, read_recordings
from host.worker_cases import case_workspace
from process.support import PATIENCE
from survivors import await_exit, is_alive

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
]

ROUNDS = 200

WORKERS = 4
"""Processes that Bazel has at most for one kind of worker."""

# Writes a function of its input; half of it first, so that what a loser leaves can be told from a result. The worker gives its jobs
# a jobserver, which tells the legs apart. A leg that has to lose says that it is at work, and waits for its end; the other one
# waits for that. In an open round the worker's leg takes longer and longer, so that the ends of the two fall on all moments.
SCRIPT = """\
read -r loser number <"$1"
echo half >"$2"
leg=beside
[ -z "$CARGO_MAKEFLAGS" ] || leg=worker
if [ "$loser" = "$leg" ]; then
  exec 3<>"$3/begun-$number" 4<>"$3/never"
  echo begun >&3
  read -r _ <&4
elif [ "$loser" != nobody ]; then
  read -r _ <"$3/begun-$number"
elif [ "$leg" = worker ]; then
  steps=$((number % 40 * 500))
  while [ $((steps -= 1)) -gt 0 ]; do :; done
fi
echo "$number squared is $((number * number))" >"$2"
"""

RACE = """\
load("@headstart//bazel:defs.bzl", "compile_action")

def _race_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".out")
    compile_action(
        ctx,
        worker = ctx.attr.worker[DefaultInfo].files_to_run,
        command = ["/bin/sh", ctx.file._script, ctx.file.src, output, ctx.attr.gate],
        inputs = [ctx.file._script, ctx.file.src],
        mnemonic = "Race",
        outputs = [output],
    )
    return [DefaultInfo(files = depset([output]))]

race = rule(
    implementation = _race_impl,
    attrs = {
        "gate": attr.string(),
        "src": attr.label(allow_single_file = True),
        "worker": attr.label(cfg = "exec", executable = True),
        "_script": attr.label(allow_single_file = True, default = "//race:race.sh"),
    },
)
"""

FLAGS = [
    "--internal_spawn_scheduler",
    "--strategy=Race=dynamic",
    "--dynamic_local_strategy=Race=worker",
    "--experimental_local_execution_delay=0",
    "--experimental_worker_cancellation",
    "--jobs=4",
    "--local_cpu_resources=8",  # both legs are local in truth, and Bazel takes a core for each
]

BUILD = """\
load("//:example.bzl", "recorded")
load("//race:race.bzl", "race")

recorded(name = "recorded", directory = "{recordings}")

[race(name = src[:-4], gate = "{gate}", src = src, worker = "recorded") for src in glob(["*.txt"])]
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BazelWorkspace]:
    with case_workspace(tmp_path_factory.mktemp("copy") / "headstart") as scratch:
        scratch.write("race/BUILD.bazel", 'exports_files(["race.sh"])\n')
        scratch.write("race/race.bzl", RACE)
        scratch.write("race/race.sh", SCRIPT)
        yield scratch


@final
class Rounds:
    """Rounds in a package of their own."""

    def __init__(self, workspace: BazelWorkspace, package: str, directory: Path) -> None:
        self._workspace = workspace
        self._package = package
        self._gate = directory / "gate"
        self._gate.mkdir()
        os.mkfifo(self._gate / "never")
        self._recordings = directory / "recordings"
        self._recordings.mkdir()
        workspace.write(f"{package}/BUILD.bazel", BUILD.format(gate=self._gate, recordings=self._recordings))

    def run(self, numbers_and_losers: dict[int, str], beside: str) -> None:
        """Builds rounds at once, and looks at what each made; nothing of them runs afterwards."""
        for number, loser in numbers_and_losers.items():
            os.mkfifo(self._gate / f"begun-{number}")
            self._workspace.write(f"{self._package}/{number}.txt", f"{loser} {number}\n")
        targets = [f"//{self._package}:{number}" for number in numbers_and_losers]
        self._workspace.bazel("build", *FLAGS, f"--dynamic_remote_strategy=Race={beside}", *targets)
        made = self._workspace.root / "bazel-bin" / self._package
        for number in numbers_and_losers:
            assert (made / f"{number}.out").read_text() == f"{number} squared is {number * number}\n"
        # Bazel ends a build without waiting for the losers' ends.
        left = self._workspace.compilers()
        assert await_exit(left, PATIENCE), f"alive after the build: {left}"

    def workers(self) -> set[int]:
        """The processes that Bazel started for the workers, and that are alive."""
        return {int(path.name) for path in self._recordings.iterdir() if is_alive(int(path.name))}

    def read(self) -> list[Recording]:
        """What was said to each worker so far, and by it."""
        return read_recordings(self._recordings, "proto")


def cancelled(recording: Recording) -> int:
    """How many requests of one worker were cancelled in the middle of their work.

    Each must have had one answer before the next one came, and after its cancel if the answer tells of one.
    """
    waiting: WorkRequest | None = None
    was_asked = False
    count = 0
    for message in recording.messages:
        if isinstance(message, WorkRequest):
            assert message.request_id == 0
            if message.cancel:
                was_asked = waiting is not None
            else:
                assert waiting is None, "an answer is missing"
                waiting, was_asked = message, False
        else:
            assert waiting is not None, "an answer too many"
            assert message.request_id == 0
            assert was_asked or not message.was_cancelled
            assert (message.exit_code, message.output) == (0, "")
            count += message.was_cancelled
            waiting = None
    assert waiting is None, "the last answer is missing"
    return count


def check_the_workers(rounds: Rounds) -> int:
    """All are alive and idle, and serve again. Returns how many requests were cancelled."""
    workers = rounds.workers()
    rounds.run({1000 + number: "beside" for number in range(WORKERS)}, "sandboxed")
    assert workers <= rounds.workers(), "a worker was lost"
    deadline = time.monotonic() + PATIENCE
    while any(len(recording.requests) > len(recording.responses) for recording in rounds.read()):
        assert time.monotonic() < deadline, "an answer is missing"
        time.sleep(0.01)
    recordings = rounds.read()
    assert len(workers) <= len(recordings) <= WORKERS
    assert len(rounds.workers()) == len(recordings), "a worker was lost"
    return sum(map(cancelled, recordings))


def test_I1_I2_a_race_of_two_hundred_rounds_that_either_leg_wins(
    workspace: BazelWorkspace, tmp_path: Path
) -> None:
    """One round in four is lost by the worker, one by the other leg, and two are open."""
    rounds = Rounds(workspace, "open", tmp_path)
    losers = ["worker", "beside", "nobody", "nobody"]
    rounds.run({number: losers[number % 4] for number in range(ROUNDS)}, "sandboxed")
    assert check_the_workers(rounds) >= ROUNDS // 4


def test_C43_I1_I2_a_race_of_two_hundred_rounds_where_the_cancel_follows_the_request_at_once(
    workspace: BazelWorkspace, tmp_path: Path
) -> None:
    """The other leg runs outside of any sandbox: Bazel cancels the worker before it lets that one write."""
    rounds = Rounds(workspace, "at_once", tmp_path)
    rounds.run(dict.fromkeys(range(ROUNDS), "nobody"), "local")
    assert check_the_workers(rounds) > 0
