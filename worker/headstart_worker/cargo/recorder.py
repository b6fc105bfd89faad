"""Cargo's `RUSTC_WRAPPER` while we watch: writes down one command, then becomes the compiler.

Run as a script by its path, in the interpreter's isolated mode, once for each rustc that Cargo starts: it imports nothing of ours
and nothing that is slow to import. It decides nothing; `capture` reads what it wrote.

    python -IS recorder.py DIRECTORY RUSTC ARGUMENT...
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(directory: str, command: list[str]) -> None:
    """Writes `DIRECTORY/<start>-<pid>.json` and replaces this process by `command`."""
    # One clock for the whole machine, so the names are in the order of the starts.
    path = os.path.join(directory, f"{time.monotonic_ns():020}-{os.getpid()}.json")  # noqa: PTH118  pathlib is slow to import
    record = {"argv": command, "cwd": os.getcwd(), "env": dict(os.environ)}  # noqa: PTH109  likewise
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123  likewise
        json.dump(record, file, ensure_ascii=False)
    os.execvp(command[0], command)  # noqa: S606  no shell is what we want


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
