"""A worker that is broken on purpose: what a host says of it is what Headstart's worker must never bring it to say.

It serves one request at a time, and knows of a request only the command after `--`. What it does wrong:

    always            the command prints to descriptor 1, where the host reads responses
    --crash-after=N   it dies of the request after the Nth, and says so on stderr
"""

from __future__ import annotations

import os
import subprocess
import sys

from headstart_worker.codec import codec_for
from headstart_worker.messages import WorkRequest, WorkResponse


def value_of(name: str, default: str) -> str:
    """The value of an option of this process."""
    return next((a.partition("=")[2] for a in sys.argv if a.startswith(f"{name}=")), default)


def serve(request: WorkRequest) -> WorkResponse:
    """Runs the command of a request."""
    command = request.arguments[request.arguments.index("--") + 1 :]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    return WorkResponse(request.request_id, done.returncode)


def main() -> None:
    """Serves until the host is gone, or it dies."""
    codec = codec_for(value_of("--worker-protocol", "proto"))
    left = int(value_of("--crash-after", "1000"))
    while data := os.read(0, 65536):
        codec.feed(data)
        for request in codec.requests():
            if not left:
                sys.exit("I'm a very poisoned worker and will just crash.")
            left -= 1
            os.write(1, codec.encode(serve(request)))


if __name__ == "__main__":
    main()
