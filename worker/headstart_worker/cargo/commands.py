"""What a unit's compile is: the requests to the process wrapper, what they read and what they write, in every mode.

Pure. The Bazel rule (`bazel/rust/private/compile.bzl`) makes the same commands; a change here is a change there, because the bytes
have to be equal. When a request is due, and what it is worth, others decide.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Final, Literal

from attrs import field, frozen

from headstart_worker.cargo.units import BUILD_SCRIPT, LIBRARY, PROC_MACRO, Unit, Units

Mode = Literal["none", "two_invocation", "hollow", "worker"]
Phase = Literal["early", "full"]


@frozen
class _Way:
    """How libraries are compiled in one mode; what is linked is one request in all of them.

    Attributes:
        phases: the requests of a library, in their order; None is the whole job.
        early_output: where others find what they can be compiled against before there is code; `%s` is the crate.
        early_options: options of the early request beyond those of every one.
        early_flags: arguments that the early request's compiler gets and the full one's does not. With any, the halves are two jobs.
        env: the compiler's environment, in both halves.
        emits: the kinds of output that rustc is asked for; it hashes them.
    """

    phases: tuple[Phase | None, ...] = ("early", "full")
    early_output: str = "_meta/lib%s.rmeta"
    early_options: tuple[str, ...] = ()
    early_flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict)
    emits: tuple[str, ...] = ("dep-info", "metadata", "link")


_WAYS: Final[Mapping[Mode, _Way]] = {
    "none": _Way(phases=(None,)),
    "two_invocation": _Way(early_options=("--stop-after-early",)),
    "hollow": _Way(
        early_output="_hollow/lib%s.rlib",
        early_flags=("-Zno-codegen",),
        env={"RUSTC_BOOTSTRAP": "1"},  # rustc hashes it, so both halves have it
        emits=("link",),
    ),
    "worker": _Way(),
}

MODES: Final[tuple[Mode, ...]] = tuple(_WAYS)
"""Every mode: what does not pipeline first, what compiles once last."""


@frozen
class Outputs:
    """The files that a unit's compile makes.

    Attributes:
        code: what is linked, loaded or run: .rlib, .so, program.
        metadata: what other libraries can be compiled against: .rmeta, or in mode hollow a library without code; None when the unit is
            no library.
        dep_info: what the compiler read; None where the mode does not ask for it.
    """

    code: str
    metadata: str | None
    dep_info: str | None

    def of(self, phase: Phase | None) -> tuple[str, ...]:
        """The files that one request makes, the metadata first."""
        early = (self.metadata,) if phase != "full" else ()
        late = (self.code, self.dep_info) if phase != "early" else ()
        return tuple(path for path in (*early, *late) if path is not None)

    @property
    def all(self) -> tuple[str, ...]:
        """Every file, the metadata first."""
        return self.of(None)


def outputs(unit: Unit, outroot: str, mode: Mode = "none") -> Outputs:
    """Where a unit's outputs lie; what is early has a directory of its own, so that no search path offers both kinds.

    Args:
        unit: any unit.
        outroot: directory of all outputs, relative to the workspace.
        mode: hollow has other outputs than the rest, which have the same.
    """
    directory = posixpath.join(outroot, unit.directory)
    name = unit.crate_name + unit.extra_filename
    dep_info = f"{directory}/{name}.d"
    if unit.kind == LIBRARY:
        way = _WAYS[mode]
        return Outputs(
            f"{directory}/lib{name}.rlib",
            f"{directory}/{way.early_output % name}",
            dep_info if "dep-info" in way.emits else None,
        )
    if unit.kind == PROC_MACRO:
        return Outputs(f"{directory}/lib{name}.so", None, dep_info)
    return Outputs(f"{directory}/{name}", None, dep_info)


def phases(unit: Unit, mode: Mode) -> tuple[Phase | None, ...]:
    """The requests that a unit's compile is, in their order; None is the whole job."""
    return _WAYS[mode].phases if unit.is_library else (None,)


def runs(unit: Unit, mode: Mode) -> int:
    """How often the compiler runs for a unit, where nothing goes wrong."""
    way = _WAYS[mode]
    return len(phases(unit, mode)) if way.early_options or way.early_flags else 1


def awaited(dependency: Unit, dependent: Unit, mode: Mode) -> Phase:
    """What of a dependency has to be there before a dependent's compile: its early output, or all. Whoever links needs code."""
    return "early" if dependent.is_library and "early" in phases(dependency, mode) else "full"


