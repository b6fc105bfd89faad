"""Graphs of compile units that nobody wrote: of a chosen shape, in which every unit computes for a chosen time before its metadata and after it.

A shape is pure; `write` makes a workspace of it, which every mode, host and check of ours builds as one that was imported from Cargo.
Only the compiler is not real: `synthetic_rustc`. Cargo itself cannot build it.

A graph of one's own is a JSON file:

    {"name": "two",
     "units": [{"name": "low", "front": 0.3, "codegen": 0.7},
               {"name": "high", "needs": ["low"], "front": 0.5, "codegen": 0.1, "memory": 200, "kind": "bin"}]}

`needs` names units of the file, in any order; `front` and `codegen` are processor seconds until the metadata and after it (the compiler's
own start, some 20 ms, is part of them); `memory` is MiB, held from the start to the end; `kind` is "lib", "proc-macro" or "bin". All but the
name may be left out: needs nothing, takes no time, holds nothing, is a library.
"""

from __future__ import annotations

import graphlib
import hashlib
import heapq
import json
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict, field, frozen

from headstart_worker.bench import synthetic_rustc
from headstart_worker.cargo import importer, starlark, workspace
from headstart_worker.cargo.units import BINARY, LIBRARY, PROC_MACRO, Extern, Unit, Units, encode
from headstart_wrapper.errors import RequestError

_KINDS: Final = (LIBRARY, PROC_MACRO, BINARY)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@frozen
class Part:
    """One unit of a shape.

    Attributes:
        name: unique; letters, digits, dashes and underscores.
        needs: names of the units that it is compiled against.
        front, codegen: processor seconds until the metadata, and after it.
        memory: MiB.
        kind: LIBRARY, PROC_MACRO or BINARY.
    """

    name: str
    needs: tuple[str, ...] = ()
    front: float = 0.0
    codegen: float = 0.0
    memory: int = 0
    kind: str = LIBRARY


def _ordered(units: Iterable[Part]) -> tuple[Part, ...]:
    """An order in which they can be built; what comes first stays first as far as that goes."""
    units = tuple(units)
    by_name = {unit.name: unit for unit in units}
    if not units:
        raise RequestError("the graph has no units: give it one at least")
    if len(by_name) < len(units):
        raise RequestError("two units of the graph have one name: give each its own")
    for unit in units:
        _check(unit, by_name)
    sorter = graphlib.TopologicalSorter({unit.name: unit.needs for unit in units})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise RequestError(
            f"units of the graph need each other ({circle}): leave out one of these needs"
        ) from error
    position = {unit.name: number for number, unit in enumerate(units)}
    ready: list[int] = []
    ordered = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, position[name])
        first = units[heapq.heappop(ready)]
        ordered.append(first)
        sorter.done(first.name)
    return tuple(ordered)


def _check(unit: Part, known: Mapping[str, Part]) -> None:
    if not _NAME.fullmatch(unit.name):
        raise RequestError(
            f"a unit cannot be named {unit.name!r}: begin with a letter, go on with letters, digits, - and _"
        )
    if unit.kind not in _KINDS:
        raise RequestError(f"unit {unit.name} is of kind {unit.kind!r}: take one of {', '.join(_KINDS)}")
    for name, value in (("front", unit.front), ("codegen", unit.codegen), ("memory", unit.memory)):
        if not (math.isfinite(value) and value >= 0):
            raise RequestError(f"unit {unit.name} has {name} {value}: give a number from 0 up")
    for need in unit.needs:
        if need not in known:
            raise RequestError(f"unit {unit.name} needs {need}, which is not in the graph: add it")
        if known[need].kind == BINARY:
            raise RequestError(
                f"unit {unit.name} needs {need}, which is a program: only libraries and macros can be needed"
            )


@frozen
class Shape:
    """A graph. Its units are in an order in which they can be built, whatever order they were given in.

    Attributes:
        name: for people.
        units: no two of one name; nobody needs a program.
    """

    name: str
    units: tuple[Part, ...] = field(converter=_ordered)

    def export(self) -> dict[str, Any]:
        """For JSON; `from_json` is the inverse."""
        return {"name": self.name, "units": [asdict(unit) for unit in self.units]}


def from_json(text: str) -> Shape:
    """Reads a graph; attributes that we do not know are passed over.

    Raises:
        RequestError: this is no graph.
    """
    try:
        document = json.loads(text)
        units = [
            Part(
                name=str(unit["name"]),
                needs=tuple(dict.fromkeys(str(need) for need in unit.get("needs", ()))),
                front=float(unit.get("front", 0)),
                codegen=float(unit.get("codegen", 0)),
                memory=int(unit.get("memory", 0)),
                kind=str(unit.get("kind", LIBRARY)),
            )
            for unit in document["units"]
        ]
        return Shape(str(document.get("name", "graph")), tuple(units))
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f'this is no graph of units ({error!r}): give {{"name": ..., "units": [{{"name": ..., "needs": [...], "front": 0.5, '
            '"codegen": 0.5}}, ...]}}'
        ) from error


