"""The build tools that the demonstration can be carried out by: real Bazel, or the embedded host."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, final

import trio
from attrs import frozen

from headstart_worker import timeline
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import Unit, Units
from headstart_worker.digests import Digests
from headstart_worker.model.plans import REQUESTS_PER_JOB
from headstart_worker.progress import Progress
from headstart_worker.testing import BuildReport, FakeHost, build
from headstart_wrapper.errors import MachineError


@frozen
class Measured:
    """One build, from outside and inside.

    Attributes:
        mode: how the units were compiled.
        scenario: "clean" or "edit".
        wall: seconds that the host took, its own work included.
        build: what the workers' traces tell.
    """

    mode: Mode
    scenario: str
    wall: float
    build: timeline.Build


class Host(Protocol):
    """Builds all units of a workspace."""

    name: str

    def clean(self, mode: Mode) -> None:
        """Forgets all outputs, and does what needs no compiler in advance."""

    def build(self, mode: Mode, scenario: str) -> Measured:
        """Builds what is not up to date."""

    def close(self) -> None:
        """Ends every process that it started."""


@final
class BazelHost:
    """Real Bazel, with the rules of `bazel/` and an output base of its own."""

    name = "Bazel"

    def __init__(self, bazel: str, workspace: Path, scratch: Path, *, jobs: int, progress: Progress) -> None:
        self._bazel = bazel
        self._workspace = workspace
        self._scratch = scratch
        self._traces = scratch / "traces"
        self._jobs = jobs
        self._progress = progress
        self._show = progress.is_live

    def _run(self, command: str, *flags: str) -> None:
        base = [self._bazel, f"--output_user_root={self._scratch / 'bazel'}", command, *flags]
        output = None if self._show else subprocess.PIPE
        with self._progress.hidden():  # Bazel draws its own
            done = subprocess.run(
                base,
                cwd=self._workspace,
                env={**os.environ, "HEADSTART_PYTHON": sys.executable},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                check=False,
            )
        if done.returncode:
            shown = (done.stdout or b"").decode(errors="replace")[-4000:]
            raise MachineError(
                f"bazel {command} failed with exit code {done.returncode}; its output ends with\n{shown}"
            )

    def _flags(self, mode: Mode) -> list[str]:
        trace = f"--trace={self._traces}/%p.json"
        return [
            f"--@headstart//bazel/rust:mode={mode}",
            f"--jobs={self._jobs}",
            f"--experimental_worker_max_multiplex_instances=Headstart={self._jobs}",
            "--show_result=0",
            *(["--color=yes"] if self._show else ["--noshow_progress"]),
            # Both mnemonics alike: the two halves of a crate must reach one process.
            *(f"--strategy={mnemonic}=worker" for mnemonic in ("Rust", "RustMetadata")),
            *(f"--worker_extra_flag={mnemonic}={trace}" for mnemonic in ("Rust", "RustMetadata")),
            "//:all_crates",
        ]

    def clean(self, mode: Mode) -> None:
        """See `Host`."""
        self._run("clean")
        self._run("build", "--nobuild", *self._flags(mode))

    def build(self, mode: Mode, scenario: str) -> Measured:
        """See `Host`."""
        self._traces.mkdir(parents=True, exist_ok=True)
        since, began = time.time(), time.monotonic()
        self._run("build", *self._flags(mode))
        wall = time.monotonic() - began
        traces = [path.read_text("utf-8") for path in sorted(self._traces.glob("*.json"))]
        return Measured(mode, scenario, wall, timeline.read_build(traces, since=since))

    def close(self) -> None:
        """See `Host`."""
        self._run("shutdown")


@final
class EmbeddedHost:
    """`testing.FakeHost` with its scheduler: what remains of a build tool when there is none."""

    name = "the embedded host"

    def __init__(
        self, units: Units, workspace: Path, scratch: Path, *, jobs: int, progress: Callable[[str], None]
    ) -> None:
        self._units = units
        self._workspace = workspace
        self._trace = scratch / "embedded.json"
        self._state = scratch / "state"
        self._jobs = jobs
        self._progress = progress
        self._digests = Digests()
        self._built: dict[str, tuple[bytes, ...]] = {}

    def clean(self, mode: Mode) -> None:
        """See `Host`."""
        self._built.clear()
        self._progress(f"cleaned for mode {mode}")

    def build(self, mode: Mode, scenario: str) -> Measured:
        """See `Host`."""
        sources = {unit.name: self._sources(unit) for unit in self._units}
        unchanged = {name for name, digests in sources.items() if self._built.get(name) == digests}
        up_to_date = {
            unit.name
            for unit in self._units
            if unit.name in unchanged and all(needed.name in unchanged for needed in self._units.needed(unit))
        }

        async def run() -> BuildReport:
            options = (f"--jobs={self._jobs}", f"--trace={self._trace}", f"--state-dir={self._state}")
            async with FakeHost(options=options, cwd=self._workspace) as host:
                return await build(
                    self._units,
                    workspace=self._workspace,
                    outroot="out",
                    mode=mode,
                    jobs=REQUESTS_PER_JOB * self._jobs,
                    host=host,
                    up_to_date=up_to_date,
                )

        report = trio.run(run)
        if report.failures:
            first = report.failures[0]
            raise MachineError(
                f"{len(report.failures)} requests failed, first that of {first.unit}:\n{first.output}"
            )
        self._built = sources
        build_ = timeline.read_build([self._trace.read_text("utf-8")])
        return Measured(mode, scenario, report.seconds, build_)

    def _sources(self, unit: Unit) -> tuple[bytes, ...]:
        return tuple(self._digests.of_file(str(self._workspace / path)) for path in unit.inputs)

    def close(self) -> None:
        """See `Host`."""
