"""A worker that keeps every byte it reads; `record.py` puts it into a scratch workspace.

Arguments at its start: `--tapes=DIRECTORY --protocol=proto|json`, then Bazel's `--persistent_worker`. Each worker process
writes one tape. An action's arguments are `OUTPUT TEXT...`; when the first text is `hold`, the worker answers only after
a cancel. Without `--persistent_worker` it does the action's work once, as Bazel's other strategies want it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from headstart_worker.codec import codec_for
from headstart_worker.messages import WorkRequest, WorkResponse


def write_output(arguments: tuple[str, ...]) -> None:
    """What every action of the scratch workspace does."""
    Path(arguments[0]).write_text("\n".join(arguments[1:]), encoding="utf-8")


def serve(tape: Path, protocol: str) -> None:
    """Records standard input and answers each request once."""
    codec = codec_for(protocol)
    held: set[int] = set()

    def answer(request: WorkRequest) -> None:
        if request.cancel and request.request_id not in held:
            return
        if not request.cancel and request.arguments[1:2] == ("hold",):
            held.add(request.request_id)
            return
        if not request.cancel:
            write_output(request.arguments)
        held.discard(request.request_id)
        os.write(1, codec.encode(WorkResponse(request_id=request.request_id, was_cancelled=request.cancel)))

    with tape.open("ab", buffering=0) as record:
        while data := os.read(0, 65536):
            record.write(data)
            codec.feed(data)
            for request in codec.requests():
                answer(request)


def once(tapes: Path, params: str) -> None:
    """Does one action; in a race with a worker only after the worker has its request."""
    arguments = tuple(Path(params).read_text(encoding="utf-8").splitlines())
    if arguments[1:2] == ("hold",):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not any(tape.stat().st_size for tape in tapes.glob("*.tape")):
            time.sleep(0.05)
    write_output(arguments)


def main() -> None:
    """See the module."""
    options = dict(
        argument[2:].split("=", 1)
        for argument in sys.argv[1:]
        if argument.startswith("--") and "=" in argument
    )
    tapes = Path(options["tapes"])
    if "--persistent_worker" in sys.argv:
        serve(tapes / f"{os.getpid()}.tape", options["protocol"])
    else:
        once(tapes, sys.argv[-1].removeprefix("@"))


main()
