"""Stands for rustc on a synthetic graph: computes for as long as a crate's root file says, and has rustc's habits.

A script of its own (`python -I -S`), so that its start costs little; that is part of the seconds that it takes. The root file's first line is

    // front=0.02 codegen=0.02 memory=0

processor seconds until the metadata and after it, and MiB that it holds meanwhile. Lines with `pub` are the crate's interface, the rest is
its code. It understands the commands that `cargo.commands` makes, and is as strict as rustc about what a build tool can get wrong: each
crate is looked for where `-L dependency` says and must be the one that its dependents were compiled with; what is linked needs code, which
metadata and the libraries of `-Zno-codegen` lack. Equal inputs give equal bytes; that there is a compiler nowhere is all that is untrue.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = "rustc 1.0.0 (synthetic)"
LIBRARIES = ("lib", "rlib")
RAW = b"rust\0\0\0\n"
"""What metadata begins with, as rustc's does: the wrapper looks at it."""

ARCHIVE = b"!<arch>\n"
WITH_VALUE = {
    "-C",
    "-L",
    "--crate-name",
    "--crate-type",
    "--edition",
    "--emit",
    "--extern",
    "--print",
    "--cap-lints",
}
STEP = 2000
"""Turns of an empty loop between looks at the clock: some 50 µs, beside which a look costs nothing."""


class Mistake(Exception):  # noqa: N818 - the crate's or the build tool's
    """What rustc would refuse."""


class Crate:
    """A compiled crate: its hash, and the files' stems and hashes of all crates that it was compiled with."""

    def __init__(self, path: str) -> None:
        """Reads what an earlier run wrote."""
        with open(path, "rb") as file:  # noqa: PTH123 - without pathlib
            data = file.read()
        if data.startswith(ARCHIVE):
            data = data[len(ARCHIVE) + 60 :]
        if not data.startswith(RAW):
            raise Mistake(f"{path} is no compiled crate")
        metadata, _, code = data[len(RAW) :].partition(b"\nend\n")
        own, *needs = metadata.decode().split("\n")
        self.stem, self.hash = own.split()
        self.needs = dict(need.split() for need in needs)
        self.has_code = bool(code.strip())
        self.bytes = data


class Command:
    """A command line, as far as it matters here."""

    def __init__(self, argv: list[str]) -> None:
        """Reads it."""
        self.options: dict[str, list[str]] = {}
        self.root = ""
        words = iter(argv)
        for word in words:
            name, equals, value = word.partition("=")
            if word in WITH_VALUE:
                self.options.setdefault(word, []).append(next(words))
            elif word.startswith("-"):
                self.options.setdefault(name if equals else word, []).append(value)
            else:
                self.root = word
        self.crate = self.options.get("--crate-name", [""])[-1]
        self.is_library = self.options.get("--crate-type", ["bin"])[-1] in LIBRARIES
        self.emit = pairs(each for value in self.options.get("--emit", []) for each in value.split(","))
        codegen = pairs(self.options.get("-C", []))
        self.metadata = codegen.get("metadata", "")
        self.stem = f"lib{self.crate}{codegen.get('extra-filename', '')}"
        self.tells = any("artifacts" in value.split(",") for value in self.options.get("--json", []))
        self.has_code = "-Zno-codegen" not in self.options

    def directories(self) -> list[str]:
        """Where crates are looked for."""
        kind = "dependency="
        return [each.removeprefix(kind) for each in self.options.get("-L", []) if each.startswith(kind)]

    def named(self) -> list[str]:
        """The files of the crates that it names; those without a file are the compiler's own."""
        return [path for each in self.options.get("--extern", []) for path in pairs([each]).values()]

    def tell(self, kind: str) -> None:
        """Says that an output is complete, as rustc does when it is asked to."""
        if self.tells:
            path = self.emit[kind].replace("\\", "\\\\").replace('"', '\\"')
            line = f'{{"$message_type":"artifact","artifact":"{path}","emit":"{kind}"}}\n'
            os.write(2, line.encode())


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """What stands on each side of the first equals sign; texts without one are passed over."""
    return dict(each.split("=", 1) for each in texts if "=" in each)


def crates_for(command: Command) -> dict[str, Crate]:
    """Every crate that a compile reads, by its file's stem."""
    named = [Crate(path) for path in command.named()]
    expected: dict[str, str] = {}
    for crate in named:
        for stem, known in {**crate.needs, crate.stem: crate.hash}.items():
            if expected.setdefault(stem, known) != known:
                raise Mistake(f"E0460: found possibly newer version of crate `{stem}`")
    return {stem: found(command, stem, known) for stem, known in expected.items()}


