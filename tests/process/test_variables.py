"""Options in the environment of a launcher that others call, and of a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from headstart_worker.testing import FakeHost

Worker = Callable[..., FakeHost]


def launched(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """As make calls `CC="process-wrapper cc"`."""
    return subprocess.run(
        [sys.executable, "-m", "headstart_worker", *arguments],
        env={**os.environ, **{f"HEADSTART_{name}": value for name, value in variables.items()}},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_launcher_without_options_has_those_of_its_variables(tmp_path: Path) -> None:
    late = launched("sleep", "99", cwd=tmp_path, TIMEOUT="0.2")
    assert late.returncode == 124
    assert (
        late.stderr == "process-wrapper: the job was ended after 0.2 s; raise --timeout if it needs longer\n"
    )
    assert launched("true", cwd=tmp_path, STATS="usage").returncode == 0
    assert json.loads((tmp_path / "usage").read_text())["command"] == ["true"]
    explained = launched("true", cwd=tmp_path, EXPLAIN="1")
    assert (explained.returncode, explained.stderr.count("process-wrapper: ") > 0) == (0, True)


def test_the_command_line_counts_more_and_repeated_options_add(tmp_path: Path) -> None:
    done = launched(
        "-t0", "--stats=mine", "sh", "-c", "sleep 0.4", cwd=tmp_path, TIMEOUT="0.2", STATS="theirs"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    done = launched("--env=C=3", "sh", "-c", "echo $A$B$C", cwd=tmp_path, ENV="A=1\nB=2")
    assert done.stdout == "123\n"


def test_a_variable_that_says_nothing_costs_nothing(tmp_path: Path) -> None:
    done = launched("--", "sh", "-c", "echo $PPID", cwd=tmp_path, TIMEOUT="", EXPLAIN="0", STAY="0", STATS="")
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == os.getpid()  # it has become the command


async def test_a_worker_has_them_as_defaults_of_its_requests(worker: Worker) -> None:
    variables = {
        "HEADSTART_TIMEOUT": "0.2",
        "HEADSTART_ENV": "A=1",
        "HEADSTART_STAY": "1",
        "HEADSTART_ON_EARLY": "x",
    }
    async with worker(env={**os.environ, **variables}) as host:
        late = await host.work(("--", "sleep", "99"))
        assert late.exit_code == 124
        done = await host.work(("-t0", "--", "sh", "-c", "sleep 0.4; echo $A"))
        assert (done.exit_code, done.output) == (0, "1\n")
        assert (await host.finish()).exit_code == 0


async def test_a_worker_with_a_bad_one_says_so(worker: Worker) -> None:
    async with worker(env={**os.environ, "HEADSTART_JOBS": "none"}) as host:
        ended = await host.ended()
        assert ended.exit_code == 125
        assert ended.stderr.startswith("process-wrapper: HEADSTART_JOBS=none is no count")
