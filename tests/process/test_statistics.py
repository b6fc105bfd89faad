"""Statistics of real jobs: true, however the job ended, standalone and in the worker, and in Bazel's form what Bazel's own say."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import execution_statistics
from headstart_worker.testing import FakeHost
from headstart_wrapper import stats
from process.support import Fifo, sh

MakeFifo = Callable[[str], Fifo]
Worker = Callable[..., FakeHost]

WRAPPER = (sys.executable, "-m", "headstart_worker")

BAZELS = shutil.which("process-wrapper", path=":".join(map(str, Path("/usr/libexec").glob("*/bazel"))))

BUSY = """
import mmap, os, resource, time
for _ in range(20):
    time.sleep(0.001)
with open("written", "w+b", buffering=0) as file:
    file.write(bytes(5_000_000))
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    file.read()
memory = mmap.mmap(-1, 60_000_000)
for place in range(0, 60_000_000, 4096):
    memory[place] = 1
end = time.process_time() + 0.2
while time.process_time() < end:
    pass
used = resource.getrusage(resource.RUSAGE_SELF)
files = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
print(used.ru_utime, used.ru_stime, used.ru_minflt, used.ru_majflt, used.ru_nvcsw, used.ru_nivcsw)
print(files["read_bytes"], files["write_bytes"])
"""
"""A job that uses some of everything, and says what the kernel has counted for it so far."""

COMMAND = (sys.executable, "-I", "-S", "-c", BUSY)


def wrapper(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WRAPPER, *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=60
    )


def said(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text())
    assert list(read) == [field.name for field in stats.FIELDS]
    return read


def test_the_figures_are_what_the_kernel_counted(tmp_path: Path) -> None:
    done = wrapper("--stats=s.json", "--", *COMMAND, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    user, system, *counted = done.stdout.split()
    read = said(tmp_path / "s.json")
    keys = (
        "minor_page_faults",
        "major_page_faults",
        "voluntary_context_switches",
        "involuntary_context_switches",
        "storage_read_bytes",
        "storage_written_bytes",
    )
    # Its end costs a little more than what it could say itself.
    more = dict(zip(keys, (2000, 200, 50, 500, 1 << 20, 1 << 16), strict=True))
    for key, count in zip(keys, map(int, counted), strict=True):
        assert count <= read[key] <= count + more[key], key
    assert read["voluntary_context_switches"] >= 20
    assert read["storage_written_bytes"] % 512 == 0
    assert float(user) <= read["user_seconds"] + 0.001 <= float(user) + 0.5
    assert float(system) <= read["system_seconds"] + 0.001 <= float(system) + 0.5
    assert 0.2 <= read["user_seconds"] + read["system_seconds"] <= read["wall_seconds"] + 0.02
    assert 60_000_000 < read["peak_memory_bytes"] < 110_000_000


def test_the_job_and_its_end_are_told(tmp_path: Path) -> None:
    before = time.time()
    wrapper("--stats=s.json", "--", "true", "ü", "\udcff", cwd=tmp_path)
    read = said(tmp_path / "s.json")
    assert read["command"] == ["true", "ü", "\udcff"]
    assert before <= read["started_at"] <= time.time()
    assert 0 < read["spawn_seconds"] <= read["wall_seconds"]
    assert (read["version"], read["exit_code"], read["signal"], read["signal_name"], read["message"]) == (
        2,
        0,
        None,
        None,
        None,
    )
    assert (read["timed_out"], read["cancelled"], read["stopped_early"], read["early_seconds"]) == (
        False,
        False,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "end"),
    [
        (("--", "sh", "-c", "exit 3"), 3, {}),
        (("--", "sh", "-c", "kill -KILL $$"), -9, {"exit_code": 137, "signal": 9, "signal_name": "SIGKILL"}),
        (("--", "sh", "-c", "kill -40 $$"), -40, {"exit_code": 168, "signal_name": "SIGRTMIN+6"}),
        (("--timeout=0.1", "--", "sleep", "60"), 124, {"signal": signal.SIGTERM, "timed_out": True}),
        (
            ("--timeout=3", "--kill-delay=0.1", "--", "sh", "-c", "trap '' TERM; sleep 60"),
            124,
            {"signal": 9},
        ),
    ],
)
def test_a_job_that_ends_badly_has_statistics_too(
    tmp_path: Path, arguments: tuple[str, ...], code: int, end: dict[str, object]
) -> None:
    assert wrapper("--stats=s.json", *arguments, cwd=tmp_path).returncode == code
    read = said(tmp_path / "s.json")
    assert read | {"exit_code": code} | end == read
    assert read["peak_memory_bytes"] > 0
    assert read["wall_seconds"] > 0


@pytest.mark.parametrize(
    ("command", "code"), [("no-such-command", 127), ("./plain", 126), ("./nothing", 127)]
)
def test_a_job_that_never_started_says_so(tmp_path: Path, command: str, code: int) -> None:
    (tmp_path / "plain").touch()
    done = wrapper("--stats=s.json", "--", command, cwd=tmp_path)
    read = said(tmp_path / "s.json")
    assert done.returncode == read["exit_code"] == code
    assert done.stderr == f"process-wrapper: {read['message']}\n"
    assert read["command"] == [command]
    told = {key for key, value in read.items() if value is not None}
    assert told == {
        "version",
        "command",
        "exit_code",
        "timed_out",
        "cancelled",
        "stopped_early",
        "message",
        "sandbox_findings",
    }


@contextlib.contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*WRAPPER, *arguments], cwd=cwd) as process:
        yield process


async def test_a_wrapper_that_is_ended_leaves_statistics(tmp_path: Path, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    script = f"echo $$ > {pids}; exec sleep 99"
    with running("--stats=s.json", "--", "sh", "-c", script, cwd=tmp_path) as process:
        await pids.pid()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
    read = said(tmp_path / "s.json")
    assert (read["exit_code"], read["signal_name"]) == (143, "SIGTERM")


def test_a_file_that_cannot_be_written_costs_the_exit_code_only_if_all_went_well(tmp_path: Path) -> None:
    sentence = "the statistics file none/s.json cannot be written (No such file or directory); name another with --stats\n"
    for command, code in (("true", 125), ("false", 1), ("no-such-command", 127)):
        done = wrapper("--stats=none/s.json", "--", command, cwd=tmp_path)
        assert done.returncode == code
        assert done.stderr.startswith("process-wrapper: ")
        assert done.stderr.endswith(sentence)
        assert done.stderr.count("\n") == 1


def test_a_whole_build_keeps_all(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([*WRAPPER, "--stats=all/", "--", "sh", "-c", f"exit {code}"], cwd=tmp_path)
        for code in range(8)
    ]
    assert [process.wait(60) for process in running] == list(range(8))
    assert sorted(said(path)["exit_code"] for path in (tmp_path / "all").iterdir()) == list(range(8))


def test_our_streams_take_statistics_where_they_stand(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(
            [*WRAPPER, "--stats=/dev/stderr", "--", "sh", "-c", "echo before >&2"], stderr=log, check=True
        )
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first == "before"
    assert json.loads(second)["exit_code"] == 0


@pytest.mark.parametrize("form", ["json", "bazel"])
def test_statistics_cost_no_json_and_no_protobuf(tmp_path: Path, form: str) -> None:
    script = (
        f"import sys; sys.argv[1:] = ['--stats=s', '--stats-format={form}', '--', 'true']\n"
        "from headstart_worker.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "sys.exit('json' in sys.modules or 'google.protobuf' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "s").stat().st_size > 0


@pytest.mark.skipif(BAZELS is None, reason="Bazel's process-wrapper is not installed")
def test_bazels_form_is_what_bazels_process_wrapper_says(tmp_path: Path) -> None:
    assert BAZELS is not None
    subprocess.run(
        [BAZELS, "-s", "theirs", "--", *COMMAND], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL
    )
    done = wrapper("--stats=ours", "--stats-format=bazel", "--", *COMMAND, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    theirs, ours = (
        execution_statistics.decoded((tmp_path / name).read_bytes()) for name in ("theirs", "ours")
    )
    # Two runs of a job are never quite the same: what each figure may differ by, and 0 for what must be equal.
    apart = {
        "utime_usec": 1_000_000,
        "stime_usec": 1_000_000,
        "maxrss": 8_000,
        "minflt": 2_000,
        "majflt": 500,
        "inblock": 100_000,
        "oublock": 200,
        "nvcsw": 500,
        "nivcsw": 5_000,
    }
    for name in execution_statistics.RUSAGE:
        assert abs(theirs[name] - ours[name]) <= apart.get(name, 0), name
    for used in (theirs, ours):
        assert used["utime_usec"] + used["stime_usec"] >= 200_000
        assert used["maxrss"] * 1024 > 60_000_000
        assert used["minflt"] > 10_000
        assert used["nvcsw"] >= 20


async def test_a_request_has_statistics_in_its_own_directory(worker: Worker, workspace: Path) -> None:
    async with worker() as host:
        answer = await host.work(sh("echo said; exit 3", "--stats=s.json"))
        assert (answer.exit_code, answer.output) == (3, "said\n")
        read = said(workspace / "s.json")
        assert (read["exit_code"], read["command"]) == (3, ["/bin/sh", "-c", "echo said; exit 3"])
        assert read["started_at"] <= time.time()
        assert read["voluntary_context_switches"] + read["involuntary_context_switches"] > 0
        assert read["minor_page_faults"] > 0
        answer = await host.work(("--stats=s.json", "--", "no-such-command"))
        assert answer.exit_code == 127
        assert said(workspace / "s.json")["started_at"] is None
        answer = await host.work(sh("echo said", "--stats=d/"))
        (own,) = (workspace / "d").iterdir()
        assert (said(own)["exit_code"], own.suffix) == (0, ".json")
        answer = await host.work(sh("true", "--stats=s.pb", "--stats-format=bazel"))
        assert execution_statistics.decoded((workspace / "s.pb").read_bytes())["minflt"] > 0


@pytest.mark.parametrize("place", ["none/s.json", "/dev/fd/1", "/dev/stdout"])
async def test_I4_a_request_whose_statistics_go_nowhere_is_answered_with_its_output(
    worker: Worker, protocol: str, place: str
) -> None:
    async with worker(protocol) as host:
        for code, expected in ((0, 125), (3, 3)):
            answer = await host.work(sh(f"echo said; exit {code}", f"--stats={place}"))
            assert answer.exit_code == expected
            assert answer.output.startswith("said\nprocess-wrapper: ")
            assert "--stats" in answer.output
        assert (await host.work(sh("echo on"))).output == "on\n"


async def test_the_early_time_of_a_job_in_halves(worker: Worker, workspace: Path, fifo: MakeFifo) -> None:
    go = fifo("go")
    script = f"echo e > e; read x < {go}; echo o > o"
    compiler = ("--early-output=e", "--output=o", "--", "/bin/sh", "-c", script)
    async with worker() as host:
        assert (await host.work(("--phase=early", "--stats=early.json", *compiler))).exit_code == 0
        assert not (workspace / "early.json").exists()  # of a job that goes on nothing is told
        go.go()
        assert (await host.work(("--phase=full", "--stats=full.json", *compiler))).exit_code == 0
    read = said(workspace / "full.json")
    assert 0 < read["early_seconds"] <= read["wall_seconds"]
