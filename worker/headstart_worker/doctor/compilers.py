"""Compilers and build tools on PATH: their versions, what we know of each, and whether it can answer early."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from headstart_worker.doctor import programs
from headstart_worker.doctor.finding import Finding, Probe, missing, ok, weaker
from headstart_wrapper import dialects
from headstart_wrapper.dialects import EarlySignal
from headstart_wrapper.programs import spoken_by

_Told = Callable[[str, str], str]
"""(path, path and version) to what is said of a program."""

_COMPILERS: Final = (
    "rustc",
    "clippy-driver",
    "cc",
    "gcc",
    "c++",
    "g++",
    "clang",
    "clang++",
    "gfortran",
    "ocamlopt",
    "ghc",
    "swiftc",
    "javac",
)

_TOOLS: Final = ("cargo", "cmake", "ninja", "make")

_BAZEL: Final = "4.2.3"
"""The release that the tests run on."""

_RUSTC: Final = ((1, 63), (1, 95))
"""The first and the last rustc whose behaviour was looked at (the dialect's own documentation)."""

_AT_ONCE: Final = 4
"""Programs that are asked at once: most of the time goes to those that do not answer."""

_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")


def probes() -> tuple[Probe, ...]:
    """What is probed, in the order of the report."""
    return (compilers,)


def tool_probes() -> tuple[Probe, ...]:
    """Likewise, for build tools."""
    return (bazel, tools)


def compilers() -> Iterator[Finding]:
    """Compilers on PATH."""
    yield from _asked(_COMPILERS, _compiler)
    absent = [name for name in _COMPILERS if programs.on_path(name) is None]
    if len(absent) == len(_COMPILERS):
        yield missing(
            "compilers",
            "none is on PATH: jobs have to name theirs by path, as Bazel's toolchains do",
            "install one, or look at PATH",
        )
    elif absent:
        yield ok("not on PATH", ", ".join(absent))


def tools() -> Iterator[Finding]:
    """Build tools on PATH."""
    yield from _asked(_TOOLS, _as_it_is)
    if absent := [name for name in _TOOLS if programs.on_path(name) is None]:
        yield ok("not on PATH", ", ".join(absent))


def _asked(names: Sequence[str], told: _Told) -> Iterator[Finding]:
    places = {name: path for name in names if (path := programs.on_path(name)) is not None}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(lambda name: _named(name, places[name], told), places)


def _named(name: str, path: str, told: _Told) -> Finding:
    """A program by its version, which is asked for."""
    try:
        said = programs.ask([path, "--version"])
    except OSError as error:
        return weaker(name, f"{path} cannot be executed: {error.strerror}", "is it built for this machine?")
    if said.exit_code is None:
        return weaker(
            name,
            f"{path} does not tell its version within {programs.SECONDS:g} s; it was killed",
            f"run {path} --version and see what it waits for",
        )
    if said.exit_code:
        reason = said.line or f"exit code {said.exit_code}"
        return weaker(name, f"{path} does not tell its version: {reason}", f"run {path} --version and look")
    return ok(name, told(path, f"{path}: {said.line}"))


def _compiler(path: str, said: str) -> str:
    dialect = spoken_by([path])
    return f"{said}; dialect {dialect}, {_early(dialect, path)}{_looked_at(path, said)}"


def _early(dialect: str, path: str) -> str:
    """Whether it can answer early, as the dialect's own plan for a plain command of it says."""
    command = [path, "--crate-type=lib", "--crate-name=x", "--emit=metadata,link", "x"]
    plan = dialects.find(dialect, command).plan(
        command, early_outputs=["libx.rmeta"], pipelined=True, stage=None, read=lambda _: ""
    )
    if plan.early_signal is EarlySignal.LINES:
        return "libraries answer early: it announces their metadata"
    if plan.early_signal is EarlySignal.WATCH:
        return "answers early where it writes an early output once: seen when it is closed or renamed"
    return "answers when it ends"


def _looked_at(path: str, said: str) -> str:
    found = _VERSION.search(said.partition(": ")[2])
    if not Path(path).name.startswith("rustc") or found is None:
        return ""
    version = tuple(int(part) for part in found[0].split(".")[:2])
    first, last = (".".join(map(str, each)) for each in _RUSTC)
    return "" if _RUSTC[0] <= version <= _RUSTC[1] else f"; outside {first} to {last}, which were looked at"


def bazel() -> Iterator[Finding]:
    """Bazel."""
    path = programs.on_path("bazel")
    if path is None:
        yield missing(
            "bazel",
            "not on PATH: the worker has no Bazel here; launchers and other hosts need none",
            "Debian has it as bazel-bootstrap, others as bazelisk",
        )
        return
    if "bazelisk" in str(Path(path).resolve()):
        yield ok("bazel", f"{path}: bazelisk, which chooses (and fetches) a version for each workspace")
        return
    finding = _named("bazel", path, _as_it_is)
    version = _VERSION.search(finding.meaning.partition(": ")[2]) or _VERSION.search(_packaged(path))
    if version is not None and version[0] == _BAZEL:
        yield ok("bazel", f"{path}: {_BAZEL}, the release that our tests run on")
    else:
        yield weaker(
            "bazel",
            f"{finding.meaning if version is None else f'{path}: {version[0]}'}; our tests run on {_BAZEL}",
            "verify a build: the worker protocol is the same in later releases, their flags' names differ",
        )


def _packaged(path: str) -> str:
    """The version of the Debian package that a program is from: a Bazel built from source may not know its own."""
    with contextlib.suppress(OSError):
        owner = programs.ask(["dpkg-query", "--search", str(Path(path).resolve())])
        package = owner.line.partition(":")[0]
        if owner.exit_code == 0:
            return programs.ask(["dpkg-query", "--show", "--showformat=${Version}", package]).line
    return ""


def _as_it_is(_path: str, said: str) -> str:
    return said
