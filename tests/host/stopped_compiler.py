"""A rustc that stands still at a chosen moment until a test lets it go on."""

from __future__ import annotations

import sys
from pathlib import Path

from attrs import frozen

from process.support import Fifo

STOPPED_AT_METADATA = """#!{python}
# rustc, which is stopped when it has told that its metadata is written, until somebody says so.
import os, signal, subprocess, sys

with subprocess.Popen([{rustc!r}, *sys.argv[1:]], stderr=subprocess.PIPE) as rustc:
    for line in rustc.stderr:
        if b'"emit":"metadata"' in line:
            rustc.send_signal(signal.SIGSTOP)
            os.write(2, line)
            with open({told!r}, "w") as told:
                told.write(f"{{rustc.pid}}\\n")
            with open({go!r}) as go:
                go.readline()
            rustc.send_signal(signal.SIGCONT)
        else:
            os.write(2, line)
sys.exit(rustc.returncode)
"""

STOPPED_AT_START = """#!/bin/sh
echo $$ > '{told}'; read line < '{go}'; exec '{rustc}' "$@"
"""


@frozen
class Stopping:
    """A compiler that stops.

    Attributes:
        path: its program.
        told: says its process id when it has stopped.
        go: lets it go on.
    """

    path: Path
    told: Fifo
    go: Fifo

    def program(self, rustc: str, script: str) -> str:
        """Writes the program: one of the scripts here, for a real rustc."""
        self.path.write_text(
            script.format(python=sys.executable, rustc=rustc, told=str(self.told), go=str(self.go))
        )
        self.path.chmod(0o755)
        return str(self.path)
