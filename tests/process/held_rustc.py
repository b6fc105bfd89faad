"""Stands for rustc: runs it, and stops it when it tells of its metadata, until somebody writes to a fifo.

    held_rustc.py RUSTC FIFO argument...

So a test sees what a compiler holds between its metadata and its end, as long as it wants to look.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Runs the command line; returns rustc's exit code."""
    rustc, fifo, *arguments = sys.argv[1:]
    process = subprocess.Popen([rustc, *arguments], stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        stopped = b'"emit":"metadata"' in line
        if stopped:
            process.send_signal(signal.SIGSTOP)
            seen = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if seen is None or seen.si_code != os.CLD_STOPPED:
                return 99  # it had ended: the crate is too small for this
        os.write(2, line)
        if stopped:
            with Path(fifo).open("rb", buffering=0) as gate:
                gate.read(len(b"go\n"))  # what follows is for the next one
            process.send_signal(signal.SIGCONT)
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
