"""The example with a real graph of crates, for tests that build it in several ways and compare."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from headstart_worker.cargo.commands import outputs
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.cargo.units import Units

HEADSTART = Path(__file__).parents[2]
"""The repository under test."""

SEARCH = HEADSTART / "examples" / "search"


def imported(root: Path, headstart: Path = HEADSTART) -> Units:
    """Writes the example as a workspace; skips the test when its crates cannot be had."""
    fetched = subprocess.run(["cargo", "fetch", "--locked"], cwd=SEARCH, capture_output=True, check=False)
    if fetched.returncode:
        pytest.skip("the registry cannot be reached")
    return import_cargo(SEARCH, root, headstart=str(headstart), progress=lambda _line: None)


def hashed(units: Units, outroot: Path) -> dict[str, str]:
    """SHA-256 of every output, by its path below the outputs; without the dep-info, which is text with paths."""
    found = {}
    for unit in units:
        made = outputs(unit, "")
        for path in (made.code, made.metadata):
            if path is not None:
                found[path] = hashlib.sha256((outroot / path).read_bytes()).hexdigest()
    return found


def tree(directory: Path) -> dict[str, str]:
    """SHA-256 of every file in it."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }
