"""How far Cargo's build is, from what Cargo says and how many packages it will compile. Changes nothing in the build."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart_worker.cargo.capture import Toolchain
from headstart_worker.progress import Progress


def follow(progress: Progress) -> Callable[[str], None]:
    """Makes of Cargo's lines steps on a terminal, and lines elsewhere."""

    def tell(line: str) -> None:
        verb, *what = line.split()
        if progress.is_live and verb == "Compiling":
            progress.begin("compiling " + " ".join(what[:2]))  # name and version; a path would fill the line
            return
        if verb == "Finished":
            progress.done()
        progress.remark(line)

    return lambda line: tell(line) if line.strip() else progress.remark(line)


def packages(source: Path, toolchain: Toolchain, *, locked: bool, development: bool) -> int | None:
    """How many packages a build compiles; None when Cargo cannot tell.

    A lock file cannot: it names what other platforms and tests need, too. What Cargo has to fetch for its answer it tells
    on our stderr.

    Args:
        source: directory of the Cargo.toml.
        toolchain: what it is built with.
        locked: it has a lock file that stays as it is.
        development: what tests and examples need is compiled, too.
    """
    kinds = "normal,build,dev" if development else "normal,build"
    options = ["--locked"] if locked else []
    told = subprocess.run(
        [toolchain.cargo, "tree", f"--edges={kinds}", "--prefix=none", *options],
        cwd=source,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    # A package that is needed again is marked so.
    names: Sequence[str] = [line.removesuffix(" (*)") for line in told.stdout.splitlines() if line]
    return len(set(names)) or None if told.returncode == 0 else None
