"""Bazel's own tests of workers with many requests at a time (`bazel_worker_multiplexer_test.sh`), with Headstart's worker.

Here is what only several requests at once can show. The rest of that script repeats the script for one request at a time, and
`test_bazel_worker_cases` runs those cases in every kind of worker.

| their case | here |
|---|---|
| example_worker_multiplexer, multiple_flagfiles, workers_quit_after_build | `test_bazel_worker_cases`, [multiplex] |
| worker_restarts_when_worker_binary_changes, ..._runfiles_change | likewise |
| build_fails_when_worker_returns_junk (disabled in 4.2.3), crashed_worker_causes_log_dump | likewise |
| worker_verbose, logs_are_deleted_on_server_restart, workers_quit_on_clean | likewise |
| missing_execution_requirements_fallback_to_standalone, environment_is_clean | likewise |
| build_fails_when_worker_exits (disabled in newer ones) | `..._killed_under_several_actions` |
| input_digests | `..._joined`; the digests themselves in `test_bazel_worker_cases` |
| multiple_target_without_delay, multiple_target_with_delay | `..._one_process...` |
| multiplexer_files (newer) | `..._files` |
| sandboxed_multiplexer_files, ..._fails_if_ignoring_sandbox | not run: a flag of newer Bazels. Bazel 4 gives each sandboxed request a process: `..._sandboxed...` |
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Self, final

import pytest

from host.bazel_workspace import BazelWorkspace
from host.gates import Gate
from host.recordings import read_recordings
from host.worker_cases import Case, Kind, case_workspace
from survivors import GONE_SECONDS, await_exit

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
]

MULTIPLEX = Kind(multiplex=True)

# Bazel takes a core for each request, whoever computes; the worker has as many slots as cores.
AT_ONCE = ["--jobs=4", "--local_cpu_resources=4"]
SLOTS = [f"--worker_extra_flag={mnemonic}=--jobs=4" for mnemonic in ("Work", "Early", "Full")]

# Far above what comes before an event (seconds); it only bounds how long a broken test takes.
_EVENT_SECONDS = 60


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BazelWorkspace]:
    with case_workspace(tmp_path_factory.mktemp("copy") / "headstart") as scratch:
        yield scratch


@pytest.fixture
def package(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W", "_", request.node.name)


@pytest.fixture
def case(workspace: BazelWorkspace, package: str) -> Case:
    return Case(workspace, package, MULTIPLEX)


def test_targets_without_delay_are_served_by_one_process(case: Case) -> None:
    names = ["one", "two", "three"]
    for name in names:
        case.work(name, f"hello {name}", "--worker")
    case.build(*names, *AT_ONCE)
    assert [case.words(name)[0] for name in names] == ["hello one", "hello two", "hello three"]
    assert len({case.worker(name) for name in names}) == 1


def test_C15_targets_with_delay_are_served_by_one_process_at_once_in_any_order(
    case: Case, tmp_path: Path
) -> None:
    names = ["one", "two", "three"]
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    case.add("recorded", "recorded", directory=str(recordings))
    with Gate(tmp_path / "gate", *names) as gate:
        for name in names:
            case.work(name, name, f"--gate={gate.directory}", "--worker", worker="recorded")
        with case.workspace.started("build", *case.command(*names, *AT_ONCE, *SLOTS)) as build:
            gate.await_arrivals(build, *names)
            (recording,) = read_recordings(recordings, "proto")
            assert (len(recording.requests), recording.responses) == (3, [])
            for name in reversed(names):
                assert gate.let_through(name)
            assert build.wait() == 0
    assert [case.words(name)[0] for name in names] == names
    assert len({case.worker(name) for name in names}) == 1


def test_C17_sandboxed_requests_have_a_process_each(
    workspace: BazelWorkspace, package: str, tmp_path: Path
) -> None:
    case = Case(workspace, package, Kind(multiplex=True, sandboxed=True))
    names = ["one", "two", "three"]
    with Gate(tmp_path / "gate", *names) as gate:
        for name in names:
            case.work(name, name, f"--gate={gate.directory}", "--worker")
        with workspace.started("build", *case.command(*names, *AT_ONCE)) as build:
            gate.await_arrivals(build, *names)
            assert all(map(gate.let_through, names))
            assert build.wait() == 0
    assert [case.words(name)[0] for name in names] == names
    assert len({case.worker(name) for name in names}) == 3


def test_jobs_read_the_files_of_their_requests(case: Case) -> None:
    paths = ["file.txt", "dir1/dir2/file.txt"]
    for path in paths:
        case.write(path, f"the text of {path}\n")
    case.work("files", "hello", *(f"--read={case.package}/{path}" for path in paths), srcs=paths)
    case.build("files")
    assert case.words("files") == ["hello", *(f"the text of {path}" for path in paths)]


def test_I3_a_build_whose_worker_is_killed_under_several_actions_fails_and_the_next_one_is_right(
    case: Case, tmp_path: Path
) -> None:
    names = ["one", "two", "three"]
    case.work("first", "--worker")
    case.build("first", *SLOTS)
    with Gate(tmp_path / "gate", *names) as gate:
        for name in names:
            case.work(name, name, f"--gate={gate.directory}", "--worker")
        with case.workspace.started("build", *case.command(*names, *AT_ONCE, *SLOTS)) as build:
            gate.await_arrivals(build, *names)
            jobs = case.workspace.compilers()
            assert len(jobs) == 3, jobs
            os.kill(case.worker("first"), signal.SIGKILL)
            assert await_exit(jobs, GONE_SECONDS), "jobs outlive their worker"
            assert build.wait() == 1
        gate.remove()
        case.build(*names, *AT_ONCE, *SLOTS)
    assert [case.words(name)[0] for name in names] == names
    (second,) = {case.worker(name) for name in names}
    assert second != case.worker("first")


@final
class LiveTrace:
    """A worker's trace, read while it is written: a pipe that the worker takes for a file. A context manager."""

    def __init__(self, path: Path) -> None:
        self.flags = [f"--worker_extra_flag={mnemonic}=--trace={path}" for mnemonic in ("Early", "Full")]
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = ""
        self._names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pipe)

    def await_event(self, name: str) -> None:
        """Waits until there was an event of this name; those that were counted do not matter."""
        while name not in self._names:
            assert select.select([self._pipe], [], [], _EVENT_SECONDS)[0], f"no {name}"
            self._read()

    def count(self, *names: str) -> int:
        """How many events of these names there were since the last count."""
        if select.select([self._pipe], [], [], 0)[0]:
            self._read()
        found = sum(name in names for name in self._names)
        self._names.clear()
        return found

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._pipe, 1 << 20).decode()).split("\n")
        self._names += [json.loads(line.rstrip(","))["name"] for line in lines if line.startswith("{")]


@pytest.mark.parametrize("content", ["old", "new"])
def test_I7_an_unchanged_input_is_joined_and_a_changed_one_is_not(
    case: Case, tmp_path: Path, content: str
) -> None:
    """The early half is built from `old`. Its job still runs when the full half is asked for, by another build."""
    with Gate(tmp_path / "gate", "old", "new") as gate, LiveTrace(tmp_path / "trace") as trace:
        case.write("input.txt", "old")
        words = [f"--read={case.package}/input.txt", "--early=EARLY", f"--gate={gate.directory}"]
        case.add("halves", "lib", *words, srcs=["input.txt"])
        flags = [*AT_ONCE, *SLOTS, *trace.flags]
        case.build("lib", "--output_groups=early", *flags)
        (old,) = case.workspace.compilers()

        case.write("input.txt", content)
        with case.workspace.started("build", *case.command("lib", *flags)) as build:
            gate.await_arrivals(build, *{"old", content})
            trace.await_event("join")
            (running,) = case.workspace.compilers()
            assert (running == old) == (content == "old")
            assert gate.let_through(content)
            assert build.wait() == 0
        assert case.words("lib") == [content]
        assert trace.count("codegen", "compile") == len({"old", content}), "compilers that ran"
