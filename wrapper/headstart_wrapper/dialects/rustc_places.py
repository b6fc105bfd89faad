"""Where one rustc command writes: the names that rustc gives its outputs, and how to move them to a private place.

Known of rustc 1.63 to 1.95, by experiment: a kind with a path (`--emit=link=PATH`) goes there; one kind without goes
to `-o`; several go beside it, with rustc's own names; without `-o` they go to `--out-dir`, or to the directory of the
job. Object files on the way go there too, even when every kind has a path. rustc makes none of these directories.
"""

from __future__ import annotations

import posixpath

from headstart_wrapper.dialects.rustc_command import Argument, Invocation
from headstart_wrapper.errors import RequestError
from headstart_wrapper.records import Record

_STDOUT = "-"


class Outputs(Record):
    """The outputs of a library that a command names, each as the command names it.

    Attributes:
        metadata: the `.rmeta` file; None when it is not emitted or its name stands in the crate root only.
        link: the `.rlib` file; None likewise.
        dep_info: the `.d` file; None when it is not emitted.
    """

    metadata: str | None
    link: str | None
    dep_info: str | None


def outputs(invocation: Invocation) -> Outputs:
    """Return where a library's metadata, archive and dep-info go."""
    emit = invocation.emit
    single = invocation.last("o")
    if single is not None and sum(path is None for path in emit.values()) > 1:
        directory, stem, single = posixpath.dirname(single), _stem(single), None
    else:
        directory, stem = (
            invocation.last("out-dir") or "",
            invocation.crate_name or _stem(invocation.input or ""),
        )
    extra = invocation.codegen("extra-filename") or ""
    crate = invocation.crate_name

    def named(kind: str, name: str | None) -> str | None:
        if kind not in emit:
            return None
        default = single or (posixpath.join(directory, name) if name else None)
        return emit[kind] or default

    return Outputs(
        metadata=named("metadata", f"lib{crate}{extra}.rmeta" if crate else None),
        link=named("link", f"lib{crate}{extra}.rlib" if crate else None),
        dep_info=named("dep-info", f"{stem}{extra}.d"),
    )


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]


class Staging(Record):
    """A command moved to a private directory.

    Attributes:
        edits, added: what to change in the command line.
        places, directories, spellings: as in `Plan`.
    """

    edits: dict[int, tuple[str, ...]]
    added: tuple[str, ...]
    places: tuple[tuple[str, str], ...]
    directories: tuple[str, ...]
    spellings: tuple[tuple[str, str], ...]


def staged(invocation: Invocation, stage: str) -> Staging:
    """Move everything that a command writes below a private directory.

    Every output with a path of its own gets a directory of its own, named after its kind, and keeps its name. So
    equal names never collide, and the name, which may show in the bytes, stays.

    Raises:
        RequestError: the private directory's own path has a comma, which `--emit` cannot express.
    """
    if "," in stage:
        raise RequestError(f"the private directory {stage} has a comma in its path: move the state directory")
    edits = {
        index: words
        for index, argument in enumerate(invocation.arguments)
        if (words := _moved(argument, stage)) is not None
    }
    directory = invocation.last("out-dir") or ""
    private = posixpath.join(stage, "out")
    # Object files on the way need a private place too. rustc would warn that it ignores one of `-o` and `--out-dir`.
    added: tuple[str, ...] = (
        () if invocation.has("out-dir") or invocation.has("o") else (f"--out-dir={private}",)
    )
    if _splits_debuginfo(invocation):
        # The names of .dwo files stand in the archive, with their directory. The last mapping that fits counts.
        there = posixpath.dirname(invocation.last("o") or "") if invocation.has("o") else directory
        mapping = (
            f"--remap-path-prefix={posixpath.join(stage, 'o') if invocation.has('o') else private}={there}"
        )
        mapped = [
            index
            for index, argument in enumerate(invocation.arguments)
            if argument.name == "remap-path-prefix"
        ]
        if mapped:
            edits[mapped[-1]] = (f"--remap-path-prefix={invocation.last('remap-path-prefix')}", mapping)
        else:
            added = (*added, mapping)
    files = {kind: path for kind, path in (*invocation.emit.items(), ("o", invocation.last("o"))) if path}
    files = {kind: path for kind, path in files.items() if path != _STDOUT}
    places = [(path, _private(kind, path, stage)) for kind, path in files.items()]
    if "o" in files:  # rustc writes what has no path of its own beside it
        places.append((posixpath.dirname(files["o"]) or ".", posixpath.join(stage, "o")))
    else:
        places.append((directory or ".", private))
    # Private beginnings of paths, each with what the command has in front of the same last name.
    spellings = [
        *(
            (posixpath.join(stage, kind, ""), path.removesuffix(posixpath.basename(path)))
            for kind, path in files.items()
        ),
        (posixpath.join(private, ""), posixpath.join(directory, "")),
        (private, directory or "."),
    ]
    directories = (private, *(posixpath.join(stage, kind) for kind in files))
    return Staging(edits, added, tuple(places), directories, tuple(spellings))


def _splits_debuginfo(invocation: Invocation) -> bool:
    return invocation.codegen("split-debuginfo") not in {None, "off"}


def _private(kind: str, path: str, stage: str) -> str:
    return path if path == _STDOUT else posixpath.join(stage, kind, posixpath.basename(path))


def _moved(argument: Argument, stage: str) -> tuple[str, ...] | None:
    """Return the words that take an argument's place; None when it names no output."""
    value = argument.value
    if value is None:
        return None
    if argument.name == "o":
        return ("-o", _private("o", value, stage))
    if argument.name == "out-dir":
        return (f"--out-dir={posixpath.join(stage, 'out')}",)
    if argument.name == "emit" and "=" in value:
        pairs = (each.partition("=") for each in value.split(","))
        kinds = (f"{kind}={_private(kind, path, stage)}" if equals else kind for kind, equals, path in pairs)
        return (f"--emit={','.join(kinds)}",)
    return None
