"""How fast the worker reads requests and writes responses, without a process or a pipe: framing, parsing and making values, in both encodings."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import measure
from headstart_worker.codec import ENCODINGS, codec_for, host_codec_for
from headstart_worker.messages import Input, WorkRequest, WorkResponse
from measure import Run
from sections import Section, entry

_CHUNK: Final = 1 << 16
"""As the worker reads: a pipe's capacity."""

_INPUTS: Final = 1000
"""Of the large request: a Rust compile with its standard library and hundreds of crates."""

_LINES: Final = 800
"""Of the large response's diagnostics, some 64 KiB: more than anybody reads."""

_BATCH: Final = 1 << 20
"""Bytes of one measurement, so that it takes milliseconds."""

MOST_MESSAGES: Final = 2000
"""Of one measurement: of small ones so many are timed together."""

_REQUESTS: Final[Mapping[str, WorkRequest]] = {
    "small": WorkRequest(1, ("--", "/bin/true")),
    "large": WorkRequest(
        1,
        ("--", "rustc", *(f"--extern=crate{number}=out/libcrate{number}.rmeta" for number in range(200))),
        tuple(
            Input(f"out/deps/libcrate{number}.rmeta", hashlib.sha256(b"%d" % number).hexdigest().encode())
            for number in range(_INPUTS)
        ),
    ),
}
_RESPONSES: Final[Mapping[str, WorkResponse]] = {
    "small": WorkResponse(1),
    "large": WorkResponse(
        1, 0, 'warning: unused variable: "x"\n  --> src/lib.rs:12:9\n   | let x = "y"; ^\n' * _LINES
    ),
}


def framing(*, rounds: int) -> Section:
    """Seconds for each message, small and large; the entry tells how many bytes that is on the wire."""
    sizes: dict[str, int] = {}
    things: dict[str, Callable[[], Run]] = {}
    for protocol in ENCODINGS:
        for size, request in _REQUESTS.items():
            frame = host_codec_for(protocol).encode(request)
            name = f"read a request, {protocol}, {size}"
            sizes[name], things[name] = len(frame), partial(_read, protocol, frame)
        for size, response in _RESPONSES.items():
            name = f"write a response, {protocol}, {size}"
            sizes[name] = len(codec_for(protocol).encode(response))
            things[name] = partial(_write, protocol, response, sizes[name])
    samples = measure.interleaved(things, rounds=rounds)
    return Section(
        "the wire, seconds for each message",
        tuple(entry(sample, message_bytes=sizes[sample.command]) for sample in samples),
    )


def _messages(size: int) -> int:
    return min(MOST_MESSAGES, -(-_BATCH // size))


def _read(protocol: str, frame: bytes) -> Run:
    count = _messages(len(frame))
    stream = frame * count
    chunks = [stream[start : start + _CHUNK] for start in range(0, len(stream), _CHUNK)]
    codec = codec_for(protocol)
    read = 0
    began = time.perf_counter()
    for chunk in chunks:
        codec.feed(chunk)
        read += sum(1 for _ in codec.requests())
    seconds = time.perf_counter() - began
    if read != count:
        raise SystemExit(f"{read} of {count} requests were read; nothing can be said of the wire")
    return Run((seconds / count,))


def _write(protocol: str, response: WorkResponse, size: int) -> Run:
    count = _messages(size)
    codec = codec_for(protocol)
    began = time.perf_counter()
    deque((codec.encode(response) for _ in range(count)), maxlen=0)
    return Run(((time.perf_counter() - began) / count,))
