"""The units of an imported build: one unit is one run of the compiler. The model, and its file `units.json`.

Pure. `importer` makes it, `commands` turns a unit into requests, `starlark` into targets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from attrs import asdict, field, frozen

from headstart_wrapper.errors import RequestError

VERSION = 1

LIBRARY = "lib"
PROC_MACRO = "proc-macro"
BINARY = "bin"
BUILD_SCRIPT = "build-script"


@frozen
class Extern:
    """A crate that a unit names.

    Attributes:
        name: how the unit calls it.
        unit: the unit that makes it; None for one of the compiler's own crates, such as `proc_macro`.
    """

    name: str
    unit: str | None = None


@frozen
class Unit:
    """One run of the compiler. Paths are relative to the workspace.

    Attributes:
        name: unique, and a Bazel target's name.
        package: the Cargo package's name.
        version: the Cargo package's version.
        directory: the package's directory, which is the Bazel package too.
        crate_name: the crate's name of itself.
        kind: LIBRARY, PROC_MACRO, BINARY or BUILD_SCRIPT; a build script is compiled (as a program), never run.
        edition: the year.
        root: the file that rustc is given.
        args: what else Cargo says, without outputs, externs, search paths, presentation, `-C metadata` and `-C extra-filename`.
        metadata: value of `-C metadata`.
        extra_filename: value of `-C extra-filename`, with its dash.
        env: the compiler's environment beyond its host's; `${pwd}` stands for the absolute workspace.
        inputs: every file of the workspace that the compiler may read, sorted.
        externs: direct dependencies, in Cargo's order.
        native: directories with native libraries.
    """

    name: str
    package: str
    version: str
    directory: str
    crate_name: str
    kind: str
    edition: str
    root: str
    args: tuple[str, ...]
    metadata: str
    extra_filename: str
    env: dict[str, str]
    inputs: tuple[str, ...]
    externs: tuple[Extern, ...]
    native: tuple[str, ...]

    @property
    def is_library(self) -> bool:
        """Whether others can be compiled against its metadata alone."""
        return self.kind == LIBRARY


@frozen
class Units:
    """All units of one build, dependencies before dependents.

    Attributes:
        compiler: what `rustc -vV` said.
        rustc: absolute path of the compiler itself, never of rustup's proxy.
        units: in a valid order of building.
    """

    compiler: str
    rustc: str
    units: tuple[Unit, ...]
    _by_name: dict[str, Unit] = field(init=False, repr=False, eq=False)
    _closures: dict[str, tuple[Unit, ...]] = field(init=False, repr=False, eq=False, factory=dict)

    @_by_name.default
    def _index(self) -> dict[str, Unit]:
        """Checks the order on the way."""
        by_name: dict[str, Unit] = {}
        for unit in self.units:
            for extern in unit.externs:
                if extern.unit is not None and extern.unit not in by_name:
                    raise RequestError(f"unit {unit.name} needs {extern.unit}, which no unit before it makes")
            if unit.name in by_name:
                raise RequestError(f"two units are named {unit.name}")
            by_name[unit.name] = unit
        return by_name

    def __iter__(self) -> Iterator[Unit]:
        return iter(self.units)

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, name: str) -> Unit:
        return self._by_name[name]

    def direct(self, unit: Unit) -> tuple[Unit, ...]:
        """The units that it names, in Cargo's order."""
        return tuple(self[extern.unit] for extern in unit.externs if extern.unit is not None)

    def needed(self, unit: Unit) -> tuple[Unit, ...]:
        """The units whose outputs the compiler reads for this one, in the order of building.

        Through libraries all the way down; a proc macro is read itself, but what it was linked from is not.
        """
        if unit.name not in self._closures:
            found: dict[str, Unit] = {}
            for dependency in self.direct(unit):
                found[dependency.name] = dependency
                if dependency.is_library:
                    found.update((below.name, below) for below in self.needed(dependency))
            position = {known.name: number for number, known in enumerate(self.units)}
            self._closures[unit.name] = tuple(sorted(found.values(), key=lambda known: position[known.name]))
        return self._closures[unit.name]


def encode(units: Units) -> str:
    """The text of `units.json`; equal units give equal text."""
    document = {
        "version": VERSION,
        "compiler": units.compiler,
        "rustc": units.rustc,
        "units": [_unit_document(unit) for unit in units],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _unit_document(unit: Unit) -> dict[str, Any]:
    document = asdict(unit, recurse=False)
    document["externs"] = [
        {"name": extern.name} if extern.unit is None else {"name": extern.name, "unit": extern.unit}
        for extern in unit.externs
    ]
    return document


def decode(text: str) -> Units:
    """Reads `units.json`; attributes that we do not know are passed over.

    Raises:
        RequestError: this is no `units.json`, or one of another version.
    """
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise RequestError(
                f"units.json has version {document['version']!r}, we read {VERSION}: import the workspace again"
            )
        units = [
            Unit(**{name: _LISTS.get(name, _same)(unit[name]) for name in _NAMES})
            for unit in document["units"]
        ]
        return Units(document["compiler"], document["rustc"], tuple(units))
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"units.json cannot be read ({error!r}): import the workspace again") from error


def _same(value: Any) -> Any:
    return value


def _externs(documents: list[dict[str, str]]) -> tuple[Extern, ...]:
    return tuple(Extern(document["name"], document.get("unit")) for document in documents)


_NAMES = tuple(attribute.name for attribute in Unit.__attrs_attrs__)
_LISTS: dict[str, Callable[[Any], Any]] = {
    "args": tuple,
    "externs": _externs,
    "inputs": tuple,
    "native": tuple,
}