def _read(dependency: Unit, dependent: Unit, mode: Mode, outroot: str) -> str:
    """The file of a dependency that a dependent's compile reads."""
    made = outputs(dependency, outroot, mode)
    if made.metadata is not None and awaited(dependency, dependent, mode) == "early":
        return made.metadata
    return made.code


def request_inputs(unit: Unit, units: Units, *, mode: Mode, phase: Phase | None, outroot: str) -> list[str]:
    """Every file of the workspace that the request may read, sorted.

    Args:
        unit: what is compiled.
        units: all units of the build.
        mode: "none" compiles against code, the others compile libraries against what is early.
        phase: which half; the full one is given what the early one published.
        outroot: directory of all outputs, relative to the workspace.
    """
    paths = {unit.root, *unit.inputs}
    paths.update(_read(dependency, unit, mode, outroot) for dependency in units.needed(unit))
    if phase == "full":
        paths.update(outputs(unit, outroot, mode).of("early"))
    return sorted(paths)


def request_lines(
    unit: Unit, units: Units, *, mode: Mode, phase: Phase | None, outroot: str, rustc: str
) -> list[str]:
    """The lines of a request to the process wrapper: its options, `--`, and the compiler's command.

    But for mode hollow, the command and the environment are the same in both phases: that lets the full half join the early one in
    mode worker, and makes rustc write the same bytes twice in mode two_invocation.

    Args:
        unit: what is compiled.
        units: all units of the build.
        mode: any.
        phase: one of the unit's `phases` in this mode.
        outroot: directory of all outputs, relative to the workspace.
        rustc: absolute path of the compiler.

    Raises:
        ValueError: this unit has no such phase in this mode.
    """
    if phase not in phases(unit, mode):
        raise ValueError(f"{unit.name} ({unit.kind}) has no phase {phase} in mode {mode}")
    env = {**unit.env, **_WAYS[mode].env} if unit.is_library else unit.env
    return [
        "--subst=pwd=${pwd}",
        *(f"--env={name}={value}" for name, value in sorted(env.items())),
        *_options(outputs(unit, outroot, mode), mode, phase),
        "--",
        rustc,
        *_arguments(unit, units, mode, phase, outroot),
    ]


def _options(made: Outputs, mode: Mode, phase: Phase | None) -> list[str]:
    """What the wrapper is told of phases and outputs; an early half that is a job of its own is no phase of another."""
    way = _WAYS[mode]
    declared = [f"--output={path}" for path in made.of(phase)]
    if phase is None or (phase == "early" and way.early_flags):
        return declared
    pipelined = [f"--phase={phase}", f"--early-output={made.metadata}"]
    return [*way.early_options, *pipelined] if phase == "early" else [*pipelined, *declared]


def _arguments(unit: Unit, units: Units, mode: Mode, phase: Phase | None, outroot: str) -> list[str]:
    """The compiler's arguments; the order is the Bazel rule's."""
    args = ["--crate-name", unit.crate_name, f"--edition={unit.edition}"]
    args += ["--crate-type", "bin" if unit.kind == BUILD_SCRIPT else unit.kind, unit.root, *unit.args]
    args += ["-C", f"metadata={unit.metadata}", "-C", f"extra-filename={unit.extra_filename}"]
    args += _emit(unit, mode, phase, outroot)
    for extern in unit.externs:
        path = None if extern.unit is None else _read(units[extern.unit], unit, mode, outroot)
        args += ["--extern", extern.name if path is None else f"{extern.name}={path}"]
    read = {_read(dependency, unit, mode, outroot) for dependency in units.needed(unit)}
    for directory in sorted({posixpath.dirname(path) for path in read}):
        args += ["-L", f"dependency={directory}"]
    for directory in unit.native:
        args += ["-L", f"native={directory}"]
    return [*args, "--remap-path-prefix=${pwd}=."]


def _emit(unit: Unit, mode: Mode, phase: Phase | None, outroot: str) -> list[str]:
    """What the compiler is to make, and where."""
    made = outputs(unit, outroot, mode)
    places = {"dep-info": made.dep_info, "link": made.code}
    if not unit.is_library:
        return ["--emit=" + ",".join(f"{kind}={path}" for kind, path in places.items())]
    way = _WAYS[mode]
    alone = phase == "early" and way.early_flags
    places |= {"link": made.metadata} if alone else {"metadata": made.metadata}
    emit = "--emit=" + ",".join(f"{kind}={places[kind]}" for kind in way.emits)
    return [*way.early_flags, emit] if alone else [emit]