def _shaped(kind: str, needs: Sequence[Sequence[int]], *, seconds: float, early: float, memory: int) -> Shape:
    """A shape of equal units; `needs` has the numbers of what each of them needs."""
    if not (math.isfinite(early) and 0 <= early <= 1):
        raise RequestError(f"the early part of a compile is {early}: give a number from 0 to 1")
    names = [f"u{number:0{len(str(len(needs) - 1))}}" for number in range(len(needs))]
    front, codegen = seconds * early, seconds * (1 - early)
    units = [
        Part(name, tuple(names[number] for number in below), front, codegen, memory)
        for name, below in zip(names, needs, strict=True)
    ]
    return Shape(f"{kind}:{len(needs)}", tuple(units))


def chain(count: int, *, seconds: float = 0.5, early: float = 0.5, memory: int = 0) -> Shape:
    """Each unit needs the one before it: nothing but pipelining makes it faster.

    Args:
        count: units, in this as in the other shapes.
        seconds: processor time of each.
        early: part of it until the metadata, from 0 to 1.
        memory: MiB of each.
    """
    needs = [[number - 1] if number else [] for number in range(count)]
    return _shaped("chain", needs, seconds=seconds, early=early, memory=memory)


def diamond(count: int, *, seconds: float = 0.5, early: float = 0.5, memory: int = 0) -> Shape:
    """One unit that the most need, and one that needs those."""
    middle = range(1, count - 1)
    needs = [[], *([0] for _ in middle), list(middle) or [0]]
    return _shaped("diamond", needs[:count], seconds=seconds, early=early, memory=memory)


def fan(count: int, *, seconds: float = 0.5, early: float = 0.5, memory: int = 0) -> Shape:
    """One unit that all others need."""
    needs = [[0] if number else [] for number in range(count)]
    return _shaped("fan", needs, seconds=seconds, early=early, memory=memory)


def layered(
    count: int, *, seconds: float = 0.5, early: float = 0.5, memory: int = 0, width: int = 4
) -> Shape:
    """Layers of `width` units; each needs two of the layer below, as many crates of a real graph do."""
    needs = [
        sorted({number - width, number - width + (1 if number % width < width - 1 else 1 - width)})
        if number >= width
        else []
        for number in range(count)
    ]
    return _shaped("layered", needs, seconds=seconds, early=early, memory=memory)


SHAPES: Final[Mapping[str, Callable[..., Shape]]] = {
    "chain": chain,
    "diamond": diamond,
    "fan": fan,
    "layered": layered,
}


def from_name(text: str) -> Shape:
    """The shape of a name as users write it: `chain:20`, `fan:8:0.3` (early part), `layered:40:0.5:0.2` (and seconds).

    Raises:
        RequestError: there is no such shape.
    """
    kind, *numbers = text.split(":")
    try:
        count, *rest = numbers
        chosen = dict(zip(("early", "seconds")[: len(rest)], map(float, rest), strict=True))
        return SHAPES[kind](int(count), **chosen)
    except (KeyError, ValueError) as error:
        raise RequestError(
            f"{text} is no shape: write {', '.join(SHAPES)} with a number of units, as in chain:20, and if you like the early part "
            "of a compile and its seconds, as in chain:20:0.5:0.2"
        ) from error


def write(shape: Shape, directory: Path) -> Units:
    """Makes a workspace, as an import does, with a compiler of its own; an older one is replaced.

    Args:
        shape: what is in it.
        directory: may not hold anything else.

    Raises:
        RequestError: it does.
    """
    directory = directory.resolve()
    workspace.check_free(directory)
    sysroot = directory / "sysroot"
    rustc = sysroot / "bin" / "rustc"
    units = units_of(shape, str(rustc))
    command = [sys.executable, "-I", "-S", synthetic_rustc.__file__, str(sysroot)]
    texts = {
        **starlark.build_files(units),
        **{f"crates/{part.name}/lib.rs": _source(part) for part in shape.units},
        "WORKSPACE": starlark.workspace_file(importer.default_headstart()),
        "MODULE.bazel": starlark.module_file(importer.default_headstart()),
        str(rustc.relative_to(directory)): f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n',
        workspace.UNITS: encode(units),
    }
    workspace.write(directory, {}, texts)
    rustc.chmod(0o755)
    return units


def units_of(shape: Shape, rustc: str) -> Units:
    """The units of a shape, in its order and by its names.

    Args:
        shape: what they are made from.
        rustc: absolute path of the compiler.
    """
    return Units(synthetic_rustc.VERSION, rustc, tuple(_unit(part) for part in shape.units))


def _unit(part: Part) -> Unit:
    root = f"crates/{part.name}/lib.rs"
    known = hashlib.blake2b(part.name.encode(), digest_size=8).hexdigest()
    return Unit(
        name=part.name,
        package=part.name,
        version="0.1.0",
        directory=f"crates/{part.name}",
        crate_name=part.name.replace("-", "_"),
        kind=part.kind,
        edition="2021",
        root=root,
        args=(),
        metadata=known,
        extra_filename=f"-{known}",
        env={},
        inputs=(root,),
        externs=tuple(Extern(need.replace("-", "_"), need) for need in part.needs),
        native=(),
    )


def _source(part: Part) -> str:
    cost = f"// front={part.front!r} codegen={part.codegen!r} memory={part.memory}"
    return f"{cost}\npub fn {part.name.replace('-', '_')}() {{}}\nfn hidden() {{}}\n"
