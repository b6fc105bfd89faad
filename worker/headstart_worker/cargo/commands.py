"""What a unit's compile is: the request to the process wrapper, what it reads and what it writes.

Pure. The Bazel rule (`bazel/rust/private/compile.bzl`) makes the same commands; a change here is a change there, because the bytes
have to be equal.
"""

from __future__ import annotations

import posixpath
from typing import Literal

from attrs import frozen

from headstart_worker.cargo.units import BUILD_SCRIPT, LIBRARY, PROC_MACRO, Unit, Units

Mode = Literal["none", "worker"]
Phase = Literal["early", "full"]


@frozen
class Outputs:
    """The files that a unit's compile makes.

    Attributes:
        code: what is linked, loaded or run: .rlib, .so, program.
        metadata: what other libraries can be compiled against; None when the unit is no library.
        dep_info: what the compiler read.
    """

    code: str
    metadata: str | None
    dep_info: str

    @property
    def all(self) -> tuple[str, ...]:
        """Every file, the metadata first."""
        return (*((self.metadata,) if self.metadata is not None else ()), self.code, self.dep_info)


def outputs(unit: Unit, outroot: str) -> Outputs:
    """Where a unit's outputs lie; the metadata has a directory of its own, so that no search path offers both kinds.

    Args:
        unit: any unit.
        outroot: directory of all outputs, relative to the workspace.
    """
    directory = posixpath.join(outroot, unit.directory)
    name = unit.crate_name + unit.extra_filename
    dep_info = f"{directory}/{name}.d"
    if unit.kind == LIBRARY:
        return Outputs(f"{directory}/lib{name}.rlib", f"{directory}/_meta/lib{name}.rmeta", dep_info)
    if unit.kind == PROC_MACRO:
        return Outputs(f"{directory}/lib{name}.so", None, dep_info)
    return Outputs(f"{directory}/{name}", None, dep_info)


def _read(dependency: Unit, dependent: Unit, mode: Mode, outroot: str) -> str:
    """The file of a dependency that a dependent's compile reads: whoever links needs code."""
    made = outputs(dependency, outroot)
    if mode == "worker" and dependent.is_library and made.metadata is not None:
        return made.metadata
    return made.code


def request_inputs(unit: Unit, units: Units, *, mode: Mode, phase: Phase | None, outroot: str) -> list[str]:
    """Every file of the workspace that the request may read, sorted.

    Args:
        unit: what is compiled.
        units: all units of the build.
        mode: "none" compiles against code, "worker" compiles libraries against metadata.
        phase: which half; the full one reads the metadata that the early one published.
        outroot: directory of all outputs, relative to the workspace.
    """
    paths = {unit.root, *unit.inputs}
    paths.update(_read(dependency, unit, mode, outroot) for dependency in units.needed(unit))
    metadata = outputs(unit, outroot).metadata
    if phase == "full" and metadata is not None:
        paths.add(metadata)
    return sorted(paths)


def request_lines(
    unit: Unit, units: Units, *, mode: Mode, phase: Phase | None, outroot: str, rustc: str
) -> list[str]:
    """The lines of a request to the process wrapper: its options, `--`, and the compiler's command.

    The command and the environment are the same in both phases, which is what lets the full half join the early one.

    Args:
        unit: what is compiled.
        units: all units of the build.
        mode: "none" or "worker".
        phase: "early" or "full" for a library in mode "worker"; None otherwise.
        outroot: directory of all outputs, relative to the workspace.
        rustc: absolute path of the compiler.

    Raises:
        ValueError: this unit has no such phase in this mode.
    """
    if (phase is not None) != (mode == "worker" and unit.is_library):
        raise ValueError(f"{unit.name} ({unit.kind}) has no phase {phase} in mode {mode}")
    made = outputs(unit, outroot)
    lines = ["--subst=pwd=${pwd}"]
    lines += [f"--env={name}={value}" for name, value in sorted(unit.env.items())]
    if phase is not None:
        lines += [f"--phase={phase}", f"--early-output={made.metadata}"]
    if phase is None:
        lines += [f"--output={path}" for path in made.all]
    elif phase == "full":
        lines += [f"--output={made.code}", f"--output={made.dep_info}"]
    return [*lines, "--", rustc, *_arguments(unit, units, mode, outroot)]


def _arguments(unit: Unit, units: Units, mode: Mode, outroot: str) -> list[str]:
    """The compiler's arguments; the order is the Bazel rule's."""
    made = outputs(unit, outroot)
    emit = [f"dep-info={made.dep_info}", f"link={made.code}"]
    if made.metadata is not None:
        emit.insert(1, f"metadata={made.metadata}")
    args = ["--crate-name", unit.crate_name, f"--edition={unit.edition}"]
    args += ["--crate-type", "bin" if unit.kind == BUILD_SCRIPT else unit.kind, unit.root, *unit.args]
    args += ["-C", f"metadata={unit.metadata}", "-C", f"extra-filename={unit.extra_filename}"]
    args.append("--emit=" + ",".join(emit))
    for extern in unit.externs:
        path = None if extern.unit is None else _read(units[extern.unit], unit, mode, outroot)
        args += ["--extern", extern.name if path is None else f"{extern.name}={path}"]
    read = {_read(dependency, unit, mode, outroot) for dependency in units.needed(unit)}
    for directory in sorted({posixpath.dirname(path) for path in read}):
        args += ["-L", f"dependency={directory}"]
    for directory in unit.native:
        args += ["-L", f"native={directory}"]
    return [*args, "--remap-path-prefix=${pwd}=."]
