"""The free audit: what a finished job's own files tell about what it read, wrote, and left. Starts nothing, refuses nothing.

Reported are

- files that a dep-info file or depfile names, and variables that dep-info names (also those that were not set: `option_env!` would
  have noticed), which the job did not declare. Not reported is what lies in directories of the system (`SYSTEM`) or of a
  toolchain (those that the caller names, and `lib/rustlib`, `lib/gcc`, `lib/clang` outside of the job's directory), the job's own
  outputs, what is not there when it has ended, and whatever a compiler leaves out (see `depinfo`: the free audit is a hint, the traced
  one is evidence);
- declared outputs that do not exist, and files in private directories of the job's that nobody declared;
- outputs that are cut off (`completeness`), and directories of this machine in outputs (`leaks`), but for dep-info files, whose
  business it is to name files;
- on request, declared sources and headers that no dep-info file names. Libraries, and files of any other kind, may have been read by
  what does not tell: a linker, a procedural macro, an assembler.
"""

from __future__ import annotations

import os
import posixpath
import stat

from headstart_wrapper import depinfo
from headstart_wrapper.hints import TYPE_CHECKING, Final
from headstart_wrapper.records import Record
from headstart_wrapper.sandbox import verdict
from headstart_wrapper.sandbox.binaries import BrokenError, Bytes
from headstart_wrapper.sandbox.completeness import fault
from headstart_wrapper.sandbox.leaks import leaks
from headstart_wrapper.sandbox.verdict import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headstart_wrapper.sandbox.declared import Declared

SYSTEM: Final = (
    *("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/dev", "/proc", "/sys"),
    *("/nix/store", "/gnu/store"),
)
"""Where a machine keeps what is the same for all of its jobs: no rule declares it."""

_BELOW_SYSTEM: Final = tuple(f"{place}/" for place in SYSTEM)

MOST_SEARCHED: Final = 256 << 20
"""Bytes of an output that are searched for directories: a tenth of a second; larger ones get a note."""

_TOOLCHAINS: Final = ("/lib/rustlib/", "/lib/gcc/", "/lib/clang/", "/lib64/clang/")
"""Parts of paths of what toolchains bring along."""

_HERE: Final = "/proc/self/cwd/"
"""How some build rules name the job's directory, so that it has one name on every machine."""

_SOURCES: Final = frozenset(
    (
        *(".rs", ".c", ".cc", ".cpp", ".cxx", ".c++", ".C", ".m", ".mm", ".cu"),
        *(".h", ".hh", ".hpp", ".hxx", ".h++", ".H", ".inl", ".ipp", ".tpp", ".cuh"),
    )
)
"""Kinds of files that only compilers read, and name."""


class Audit(Record):
    """What an audit found.

    Attributes:
        findings: in the order of the module's docstring.
        notes: clauses about what could not be looked at.
    """

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def audit(
    declared: Declared,
    *,
    private: tuple[str, ...] = (),
    toolchain: tuple[str, ...] = (),
    secret: tuple[str, ...] = (),
    unused: bool = False,
) -> Audit:
    """Looks at what a job that succeeded left.

    Args:
        declared: its declaration.
        private: directories that were the job's own: what is in them and neither input, output nor dep-info is reported.
        toolchain: directories that belong to its tools: it may read all that is in them.
        secret: directories that no output should name: the private ones, the execution root, somebody's home.
        unused: report unused inputs too.
    """
    seen = _Audit(declared, private, toolchain)
    seen.reads(unused=unused)
    seen.writes()
    seen.contents(secret)
    return Audit(tuple(seen.findings), tuple(seen.notes))


