"""Cargo itself, on the same units.

Before each build exactly their outputs and fingerprints are removed, and after it Cargo's own messages must tell that exactly those were
compiled. Build scripts and what they made stay as the first build left them.

It builds a copy of the sources, because edits need some that may be written: of the workspace, and of the packages that the units are
made of in a Cargo home of its own, whose rest are links to the real one. So packages have the same identities, and Cargo the same flags.
"""

from __future__ import annotations

import json
import os
import posixpath
import shlex
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from attrs import frozen

from headstart_worker import timeline
from headstart_worker.bench import graphs, hosts
from headstart_worker.bench.hosts import Phases, Setting
from headstart_worker.bench.records import Taken
from headstart_worker.bench.sampling import Watch
from headstart_worker.cargo.capture import find_toolchain
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.running import running
from headstart_worker.cargo.units import BINARY, LIBRARY, PROC_MACRO, Unit, Units
from headstart_wrapper.errors import RequestError


@final
class CargoPeer:
    """See `hosts.BenchHost`."""

    name = "cargo"
    mode: Mode | None = None
    same_bytes_as = "cargo"
    traced: timeline.Build | None = None

    def __init__(self, setting: Setting) -> None:
        """Copies nothing yet.

        Raises:
            RequestError: nobody knows where the Cargo workspace is.
            CommandNotFoundError: there is no Cargo.
        """
        if setting.source is None:
            raise RequestError("Cargo can only build a Cargo workspace: name one instead of an imported one")
        self.phases: Phases = {}
        self._setting = setting
        self._source = setting.source.resolve()
        self._place = setting.scratch / self.name
        self._target = self._place / "target" / ("release" if setting.release else "debug")
        self._toolchain = find_toolchain(self._source)
        self._copy = _Copy(self._source, Path(), {})  # until it is prepared
        self._stale: set[str] = set()

    def prepare(self) -> None:
        """See `hosts.BenchHost`."""
        self._place.mkdir(parents=True)
        self._copy = _copied(self._source, self._toolchain.cargo, self._setting.units, self._place)
        self._run()
        for unit in self._setting.units:
            if not self._fingerprint(unit).is_dir():
                raise RequestError(
                    f"Cargo builds {unit.package} {unit.version} otherwise than when the workspace was imported "
                    f"({self._fingerprint(unit).name} is not there); import it again, or choose other packages"
                )

    def clean(self) -> None:
        """See `hosts.BenchHost`."""
        self._forget(unit.name for unit in self._setting.units)

    @contextmanager
    def edited(self, unit: Unit) -> Iterator[None]:
        """See `hosts.BenchHost`.

        Raises:
            RequestError: its sources are not ours to write.
        """
        above = {unit.name, *graphs.dependents(self._setting.units)[unit.name]}
        if self._stale - above:
            self.build()
        with hosts.edit(self._copy.root(unit), unit):
            self._forget(above)
            try:
                yield
            finally:
                self._forget(above)

    def build(self) -> Taken:
        """See `hosts.BenchHost`."""
        with Watch() as watch:
            began = time.monotonic()
            said = self._run()
            wall = time.monotonic() - began
        units = [self._setting.units[name] for name in self._stale]
        compiled = _compiled(said)
        odd = compiled - Counter(unit.crate_name for unit in units)
        odd.update(unit.crate_name for unit in units if not self._fingerprint(unit).is_dir())
        if odd:
            raise RequestError(
                f"Cargo compiled {compiled.total()} units where the others compile {len(units)}, and {min(odd)} is one that differs; "
                "leave its package out with --without"
            )
        self._stale.clear()
        return hosts.taken(self, wall, watch.seen, actions=compiled.total(), compilers=compiled.total())

    def outputs(self) -> Mapping[str, Path]:
        """See `hosts.BenchHost`."""
        return {
            path.name: path
            for unit in self._setting.units
            for path in self._made(unit)
            if path.suffix != ".d"
        }

    def close(self) -> None:
        """See `hosts.BenchHost`: there are none between builds."""

    def _fingerprint(self, unit: Unit) -> Path:
        return self._target / ".fingerprint" / f"{unit.package}{unit.extra_filename}"

    def _made(self, unit: Unit) -> list[Path]:
        stem, directory = f"{unit.crate_name}{unit.extra_filename}", self._target / "deps"
        names = {
            LIBRARY: [f"lib{stem}.rmeta", f"lib{stem}.rlib"],
            PROC_MACRO: [f"lib{stem}.so"],
        }.get(unit.kind, [stem])
        return [directory / name for name in (*names, f"{stem}.d")]

    def _forget(self, names: Iterable[str]) -> None:
        """Makes units dirty."""
        for name in names:
            unit = self._setting.units[name]
            self._stale.add(name)
            shutil.rmtree(self._fingerprint(unit), ignore_errors=True)
            for path in self._made(unit):
                path.unlink(missing_ok=True)

    def _run(self) -> str:
        """Lets Cargo build, and returns its messages."""
        setting = self._setting
        command = [self._toolchain.cargo, "build", "--offline", f"-j{setting.jobs}", "--message-format=json"]
        command += ["--release"] if setting.release else []
        command += _selection(setting.units, self._copy.members)
        env = {
            **hosts.cargo_environment(),
            "CARGO_HOME": str(self._copy.home),
            "CARGO_INCREMENTAL": "0",
            "CARGO_BUILD_BUILD_DIR": str(self._target.parent),
            "CARGO_TARGET_DIR": str(self._target.parent),
            "RUSTC": self._toolchain.rustc,
            "RUSTC_WRAPPER": "",  # which overrules Cargo's configuration, as the import does
            "RUSTC_WORKSPACE_WRAPPER": "",  # as in the import: even an empty one is hashed into the workspace's crates
        }
        with tempfile.TemporaryFile() as messages:
            with running(command, cwd=self._copy.source, env=env, stdout=messages) as cargo:
                _, said = cargo.communicate()
            if cargo.returncode:
                shown = said.decode(errors="replace")[-4000:]
                raise RequestError(
                    f"{shlex.join(command)} failed, so nothing can be compared; it said:\n{shown}"
                )
            messages.seek(0)
            return messages.read().decode()


