"""A worker that runs plain commands, some at a time: somebody else's, which a benchmark compares ours with.

    plain_worker.py [--marker=FILE] --persistent_worker

It knows nothing of early outputs, sandboxes or cancels. With a marker it appends a line to that file for each request.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headstart_worker.codec import codec_for
from headstart_worker.messages import WorkRequest, WorkResponse


def serve(request: WorkRequest) -> None:
    """Runs one command and answers."""
    done = subprocess.run(request.arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    response = WorkResponse(request.request_id, done.returncode, (done.stdout + done.stderr).decode())
    for marker in markers:
        with marker.open("a") as file:
            file.write(f"{' '.join(request.arguments[:1])}\n")
    os.write(1, codec.encode(response))  # less than a pipe takes at once


codec = codec_for("json" if "--json" in sys.argv else "proto")
markers = [Path(word.partition("=")[2]) for word in sys.argv if word.startswith("--marker=")]


def main() -> None:
    """Serves until the host is gone and every command has ended."""
    if sys.argv[-1] != "--persistent_worker":
        raise SystemExit(f"a worker that got {sys.argv}")
    with ThreadPoolExecutor(8) as pool:
        while data := os.read(0, 65536):
            codec.feed(data)
            for request in codec.requests():
                pool.submit(serve, request)


if __name__ == "__main__":
    main()
