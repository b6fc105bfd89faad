"""Bazel's own tests of workers (`bazel_worker_test.sh`), with Headstart's worker in the place of theirs.

Each case runs with one request at a time, with sandboxed workers, and with several requests through one process, which is what
`bazel_worker_multiplexer_test.sh` repeats; both encodings occur. What only several requests at a time can show is in
`test_bazel_multiplexer_cases`. Their worker counts its requests and has a name of its own; here the jobs tell the id of the worker's
process, and a recorder between Bazel and the worker tells what was said.

| their case | here |
|---|---|
| compiles_hello_library_using_persistent_javac | not run: the Java rules come from the network; rustc and cc stand in `test_bazel_rules` |
| ..._sibling_layout | `..._sibling_layout` |
| example_worker | `..._words` |
| worker_requests | `..._requests` |
| missing_worker_directory | not run: what Bazel says of a broken disk, no worker is started |
| shared_worker | `..._share_a_process` |
| worker_extra_flag | `..._extra_flag` |
| multiple_flagfiles | `..._flag_files` |
| workers_quit_after_build | `..._after_the_build` |
| build_succeeds_even_if_worker_exits (disabled there) | `..._dies_between_two_builds` |
| build_fails_if_worker_dies_during_action | `..._killed_during_an_action` |
| worker_restarts_when_worker_binary_changes, ..._runfiles_change | `..._starts_a_new_worker` |
| build_fails_when_worker_returns_junk | `..._junk`, of both workers |
| input_digests | `..._digests`; joins by digest in `test_bazel_multiplexer_cases` |
| worker_verbose | `..._verbose` |
| logs_are_deleted_on_server_restart | `..._logs` |
| requires_worker_protocol_missing_defaults_to_proto | `..._protobuf` |
| missing_execution_requirements_fallback_to_standalone | `..._standalone` |
| environment_is_clean | `..._environment` |
| workers_quit_on_clean | `..._clean` |
| crashed_worker_causes_log_dump | `..._crash` |
| sandbox_cleanup_without_tracking (newer) | `..._sandbox` |
| sandbox_cleanup_with_tracking | not run: a flag of newer Bazels |
| worker_memory_limit, total_worker_memory_limit_log_starting, worker_metrics_collection | not run: flags of newer Bazels |
| persistent tests | not run: newer Bazels |
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from host.bazel_workspace import BazelWorkspace
from host.gates import Gate
from host.recordings import read_recordings
from host.worker_cases import Case, Kind, case_workspace
from process.support import PATIENCE
from survivors import GONE_SECONDS, await_exit, is_alive

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
]

KINDS = {
    "singleplex": Kind(),
    "sandboxed": Kind(sandboxed=True, protocol="json"),
    "multiplex": Kind(multiplex=True),
}

BROKEN = "//tools:broken"

ALL_KINDS = [Kind(*values) for values in product((False, True), (False, True), ("proto", "json"))]


@pytest.fixture(scope="module")
def headstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copy") / "headstart"


@pytest.fixture(scope="module")
def workspace(headstart: Path) -> Iterator[BazelWorkspace]:
    with case_workspace(headstart) as scratch:
        yield scratch


@pytest.fixture
def case_of(workspace: BazelWorkspace, request: pytest.FixtureRequest) -> Callable[[Kind], Case]:
    """Makes a package for workers of a kind."""
    name = re.sub(r"\W", "_", request.node.name)
    return lambda kind: Case(
        workspace, f"{name}/{'_'.join(map(str, (kind.multiplex, kind.sandboxed)))}", kind
    )


# Of the module: what needs one kind of workers runs together, because Bazel ends all workers when the kind changes.
@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def case(case_of: Callable[[Kind], Case], kind: Kind) -> Case:
    return case_of(kind)


def test_a_request_writes_its_words(case: Case) -> None:
    case.work("hello", "hello world")
    case.work("loud", "--uppercase", "hello world")
    case.build("hello")
    case.build("loud")
    assert (case.output("hello"), case.output("loud")) == ("hello world\n", "HELLO WORLD\n")


def test_the_launcher_is_found_in_the_sibling_layout(case: Case) -> None:
    case.work("hello", "hello world", "--worker")
    case.work("alone", "hello world", "--worker")
    case.build("hello", "--experimental_sibling_repository_layout")
    case.build("alone", "--experimental_sibling_repository_layout", "--spawn_strategy=local")
    assert case.worker("hello") > 1
    assert case.words("alone") == ["hello world", "0"]


@pytest.mark.parametrize("kind", ALL_KINDS, ids=str)
def test_C13_C14_C17_requests_come_as_bazel_made_them_and_each_is_answered_with_its_id(
    case_of: Callable[[Kind], Case], kind: Kind, tmp_path: Path
) -> None:
    """Bazel 4 gives ids to requests that multiplex, also in a sandbox, where they come one by one."""
    case = case_of(kind)
    case.write("input.txt", "hello\n")
    case.add("recorded", "recorded", directory=str(tmp_path))
    for name in ("one", "two"):
        case.work(name, "hello", name, srcs=["input.txt"], worker="recorded")
    case.build("one", "two")
    recordings = read_recordings(tmp_path, kind.protocol)
    requests = [request for recording in recordings for request in recording.requests]
    assert sorted(request.arguments[-2:] for request in requests) == [("hello", "one"), ("hello", "two")]
    for request in requests:
        assert request.arguments[0] == "--subst=pwd=${pwd}"
        inputs = {item.path: item.digest for item in request.inputs}
        output = request.arguments[-3]
        assert {f"{output}-0.params", "example_job.py", f"{case.package}/input.txt"} <= inputs.keys()
        assert all(inputs.values())
        assert (request.request_id == 0) != kind.multiplex
    for recording in recordings:
        ids = [request.request_id for request in recording.requests]
        assert sorted(ids) == sorted(response.request_id for response in recording.responses)
        assert all((answer.exit_code, answer.output) == (0, "") for answer in recording.responses)


def test_actions_with_one_worker_key_share_a_process(case: Case) -> None:
    case.work("hello", "--worker", action_mnemonic="Hello", worker_key="Shared")
    case.work("goodbye", "--worker", action_mnemonic="Goodbye", worker_key="Shared")
    case.work("other", "--worker", action_mnemonic="Goodbye", worker_key="Other")
    case.build("hello", "other")
    case.build("goodbye")
    assert case.worker("hello") == case.worker("goodbye")
    assert case.worker("hello") != case.worker("other")


def test_C57_an_extra_flag_reaches_the_worker(case: Case, tmp_path: Path) -> None:
    case.work("hello", "--worker", action_mnemonic="Hello", worker_key="World")
    case.build("hello", f"--worker_extra_flag=Hello=--trace={tmp_path}/%p")
    assert [path.name for path in tmp_path.iterdir()] == [str(case.worker("hello"))]


@pytest.mark.parametrize("strategy", ["worker", "local"])
def test_C22_both_kinds_of_flag_files_are_read_wherever_they_stand(case: Case, strategy: str) -> None:
    """Bazel reads `@file` itself where there is a worker, and hands `--flagfile=file` on."""
    words = {"A": "hello", "B": "world", "C": "nice", "D": "to", "E": "meet", "F": "you"}
    startup = [f"--worker-protocol={case.kind.protocol}"]
    case.add(
        "bare", "multi", "--environment", env=words, requirements=case.kind.requirements, startup=startup
    )
    case.build("multi", f"--spawn_strategy={strategy}")
    assert {f"{key}={value}" for key, value in words.items()} <= set(case.words("multi"))


def test_I3_workers_quit_after_the_build_that_says_so(case: Case) -> None:
    for name in ("one", "two"):
        case.work(name, "--worker", worker_key="Quit")
    said = case.build("one", "--worker_quit_after_build")
    assert await_exit([case.worker("one")], PATIENCE)
    assert "Build completed, shutting down worker pool..." in said
    assert re.search(case.kind.created, said)
    case.build("two")
    assert case.worker("one") != case.worker("two")


def test_a_worker_that_dies_between_two_builds_is_replaced(case: Case) -> None:
    for name in ("one", "two", "three"):
        case.work(name, "--worker", worker_key="Mortal")
    case.build("one")
    os.kill(case.worker("one"), signal.SIGKILL)
    assert await_exit([case.worker("one")], PATIENCE)
    case.build("two")
    case.build("three")
    assert case.worker("one") != case.worker("two") == case.worker("three")


def test_I3_a_build_whose_worker_is_killed_during_an_action_fails_and_the_next_one_is_right(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.work("first", "--worker", options=["--explain"])
    case.build("first")
    with Gate(tmp_path / "gate", "held") as gate:
        case.work("held", "held", f"--gate={gate.directory}", "--worker")
        with case.workspace.started("build", *case.command("held")) as build:
            gate.await_arrivals(build, "held")
            jobs = case.workspace.compilers()
            assert len(jobs) == 1, jobs
            os.kill(case.worker("first"), signal.SIGKILL)
            assert await_exit(jobs, GONE_SECONDS), "the job outlives its worker"
            assert build.wait() == 1
        said = capsys.readouterr().err
        gate.remove()
        case.build("held")
    assert re.search("did not return a WorkResponse|returned an unparseable WorkResponse", said)
    # What the worker had said before is shown with it.
    dump = said[said.index("---8<---8<--- Start of log, file at /") : said.index("---8<---8<--- End of log")]
    assert "no --phase: the whole job, not pipelined" in dump
    assert case.words("held")[0] == "held"
    assert case.worker("held") != case.worker("first")


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        pytest.param("bazel/private/launcher.bzl", "#!/bin/sh\n", "#!/bin/sh\n# edited\n", id="binary"),
        pytest.param("wrapper/headstart_wrapper/__init__.py", '"""', '\n"""', id="runfiles"),
    ],
)
def test_an_edit_starts_a_new_worker(*, case: Case, headstart: Path, path: str, old: str, new: str) -> None:
    for name in ("one", "two", "three"):
        case.work(name, "--worker")
    case.build("one")
    case.build("two")
    edited = headstart / path
    edited.write_text(edited.read_text().replace(old, new, 1))
    said = case.build("three")
    assert case.worker("one") == case.worker("two") != case.worker("three")
    assert "can no longer be used, because its files have changed on disk" in said
    changed = "process-wrapper" if path.endswith(".bzl") else path
    assert re.search(rf"{re.escape(changed)}: \S+ -> \S+", said), said
    assert await_exit([case.worker("one")], PATIENCE)


def test_C33_I4_what_a_job_prints_is_never_taken_for_a_response(case: Case) -> None:
    for name in ("before", "after"):
        case.work(name, name, "--worker")
    case.work("junk", "--junk", "good", "--worker")
    case.build("before")
    said = case.build("junk")
    case.build("after")
    assert case.words("junk")[0] == "good"
    assert said.count("I'm a poisoned worker\n") == 3
    assert said.count('{"exitCode":9}\n') == 3
    assert case.worker("before") == case.worker("junk") == case.worker("after")


def test_bazel_catches_a_worker_that_lets_its_job_print_junk(case: Case) -> None:
    """The same job as above, and a worker of the ordinary kind."""
    case.work("before", "before", worker=BROKEN)
    case.work("junk", "--junk", "good", worker=BROKEN)
    case.build("before")
    failed = case.try_build("junk")
    assert failed.code == 1
    expected = "returned an unparseable WorkResponse!\n\nDid you try to print something to stdout?"
    if case.kind.multiplex:
        expected = "did not return a WorkResponse"
    assert expected in failed.stderr


def test_a_crash_of_a_worker_shows_its_log(case: Case) -> None:
    case.work("one", worker=BROKEN, worker_key="Crash")
    case.work("two", worker=BROKEN, worker_key="Crash")
    case.build("one", "--worker_extra_flag=Work=--crash-after=1")
    failed = case.try_build("two", "--worker_extra_flag=Work=--crash-after=1")
    assert failed.code == 1
    assert "did not return a WorkResponse" in failed.stderr
    assert re.search("^---8<---8<--- Start of log, file at /", failed.stderr, re.MULTILINE)
    assert "I'm a very poisoned worker and will just crash." in failed.stderr
    assert re.search("^---8<---8<--- End of log ---8<---8<---", failed.stderr, re.MULTILINE)


def test_equal_inputs_have_equal_digests_and_no_others(case: Case, tmp_path: Path) -> None:
    case.add("recorded", "recorded", directory=str(tmp_path))
    for name, content in (("one", "hello"), ("two", "hello"), ("three", "changed")):
        case.write("input.txt", content)
        case.work(name, f"--read={case.package}/input.txt", srcs=["input.txt"], worker="recorded")
        case.build(name)
        assert case.words(name) == [content]
    (recording,) = read_recordings(tmp_path, case.kind.protocol)
    path = f"{case.package}/input.txt"
    one, two, three = (
        next(item.digest for item in request.inputs if item.path == path) for request in recording.requests
    )
    assert one == two != three


def test_what_bazel_says_with_worker_verbose(case: Case) -> None:
    case.work("hello", "hello", worker_key="Verbose")
    said = case.build("hello", "--worker_quit_after_build")
    assert re.search(rf"{case.kind.created} \(id [0-9]+\), logging to /", said)
    assert re.search(r"Destroying Verbose (multiplex-)?worker \(id [0-9]+\)", said)
    assert "Build completed, shutting down worker pool..." in said


def test_logs_are_deleted_by_the_next_server(case_of: Callable[[Kind], Case]) -> None:
    case = case_of(KINDS["multiplex"])
    case.work("many", worker_key="Log")
    case.work("one", worker_key="Log", requirements={"supports-multiplex-workers": "0"})
    logs = [Path(path) for path in re.findall(r"logging to (\S+)", case.build("many", "one"))]
    assert sorted(re.sub("[0-9]+", "N", log.name) for log in logs) == [
        "multiplex-worker-N-Log.log",
        "worker-N-Log.log",
    ]
    assert all(log.exists() for log in logs)
    case.workspace.bazel("shutdown")
    case.build()
    assert not any(log.exists() for log in logs)


def test_without_a_protocol_bazel_speaks_protobuf_and_json_workers_say_so(case: Case) -> None:
    requirements = case.kind.requirements
    del requirements["requires-worker-protocol"]
    case.add("bare", "proto", "hello", requirements=requirements)
    case.add("bare", "json", "hello", requirements=requirements, startup=["--worker-protocol=json"])
    case.build("proto")
    assert case.words("proto") == ["hello"]
    failed = case.try_build("json")
    assert failed.code == 1
    dump = failed.stderr[failed.stderr.index("Start of log") : failed.stderr.index("End of log")]
    (sentence,) = (line for line in dump.splitlines() if line.startswith("process-wrapper: "))
    assert "JSON" in sentence


def test_C56_without_requirements_the_job_runs_standalone_with_the_same_bytes(case: Case) -> None:
    startup = [f"--worker-protocol={case.kind.protocol}"]
    case.add("bare", "served", "hello", requirements=case.kind.requirements, startup=startup)
    case.add("bare", "alone", "hello", startup=startup)
    case.add("bare", "where", "--worker", startup=startup)
    case.build("served")
    said = case.build("alone", "where", "--spawn_strategy=worker,local")
    assert "Created new" not in said
    assert case.words("where") == ["0"]
    assert case.output("alone") == case.output("served") == "hello\n"


def test_C64_C65_the_environment_of_the_user_reaches_no_job(
    workspace: BazelWorkspace, case_of: Callable[[Kind], Case]
) -> None:
    """Not from the server, which was started with it, and not from the client."""
    workspace.bazel("shutdown")
    for kind in KINDS.values():
        case = case_of(kind)
        case.work("env", "--environment", env={"GIVEN": "here", "PATH": "/bin"}, worker_key="Clean")
        case.build("env", environment={"CAKE": "LIE"})
        variables = dict(line.split("=", 1) for line in case.words("env"))
        assert variables.pop("GIVEN") == "here"
        assert variables.pop("PATH") == "/bin"
        from_bazel = {"TMPDIR"}
        from_the_worker = {"CARGO_MAKEFLAGS", "HEADSTART_JOB", "MAKEFLAGS"}
        assert variables.keys() <= from_bazel | from_the_worker


def test_I3_workers_quit_on_clean(case: Case) -> None:
    case.work("hello", "--worker", worker_key="Clean")
    case.build("hello")
    worker = case.worker("hello")
    assert is_alive(worker)
    said = case.workspace.bazel("clean", "--worker_verbose").stderr
    assert "Clean command is running, shutting down worker pool..." in said
    assert re.search(r"Destroying Clean (multiplex-)?worker \(id [0-9]+\)", said)
    assert await_exit([worker], PATIENCE)


def test_C55_a_sandbox_holds_nothing_of_the_request_before(case_of: Callable[[Kind], Case]) -> None:
    case = case_of(Kind(sandboxed=True))
    sources = {"one": ["a/1", "b/2", "b/3"], "two": ["b/3", "b/4", "c/5"]}
    for name, paths in sources.items():
        for path in paths:
            case.write(path, "")
        case.work(name, f"--files={case.package}", "--worker", srcs=paths)
    case.build("one")
    case.build("two")
    for name, paths in sources.items():
        assert case.words(name)[:-1] == [f"{case.package}/{path}" for path in paths]
    assert case.worker("one") == case.worker("two")