def _selection(units: Units, members: Collection[str]) -> list[str]:
    """What Cargo is told to build: packages, and the kinds of targets.

    The workspace's own packages, because the import named them all by naming none, and a macro that is named gets another profile than one
    that is only needed; and of the others those that no unit needs.
    """
    needed = graphs.dependents(units)
    named = [unit for unit in units if unit.package in members or not needed[unit.name]]
    kinds = {"--bins" if unit.kind == BINARY else "--lib" for unit in named}
    packages = sorted({f"--package={unit.package}@{unit.version}" for unit in named})
    return [*packages, *(kinds if len(kinds) == 1 else ())]


def _compiled(messages: str) -> Counter[str]:
    """The crates that Cargo tells to have compiled just now."""
    found: Counter[str] = Counter()
    for line in messages.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and not message["fresh"]:
            found[message["target"]["name"].replace("-", "_")] += 1
    return found


@frozen
class _Copy:
    """Sources that Cargo builds here.

    Attributes:
        source: the directory in which Cargo is called.
        home: Cargo's home.
        members: by name, the directories of the workspace's own packages.
    """

    source: Path
    home: Path
    members: Mapping[str, Path]

    def root(self, unit: Unit) -> Path:
        """A unit's crate root, to be written to.

        Raises:
            RequestError: it is not ours.
        """
        package = posixpath.basename(unit.directory)
        of_registries = [place / package for place in (self.home / "registry" / "src").iterdir()]
        places = [self.members[unit.package]] if unit.package in self.members else of_registries
        for place in places:
            root = place / posixpath.relpath(unit.root, unit.directory)
            if root.is_file() and not place.is_symlink():
                return root
        raise RequestError(
            f"{unit.package} cannot be edited for Cargo: it comes from no registry; edit another crate"
        )


def _copied(source: Path, cargo: str, units: Units, place: Path) -> _Copy:
    """Makes the copies.

    Args:
        source: a Cargo workspace, or one of its members.
        cargo: the program.
        units: whose packages may be edited.
        place: a directory for them.
    """
    found = _metadata(source, cargo)
    workspace = Path(found["workspace_root"])
    copy = place / "workspace"
    left_out = {workspace / ".git", Path(found["target_directory"])}
    shutil.copytree(
        workspace,
        copy,
        symlinks=True,
        ignore=lambda directory, names: {name for name in names if Path(directory, name) in left_out},
    )
    members = {
        package["name"]: copy / _inside(workspace, Path(package["manifest_path"]).parent)
        for package in found["packages"]
    }
    real = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo").resolve()
    _make_home(place / "home", real, {posixpath.basename(unit.directory) for unit in units})
    return _Copy(copy / source.relative_to(workspace), place / "home", members)


def _inside(workspace: Path, member: Path) -> Path:
    if not member.is_relative_to(workspace):
        raise RequestError(
            f"{member} belongs to the workspace and lies outside of {workspace}, so Cargo cannot be given a copy; compare without it"
        )
    return member.relative_to(workspace)


def _metadata(source: Path, cargo: str) -> dict[str, Any]:
    """What Cargo says of a workspace's own packages."""
    command = [cargo, "metadata", "--offline", "--no-deps", "--format-version=1"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RequestError(f"{shlex.join(command)} failed in {source}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _make_home(home: Path, real: Path, own: Collection[str]) -> None:
    """A Cargo home that is the real one but for the unpacked packages of these names, which are copies; logins stay behind."""
    (home / "registry" / "src").mkdir(parents=True)
    for name in ("config", "config.toml"):
        if (real / name).is_file():
            shutil.copy(real / name, home)
    for name in ("git", "registry/cache", "registry/index"):
        if (real / name).is_dir():
            (home / name).symlink_to(real / name)
    for registry in (real / "registry" / "src").glob("*"):
        copy = home / "registry" / "src" / registry.name
        copy.mkdir()
        for package in registry.iterdir():
            if package.name in own:
                shutil.copytree(package, copy / package.name, symlinks=True)
            else:
                (copy / package.name).symlink_to(package)
