"""Stands between a host and a worker, and keeps every byte that passes: `recorder.py DIRECTORY WORKER ARGUMENT...`.

Each recorder writes DIRECTORY/<its process id>, a line for each read in the order of the reads: `>` and the hex bytes of
what the host sent, `<` and those of what the worker sent. A line is written before its bytes go on, so that a request's
line stands before the lines of what it caused, in both directions. Not here: what the bytes mean (`recordings`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def copy(journal: int, mark: bytes, source: int, target: int) -> None:
    """Passes bytes on until the source ends or the target is closed."""
    while data := os.read(source, 65536):
        os.write(journal, mark + data.hex().encode() + b"\n")
        try:
            while data:
                data = data[os.write(target, data) :]
        except BrokenPipeError:
            return


def main() -> None:
    """Runs the worker between the two streams of this process, and ends as it does."""
    directory, *command = sys.argv[1:]
    journal = os.open(Path(directory, str(os.getpid())), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    request_reader, requests = os.pipe()
    responses, response_writer = os.pipe()
    worker = subprocess.Popen(command, stdin=request_reader, stdout=response_writer)
    os.close(request_reader)
    os.close(response_writer)
    signal.signal(signal.SIGTERM, lambda *_: worker.terminate())

    def pass_requests_on() -> None:
        copy(journal, b">", 0, requests)
        os.close(requests)

    threading.Thread(target=pass_requests_on, daemon=True).start()
    copy(journal, b"<", responses, 1)
    os._exit(
        worker.wait() & 0xFF
    )  # not `sys.exit`: the thread may wait for a host that sends nothing any more


if __name__ == "__main__":
    main()
