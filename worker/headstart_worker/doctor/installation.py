"""This installation: what Python runs it, what it brings, how `process-wrapper` is started and what that costs."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from headstart_worker.doctor import programs
from headstart_worker.doctor.finding import Finding, Probe, missing, ok, weaker

_ROUNDS: Final = 7
"""Starts that are measured: their median bears three that somebody disturbed."""

_NAME: Final = "process-wrapper"

_LAUNCHER: Final = "our launcher"
_COMPILED: Final = "a compiled launcher"

_NEEDED: Final = {
    "attrs": "attrs",
    "blake3": "blake3",
    "trio": "trio",
    "protobuf": "google.protobuf",
    "pyelftools": "elftools",
}
"""Distributions that we depend on, and a module of each."""


def probes() -> tuple[Probe, ...]:
    """What is probed, in the order of the report."""
    return (python, distribution, libraries, wrapper)


def python() -> Iterator[Finding]:
    """Python."""
    yield ok("Python", f"{platform.python_version()} ({sys.executable})")


def distribution() -> Iterator[Finding]:
    """The installed package."""
    try:
        found = importlib.metadata.distribution("headstart")
    except importlib.metadata.PackageNotFoundError:
        yield weaker(
            "headstart",
            "not installed: it runs from a source tree, and has no programs of its own",
            "pip install it into an environment",
        )
        return
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable", False)
    kind = f"editable, its source is {origin.get('url', '')}" if editable else "a wheel"
    yield ok("headstart", f"{found.version}, {kind}")


def libraries() -> Iterator[Finding]:
    """The libraries that we depend on."""
    versions = []
    for name, module in _NEEDED.items():
        try:
            importlib.import_module(module)
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except ImportError as error:  # PackageNotFoundError is one
            yield missing(
                name,
                f"it cannot be imported: {error}",
                f"pip install {name}, for {sys.executable}",
                needed=True,
            )
    yield ok("libraries", ", ".join(versions))


def wrapper() -> Iterator[Finding]:
    """The program process-wrapper."""
    here = _beside_us()
    path = programs.on_path(_NAME)
    if path is None:
        yield missing(
            f"{_NAME} on PATH",
            "a build that names it by its name does not find it",
            f"add {here.parent} to PATH" if here else "install headstart, which brings it",
        )
    elif not (version := programs.ask([path, "--version"])).line.startswith(_NAME):
        yield weaker(
            f"{_NAME} on PATH",
            f"{path} is another program of this name: {version.line or 'it does not tell its version'}",
            f"put {here.parent} before it in PATH" if here else "install headstart, and put it first in PATH",
        )
        path = None
    else:
        yield ok(f"{_NAME} on PATH", f"{path} ({version.line})")
    started = path or (str(here) if here else None)
    yield from _start(_how(Path(started)) if started else "python -m", [started] if started else _module())


def _beside_us() -> Path | None:
    """The program that was installed with this package."""
    place = Path(sysconfig.get_path("scripts"), _NAME)
    return place if place.is_file() else None


def _module() -> list[str]:
    return [sys.executable, "-P", "-m", "headstart_worker"]


def _how(path: Path) -> str:
    """How a `process-wrapper` comes to run our code, by its first lines."""
    with path.open("rb") as file:
        head = file.read(4096)
    first = head.partition(b"\n")[0]
    if head.startswith(b"\x7fELF"):
        return _COMPILED
    if b"pyenv" in head:
        return "pyenv's shim, which starts a shell and looks for a Python each time"
    if b"headstart launcher" in head or any(
        word.startswith(b"-") and b"S" in word for word in first.split()[1:]
    ):
        return _LAUNCHER
    return "the installer's script, which starts all of Python's site"


def _start(how: str, command: Sequence[str]) -> Iterator[Finding]:
    """What `-- true` costs, started so."""
    nothing = programs.no_op()
    if nothing is None:
        yield weaker("start-up", f"{how}: not measured, there is no program `true`", "install coreutils")
        return
    said = programs.ask([*command, "--", nothing])
    if said.exit_code != 0:
        reason = said.line or f"exit code {said.exit_code}"
        yield missing(
            "start-up",
            f"`{_NAME} -- true` fails: {reason}",
            f"run {' '.join(command)} -- {nothing} and look; install headstart anew",
            needed=True,
        )
        return
    bare, floor, whole = (
        _median(each)
        for each in ([nothing], [sys.executable, "-I", "-S", "-c", "pass"], [*command, "--", nothing])
    )
    meaning = (
        f"{how}: `-- true` takes {whole:.1f} ms, `true` {bare:.1f} ms, an empty Python {floor:.1f} ms "
        f"(medians of {_ROUNDS}, measured now)"
    )
    if how in {_LAUNCHER, _COMPILED}:
        yield ok("start-up", meaning)
    else:
        yield weaker(
            "start-up",
            meaning,
            f"headstart launcher FILE writes a {_NAME} that starts quicker; put it first in PATH",
        )


def _median(command: Sequence[str]) -> float:
    """Milliseconds."""
    return statistics.median(_once(command) for _ in range(_ROUNDS)) * 1000


def _once(command: Sequence[str]) -> float:
    began = time.perf_counter()
    pid = os.posix_spawn(
        command[0],
        list(command),
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)],
    )
    os.waitpid(pid, 0)
    return time.perf_counter() - began
