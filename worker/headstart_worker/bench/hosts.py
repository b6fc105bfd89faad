"""Who can be measured: what all hosts have in common. How they are made from their names, `competitors` knows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from attrs import frozen

from headstart_worker import timeline
from headstart_worker.bench.records import Taken
from headstart_worker.bench.sampling import Seen
from headstart_worker.cargo import commands
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import LIBRARY, Unit, Units

WARM_UP: Final = "true"
"""A command that makes a worker ready: it has started, and run something, before the clock does."""

Phases = Mapping[str, tuple[float, float]]
"""By unit's name, seconds of its compile: until its early output, and of all of it; see `graphs.longest_path`."""


@frozen
class Setting:
    """What is the same for all hosts of an experiment.

    Attributes:
        units: what is built; no build scripts.
        workspace: the imported workspace, ours to write to: outputs go below it, edits change its sources for a while.
        scratch: a directory for everything else.
        jobs: compilers that may run at once, and tokens that they share for their threads.
        source: the Cargo workspace that it was imported from; None: it has none, or nobody knows it.
        release: whether that was Cargo's release profile.
    """

    units: Units
    workspace: Path
    scratch: Path
    jobs: int
    source: Path | None = None
    release: bool = False


class BenchHost(Protocol):
    """Builds all units, in a way of its own, as often as it is asked to.

    Attributes:
        name: see `Taken.mode`.
        mode: in which way, where it is one of ours.
        same_bytes_as: hosts with the same word here make the same files.
        phases: what the last build told of each unit that it compiled; empty where it tells nothing.
        traced: what the last build's traces tell; None where there are none.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def mode(self) -> Mode | None:
        """See above."""

    @property
    def same_bytes_as(self) -> str:
        """See above."""

    @property
    def phases(self) -> Phases:
        """See above."""

    @property
    def traced(self) -> timeline.Build | None:
        """See above."""

    def prepare(self) -> None:
        """Does once what is not to be timed: makes directories, starts servers, copies sources, lets a build tool build what is never measured."""

    def clean(self) -> None:
        """Makes the next build compile every unit."""

    def edited(self, unit: Unit) -> AbstractContextManager[None]:
        """Inside, a unit's source has one public function more, and nothing is built of it and of what depends on it; the rest is."""

    def build(self) -> Taken:
        """Builds what has to be built; the outputs' digest is left empty.

        Raises:
            HeadstartError: it failed, or built something else than it should.
        """

    def outputs(self) -> Mapping[str, Path]:
        """The files of all units, by names that are the same for all hosts that make the same."""

    def close(self) -> None:
        """Ends every process that it started."""


def bytes_of(mode: Mode) -> str:
    """What outputs of a mode are equal to, see `BenchHost`: hollow's differ, because rustc hashes its environment."""
    return "hollow" if mode == "hollow" else "one run"


def taken(
    host: BenchHost, wall: float, seen: Seen, *, actions: int, compilers: int, joins: int | None = None
) -> Taken:
    """One build's record."""
    return Taken(
        mode=host.name,
        wall=wall,
        user=seen.user,
        system=seen.system,
        peak_compilers=seen.peak_compilers,
        peak_memory=seen.peak_memory,
        actions=actions,
        compilers=compilers,
        joins=joins,
        outputs="",
        load=seen.load,
        stolen=seen.stolen,
    )


_OTHERS: Final = (
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
)
"""What somebody around us may have set, and only some hosts would heed: other jobservers, and programs in front of the compiler."""


def environment() -> dict[str, str]:
    """The environment of every host whose commands have Cargo's flags in them already."""
    return {
        name: value
        for name, value in cargo_environment().items()
        if not name.startswith(("CARGO_PROFILE_", "CARGO_ENCODED_RUSTFLAGS")) and name != "RUSTFLAGS"
    }


def cargo_environment() -> dict[str, str]:
    """The environment of Cargo: what it makes flags of is as in the import."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _OTHERS and not name.startswith("HEADSTART_")
    }


@contextmanager
def edit(source: Path, unit: Unit) -> Iterator[None]:
    """One function more in a crate's root, public where the crate can have such: its interface changes, so all that depends on it is stale.

    Afterwards the file is as it was, its time too, by which Cargo goes.
    """
    before, status = source.read_bytes(), source.stat()
    visible = "#[doc(hidden)]\npub " if unit.kind == LIBRARY else "#[allow(dead_code)]\n"
    source.write_bytes(before + f"\n{visible}fn headstart_bench_edit() {{}}\n".encode())
    try:
        yield
    finally:
        source.write_bytes(before)
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


def phases(build: timeline.Build, units: Units, mode: Mode) -> Phases:
    """What traces tell of each unit's compile; see `graphs.longest_path`.

    Args:
        build: made of these units alone.
        units: some of which may not have been compiled.
        mode: of all of them.
    """
    compiles: dict[str, list[timeline.Compile]] = {}
    for compile_ in build.compiles:  # in the order of their starts: the early run of two is the first
        compiles.setdefault(compile_.label, []).append(compile_)
    found = {}
    for unit in units:
        labels = {path.rpartition("/")[2] for path in commands.outputs(unit, "", mode).all}
        runs = sorted((run for label in labels for run in compiles.get(label, ())), key=lambda run: run.start)
        if not runs:
            continue
        first = runs[0]
        early = first.end if len(runs) > 1 or first.early is None else first.early
        found[unit.name] = early - first.start, runs[-1].seconds
    return found
