"""Which shared libraries a program loads when it starts, found as ld.so(8) finds them, without running it.

Followed are DT_NEEDED with RPATH, RUNPATH, `$ORIGIN`, LD_LIBRARY_PATH and LD_PRELOAD, and the program's own loader. The system's
directories are those of /etc/ld.so.conf and the loader's own, in that order: /etc/ld.so.cache is made from nothing else. Of
the variants for better processors (glibc-hwcaps) all are taken, because which one is loaded is the loader's secret. Not
here: what a program loads later, by dlopen(3); whoever knows the program names that as well.

pyelftools is imported where it is used: it costs every other start 38 ms.
"""

from __future__ import annotations

import os
import posixpath
import stat

from headstart_wrapper.hints import Final
from headstart_wrapper.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, BinaryIO

PRELOAD: Final = "/etc/ld.so.preload"

_CONF = "/etc/ld.so.conf"

_HWCAPS = "glibc-hwcaps"
"""Below any directory of libraries: one directory for each level of processors."""

_MOST_LINKS = 40
"""The kernel's own limit (path_resolution(7))."""


class Ways:
    """Where paths lead. It remembers every symbolic link on the way: a view of the file system needs them too.

    Attributes:
        steps: of each place on the way, resolved but for its last name, what is written in that link; None: it is no link.
    """

    def __init__(self) -> None:
        self.steps: dict[str, str | None] = {}

    def real(self, path: str) -> str:
        """The place that an absolute path leads to; it need not exist."""
        at, rest, followed = "", path.split("/")[::-1], 0
        while rest:
            name = rest.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                at = at.rpartition("/")[0]
                continue
            at = f"{at}/{name}"
            if at not in self.steps:
                self.steps[at] = link(at)
            target = self.steps[at]
            if target is not None and followed < _MOST_LINKS:
                followed += 1
                at = "" if target.startswith("/") else at.rpartition("/")[0]
                rest.extend(target.split("/")[::-1])
        return at or "/"


def link(place: str) -> str | None:
    """What is written in a symbolic link; None: it is none."""
    try:
        return os.readlink(place)  # noqa: PTH115 - without pathlib
    except OSError:
        return None


class Linkage(Record):
    """What one ELF file says about its libraries.

    Attributes:
        machine: what it is made for; its libraries are made for the same.
        loader: the program that loads its libraries; "" in a library.
        needed: names of libraries, or paths.
        rpath: where to look first, for its libraries' libraries too; void where there is a runpath.
        runpath: where to look after LD_LIBRARY_PATH, for its own libraries only.
    """

    machine: tuple[int, str]
    loader: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


def linkage(path: str) -> Linkage | None:
    """Reads an ELF file; None: it is none, is corrupt, or cannot be read."""
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - see the module's docstring

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - without pathlib
            if file.read(4) != b"\x7fELF":
                return None
            file.seek(0)
            return _read(ELFFile(file), file)
    except Exception:  # noqa: BLE001 - pyelftools raises whatever its parsing trips over, and so will the loader
        return None


def _read(elf: Any, file: BinaryIO) -> Linkage:
    """Reads what the loader reads, with pyelftools' structures; its `DynamicSegment` reads every section first (8 ms a file, not 1)."""
    from elftools.common.utils import parse_cstring_from_stream, struct_parse  # noqa: PLC0415 - see the module's docstring

    structs, header = elf.structs, elf.header
    segments = [
        struct_parse(structs.Elf_Phdr, file, header["e_phoff"] + at * header["e_phentsize"])
        for at in range(header["e_phnum"])
    ]

    def text(offset: int) -> str:
        return os.fsdecode(parse_cstring_from_stream(file, offset) or b"")

    loader = "".join(text(each["p_offset"]) for each in segments if each["p_type"] == "PT_INTERP")
    tags: dict[str, list[int]] = {}
    for segment in (each for each in segments if each["p_type"] == "PT_DYNAMIC"):
        size = structs.Elf_Dyn.sizeof()
        for at in range(segment["p_offset"], segment["p_offset"] + segment["p_filesz"], size):
            entry = struct_parse(structs.Elf_Dyn, file, at)
            if entry["d_tag"] == "DT_NULL":
                break
            tags.setdefault(entry["d_tag"], []).append(entry["d_val"])
    strings = 0
    for address in tags.get(
        "DT_STRTAB", ()
    ):  # an address in memory, where some segment brings its part of the file
        strings = next(
            address - each["p_vaddr"] + each["p_offset"]
            for each in segments
            if each["p_type"] == "PT_LOAD" and each["p_vaddr"] <= address < each["p_vaddr"] + each["p_filesz"]
        )
    needed, rpath, runpath = (
        [text(strings + offset) for offset in tags.get(name, ())]
        for name in ("DT_NEEDED", "DT_RPATH", "DT_RUNPATH")
    )
    return Linkage(
        machine=(elf.elfclass, header["e_machine"]),
        loader=loader,
        needed=tuple(needed),
        rpath=() if runpath else tuple(":".join(rpath).split(":")) if rpath else (),
        runpath=tuple(":".join(runpath).split(":")) if runpath else (),
    )


