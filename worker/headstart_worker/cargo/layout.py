"""Where everything of a Cargo build lies in the generated workspace. Pure: it moves names, `workspace` moves files.

A crate of the source tree goes to `crates/<name>`, one from a registry or from git to `vendor/<name>-<version>`; what a build script wrote
to `<directory of its package>/out-<hash>`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from attrs import field, frozen

# After a path: the end of it, or of a component.
_BOUNDARY = r"(?=$|[/:;,\s\"'])"


@frozen
class Package:
    """One Cargo package.

    Attributes:
        name: Cargo's name of it.
        version: Cargo's version of it.
        root: absolute directory of its Cargo.toml.
        local: it is part of the source tree (or a path dependency), not of a registry.
    """

    name: str
    version: str
    root: str
    local: bool


@frozen
class Layout:
    """The map from a machine's directories to the workspace's.

    Attributes:
        packages: absolute directory of a package to its directory in the workspace.
        out_dirs: absolute OUT_DIR to its directory in the workspace.
    """

    packages: Mapping[str, str]
    out_dirs: Mapping[str, str]
    _pattern: re.Pattern[str] = field(init=False, repr=False, eq=False)

    @_pattern.default
    def _compile_pattern(self) -> re.Pattern[str]:
        longest_first = sorted({**self.packages, **self.out_dirs}, key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")" + _BOUNDARY)

    def relocate(self, text: str, *, prefix: str = "") -> str:
        """Replaces every known absolute directory in a text by its place in the workspace.

        Args:
            text: an argument, or a value of the environment.
            prefix: put before each place: empty for paths relative to the workspace, `${pwd}/` where they must be absolute.
        """
        if not self.packages:
            return text
        return self._pattern.sub(lambda found: prefix + self._directory(found[1]), text)

    def _directory(self, path: str) -> str:
        return self.out_dirs.get(path) or self.packages[path]

    def place(self, path: str, package: str) -> str | None:
        """The workspace's path of a file that a crate read.

        Args:
            path: absolute and normal.
            package: absolute directory of the package that the crate belongs to.

        Returns:
            None for a file that is neither in the package, nor beside it, nor in an OUT_DIR: it stays where it is.
        """
        for out_dir, directory in self.out_dirs.items():
            if path.startswith(out_dir + "/"):
                return directory + path[len(out_dir) :]
        directory = self.packages[package]
        if path.startswith(package + "/"):
            return directory + path[len(package) :]
        if not directory.startswith("crates/") or posixpath.commonpath((path, package)) == "/":
            return None
        # `include_str!("../../README.md")` is relative to the source file, so a file beside the package stays beside it.
        beside = posixpath.normpath(posixpath.join(directory, posixpath.relpath(path, package)))
        return None if beside.startswith("../") else beside


def plan(packages: Iterable[Package], out_dirs: Mapping[str, str]) -> Layout:
    """Gives every package and every OUT_DIR its place; the same input gives the same places on every machine.

    Args:
        packages: each directory once.
        out_dirs: absolute OUT_DIR to the absolute directory of the package whose build script wrote it.
    """
    places: dict[str, str] = {}
    for package in sorted(packages, key=lambda p: (p.name, p.version, p.root)):
        wanted = f"crates/{package.name}" if package.local else f"vendor/{package.name}-{package.version}"
        place, number = wanted, 1
        while place in places.values():  # one version from two sources
            number += 1
            place = f"{wanted}-{number}"
        places[package.root] = place
    return Layout(
        packages=places,
        out_dirs={path: f"{places[package]}/out-{_hash(path)}" for path, package in out_dirs.items()},
    )


def _hash(out_dir: str) -> str:
    """Cargo's hash of the build script's run, from `.../build/<package>-<hash>/out`."""
    return posixpath.basename(posixpath.dirname(out_dir)).rpartition("-")[2]
