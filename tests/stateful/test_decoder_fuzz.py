"""Any bytes from a host, cut anywhere: requests or a protocol error, the same ones, soon, and in bounded memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings

from headstart_worker.codec import codec_for
from headstart_worker.framing import encode_proto_frame
from stateful.decoding import CUTS, LIMIT, PROTOCOLS, STREAMS, decoded, pieces
from stateful.long_mode import COVERAGE_RUNS, INPUTS, LONG, Progress


@pytest.mark.parametrize("kind", sorted(STREAMS))
def test_any_stream_has_one_outcome_however_it_is_cut(kind: str) -> None:
    progress = Progress(f"streams of {kind}", INPUTS)
    done = 0

    @settings(
        max_examples=INPUTS if LONG else 300,
        derandomize=not LONG,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(STREAMS[kind], CUTS)
    def try_one(stream: bytes, cuts: list[int]) -> None:
        nonlocal done
        done += 1
        progress.at(done)
        for protocol in PROTOCOLS:
            whole = decoded(protocol, [stream])
            assert decoded(protocol, pieces(stream, cuts)) == whole

    try_one()
    progress.at(done, last=True)
    assert not LONG or done >= INPUTS


@pytest.mark.skipif(not LONG, reason="`make fuzz` runs it")
@pytest.mark.skipif(
    find_spec("atheris") is None, reason="there is no atheris here; hypothesis alone makes the streams"
)
def test_streams_that_a_coverage_guided_fuzzer_finds(tmp_path: Path) -> None:
    script = Path(__file__).with_name("coverage_guided.py")
    command = [sys.executable, str(script), f"-runs={COVERAGE_RUNS}", f"-artifact_prefix={tmp_path}/"]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run(command, env=environment, check=False)
    found = [path.read_bytes() for path in tmp_path.iterdir()]
    assert ended.returncode == 0, f"these are streams that it found: {found!r}"


# What chance may miss, by name.

DIGITS: Final = [1, 9, 10, 11, 4300, 4301, 15_000]


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize(
    "place", ['{"requestId":%s}', '{"requestId":"%s"}', '{"unknown":%s}', '{"unknown":1.%s}']
)
def test_digits_of_any_number_are_a_number_or_an_error(place: str, digits: int) -> None:
    for sign in ("", "-"):
        outcome = decoded("json", [(place % (sign + "1" * digits)).encode()])
        assert bool(outcome.error) != bool(outcome.requests)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"digest":', b"[{"])
@pytest.mark.parametrize(
    "start", [b'{"unknown":', b'{"arguments":', b'{"inputs":[{"digest":', b'{"requestId":']
)
def test_nesting_of_any_depth_is_read_or_refused(start: bytes, opening: bytes) -> None:
    # Near the depth that Python's parser takes, what is read may be too deep for whatever is done with it.
    for depth in (*range(1, 10), *range(900, 1010), 3000):
        closing = b"".join({ord("["): b"]", ord("{"): b"}"}.get(byte, b"") for byte in reversed(opening))
        end = b"}]}" if b"[{" in start else b"}"
        stream = start + opening * depth + b"1" + closing * depth + end
        outcome = decoded("json", [stream])
        assert bool(outcome.error) != bool(outcome.requests)


@pytest.mark.parametrize(
    "stream",
    [
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b'{"arguments":["\xed\xa0\x80"]}',
        b'{"arguments":["\\ud800"]}',
        b'{"sandboxDir":"\\udfff"}',
        b'{"requestId":NaN}',
        b'{"requestId":1e400}',
        b'{"requestId":1e308}',
        b'{"verbosity":2147483648}',
        b'{"inputs":[{"path":"\\ud800"}]}',
        b'{"inputs":{}}',
        b'{"cancel":1}',
        b'{"arguments":[null]}',
        b'{"\0":1}',
    ],
)
def test_what_is_no_request_is_an_error(stream: bytes) -> None:
    whole = decoded("json", [stream])
    assert whole.error
    assert not whole.requests
    assert decoded("json", pieces(stream, range(len(stream)))) == whole


@pytest.mark.parametrize(
    ("stream", "request_id"),
    [
        (b'{"requestId":1,"requestId":2}', 2),
        (b'{"requestId":1e0}', 1),
        (b'{"requestId":null,"request_id":3}', 3),
        (b'{"inputs":[{"digest":"\\ud800"}],"requestId":4}', 4),
        (b'{"inputs":[{"digest":NaN}],"requestId":5}', 5),
        (b'{"inputs":[{"digest":-1e400}],"requestId":6}', 6),
    ],
)
def test_what_is_merely_strange_is_a_request(stream: bytes, request_id: int) -> None:
    outcome = decoded("json", [stream])
    assert [request.request_id for request in outcome.requests] == [request_id]
    assert not outcome.error


@pytest.mark.parametrize(
    "payload",
    [
        b"\x12\x02\x0a\xff",
        b"\x0a\x01\xff",
        b"\x0a\x03\xed\xa0\x80",
        b"\x0b" * 200,
        b"\x0c",
        b"\x18" + b"\xff" * 11,
        b"\x07",
        b"\x00",
    ],
)
def test_payloads_that_are_no_message_are_an_error(payload: bytes) -> None:
    stream = encode_proto_frame(payload)
    whole = decoded("proto", [stream])
    assert whole.error
    assert decoded("proto", pieces(stream, range(len(stream)))) == whole


@pytest.mark.parametrize(
    ("protocol", "stream"),
    [
        ("proto", encode_proto_frame(b"a" * (LIMIT + 1))[:3]),
        ("json", b'{"arguments":["' + b"a" * LIMIT),
        ("json", b'{"arguments":["' + b"a" * LIMIT + b'"]}'),
        ("json", b'{"":' * LIMIT),
    ],
)
def test_a_message_beyond_the_limit_is_refused_when_that_is_known(protocol: str, stream: bytes) -> None:
    whole = decoded(protocol, [stream])
    assert whole.error.startswith("a message")
    assert decoded(protocol, pieces(stream, range(0, len(stream), 97))) == whole


# Time and memory. Sizes are bytes; the limit of a message stays out of the way.

BIG: Final = 64 << 20

GROWING: Final[dict[str, tuple[str, Callable[[int], bytes]]]] = {
    "one text": ("json", lambda size: b'{"arguments":["' + b"a" * size + b'"]}'),
    "one text of backslashes": ("json", lambda size: b'{"arguments":["' + b"\\\\" * (size // 2) + b'"]}'),
    "texts": ("json", lambda size: b'{"arguments":[' + b'"a",' * (size // 4) + b'""]}'),
    "objects in an object": ("json", lambda size: b'{"x":[' + b"{}," * (size // 3) + b"{}]}"),
    "openings": ("json", lambda size: b"{" * size),
    "openings with text": ("json", lambda size: b'{"":' * (size // 4)),
    "openings with unfinished text": ("json", lambda size: b'{"' * (size // 2)),
    "openings with digits": ("json", lambda size: b"{111111111" * (size // 10)),
    "closings": ("json", lambda size: b'{"":' * (size // 5) + b"}" * (size // 5)),
    "white space": ("json", lambda size: b" " * size),
    "empty requests": ("json", lambda size: b"{}" * (size // 200)),
    "lists": ("json", lambda size: b'{"x":' + b"[" * size + b"]" * size + b"}"),
    "digits": ("json", lambda size: b'{"requestId":' + b"1" * size + b"}"),
    "digits of a fraction": ("json", lambda size: b'{"requestId":0.' + b"1" * size + b"}"),
    "digits in a text": ("json", lambda size: b'{"requestId":"' + b"1" * size + b'"}'),
    "a digest": ("json", lambda size: b'{"inputs":[{"digest":"' + b"A" * size + b'"}]}'),
    "empty messages": ("proto", lambda size: b"\0" * (size // 200)),
    "one argument": ("proto", lambda size: encode_proto_frame(b"\x0a" + encode_proto_frame(b"a" * size))),
    "arguments": ("proto", lambda size: encode_proto_frame(b"\x0a\x00" * (size // 2))),
    "unknown fields": ("proto", lambda size: encode_proto_frame(b"\x78\x01" * (size // 2))),
    "groups": ("proto", lambda size: encode_proto_frame(b"\x0b" * size)),
}


def _processor_seconds(protocol: str, stream: bytes, piece: int) -> float:
    chunks = [stream[start : start + piece] for start in range(0, len(stream), piece)]
    gc.disable()  # a collection looks at all that the tests before have left
    try:
        began = time.thread_time()
        decoded(protocol, chunks, limit=BIG)
        return time.thread_time() - began
    finally:
        gc.enable()


@pytest.mark.parametrize("name", sorted(GROWING))
@pytest.mark.parametrize("piece", [61, 1 << 16])
def test_sixteen_times_the_bytes_cost_about_sixteen_times_the_time(name: str, piece: int) -> None:
    protocol, stream = GROWING[name]
    small, large = stream(1 << 14), stream(1 << 18)
    once, more = (min(_processor_seconds(protocol, one, piece) for _ in range(3)) for one in (small, large))
    # In squares it would be 256 times as much; noise and caches do not reach a factor of four.
    assert more < 64 * once + 0.05


@pytest.mark.parametrize("name", sorted(GROWING))
def test_memory_is_bounded_by_what_was_fed(name: str) -> None:
    protocol, stream = GROWING[name]
    fed = stream(1 << 18)
    chunks = [fed[start : start + 4096] for start in range(0, len(fed), 4096)]
    decoded(protocol, [b""])  # what is loaded at the first use is none of it
    tracemalloc.start()
    try:
        decoded(protocol, chunks, limit=BIG)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The smallest thing that one byte can ask for is an empty object of Python, in a list of them: some seventy bytes.
    assert peak < 100 * len(fed) + 100_000


@pytest.mark.parametrize("stream", [b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\x1f"])
def test_memory_is_not_reserved_for_a_length_that_is_only_claimed(stream: bytes) -> None:
    codec = codec_for("proto", max_message_bytes=2**31 - 1)
    tracemalloc.start()
    try:
        codec.feed(stream + b"a" * 100)
        assert list(codec.requests()) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