class Loader:
    """Finds libraries for programs that run in one environment; each file is read once."""

    def __init__(self, *, env: Mapping[str, str], cwd: str, ways: Ways) -> None:
        """`cwd` is what relative paths in the environment are relative to; `ways` notes the links to a program."""
        self._cwd = cwd
        self._ways = ways
        self._by_variable = tuple(posixpath.join(cwd, at) for at in _split(env.get("LD_LIBRARY_PATH", "")))
        self._preloaded = tuple(_preloaded(env))
        self._system = _system_directories()
        self._linkages: dict[str, Linkage | None] = {}

    def loaded(self, program: str) -> dict[str, None]:
        """The libraries that come with an ELF file, its loader among them, as the loader spells them, in its order.

        What is needed and not there is left out: the loader will say so.

        Args:
            program: absolute path of a program, or of a library that somebody loads by dlopen(3).
        """
        found: dict[str, None] = {}
        first = self._linkage(program)
        if first is None:
            return found
        if first.loader and _is_file(first.loader):
            found[first.loader] = None
        # A library's $ORIGIN is where it was found; a program's is where it really is (the kernel tells).
        waiting: list[tuple[str, Linkage, tuple[str, ...]]] = [(self._ways.real(program), first, ())]
        for at, one, inherited in waiting:
            own = (*_places(one.rpath, at, one), *inherited)
            where = (
                *(() if one.runpath else own),
                *self._by_variable,
                *_places(one.runpath, at, one),
                *self._system,
            )
            for name in (*one.needed, *(self._preloaded if one is first else ())):
                for place, said in self._candidates(name, where, one.machine):
                    if place not in found:
                        found[place] = None
                        waiting.append((place, said, own))
        return found

    def _candidates(
        self, name: str, where: Iterable[str], machine: tuple[int, str]
    ) -> list[tuple[str, Linkage]]:
        """The first of its name that is made for the machine, and its variants."""
        if "/" in name:
            return self._fitting([posixpath.join(self._cwd, name)], machine)
        places = (self._fitting([f"{at}/{name}", *_variants(at, name)], machine) for at in where)
        return next(filter(None, places), [])

    def _fitting(self, places: Iterable[str], machine: tuple[int, str]) -> list[tuple[str, Linkage]]:
        read = ((place, self._linkage(place)) for place in places if _is_file(place))
        return [(place, said) for place, said in read if said is not None and said.machine == machine]

    def _linkage(self, path: str) -> Linkage | None:
        if path not in self._linkages:
            self._linkages[path] = linkage(path)
        return self._linkages[path]


def _variants(directory: str, name: str) -> list[str]:
    levels = f"{directory}/{_HWCAPS}"
    return [f"{levels}/{level}/{name}" for level in entries(levels)]


def _places(spelled: Iterable[str], owner: str, said: Linkage) -> Iterator[str]:
    """Directories of a search path, its variables replaced (ld.so(8), Dynamic string tokens)."""
    machine = os.uname().machine
    libraries = ("lib64", "lib", f"lib/{machine}-linux-gnu") if said.machine[0] == 64 else ("lib",)
    for one in spelled:
        at = one
        for token, value in (("ORIGIN", posixpath.dirname(owner)), ("PLATFORM", machine)):
            at = at.replace(f"${{{token}}}", value).replace(f"${token}", value)
        for library in libraries if "$LIB" in at or "${LIB}" in at else libraries[:1]:
            yield at.replace("${LIB}", library).replace("$LIB", library)


def _preloaded(env: Mapping[str, str]) -> Iterator[str]:
    yield from env.get("LD_PRELOAD", "").replace(":", " ").split()
    yield from " ".join(_lines(PRELOAD)).split()


def _system_directories() -> tuple[str, ...]:
    """Where every program's libraries are, in order, without what does not exist."""
    multiarch = f"{os.uname().machine}-linux-gnu"
    built_in = (
        *(f"{above}/{multiarch}" for above in ("/lib", "/usr/lib")),
        *("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"),
    )
    return tuple(at for at in dict.fromkeys((*_configured(_CONF, ()), *built_in)) if os.path.isdir(at))  # noqa: PTH112 - without pathlib


def _configured(conf: str, above: tuple[str, ...]) -> Iterator[str]:
    """The directories that ldconfig(8) is told of."""
    import fnmatch  # noqa: PLC0415 - as late as pyelftools

    for line in _lines(conf) if conf not in above else ():
        if line.startswith("include"):
            for pattern in line.split()[1:]:
                directory, name = posixpath.split(posixpath.join(posixpath.dirname(conf), pattern))
                for part in fnmatch.filter(entries(directory), name):
                    yield from _configured(f"{directory}/{part}", (*above, conf))
        elif line.startswith("/"):
            yield line.rstrip("/")


def entries(directory: str) -> list[str]:
    """The names in a directory, sorted; none when it cannot be read."""
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - without pathlib
    except OSError:
        return []


def _lines(path: str) -> list[str]:
    """A file's lines without comments; none when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - without pathlib
            return [line.partition("#")[0].strip() for line in file]
    except OSError:
        return []


def _split(path: str) -> list[str]:
    """LD_LIBRARY_PATH's directories; an empty one is the job's."""
    return path.replace(";", ":").split(":") if path else []


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - without pathlib
    except OSError:
        return False
