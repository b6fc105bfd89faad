"""A pipelining worker that is right or, in one point, wrong: what a judge of sandboxes must tell apart.

    naive_worker.py PRIVATE WRONG --persistent_worker --worker-protocol=json

Each request's command is rustc's, with `--out-dir=out`. It is answered when rustc tells of its metadata; rustc goes on.

    WRONG=nothing  rustc runs in a copy of the sandbox and writes into a private directory
    WRONG=cwd      it runs in the sandbox
    WRONG=out      it writes into the sandbox
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from headstart_worker.codec import codec_for
from headstart_worker.messages import WorkRequest, WorkResponse


def early_outputs(request: WorkRequest) -> list[str]:
    """What the request declares as such."""
    return [word.partition("=")[2] for word in request.arguments if word.startswith("--early-output=")]


def serve(request: WorkRequest, private: Path, wrong: str) -> WorkResponse:
    """Starts rustc and returns when its metadata is published; who started it is told by its stderr, and waits at its end."""
    sandbox = Path.cwd() / request.sandbox_dir
    root = private / f"root-{request.request_id}"
    out = private / f"out-{request.request_id}"
    shutil.copytree(sandbox, root)
    out.mkdir()
    command = request.arguments[request.arguments.index("--") + 1 :]
    target = sandbox / "out" if wrong == "out" else out
    process = subprocess.Popen(
        [f"--out-dir={target}" if word == "--out-dir=out" else word for word in command],
        cwd=sandbox if wrong == "cwd" else root,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if b'"emit":"metadata"' in line:
            if wrong != "out":
                for path in early_outputs(request):
                    shutil.copyfile(out / Path(path).name, sandbox / path)
            break
    else:
        return WorkResponse(request.request_id, process.wait() or 125, said.decode())
    running.append(process)
    return WorkResponse(request.request_id, 0)


running: list[subprocess.Popen[bytes]] = []
"""Compilers that go on after their request was answered."""


def main() -> None:
    """Serves until the host is gone, and every compiler has ended."""
    private, wrong = Path(sys.argv[1]), sys.argv[2]
    codec = codec_for("json")
    while data := os.read(0, 65536):
        codec.feed(data)
        for request in codec.requests():
            os.write(1, codec.encode(serve(request, private, wrong)))
    for process in running:
        process.communicate()


if __name__ == "__main__":
    main()
