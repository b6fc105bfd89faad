"""Breaks the code on purpose, one rule at a time, and sees that the rule's tests fail: README.md tells how.

A mutant is *killed* when one of its tests fails, at its end too (a test whose worker leaves a process behind fails there),
or does not come to an end. It has *survived* when they all pass. Anything else (a test that cannot be collected, no test at
all) proves nothing and counts as bad as a survivor.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, final
from xml.etree import ElementTree as ET

from attrs import frozen

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutants.table import ROOT, Mutant, find_tests, mutants

_COPIED: Final = ("worker", "wrapper", "tests", "pyproject.toml")

_VARIABLE: Final = "HEADSTART_MUTANT"
"""What a run's processes inherit; those that were given another environment are known by their directory."""


_PASSED: Final = 0
_FAILED: Final = 1
"""What pytest exits with; 2 is a file that cannot be imported, 5 no test at all."""


@frozen
class Verdict:
    """How the tests of one copy went.

    Attributes:
        word: "killed", "survived", or "broken" when the run proves nothing.
        detail: the first test that failed, or what pytest said.
    """

    word: str
    detail: str


@final
class Copy:
    """A copy of the code with a virtual environment of its own; a context manager."""

    def __init__(self) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="mutant-"))
        self._tag = uuid.uuid4().hex
        self.root = self._scratch / "copy"

    def __enter__(self) -> Copy:
        for name in _COPIED:
            source, target = ROOT / name, self.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
            else:
                shutil.copy2(source, target)
        self._make_environment()
        return self

    def __exit__(self, *_: object) -> None:
        self._kill_leftovers()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _make_environment(self) -> None:
        """Not PYTHONPATH: some tests start workers without any environment, and those must import the copy too.

        The installed packages follow by path, so the file that makes our own editable is not read there.
        """
        environment = self._scratch / "venv"
        venv.EnvBuilder(symlinks=True).create(environment)
        self._python = environment / "bin" / "python"
        installed = [path for path in sys.path if path.endswith("site-packages")]
        (packages,) = environment.glob("lib/python*/site-packages")
        places = [str(self.root / "worker"), str(self.root / "wrapper"), *installed]
        (packages / "copy.pth").write_text("".join(f"{place}\n" for place in places))
        command = (
            "import headstart_worker, headstart_wrapper as w; print(headstart_worker.__file__, w.__file__)"
        )
        for variables in (_inherited(), {}):
            shown = subprocess.run(
                [self._python, "-c", command],
                cwd="/",
                env=variables,
                capture_output=True,
                text=True,
                check=True,
            )
            if not all(place.startswith(str(self.root)) for place in shown.stdout.split()):
                raise RuntimeError(f"workers would import {shown.stdout} and not the copy in {self.root}")

    def run(self, tests: Sequence[str], timeout: float) -> Verdict:
        """Runs tests until the first fails.

        Args:
            tests: as pytest takes them.
            timeout: seconds after which the run counts as failed.
        """
        report, said = self._scratch / "report.xml", self._scratch / "said"
        report.unlink(missing_ok=True)
        command = [
            *(str(self._python), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not bazel"),
            *(f"--basetemp={self._scratch / 'tmp'}", f"--junitxml={report}", *tests),
        ]
        with said.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**_inherited(), _VARIABLE: self._tag},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                return Verdict("killed", f"no end within {timeout:g} s")
            finally:
                self._kill_leftovers()
                process.wait()
        if code == _PASSED:
            return Verdict("survived", "every test passed")
        failed = _failed(report) if code == _FAILED else ""
        return (
            Verdict("killed", failed)
            if failed
            else Verdict("broken", said.read_text("utf-8", "replace")[-2000:])
        )

    def _kill_leftovers(self) -> None:
        while left := list(self._processes()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)  # a killed process is there until its parent has reaped it

    def _processes(self) -> Iterator[int]:
        wanted = f"{_VARIABLE}={self._tag}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                here = entry.joinpath("cwd").readlink().is_relative_to(self._scratch)
                if here or wanted in entry.joinpath("environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def _inherited() -> dict[str, str]:
    """Our variables without those that bring other code in front of the copy's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _failed(report: Path) -> str:
    """The first test that failed, or found something wrong at its end; "" when none did."""
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        for problem in case:
            at_end = problem.tag == "error" and problem.get("message", "").startswith("failed on teardown")
            if problem.tag == "failure" or at_end:
                return case.get("name", "")
    return ""


def _judge(mutant: Mutant, timeout: float) -> tuple[Verdict, float]:
    """Breaks a copy and runs its tests; returns how that went and how many seconds it took."""
    began = time.monotonic()
    with Copy() as copy:
        path = copy.root / mutant.file
        try:
            path.write_text(mutant.broken(path.read_text("utf-8")), "utf-8")
        except (OSError, ValueError) as error:
            return Verdict("broken", str(error)), 0.0
        tests = find_tests(mutant.test)
        verdict = copy.run(tests, timeout) if tests else Verdict("broken", "there is no such test")
    return verdict, time.monotonic() - began


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a script


def main(arguments: Sequence[str]) -> int:
    """Runs the chosen mutants; returns 0 when every one was killed."""
    parser = argparse.ArgumentParser(description="Breaks the code on purpose and sees that its tests fail.")
    parser.add_argument("points", nargs="*", metavar="C38", help="points of the checklist (all)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (%(default)s)")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for one run (%(default)s)")
    options = parser.parse_args(arguments)
    chosen = [
        mutant
        for mutant in mutants()
        if not options.points or any(mutant.test.startswith(point) for point in options.points)
    ]
    tests = list(dict.fromkeys(test for mutant in chosen for test in find_tests(mutant.test)))
    if not tests:
        _say("no mutant, or no test for one: see tests/mutants/README.md")
        return 1
    with Copy() as copy:
        unbroken = copy.run(tests, options.timeout * len(tests))
    if unbroken.word != "survived":
        _say(f"the tests do not pass before anything is broken: {unbroken.detail}")
        return 1
    bad = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = pool.map(partial(_judge, timeout=options.timeout), chosen)
        for mutant, (verdict, seconds) in zip(chosen, verdicts, strict=True):
            bad += verdict.word != "killed"
            _say(
                f"{mutant.test.partition('_')[0]}  {verdict.word:8}  {seconds:5.1f} s  {mutant.why or mutant.file}: {verdict.detail}",
            )
    _say(f"{len(chosen)} mutants, {len(chosen) - bad} killed")
    return 1 if bad else 0


if __name__ == "__main__":
    # Told to end, it waits for the mutants that run, starts no more, and takes its copies away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
