"""`headstart launcher`: writes a `process-wrapper` that starts in the shortest time this Python can.

The program that an installer makes starts Python with everything that an environment adds to it: `.pth` files, site
customisations, variables. The launcher's first line names the interpreter with `-ESP` instead, and its search path is
written down as it is now. It belongs to this environment: when that moves, or gets other packages, write it anew.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import headstart_worker
import headstart_wrapper
from headstart_wrapper.errors import MachineError, RequestError
from headstart_wrapper.option_values import shown

_FLAGS = "-ESP"
"""No variables (-E), no site (-S), no directory of the script's (-P): a search path that nobody but us writes."""

_MOST = 250
"""Bytes of a first line that the kernel reads (BINPRM_BUF_SIZE is 256)."""

_TEMPLATE = """\
#!{python} {flags}
# Written by: headstart launcher
import sys
sys.path[:0] = {ours!r}
sys.path += {others!r}
from headstart_worker.__main__ import main
main()
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="headstart launcher",
        description="Writes a process-wrapper that starts Python without what the environment adds to it.",
        epilog="example: headstart launcher ~/.local/bin/process-wrapper; RUSTC_WRAPPER=process-wrapper cargo build",
    )
    parser.add_argument("file", type=Path, help="the program to write; what is there is replaced")
    file: Path = parser.parse_args(arguments).file
    if not file.name:
        raise RequestError(f"the launcher {file} is to be a file; name it, as in {file / 'process-wrapper'}")
    text = _text()
    try:
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(0o755)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"the launcher {file} cannot be written: {error.strerror}") from error
    sys.stdout.write(f"{file} starts {sys.executable} {_FLAGS}\n")
    return 0


def _text() -> str:
    python = sys.executable
    first = f"#!{python} {_FLAGS}"
    if " " in python or not python.isprintable() or len(os.fsencode(first)) > _MOST:
        raise MachineError(
            f"the interpreter {shown(python)} cannot stand in a script's first line: its path has a blank or another "
            "such letter, or is too long; install Headstart in another place"
        )
    plain = _plain_path(python)
    # One directory for both when installed; two in a checkout.
    ours = dict.fromkeys(
        str(Path(file).parent.parent) for file in (headstart_worker.__file__, headstart_wrapper.__file__)
    )
    searched = sys.path if sys.flags.safe_path else sys.path[1:]  # without the directory of the script
    others = [entry for entry in searched if entry not in {*plain, *ours}]
    return _TEMPLATE.format(python=python, flags=_FLAGS, ours=list(ours), others=others)


def _plain_path(python: str) -> list[str]:
    """The search path of the interpreter alone."""
    asked = subprocess.run(
        [python, _FLAGS, "-c", "import sys; print(*sys.path, sep='\\0', end='')"],
        capture_output=True,
        check=True,
    )
    return os.fsdecode(asked.stdout).split("\0")