class _Audit:
    """One audit as it goes on."""

    def __init__(self, declared: Declared, private: tuple[str, ...], toolchain: tuple[str, ...]) -> None:
        self.findings: list[Finding] = []
        self.notes: dict[str, None] = {}
        self._declared = declared
        self._private = frozenset(private)
        self._toolchain = frozenset(toolchain)
        self._readable = frozenset((*declared.inputs, *declared.allowed))
        self._written = frozenset((*(where for _, where in declared.outputs), *declared.dep_info))
        self._resolved: frozenset[str] | None = None
        self._directory = ""

    def reads(self, *, unused: bool) -> None:
        """Compares what dep-info names with what is declared."""
        named: dict[str, str] = {}
        told = False
        for file in self._declared.dep_info:
            content = self._dep_info(file)
            if content is None:
                continue
            told = True
            dependencies = depinfo.parse(content)
            shown = verdict.spelled(file, self._declared)
            for place in map(self._place, dependencies.paths):
                path = posixpath.normpath(place)
                if path not in named and not self._may_read(path, place):
                    real = path if posixpath.lexists(path) else posixpath.realpath(place)
                    self._found(
                        Kind.UNDECLARED_READ, verdict.spelled(real, self._declared), f"{shown} names it"
                    )
                named[path] = place
            for name, value in dependencies.variables:
                if name not in self._declared.env:
                    state = "" if value is not None else "; it was not set"
                    self._found(Kind.UNDECLARED_VARIABLE, name, f"{shown} names it{state}")
        if unused and told:
            self._unused(named)
        elif unused:
            self.notes["unused inputs cannot be told: there is no dep-info"] = None

    def _dep_info(self, file: str) -> bytes | None:
        try:
            if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - without pathlib
                return None
            with open(file, "rb") as opened:  # noqa: PTH123 - without pathlib
                return opened.read()
        except OSError as error:
            shown = verdict.spelled(file, self._declared)
            self.notes[f"what was read cannot be told from {shown}: {error.strerror}"] = None
            return None

    def _place(self, path: str) -> str:
        """A path that a compiler named, absolute."""
        return posixpath.join(self._declared.directory, path.removeprefix(_HERE))

    def _may_read(self, path: str, place: str) -> bool:
        """Tells of a file, by its normal path and its path as the compiler has it: in that, `..` may leave a link's target."""
        if path in self._written or _is_free(path, self._declared.directory):
            return True
        if _is_in(path, self._readable) or _is_in(path, self._toolchain):
            return True
        if not posixpath.lexists(place):  # a temporary file, or named from another directory
            return True
        # Compilers name some files by a shorter path of their own; resolving is dear, and hardly ever needed.
        if self._resolved is None:
            known = (*self._readable, *self._written, *self._toolchain)
            self._resolved = frozenset(map(posixpath.realpath, known))
            self._directory = posixpath.realpath(self._declared.directory)
        real = posixpath.realpath(place)
        return _is_in(real, self._resolved) or _is_free(real, self._directory)

    def _unused(self, named: dict[str, str]) -> None:
        resolved: set[str] | None = None
        for path in self._declared.inputs:
            if posixpath.splitext(path)[1] not in _SOURCES or path in named or path in self._written:
                continue
            if resolved is None:
                resolved = set(map(posixpath.realpath, named.values()))
            if posixpath.realpath(path) not in resolved:
                self._found(Kind.UNUSED_INPUT, verdict.spelled(path, self._declared), "no dep-info names it")

    def writes(self) -> None:
        """Compares what is there with what was to be made."""
        for name, where in self._declared.outputs:
            if not posixpath.lexists(where):
                self._found(Kind.MISSING_OUTPUT, name)
        expected = self._written | self._readable
        seen: set[str] = set()
        for directory in sorted(self._private):
            for path in _files(directory):
                if path not in seen and not _is_in(path, expected):
                    self._found(Kind.UNDECLARED_OUTPUT, verdict.spelled(path, self._declared))
                seen.add(path)

    def contents(self, secret: tuple[str, ...]) -> None:
        """Looks into the outputs that exist."""
        for name, where in self._declared.outputs:
            for path in (where,) if not posixpath.isdir(where) else _files(where):
                self._content(
                    name + path.removeprefix(where),
                    path,
                    secret if path not in self._declared.dep_info else (),
                )

    def _content(self, name: str, path: str, secret: tuple[str, ...]) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            self.notes[f"{name} cannot be looked into: {error.strerror}"] = None
            return
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                self._look_into(name, Bytes(descriptor, 0, status.st_size), secret)
        except BrokenError as broken:  # it became shorter while it was read
            self._found(Kind.INCOMPLETE_OUTPUT, name, str(broken))
        finally:
            os.close(descriptor)

    def _look_into(self, name: str, data: Bytes, secret: tuple[str, ...]) -> None:
        if lacking := fault(name, data):
            self._found(Kind.INCOMPLETE_OUTPUT, name, lacking)
            return
        if secret and data.size > MOST_SEARCHED:
            self.notes[
                f"{name} is not searched for directories: it has more than {MOST_SEARCHED >> 20} MiB"
            ] = None
            return
        leaked, notes = leaks(data, secret)
        for leak in leaked:
            times = "once" if leak.count == 1 else f"{leak.count} times, first"
            self._found(Kind.LEAKED_PATH, name, f"{leak.place} {times} {leak.where}: {leak.sample}")
        for note in notes:
            self.notes[f"{name} is not searched for directories everywhere: {note}"] = None

    def _found(self, kind: Kind, path: str, detail: str = "") -> None:
        self.findings.append(verdict.found(kind, path, detail))


def _is_in(path: str, places: frozenset[str]) -> bool:
    """True when a path is one of these, or below one."""
    while path not in places:
        above = posixpath.dirname(path)
        if above == path:
            return False
        path = above
    return True


def _is_free(path: str, directory: str) -> bool:
    """True for a file of the system's or a toolchain's, unless it is one of the job's directory's own."""
    inside = f"{directory.rstrip('/')}/"
    if path.startswith(inside):
        return any(path.startswith(place) and not inside.startswith(place) for place in _BELOW_SYSTEM)
    return path.startswith(_BELOW_SYSTEM) or any(part in path for part in _TOOLCHAINS)


def _files(directory: str) -> Iterator[str]:
    """Every file below a directory, in order; symbolic links are files."""
    for where, directories, files in os.walk(directory):
        links = [name for name in directories if posixpath.islink(posixpath.join(where, name))]
        directories[:] = sorted(set(directories).difference(links))
        yield from (posixpath.join(where, name) for name in sorted([*files, *links]))
