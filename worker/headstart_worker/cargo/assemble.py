"""Makes units of what Cargo was seen to do, and says which files they need.

Reads dep-info files and lists directories; copies nothing (`workspace` does) and runs nothing.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from attrs import define, field, frozen

from headstart_worker.cargo import layout
from headstart_worker.cargo.capture import Build
from headstart_worker.cargo.rustc_args import CargoCommand, dep_info_paths, parse
from headstart_worker.cargo.units import BINARY, BUILD_SCRIPT, LIBRARY, PROC_MACRO, Extern, Unit
from headstart_worker.cargo.workspace import files_below
from headstart_wrapper.errors import RequestError

# Variables that describe the machine or the run of Cargo, not the crate. What starts with CARGO_ and is not listed describes the crate.
_MACHINE = frozenset(
    {
        "CARGO",
        "CARGO_BUILD_BUILD_DIR",
        "CARGO_HOME",
        "CARGO_INCREMENTAL",
        "CARGO_MAKEFLAGS",
        "CARGO_RUSTC_CURRENT_DIR",
        "CARGO_SBOM_PATH",
        "CARGO_TARGET_DIR",
        "CARGO_TARGET_TMPDIR",
        "DYLD_FALLBACK_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
        "MAKELEVEL",
        "MFLAGS",
        "OLDPWD",
        "PATH",
        "PWD",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "SHLVL",
        "TMPDIR",
        "_",
    }
)


@frozen
class _Compile:
    """One compile of a crate, taken apart. `package` is its package's absolute directory."""

    command: CargoCommand
    cwd: str
    env: Mapping[str, str]
    package: str
    kind: str

    def absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.cwd, path))

    @property
    def stem(self) -> str:
        """The name of its outputs, by which others name it."""
        return self.command.crate_name + self.command.extra_filename


@define
class Copies:
    """The files that the workspace needs: path in the workspace to the absolute file, collected while units are made."""

    files: dict[str, str] = field(factory=dict)

    def add(self, place: str, original: str) -> str:
        """Notes one file and returns its place."""
        self.files[place] = original
        return place

    def add_tree(self, place: str, original: str) -> list[str]:
        """Notes every file below a directory and returns their places."""
        return [self.add(f"{place}/{path}", f"{original}/{path}") for path in files_below(original)]


def make_units(built: Build, copies: Copies, progress: Callable[[str], None]) -> tuple[Unit, ...]:
    """Makes the units of a build, in an order of building that is the same on every machine.

    Args:
        built: what was seen; its target directory still has to be there.
        copies: is given every file that the units read.
        progress: is told what is left out.

    Raises:
        RequestError: nothing was compiled, or something that cannot be imported is needed.
    """
    compiles = _compiles(built, progress)
    plan = _layout(compiles, built.local)
    names = {compile_.stem: _name(compile_) for compile_ in compiles}
    units = {unit.name: unit for unit in (_unit(compile_, plan, names, copies) for compile_ in compiles)}
    # Sorted at each step: the same build gives the same file, whichever crate was quicker.
    graph = TopologicalSorter(
        {name: sorted(extern.unit for extern in units[name].externs if extern.unit) for name in sorted(units)}
    )
    graph.prepare()
    ordered: list[Unit] = []
    while graph.is_active():
        ready = sorted(graph.get_ready())
        ordered += [units[name] for name in ready]
        graph.done(*ready)
    return tuple(ordered)


def _compiles(built: Build, progress: Callable[[str], None]) -> list[_Compile]:
    found = []
    for recorded in built.compiles:
        command = parse(recorded.argv)
        package = recorded.env.get("CARGO_MANIFEST_DIR")
        if command is None or package is None:
            continue
        root = posixpath.join(recorded.cwd, command.root)
        kind = _kind(command, is_build_script=posixpath.normpath(root) in built.build_scripts)
        if kind is None:
            progress(
                f"left out: {command.crate_name} ({', '.join(command.crate_types)}), which Rust crates cannot use"
            )
            continue
        found.append(_Compile(command, recorded.cwd, recorded.env, package, kind))
    if not found:
        raise RequestError("Cargo compiled no crate: has the workspace a library or a program?")
    return found


def _kind(command: CargoCommand, *, is_build_script: bool) -> str | None:
    """A library of several types is imported as what Rust crates use; one of C types only is not imported."""
    types = set(command.crate_types)
    if types & {"lib", "rlib"}:
        return LIBRARY
    if "proc-macro" in types:
        return PROC_MACRO
    if "bin" in types:
        return BUILD_SCRIPT if is_build_script else BINARY
    return None


