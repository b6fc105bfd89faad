"""`headstart check`: what a command reads, writes, lists and looks for beyond what is declared, its end, and wrong use."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headstart_wrapper.sandbox import tracer
from headstart_wrapper.sandbox.declared import Declared
from headstart_wrapper.sandbox.verdict import Kind
from process.checking import HEADSTART, LISTING, MISLEADING, NETWORK, PROBE, READ, WRITE, check, found, write
from process.support import Fifo

pytestmark = pytest.mark.skipif(bool(tracer.can_trace()), reason=tracer.can_trace())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; nothing in the environment names files."""
    directory = tmp_path / "project"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for name in MISLEADING:
        monkeypatch.delenv(name, raising=False)
    return directory


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([HEADSTART, "check", *arguments], stdout=subprocess.DEVNULL) as process:
        yield process


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo x > t; cat t; rm t", set()),
        ("echo x > t", {(WRITE, "t")}),
        ("mkdir -p d; echo x > d/t; mv d e", {(WRITE, "e"), (WRITE, "e/t")}),
        ("rm old", {(WRITE, "old")}),
        ("touch old", {(WRITE, "old")}),
        ("ls sub", {(LISTING, "sub")}),
        ("cd sub && cat deep", {(READ, "sub/deep")}),
        ("(cd sub && cat deep) & wait", {(READ, "sub/deep")}),
        ("cat < old", {(READ, "old")}),
        ("cat none || true", {(PROBE, "none")}),
        ("test -e none || true", {(PROBE, "none")}),
        ("cat link", {(READ, "old")}),
        ("cat 'sub/with space \u00e9'", {(READ, "sub/with space \u00e9")}),
    ],
)
def test_what_a_script_does_is_told(script: str, expected: set[tuple[str, str]]) -> None:
    write("old", "")
    write("sub/deep", "")
    write("sub/with space \u00e9", "")
    Path("link").symlink_to("old")
    assert found("--", "/bin/sh", "-c", script) == expected


@pytest.mark.usefixtures("project")
def test_the_jobserver_is_everybodys(fifo: Callable[[str], Fifo], monkeypatch: pytest.MonkeyPatch) -> None:
    jobserver = fifo("jobserver")
    monkeypatch.setenv("MAKEFLAGS", f" -j2 --jobserver-auth=fifo:{jobserver}")
    assert found("--", "/bin/sh", "-c", f": 3<>{jobserver}") == set()


def test_a_write_outside_is_told(project: Path) -> None:
    outside = project.parent / "outside"
    assert found("--", "/bin/sh", "-c", f"echo > {outside}") == {(WRITE, str(outside))}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.usefixtures("project")
def test_a_connection_is_told(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    script = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
    told = found("--input=/", "--", sys.executable, "-ISc", script)
    assert (NETWORK, f"127.0.0.1:{port}") in told


@pytest.mark.usefixtures("project")
def test_the_commands_own_output_and_code_are_its_own() -> None:
    done = check("--", "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stderr) == (3, "out\nerr\n")
    assert "(exit code 3)" in done.stdout
    killed = check("--", "/bin/sh", "-c", "kill -KILL $$")
    assert (killed.returncode, killed.stderr) == (128 + signal.SIGKILL, "")
    assert "(killed by signal 9)" in killed.stdout


@pytest.mark.usefixtures("project")
def test_the_params_file_of_an_action_can_be_pasted() -> None:
    write(
        "p",
        "--subst=pwd=${pwd}\n--env=A=b\n--phase=early\n--early-output=x\n--\n/bin/sh\n-c\necho $A ${pwd} > x\n",
    )
    assert found("@p") == set()
    assert Path("x").read_text() == f"b {Path.cwd()}\n"
    write("q", "--input=${pwd}\n")
    assert (
        found("--subst=pwd=${pwd}", "--output=y", "--", "/bin/sh", "-c", "cp ${1#@} y", "sh", "@q") == set()
    )
    assert Path("y").read_text() == f"--input={Path.cwd()}\n"


@pytest.mark.usefixtures("project")
def test_a_script_without_an_interpreter_is_run_by_the_shell() -> None:
    write("script", "echo made > t\n")
    Path("script").chmod(0o755)
    assert found("--input=script", "--", "./script") == {(WRITE, "t")}


@pytest.mark.usefixtures("project")
def test_a_script_is_run_by_the_interpreter_that_it_names() -> None:
    write("script", "#!/bin/cat\n: > t\n")
    Path("script").chmod(0o755)
    assert found("--input=script", "--", "./script") == set()


@pytest.mark.usefixtures("project")
def test_a_time_limit_ends_the_whole_job() -> None:
    done = check("--timeout=0.2", "--", "/bin/sh", "-c", "sleep 60 & sleep 60")
    assert done.returncode == 124
    assert "--timeout" in done.stderr


@pytest.mark.usefixtures("project")
async def test_I3_a_signal_to_us_ends_the_traced_job(fifo: Callable[[str], Fifo]) -> None:
    started = fifo("started")
    with running("--", "/bin/sh", "-c", f"echo $$ > {started}; sleep 60") as process:
        await started.line()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 125, "no command is given"),
        (("--no-such", "--", "true"), 125, "--no-such"),
        (("--", "no-such-command"), 127, "not on PATH"),
        (("--persistent_worker",), 125, "check runs one command"),
        (("@none",), 125, "none"),
    ],
)
def test_wrong_use_is_told(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = check(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("headstart: ")
    assert said in line


@pytest.mark.usefixtures("project")
def test_without_strace_it_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))  # noqa: PTH120 - plain strings
    done = check("--", "/bin/true")
    assert done.returncode == 125
    assert "there is no strace on PATH" in done.stderr


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can enter."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_an_explanation_names_what_a_job_may_not_open(open_directory: Path) -> None:
    """The kernel's ordinary permissions refuse here, as a sandbox would."""
    (open_directory / "secret").touch(mode=0)
    (open_directory / "closed").mkdir(mode=0o555)
    log = open_directory / "log"
    log.touch()
    log.chmod(0o666)
    command = ("/bin/sh", "-c", "cat secret; cat none; : > closed/new")
    traced = tracer.traced(command, str(log), executable="/bin/sh", cwd=str(open_directory))
    nobody = 65534 if os.getuid() == 0 else os.getuid()
    done = subprocess.run(traced, cwd=open_directory, capture_output=True, check=False, user=nobody)
    assert b"Permission denied" in done.stderr
    told = tracer.explain(str(log), Declared(directory=str(open_directory)))
    assert [(each.kind, each.path, each.detail) for each in told] == [
        (Kind.DENIED, "closed/new", "writing by sh was refused"),
        (Kind.DENIED, "secret", "reading by cat was refused"),
    ]
