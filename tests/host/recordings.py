"""What `recorder.py` kept, as messages."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from headstart_worker.codec import codec_for, host_codec_for
from headstart_worker.messages import WorkRequest, WorkResponse


@frozen
class Recording:
    """What went between a host and one worker process.

    Attributes:
        messages: in the order in which they were read; what a message caused comes after it.
    """

    messages: tuple[WorkRequest | WorkResponse, ...]

    @property
    def requests(self) -> list[WorkRequest]:
        """Those that want an answer."""
        return [m for m in self.messages if isinstance(m, WorkRequest) and not m.cancel]

    @property
    def cancels(self) -> list[WorkRequest]:
        """The cancels."""
        return [m for m in self.messages if isinstance(m, WorkRequest) and m.cancel]

    @property
    def responses(self) -> list[WorkResponse]:
        """The answers."""
        return [m for m in self.messages if isinstance(m, WorkResponse)]


def read_recordings(directory: Path, protocol: str) -> list[Recording]:
    """One for each worker that was recorded in the directory.

    Raises:
        ProtocolError: somebody broke the protocol.
    """
    return [_read(path, protocol) for path in sorted(directory.iterdir())]


def _read(path: Path, protocol: str) -> Recording:
    worker, host = codec_for(protocol), host_codec_for(protocol)
    messages: list[WorkRequest | WorkResponse] = []
    complete, _, _ = path.read_text().rpartition("\n")  # the worker may still be writing the next line
    for line in complete.splitlines():
        data = bytes.fromhex(line[1:])
        if line[0] == ">":
            worker.feed(data)
            messages += worker.requests()
        else:
            host.feed(data)
            messages += host.responses()
    return Recording(tuple(messages))
