"""What is measured: a workspace of compile units, from whatever a user names. Who builds it, and how often, is decided elsewhere.

a directory with Cargo.toml    imported, once for each profile
a directory with units.json    an import: copied, because outputs and edits go into it
a file that ends in .json      a graph of one's own
chain:20, fan:8:0.3 ...        a shape
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from headstart_worker.bench import graphs, synthetic
from headstart_worker.cargo import importer, workspace
from headstart_worker.cargo.units import Units, decode
from headstart_worker.progress import Progress
from headstart_wrapper.errors import RequestError

DEV: Final = "dev"
RELEASE: Final = "release"
SYNTHETIC: Final = "synthetic"

_BUILT: Final = ("out", "bazel-*")
"""What older builds left in an import."""


@frozen
class Subject:
    """A workspace, ours to write to.

    Attributes:
        name: for people.
        profile: DEV, RELEASE or SYNTHETIC.
        units: what is built.
        workspace: where.
        source: the Cargo workspace that it was imported from; None: there is none, or nobody knows it.
    """

    name: str
    profile: str
    units: Units
    workspace: Path
    source: Path | None = None


def subjects(
    named: str,
    place: Path,
    *,
    profiles: Sequence[str] = (),
    only: Collection[str] = (),
    without: Collection[str] = (),
    progress: Progress,
) -> list[Subject]:
    """One for each profile.

    Args:
        named: see the module.
        place: an existing directory for workspaces.
        profiles: DEV, RELEASE; none: DEV for a Cargo workspace, else what it is.
        only: packages that are built, with what they need; all when empty.
        without: packages that are not, nor is what needs them.
        progress: is told how far it is.

    Raises:
        RequestError: there is no such thing, or it has no such profile or package.
    """
    path = Path(named)
    if (path / "Cargo.toml").is_file() and not (path / workspace.UNITS).is_file():
        made = [_imported(path, place, profile, progress) for profile in profiles or (DEV,)]
    elif (path / workspace.UNITS).is_file():
        made = [_copied(path, place, profiles)]
    else:
        made = [_written(named, path, place, profiles)]
    return [
        Subject(one.name, one.profile, graphs.cut(one.units, only, without), one.workspace, one.source)
        for one in made
    ]


def _imported(source: Path, place: Path, profile: str, progress: Progress) -> Subject:
    out = place / profile
    units = importer.import_cargo(source, out, release=profile == RELEASE, progress=progress)
    return Subject(source.resolve().name, profile, units, out, source.resolve())


def _copied(source: Path, place: Path, profiles: Sequence[str]) -> Subject:
    units = decode((source / workspace.UNITS).read_text("utf-8", errors="surrogateescape"))
    profile = _profile(units)
    if set(profiles) - {profile}:
        raise RequestError(
            f"{source} was imported in profile {profile}; name the Cargo workspace that it came from for --profile={','.join(profiles)}"
        )
    out = place / profile
    shutil.copytree(source, out, symlinks=True, ignore=shutil.ignore_patterns(*_BUILT))
    return Subject(source.resolve().name, profile, units, out)


def _profile(units: Units) -> str:
    """Cargo passes the level of optimization of a release build, and none for a plain one."""
    optimized = sum("opt-level=" in " ".join(unit.args) for unit in units)
    return RELEASE if 2 * optimized > len(units) else DEV


def _written(named: str, path: Path, place: Path, profiles: Sequence[str]) -> Subject:
    if profiles:
        raise RequestError(f"{named} is no Cargo workspace, so it has no profiles; leave --profile out")
    if path.is_dir():
        raise RequestError(
            f"there is neither a Cargo.toml nor a {workspace.UNITS} in {path}: name a Cargo workspace"
        )
    if path.suffix == ".json":
        shape = synthetic.from_json(_text(path))
    elif ":" not in named:
        raise RequestError(
            f"{named} is no directory and no .json file: name a Cargo workspace, an import of one, a graph, or a shape such as chain:20"
        )
    else:
        shape = synthetic.from_name(named)
    out = place / SYNTHETIC
    return Subject(
        named if path.suffix != ".json" else shape.name, SYNTHETIC, synthetic.write(shape, out), out
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise RequestError(f"the graph {path} cannot be read: {error}") from error
