"""The embedded host: `testing.build` through a worker of its own for each build, with sandboxes or without.

The worker has run a job before the clock does, because a build tool keeps its workers: its start and end are in the processor time, not in the
wall time. What the host does itself, in this process, is in the wall time and not in the processor time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, final

import trio

from headstart_worker import timeline
from headstart_worker.bench import hosts
from headstart_worker.bench.hosts import Phases, Setting
from headstart_worker.bench.out_tree import OutTree
from headstart_worker.bench.records import Taken
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import Unit
from headstart_worker.model.plans import REQUESTS_PER_JOB
from headstart_worker.testing import BuildReport, FakeHost, Sandboxes, build

SANDBOXED: Final = "+sandbox"
"""Ends the name of a mode with multiplex sandboxing."""


@final
class Embedded:
    """See `hosts.BenchHost`. `trace` is where the last build's trace lies."""

    def __init__(
        self,
        setting: Setting,
        mode: Mode,
        *,
        sandboxed: bool = False,
        name: str = "",
        options: tuple[str, ...] = (),
        requests_per_job: int = REQUESTS_PER_JOB,
    ) -> None:
        """Makes nothing yet.

        Args:
            setting: see there.
            mode: in which way.
            sandboxed: whether in multiplex sandboxes.
            name: what it is called; the mode and SANDBOXED when empty.
            options: more options of the worker.
            requests_per_job: requests in flight for each job.
        """
        self.name = name or mode + (SANDBOXED if sandboxed else "")
        self.mode: Mode = mode
        self.same_bytes_as = hosts.bytes_of(mode)
        self.phases: Phases = {}
        self.traced: timeline.Build | None = None
        self._setting = setting
        self._place = setting.scratch / self.name
        self.trace = self._place / "trace.json"
        self._options = (f"--jobs={setting.jobs}", f"--trace={self.trace}", *options)
        self._in_flight = requests_per_job * setting.jobs
        self._tree = OutTree(setting, self.name, mode)
        self._began = 0.0
        self._sandboxes = self._place / "worker" if sandboxed else None

    def prepare(self) -> None:
        """See `hosts.BenchHost`."""
        (self._sandboxes or self._place).mkdir(parents=True)

    def clean(self) -> None:
        """See `hosts.BenchHost`."""
        self._tree.clean()

    def edited(self, unit: Unit) -> AbstractContextManager[None]:
        """See `hosts.BenchHost`."""
        return self._tree.edited(unit, self.build)

    def build(self) -> Taken:
        """See `hosts.BenchHost`."""
        report, seen = self._tree.build(self.name, lambda up_to_date: trio.run(self._build, up_to_date))
        self.traced = timeline.read_build([self.trace.read_text("utf-8")], since=self._began)
        self.phases = hosts.phases(self.traced, self._setting.units, self.mode)
        return hosts.taken(
            self,
            report.seconds,
            seen,
            actions=report.requests,
            compilers=len(self.traced.compiles),
            joins=self.traced.joins if self.mode == "worker" else None,
        )

    async def _build(self, up_to_date: Collection[str]) -> BuildReport:
        setting = self._setting
        directory = self._sandboxes or setting.workspace
        options = (*self._options, f"--state-dir={self._place / 'state'}")
        async with FakeHost(options=options, cwd=directory, env=hosts.environment()) as host:
            await host.work(("--", hosts.WARM_UP))
            self._began = time.time()
            return await build(
                setting.units,
                workspace=setting.workspace,
                outroot=self._tree.root,
                mode=self.mode,
                jobs=self._in_flight,
                host=host,
                sandboxes=Sandboxes(directory, setting.workspace, slots=self._in_flight)
                if self._sandboxes
                else None,
                up_to_date=up_to_date,
            )

    def outputs(self) -> Mapping[str, Path]:
        """See `hosts.BenchHost`."""
        return self._tree.outputs()

    def close(self) -> None:
        """See `hosts.BenchHost`: nothing runs between builds."""
