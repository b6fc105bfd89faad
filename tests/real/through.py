"""What tests of builds through the wrapper share: the wrapper, the two ways in which it runs a compiler, and the files that a build left."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

WRAPPER = Path(sys.executable).with_name("process-wrapper")

BECOMES = "becomes the compiler"
STAYS = "stays beside it"
"""Without anything to do after the compiler the wrapper becomes it; statistics and a timeout make it stay."""

_INHERITED = ("CARGO_", "HEADSTART_", "MAKE", "MFLAGS", "RUSTC", "RUSTFLAGS", "CC", "CFLAGS", "CMAKE_")


@frozen
class Way:
    """How the wrapper is to run the compilers of a build. Attributes: name; stats, an existing directory for statistics."""

    name: str
    stats: Path

    @property
    def variables(self) -> dict[str, str]:
        """The wrapper's options, for a build tool that has no place for any."""
        if self.name == BECOMES:
            return {}
        return {"HEADSTART_STATS": f"{self.stats}/", "HEADSTART_TIMEOUT": "600"}

    def staid(self) -> int:
        """Beside how many jobs it stayed."""
        return len(list(self.stats.iterdir()))


def clean_environment() -> dict[str, str]:
    """This process's environment without what changes builds."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_INHERITED) or name in {"CARGO_HOME", "TEST_OF_HEADSTART"}
    }


def run(
    command: Sequence[str | Path], directory: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Runs a build tool with nothing in its environment that changes builds, but what is given."""
    return subprocess.run(
        command,
        cwd=directory,
        env={**clean_environment(), "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def files(root: Path, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, str]:
    """Every file below a directory, links included: its kind and permissions, and the hash of its bytes."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir() or not wanted(name):
            continue
        mode = stat.filemode(path.lstat().st_mode)
        found[name] = f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def write(root: Path, texts: Mapping[str, str]) -> None:
    """Makes files by their names below a directory."""
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def script(path: Path, text: str) -> Path:
    """Makes an executable."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
