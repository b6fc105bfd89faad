"""The tables of mutants, and which tests hold which point of the checklist; not for running anything."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

ROOT: Final = Path(__file__).parents[2]

POINTS: Final = tuple(f"C{number:02}" for number in range(1, 71))
"""The checklist's points."""

_TEST: Final = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


@frozen
class Mutant:
    """One way to break the code, and the tests that must notice.

    Attributes:
        test: a point's number, or a longer piece of a test's name.
        file: what is broken, relative to the project.
        old: what stands there, once.
        new: what is to stand there instead.
        why: what is wrong then.
        table: the file that the entry is in, for messages.
    """

    test: str
    file: str
    old: str
    new: str
    why: str
    table: str

    def broken(self, text: str) -> str:
        """The file's text with the rule broken.

        Raises:
            ValueError: `old` does not occur exactly once, or the result is no Python.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.table}: {self.test}: `old` occurs {count} times in {self.file}: {self.old}"
            )
        result = text.replace(self.old, self.new)
        try:
            compile(result, self.file, "exec")
        except SyntaxError as error:
            raise ValueError(
                f"{self.table}: {self.test}: {self.file} is no Python any more: {error}"
            ) from error
        return result


def mutants() -> list[Mutant]:
    """Every entry of every table, in the order of their tests."""
    tables = sorted(Path(__file__).parent.glob("*.toml"))
    found = [
        Mutant(**{"why": "", **entry}, table=table.name)
        for table in tables
        for entry in tomllib.loads(table.read_text("utf-8"))["mutant"]
    ]
    return sorted(found, key=lambda mutant: mutant.test)


def known_tests() -> Iterator[tuple[Path, str]]:
    """Every test function, with its file relative to the project."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in _TEST.findall(path.read_text("utf-8")):
            yield path.relative_to(ROOT), name


def find_tests(piece: str) -> list[str]:
    """The tests that have this in their names, as pytest takes them."""
    return [f"{path}::{name}" for path, name in known_tests() if f"_{piece}" in f"{name}_"]