def found(command: Command, stem: str, known: str) -> Crate:
    """A crate from the directories that were named, with the hash that it is known by."""
    endings = (".rlib", ".so") if not command.is_library else (".rmeta", ".rlib", ".so")
    paths = [f"{place}/{stem}{ending}" for place in command.directories() for ending in endings]
    there = [Crate(path) for path in paths if os.path.exists(path)]  # noqa: PTH110 - without pathlib
    if not there:
        raise Mistake(f"E0463: can't find crate for `{stem}`")
    for crate in there:
        if crate.hash == known:
            if not command.is_library and not crate.has_code:
                raise Mistake(f"undefined symbols: `{stem}` has no code")
            return crate
    raise Mistake(f"E0460: found possibly newer version of crate `{stem}`")


def digest(*parts: str | bytes) -> str:
    """A hash of texts and where they end."""
    each = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        each.update(b"%d:%b" % (len(data), data))
    return each.hexdigest()


def compute(until: float) -> None:
    """Uses a processor until this process has used so many seconds, its start and the kernel's work for it included."""
    while time.process_time() < until:
        for _ in range(STEP):
            pass


def write(path: str, data: bytes, mode: int = 0o644) -> None:
    """Writes a file that is there all at once."""
    private = f"{path}.{os.getpid()}"
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(private, path)  # noqa: PTH105 - without pathlib


def archive(metadata: bytes, code: bytes) -> bytes:
    """A library: an `ar` archive whose first member is the metadata."""
    members = [("lib.rmeta/", metadata), *([("code.o/", code)] if code else [])]
    return ARCHIVE + b"".join(
        f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        for name, data in members
    )


def costs(source: str) -> dict[str, float]:
    """The first line of a root file."""
    return {name: float(value) for name, value in pairs(source.partition("\n")[0].split()).items()}


def compile_crate(command: Command) -> None:
    """Does one compile, in rustc's order."""
    with open(command.root, encoding="utf-8") as file:  # noqa: PTH123 - without pathlib
        source = file.read()
    cost = costs(source)
    held = b"\1" * (int(cost["memory"]) << 20)
    if "dep-info" in command.emit:
        rules = "".join(f"{path}: {command.root}\n\n" for path in command.emit.values())
        write(command.emit["dep-info"], f"{rules}{command.root}:\n".encode())
        command.tell("dep-info")
    crates = crates_for(command)
    compute(cost["front"])
    needs = [f"{stem} {crate.hash}" for stem, crate in sorted(crates.items())]
    interface = [line for line in source.split("\n") if "pub " in line]
    hashed = (
        command.metadata,
        *sorted(command.emit),
        os.environ.get("RUSTC_BOOTSTRAP", ""),
        *interface,
        *needs,
    )
    own = f"{command.stem} {digest(command.crate, *hashed)}"
    # Who uses a macro does not see what it was linked from.
    metadata = RAW + "\n".join([own, *(needs if command.is_library else ()), "end", ""]).encode()
    if "metadata" in command.emit:
        write(command.emit["metadata"], metadata)
        command.tell("metadata")
    code = b""
    if command.has_code:
        compute(cost["front"] + cost["codegen"])
        linked = () if command.is_library else tuple(crate.bytes for crate in crates.values())
        code = f"{digest(source, own, *linked)}\n".encode()
    link(command, metadata, code)
    command.tell("link")
    del held


def link(command: Command, metadata: bytes, code: bytes) -> None:
    """Writes what was compiled: a library, a macro, or a program that says what it was made from."""
    path = command.emit["link"]
    if command.is_library:
        write(path, archive(metadata, code))
    elif path.endswith(".so"):
        write(path, metadata + code)
    else:
        write(path, b"#!/bin/sh\necho " + code, 0o755)


def main(sysroot: str, argv: list[str]) -> int:
    """Compiles, or answers a question; returns the exit code."""
    if argv[:1] == ["-vV"]:
        sys.stdout.write(f"{VERSION}\n")
        return 0
    command = Command(argv)
    if "sysroot" in command.options.get("--print", []):
        sys.stdout.write(f"{sysroot}\n")
        return 0
    try:
        compile_crate(command)
    except (Mistake, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
