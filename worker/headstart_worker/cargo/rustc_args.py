"""What one command of Cargo's says to rustc, taken apart; and the paths in a dep-info file.

Not for writing commands (`commands` does), and not a parser of everything that rustc takes: it knows the options whose value is the next
argument, because only so the crate root can be told from a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

# Options of rustc that take the next argument when they stand alone; a short one may also hold its value (`-Copt-level=3`).
_SHORT = ("-A", "-C", "-D", "-F", "-L", "-W", "-Z", "-l", "-o")
_LONG = frozenset(
    {
        "--allow",
        "--cap-lints",
        "--cfg",
        "--check-cfg",
        "--codegen",
        "--color",
        "--crate-name",
        "--crate-type",
        "--deny",
        "--diagnostic-width",
        "--edition",
        "--emit",
        "--error-format",
        "--explain",
        "--extern",
        "--forbid",
        "--force-warn",
        "--json",
        "--out-dir",
        "--print",
        "--remap-path-prefix",
        "--sysroot",
        "--target",
        "--warn",
    }
)
# The one argument that is no option.
_ROOT = "the crate root"
# What a CargoCommand has an attribute for, or what is decided anew by whoever runs the compiler.
_TAKEN = (
    _ROOT,
    "--crate-name",
    "--crate-type",
    "--edition",
    "--emit",
    "--extern",
    "--out-dir",
    "-C extra-filename",
    "-C incremental",
    "-C metadata",
    "-L dependency",
    "-L native",
    "-o",
)
# How the compiler talks: decided anew, too.
_PRESENTATION = frozenset({"--color", "--diagnostic-width", "--error-format", "--json"})


@frozen
class Extern:
    """One `--extern`: the name that the crate uses, and the file; no file means one of the compiler's own crates."""

    name: str
    path: str | None


@frozen
class CargoCommand:
    """One compile, as Cargo asked for it. Paths are as Cargo wrote them.

    Attributes:
        crate_name: the name that the crate gives itself.
        crate_types: in Cargo's order; empty for a test.
        edition: the year.
        root: the file that rustc is given.
        args: what is not named by another attribute, in order, one element for each argument.
        metadata: value of `-C metadata`; empty when there is none.
        extra_filename: value of `-C extra-filename`, with its dash; empty when there is none.
        out_dir: where the outputs go.
        externs: in Cargo's order.
        native: directories of `-L native=`, in order, each once.
    """

    crate_name: str
    crate_types: tuple[str, ...]
    edition: str
    root: str
    args: tuple[str, ...]
    metadata: str
    extra_filename: str
    out_dir: str
    externs: tuple[Extern, ...]
    native: tuple[str, ...]


def parse(argv: Sequence[str]) -> CargoCommand | None:
    """Takes a command apart.

    Args:
        argv: what Cargo gave to its wrapper: the compiler, then its arguments.

    Returns:
        None when this is no compile of a crate: Cargo asks the compiler about itself, and build scripts try what it can.
    """
    taken: dict[str, list[str]] = {name: [] for name in _TAKEN}
    args: list[str] = []
    for option, value, given in _options(argv[1:]):
        name, _, text = value.partition("=")
        if f"{option} {name}" in taken:  # `-C metadata=...`
            taken[f"{option} {name}"].append(text)
        elif option in taken:
            taken[option].append(value)
        elif option not in _PRESENTATION:
            args.extend(given)
    roots, out_dirs, metadata = taken[_ROOT], taken["--out-dir"], taken["-C metadata"]
    if (
        len(roots) != 1
        or not out_dirs
        or not metadata
        or not any("link" in kinds for kinds in taken["--emit"])
    ):
        return None
    return CargoCommand(
        crate_name="".join(taken["--crate-name"]),
        crate_types=tuple(kind for kinds in taken["--crate-type"] for kind in kinds.split(",")),
        edition="".join(taken["--edition"]) or "2015",  # the compiler's own default
        root=roots[0],
        args=tuple(args),
        metadata=metadata[0],
        extra_filename="".join(taken["-C extra-filename"]),
        out_dir=out_dirs[0],
        externs=tuple(_extern(value) for value in taken["--extern"]),
        native=tuple(dict.fromkeys(taken["-L native"])),
    )


def _options(args: Sequence[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yields (option, value, the arguments as given); the option is _ROOT for what is none."""
    remaining = iter(args)
    for arg in remaining:
        name, equals, value = arg.partition("=")
        if arg in _SHORT or arg in _LONG:
            value = next(remaining, "")
            yield ("-C" if arg == "--codegen" else arg), value, (arg, value)
        elif arg.startswith("--"):
            yield ("-C" if name == "--codegen" else name), value if equals else "", (arg,)
        elif arg.startswith(_SHORT):
            yield arg[:2], arg[2:], (arg,)
        elif arg.startswith("-") and arg != "-":
            yield arg, "", (arg,)
        else:
            yield _ROOT, arg, (arg,)


def _extern(value: str) -> Extern:
    name, equals, path = value.partition("=")
    # `priv:name`, `noprelude:name`: options that only a nightly compiler takes.
    return Extern(name.rpartition(":")[2], path if equals else None)


def dep_info_paths(text: str) -> list[str]:
    """The files that the compiler read, in its order, each once.

    Args:
        text: a dep-info file: `target: path path`, spaces in paths escaped by a backslash, one rule for each output, and one without
            paths for each file read.
    """
    paths: dict[str, None] = {}
    for line in text.splitlines():
        target, colon, rest = line.partition(": ")
        if colon and not target.startswith("#"):
            for path in rest.replace("\\ ", "\0").split():
                paths[path.replace("\0", " ")] = None
    return list(paths)
