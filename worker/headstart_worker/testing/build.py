"""Builds an imported Cargo workspace through a worker, scheduled as a build tool schedules it.

In every mode but "none" a library is two requests: its early one makes its dependents ready, its full one follows as soon as the
early one was answered (the early output is among its inputs, with its digest). Everything that links waits for code. Not a build
tool: it remembers nothing, so what is up to date the caller has to know.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import final

import trio
from attrs import define, field, frozen

from headstart_worker.cargo import commands
from headstart_worker.cargo.commands import Mode, Phase
from headstart_worker.cargo.units import Unit, Units
from headstart_worker.digests import MISSING, Digests
from headstart_worker.messages import Input, WorkResponse
from headstart_worker.testing.host import Works
from headstart_worker.testing.sandboxes import Sandboxes
from headstart_wrapper.errors import RequestError


@frozen
class Failure:
    """A request that went wrong.

    Attributes:
        unit: the unit's name.
        phase: "early", "full", or None for a whole job.
        exit_code: never 0.
        output: what the worker said.
    """

    unit: str
    phase: Phase | None
    exit_code: int
    output: str


@frozen
class UnitReport:
    """When things happened to one unit, in seconds since the build's start.

    Attributes:
        ready: its dependencies were there.
        started: its first request was sent.
        early: its early request was answered; None when it had none.
        ended: its last request was answered.
    """

    ready: float
    started: float
    early: float | None
    ended: float

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return self.ended - self.started


@frozen
class BuildReport:
    """What a build took.

    Attributes:
        seconds: wall time.
        requests: how many were sent.
        failures: in the order in which they came; units that need a failed one are not tried.
        units: the units that were built whole, by name.
    """

    seconds: float
    requests: int
    failures: tuple[Failure, ...]
    units: dict[str, UnitReport]


async def build(
    units: Units,
    *,
    workspace: Path,
    outroot: str,
    mode: Mode,
    jobs: int,
    host: Works,
    sandboxes: Sandboxes | None = None,
    up_to_date: Collection[str] = (),
) -> BuildReport:
    """Builds every unit that is not up to date.

    Args:
        units: of the imported workspace.
        workspace: its root, which must be the worker's directory when there are no sandboxes.
        outroot: directory of all outputs, relative to the workspace.
        mode: how libraries are compiled.
        jobs: requests that may be unanswered at once.
        host: a running worker's.
        sandboxes: in the worker's directory, of the workspace; each request then has one.
        up_to_date: names of units whose outputs, of this mode, are there and right.

    Raises:
        RequestError: a declared input does not exist.
        WorkerEndedError: the worker ended before the build.
    """
    run = _Build(units, workspace, outroot, mode, host, sandboxes, trio.CapacityLimiter(jobs))
    async with trio.open_nursery() as nursery:
        for unit in units:
            if unit.name in up_to_date:
                run.is_there(unit)
            else:
                nursery.start_soon(run.unit, unit)
    return BuildReport(run.clock(), run.requests, tuple(run.failures), run.reports)


@frozen
class _Progress:
    """One unit's milestones. Both are set at the unit's end however it ended; `made` tells whether it went well."""

    early: trio.Event = field(factory=trio.Event)
    full: trio.Event = field(factory=trio.Event)
    made: set[str] = field(factory=set)


@final
@define
class _Build:
    units: Units
    workspace: Path
    outroot: str
    mode: Mode
    host: Works
    sandboxes: Sandboxes | None
    slots: trio.CapacityLimiter
    requests: int = 0
    failures: list[Failure] = field(factory=list)
    reports: dict[str, UnitReport] = field(factory=dict)
    _digests: Digests = field(factory=Digests)
    _progress: dict[str, _Progress] = field(init=False)
    _began: float = field(factory=trio.current_time)

    def __attrs_post_init__(self) -> None:
        self._progress = {unit.name: _Progress() for unit in self.units}

    def clock(self) -> float:
        """Seconds since the build's start."""
        return trio.current_time() - self._began

    def is_there(self, unit: Unit) -> None:
        """Takes a unit as built."""
        progress = self._progress[unit.name]
        progress.made.update(("early", "full"))
        progress.early.set()
        progress.full.set()

    async def unit(self, unit: Unit) -> None:
        """Builds one unit when its dependencies are there."""
        progress = self._progress[unit.name]
        try:
            if await self._dependencies_made(unit):
                await self._compile(unit, progress)
        finally:
            progress.early.set()
            progress.full.set()

    async def _dependencies_made(self, unit: Unit) -> bool:
        for dependency in self.units.needed(unit):
            progress = self._progress[dependency.name]
            awaited = commands.awaited(dependency, unit, self.mode)
            await (progress.early if awaited == "early" else progress.full).wait()
            if awaited not in progress.made:
                return False
        return True

    async def _compile(self, unit: Unit, progress: _Progress) -> None:
        ready = self.clock()
        sent: list[float] = []
        early: float | None = None
        for phase in commands.phases(unit, self.mode):
            at = await self._request(unit, phase)
            if at is None:
                return
            sent.append(at)
            if phase == "early":
                early = self.clock()
                progress.made.add("early")
                progress.early.set()
        progress.made.update(("early", "full"))
        self.reports[unit.name] = UnitReport(ready, sent[0], early, self.clock())

    async def _request(self, unit: Unit, phase: Phase | None) -> float | None:
        """Sends one request; returns when it was sent, or None when it failed."""
        declared = commands.outputs(unit, self.outroot, self.mode).of(phase)
        async with self.slots:
            inputs = await trio.to_thread.run_sync(self._prepare, unit, phase, declared)
            lines = commands.request_lines(
                unit,
                self.units,
                mode=self.mode,
                phase=phase,
                outroot=self.outroot,
                rustc=self.units.rustc,
            )
            sent = self.clock()
            self.requests += 1
            response = await self._send(lines, inputs, declared)
        if response.exit_code != 0:
            self.failures.append(Failure(unit.name, phase, response.exit_code, response.output))
            return None
        return sent

    async def _send(self, lines: list[str], inputs: list[Input], outputs: tuple[str, ...]) -> WorkResponse:
        if self.sandboxes is None:
            return await self.host.work(lines, inputs)
        return await self.sandboxes.work(self.host, lines, inputs, outputs=outputs)

    def _prepare(self, unit: Unit, phase: Phase | None, declared: tuple[str, ...]) -> list[Input]:
        """What a build tool does before an action: old outputs go, directories come, inputs are hashed."""
        for path in declared:
            place = self.workspace / path
            place.unlink(missing_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
        paths = commands.request_inputs(unit, self.units, mode=self.mode, phase=phase, outroot=self.outroot)
        return [Input(path, self._digest(unit, path)) for path in paths]

    def _digest(self, unit: Unit, path: str) -> bytes:
        digest = self._digests.of_file(str(self.workspace / path))
        if digest == MISSING:
            raise RequestError(
                f"{unit.name} declares the input {path}, which is no file; import the workspace again"
            )
        return digest.hex().encode("ascii")