def _layout(compiles: Sequence[_Compile], local: frozenset[str]) -> layout.Layout:
    packages = {
        compile_.package: layout.Package(
            name=compile_.env["CARGO_PKG_NAME"],
            version=compile_.env["CARGO_PKG_VERSION"],
            root=compile_.package,
            local=compile_.package in local,
        )
        for compile_ in compiles
    }
    out_dirs = {
        compile_.env["OUT_DIR"]: compile_.package for compile_ in compiles if "OUT_DIR" in compile_.env
    }
    return layout.plan(packages.values(), out_dirs)


def _name(compile_: _Compile) -> str:
    package = compile_.env["CARGO_PKG_NAME"]
    parts = [package, compile_.env["CARGO_PKG_VERSION"]]
    if compile_.kind == BUILD_SCRIPT:
        parts.append(BUILD_SCRIPT)
    elif compile_.kind == BINARY and compile_.command.crate_name != package.replace("-", "_"):
        parts.append(compile_.command.crate_name)
    return "-".join(parts) + _extra_filename(compile_.command)


def _extra_filename(command: CargoCommand) -> str:
    """Cargo gives none to a library that C programs find by its name."""
    return command.extra_filename or f"-{command.metadata}"


def _unit(compile_: _Compile, plan: layout.Layout, names: Mapping[str, str], copies: Copies) -> Unit:
    command = compile_.command
    directory = plan.packages[compile_.package]
    root = plan.place(compile_.absolute(command.root), compile_.package)
    if root is None:
        raise RequestError(f"the crate root {command.root} of {command.crate_name} lies outside its package")
    args = [plan.relocate(arg) for arg in command.args]
    inputs = _sources(compile_, plan, copies)
    native = []
    for original in command.native:
        place = plan.relocate(original)
        if posixpath.isabs(place):  # the system's own
            args += ["-L", f"native={place}"]
        else:
            native.append(place)
            inputs.update(copies.add_tree(place, original))
    externs = []
    for extern in command.externs:
        stem = None if extern.path is None else posixpath.splitext(posixpath.basename(extern.path))[0]
        externs.append(Extern(extern.name, None if stem is None else _maker(stem, names, command)))
    return Unit(
        name=_name(compile_),
        package=compile_.env["CARGO_PKG_NAME"],
        version=compile_.env["CARGO_PKG_VERSION"],
        directory=directory,
        crate_name=command.crate_name,
        kind=compile_.kind,
        edition=command.edition,
        root=root,
        args=tuple(args),
        metadata=command.metadata,
        extra_filename=_extra_filename(command),
        env=_env(compile_.env, plan),
        inputs=tuple(sorted(inputs)),
        externs=tuple(externs),
        native=tuple(native),
    )


def _maker(stem: str, names: Mapping[str, str], command: CargoCommand) -> str:
    name = names.get(stem.removeprefix("lib"))
    if name is None:
        raise RequestError(
            f"{command.crate_name} is compiled against {stem}, a kind of crate that cannot be imported"
        )
    return name


def _sources(compile_: _Compile, plan: layout.Layout, copies: Copies) -> set[str]:
    """What the compiler read, and all that the build script wrote: a macro may read it without telling."""
    command = compile_.command
    dep_info = Path(
        compile_.cwd, command.out_dir, f"{command.crate_name}{command.extra_filename}.d"
    ).read_text(encoding="utf-8", errors="surrogateescape")
    inputs = set()
    for path in dep_info_paths(dep_info):
        original = compile_.absolute(path)
        place = plan.place(original, compile_.package)
        if place is not None:
            inputs.add(copies.add(place, original))
    out_dir = compile_.env.get("OUT_DIR")
    if out_dir is not None:
        inputs.update(copies.add_tree(plan.out_dirs[out_dir], out_dir))
    manifest = f"{compile_.package}/Cargo.toml"
    if any(extern.path is not None and extern.path.endswith(".so") for extern in command.externs):
        # Macros look up the names of crates there, and dep-info does not say so.
        inputs.add(copies.add(f"{plan.packages[compile_.package]}/Cargo.toml", manifest))
    return inputs


def _env(env: Mapping[str, str], plan: layout.Layout) -> dict[str, str]:
    """What describes the crate, with places of the workspace; a line break, which no request can carry, becomes a space."""
    return {
        name: " ".join(plan.relocate(value, prefix="${pwd}/").splitlines())
        for name, value in sorted(env.items())
        if name not in _MACHINE and not name.startswith("RUSTUP_") and name != "RUST_RECURSION_COUNT"
    }
