"""Other people's worker loops, where they are on this machine or can be installed: the npm package `@bazel/worker`, and Bazel's own WorkRequestHandler.

Each gets the least of a program around it that serves a request as ours does: it starts the command behind `--` and collects its output.
Where one cannot be had, a sentence says why; nothing fails for that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from worker_client import Worker

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart" / "peers"
NPM: Final = "npm @bazel/worker"
NPM_PACKAGE: Final = "@bazel/worker@5.8.1"
"""The last release: rules_nodejs 6 has none."""

JAVA: Final = "Bazel's WorkRequestHandler"

_PROGRAMS: Final = Path(__file__).parent / "peers"
_NPM_SECONDS: Final = 60.0
"""Two small packages."""


@frozen
class Peer:
    """Attributes: name; worker, or None where it is not here; told, which it is or why it is not here, one sentence."""

    name: str
    worker: Worker | None
    told: str


class MissingError(Exception):
    """A peer is not here; str() is one sentence."""


def peers(cache: Path, *, install: bool) -> list[Peer]:
    """Everything that could be compared with.

    Args:
        cache: the directory in which packages and compiled programs are kept.
        install: whether the npm package may be fetched.
    """
    found = []
    for name, find in ((NPM, _node), (JAVA, _java)):
        try:
            found.append(find(cache, install=install))
        except MissingError as error:
            found.append(Peer(name, None, f"not here: {error}"))
    return found


def _node(cache: Path, *, install: bool) -> Peer:
    node = _which("node")
    package = cache / "node_modules" / "@bazel" / "worker"
    if not package.exists() and not install:
        raise MissingError(f"npm's {NPM_PACKAGE} is not in {cache}")
    if not package.exists():
        cache.mkdir(parents=True, exist_ok=True)
        quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock")
        _run([_which("npm"), "install", f"--prefix={cache}", *quietly, NPM_PACKAGE])
    version = _run([node, "--version"]).strip()
    command = (node, str(_PROGRAMS / "node_loop.js"), str(package), "--persistent_worker")
    return Peer(
        NPM,
        Worker(NPM, command, in_flight=1, cancels=False),
        f"{NPM_PACKAGE} on Node.js {version}; it takes one request at a time, knows no cancel, and collects garbage after each request",
    )


def _java(cache: Path, **_: bool) -> Peer:
    jar = _bazels_jar()
    classes = cache / "java"
    classes.mkdir(parents=True, exist_ok=True)
    _run([_which("javac"), "-cp", str(jar), "-d", str(classes), str(_PROGRAMS / "ProcessWorker.java")])
    command = (_which("java"), "-cp", f"{classes}:{jar}", "ProcessWorker", "--persistent_worker")
    version = _run([_which("java"), "-version"]).partition("\n")[0]
    return Peer(
        JAVA, Worker(JAVA, command), f"from the jar of this machine's Bazel, on {version}; no registry has it"
    )


def _bazels_jar() -> Path:
    """Bazel unpacks its server below its install base; Debian's package has it apart."""
    places = [Path("/usr/share/bazel"), *Path.home().glob(".cache/bazel/_bazel_*/install/*")]
    for place in places:
        if (place / "A-server.jar").exists():
            return place / "A-server.jar"
    raise MissingError("it comes with Bazel, and there is no A-server.jar of one")


def _which(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"there is no {name} on PATH")
    return found


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_NPM_SECONDS)
    except subprocess.TimeoutExpired:
        raise MissingError(f"{command[0]} did not end in {_NPM_SECONDS:g} s") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise MissingError(f"{command[0]} failed and said: {' '.join(last)}")
    return done.stdout or done.stderr  # Java tells its version there
