"""What one embedded host or worker has built below the workspace, and what of it is not up to date: the memory of a build tool."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import final

from headstart_worker.bench import graphs, hosts, outputs
from headstart_worker.bench.hosts import Setting
from headstart_worker.bench.sampling import Seen, Watch
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import Unit
from headstart_worker.digests import Digests
from headstart_worker.testing import BuildReport
from headstart_wrapper.errors import RequestError


@final
class OutTree:
    """The outputs of one host.

    Attributes:
        root: their directory, relative to the workspace.
    """

    def __init__(self, setting: Setting, name: str, mode: Mode) -> None:
        """Nothing is built yet.

        Args:
            setting: of the host.
            name: the host's.
            mode: how it builds.
        """
        # Another turn may build in the same workspace, between two of our rounds.
        turn, host = (re.sub(r"[^\w+.-]", "_", word) for word in (setting.scratch.name, name))
        self.root = f"out/{turn}/{host}"
        self._setting = setting
        self._mode: Mode = mode
        self._digests = Digests()
        self._built: dict[str, tuple[object, ...]] = {}

    def build(self, host: str, run: Callable[[Collection[str]], BuildReport]) -> tuple[BuildReport, Seen]:
        """Builds what is stale, watched.

        Args:
            host: who builds.
            run: builds all units but those of the names that it is given, which are up to date.

        Raises:
            RequestError: it built something else than it should.
        """
        stale = self._stale()
        with Watch() as watch:
            report = run({unit.name for unit in self._setting.units} - stale)
        self._is_built(report, host, stale)
        return report, watch.seen

    def _stale(self) -> set[str]:
        """The names of the units that a build has to compile: what they are made of is not what it was, or they are not built."""
        return {name for name, key in self._keys().items() if self._built.get(name) != key}

    def _is_built(self, report: BuildReport, host: str, expected: Collection[str]) -> None:
        if report.failures:
            first = report.failures[0]
            raise RequestError(
                f"{host} cannot build {first.unit}, so nothing can be compared; leave its package out with --without. "
                f"It said:\n{first.output}"
            )
        if report.units.keys() != set(expected):
            raise RequestError(
                f"{host} built {len(report.units)} units where {len(expected)} were to be built"
            )
        self._built = self._keys()

    def clean(self) -> None:
        """Removes everything."""
        shutil.rmtree(self._setting.workspace / self.root, ignore_errors=True)
        self._built.clear()

    @contextmanager
    def edited(self, unit: Unit, build: Callable[[], object]) -> Iterator[None]:
        """See `hosts.BenchHost.edited`.

        Args:
            unit: what to edit.
            build: builds what is stale; called when something is that the edit does not concern.
        """
        above = {unit.name, *graphs.dependents(self._setting.units)[unit.name]}
        if self._stale() - above:
            build()
        with hosts.edit(self._setting.workspace / unit.root, unit):
            try:
                yield
            finally:
                self._forget(above)

    def outputs(self) -> Mapping[str, Path]:
        """See `hosts.BenchHost.outputs`."""
        return outputs.files(self._setting.units, self._setting.workspace / self.root, self._mode)

    def _keys(self) -> dict[str, tuple[object, ...]]:
        """Of each unit what its sources and those of all below it hold."""
        keys: dict[str, tuple[object, ...]] = {}
        for unit in self._setting.units:
            own = (
                self._digests.of_file(str(self._setting.workspace / path))
                for path in (unit.root, *unit.inputs)
            )
            keys[unit.name] = (*own, *(hash(keys[below.name]) for below in self._setting.units.direct(unit)))
        return keys

    def _forget(self, names: Collection[str]) -> None:
        for name in names:
            self._built.pop(name, None)
