"""Every option used wrongly: one sentence, exit code 125, nothing run; as a program, in a request, as a variable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from headstart_worker.testing import FakeHost
from option_examples import ALL, BAD, misuses
from process.support import entries

Worker = Callable[..., FakeHost]

WRAPPER = (sys.executable, "-m", "headstart_worker")

AT_ONCE = 4
"""Processes beside each other: they hardly do anything but start."""

LONG = 100_000
"""Characters: a word or variable that is longer may be more than the kernel takes (execve(2): 32 pages)."""


def expect_one_sentence(said: str, spelled: str) -> None:
    assert said.endswith("\n")
    (line,) = said.splitlines()
    assert line.startswith("process-wrapper: ")
    assert spelled in line


def refused(lines: Iterable[tuple[str, list[str], dict[str, str]]], cwd: Path) -> None:
    """Runs command lines that are wrong, with variables; each is refused with its sentence, about what is spelled so."""
    waiting = list(lines)
    while waiting:
        now, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
        started = [
            subprocess.Popen(
                [*WRAPPER, *arguments],
                cwd=cwd,
                env={**os.environ, **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _, arguments, variables in now
        ]
        for (spelled, arguments, _), process in zip(now, started, strict=True):
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out) == (125, ""), (arguments, err)
            expect_one_sentence(err, spelled)


@pytest.mark.parametrize("group", sorted({option.group for option in ALL.values()}))
def test_every_misuse_on_the_command_line(tmp_path: Path, group: str) -> None:
    # Other spellings are read by the same lines of code: see the grammar's own tests.
    named = [option for option in ALL.values() if option.group == group]
    lines = [line for option in named for line in misuses(option, names=[option.name])]
    refused([(spelled, words, {}) for spelled, words in lines if max(map(len, words)) < LONG], tmp_path)
    assert entries(tmp_path) == []


async def test_every_misuse_in_a_request(worker: Worker, workspace: Path, protocol: str) -> None:
    lines = [line for name in sorted(ALL) for line in misuses(ALL[name])]
    for name, option in ALL.items():
        if option.convert:  # what no argument of a process can hold, a request can
            values = ["x\0y", "z"] if option.pair else ["x\0y"]
            lines.append((name, [name, *values, "--", "true"]))
    lines.append(("a\\x00b", ["--", "true", "a\0b"]))
    lines.append(("a\\x00b", ["@a\0b"]))
    async with worker(protocol, "--jobs=1") as host:
        for number, (spelled, arguments) in enumerate(lines, 1):
            answer = await host.work(arguments, request_id=number)
            assert (answer.request_id, answer.exit_code, answer.was_cancelled) == (number, 125, False), (
                arguments
            )
            expect_one_sentence(answer.output, spelled)
        assert (await host.work(("--", "true"))).exit_code == 0
        assert (await host.finish()).exit_code == 0
    assert entries(workspace) == []


def test_a_bad_variable_is_named(tmp_path: Path) -> None:
    lines = []
    for name, option in ALL.items():
        bad = BAD[name] if option.convert else ["2"]
        if option.has_variable and bad:  # else every text is good
            lines.append((f"{option.variable}={bad[0]} ", ["true"], {option.variable: bad[0]}))
    refused(lines, tmp_path)


PLACES = [
    "--stdout=/proc/none/x",
    "--stderr=/proc",
    "--stats=/proc/none/x",
    "--output=/proc/none/x",
    "--env-file=none",
    "--arg-file=none",
    "--stable-status-file=none",
    "--volatile-status-file=none",
    "--output-file=/proc/none/x",
    "--touch-file=/proc/none/x",
]


def test_a_file_that_cannot_be_is_named_with_its_option(tmp_path: Path) -> None:
    refused([(option.partition("=")[0], [option, "--", "true"], {}) for option in PLACES], tmp_path)


async def test_a_file_that_cannot_be_is_named_in_a_request_too(worker: Worker) -> None:
    async with worker() as host:
        for option in PLACES:
            answer = await host.work((option, "--", "true"))
            assert answer.exit_code == 125
            expect_one_sentence(answer.output, option.partition("=")[0])
        assert (await host.finish()).exit_code == 0


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_who_asks_and_does_not_listen_gets_no_traceback(option: str) -> None:
    for shell, code in (
        ('"$@" >&-', 0),
        ('"$@" >/dev/full', 125),
        ('LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 "$@" | cat', 0),
    ):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", shell, "bash", *WRAPPER, option],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (shell, done.stderr)
        if code:
            expect_one_sentence(done.stderr, "stdout")
        else:
            assert not done.stderr


def test_a_reader_that_is_gone_is_nobodys_fault() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run([*WRAPPER, "--help"], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("seconds", ["10000000", "1e300"])
def test_a_limit_that_is_longer_than_a_kernel_counts_is_none(seconds: str) -> None:
    done = subprocess.run(
        [*WRAPPER, f"--timeout={seconds}", f"--kill-delay={seconds}", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
