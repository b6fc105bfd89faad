"""The generated workspace's Bazel files, as text. Pure: `workspace` writes them.

Bazel reads these files as Latin-1 and passes the bytes on, so text beyond ASCII is written as it is, never as an escape.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence

from headstart_worker.cargo.units import BUILD_SCRIPT, LIBRARY, PROC_MACRO, Unit, Units

Value = str | Sequence[str] | Mapping[str, str]

_RULES = "@headstart//bazel/rust:defs.bzl"
_HEADER = "# Written by `headstart import-cargo`; an edit is lost when it runs again.\n"


def rule_name(unit: Unit) -> str:
    """The rule that compiles a unit; a build script is a program as any other."""
    return {LIBRARY: "rust_library", PROC_MACRO: "rust_proc_macro"}.get(unit.kind, "rust_binary")


def build_files(units: Units) -> dict[str, str]:
    """Every BUILD.bazel of the workspace.

    Returns:
        Path in the workspace to text.
    """
    directories: dict[str, list[Unit]] = {}
    for unit in units:
        directories.setdefault(unit.directory, []).append(unit)
    # A file that a unit of another package reads has to be exported by its own.
    exported: dict[str, set[str]] = {}
    for unit in units:
        for path in unit.inputs:
            package = package_of(path, directories)
            if package != unit.directory:
                exported.setdefault(package, set()).add(posixpath.relpath(path, package or "."))
    files = {
        f"{directory}/BUILD.bazel": _package(here, units, directories, exported.get(directory, set()))
        for directory, here in directories.items()
    }
    files["BUILD.bazel"] = _top(units, exported.get("", set()))
    return files


def package_of(path: str, directories: Collection[str]) -> str:
    """The Bazel package that a path belongs to; empty for the workspace's own."""
    directory = posixpath.dirname(path)
    while directory and directory not in directories:
        directory = posixpath.dirname(directory)
    return directory


def _top(units: Units, exported: set[str]) -> str:
    parts = [_HEADER, 'package(default_visibility = ["//visibility:public"])\n']
    if exported:
        parts.append(f"exports_files({_value(sorted(exported), 0)})\n")
    parts.append(_call("filegroup", {"name": "all_crates", "srcs": sorted(_target(unit) for unit in units)}))
    return "\n".join(parts)


def _package(here: Sequence[Unit], units: Units, directories: Collection[str], exported: set[str]) -> str:
    rules = sorted({rule_name(unit) for unit in here})
    parts = [
        _HEADER,
        f"load({', '.join(_value(name, 0) for name in (_RULES, *rules))})\n",
        'package(default_visibility = ["//visibility:public"])\n',
    ]
    if exported:
        parts.append(f"exports_files({_value(sorted(exported), 0)})\n")
    parts += [_call(rule_name(unit), _attributes(unit, units, directories)) for unit in here]
    return "\n".join(parts)


def _attributes(unit: Unit, units: Units, directories: Collection[str]) -> dict[str, Value]:
    dependencies = units.direct(unit)
    names = {extern.unit: extern.name for extern in unit.externs if extern.unit is not None}
    attributes: dict[str, Value] = {
        "name": unit.name,
        "srcs": [_label(path, unit, directories) for path in unit.inputs],
        "aliases": {
            _target(made): names[made.name] for made in dependencies if names[made.name] != made.crate_name
        },
        "crate_name": unit.crate_name,
        "crate_root": _label(unit.root, unit, directories),
        "edition": unit.edition,
        "extern_prelude": [extern.name for extern in unit.externs if extern.unit is None],
        "extra_filename": unit.extra_filename,
        "metadata": unit.metadata,
        "native_dirs": unit.native,
        "proc_macro_deps": [_target(made) for made in dependencies if made.kind == PROC_MACRO],
        "rustc_env": unit.env,
        "rustc_flags": unit.args,
        "tags": ["build-script"] if unit.kind == BUILD_SCRIPT else [],
        "deps": [_target(made) for made in dependencies if made.kind != PROC_MACRO],
    }
    # The rule for macros has `proc_macro` by itself; an empty list says that Cargo did not.
    keep_empty = {"extern_prelude"} if unit.kind == PROC_MACRO else set()
    return {name: value for name, value in attributes.items() if value or name in keep_empty}


def _target(unit: Unit) -> str:
    return f"//{unit.directory}:{unit.name}"


def _label(path: str, unit: Unit, directories: Collection[str]) -> str:
    package = package_of(path, directories)
    if package == unit.directory:
        return path[len(package) + 1 :]
    return f"//{package}:{posixpath.relpath(path, package or '.')}"


def _call(rule: str, attributes: Mapping[str, Value]) -> str:
    lines = [f"    {name} = {_value(value, 1)},\n" for name, value in attributes.items()]
    return f"{rule}(\n{''.join(lines)})\n"


def _value(value: Value, depth: int) -> str:
    """A Starlark expression, laid out as buildifier does."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        items = [f"{quote(key)}: {quote(text)}" for key, text in sorted(value.items())]
        return _bracketed(items, "{}", depth, one_line=False)
    return _bracketed([quote(text) for text in value], "[]", depth, one_line=len(value) == 1)


def _bracketed(items: Iterable[str], brackets: str, depth: int, *, one_line: bool) -> str:
    if one_line:
        return brackets[0] + "".join(items) + brackets[1]
    inner = "    " * (depth + 1)
    return brackets[0] + "\n" + "".join(f"{inner}{item},\n" for item in items) + "    " * depth + brackets[1]


def quote(text: str) -> str:
    """A Starlark string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def workspace_file(headstart: str) -> str:
    """WORKSPACE, for a Bazel that reads it.

    Args:
        headstart: where Headstart's own directory is, absolute or relative to the workspace.
    """
    return (
        f'{_HEADER}\nworkspace(name = "imported")\n\n'
        f'local_repository(\n    name = "headstart",\n    path = {quote(headstart)},\n)\n\n'
        'load("@headstart//bazel:repositories.bzl", "headstart_repositories")\n\nheadstart_repositories()\n'
    )


def module_file(headstart: str) -> str:
    """MODULE.bazel, for a Bazel that reads it; Headstart's own module brings what the machine has.

    Args:
        headstart: where Headstart's own directory is, absolute or relative to the workspace.
    """
    return (
        f'{_HEADER}\nmodule(name = "imported")\n\nbazel_dep(name = "headstart")\n'
        f'local_path_override(\n    module_name = "headstart",\n    path = {quote(headstart)},\n)\n'
    )
