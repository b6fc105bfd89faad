"""Streams that a host might send, from almost right to senseless, and what a worker's decoder makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from attrs import frozen
from hypothesis import strategies as st

from headstart_worker.codec import codec_for
from headstart_worker.framing import encode_proto_frame
from headstart_worker.messages import WorkRequest
from headstart_wrapper.errors import ProtocolError

PROTOCOLS: Final = ("json", "proto")

LIMIT: Final = 20_000
"""Bytes of a message: above every recorded one, so low that streams can reach it."""

_DIRECTORY: Final = Path(__file__).resolve().parent.parent / "data" / "transcripts"

TRANSCRIPTS: Final = [path.read_bytes() for path in sorted(_DIRECTORY.glob("*.bin"))]


@frozen
class Outcome:
    """What came of a stream: the requests, and how it ended; "" for well, else the beginning of the sentence."""

    requests: list[WorkRequest]
    error: str


def decoded(protocol: str, chunks: Iterable[bytes], *, limit: int = LIMIT) -> Outcome:
    """Feeds a stream to a worker's decoder. Raises whatever is not the host's fault, that is: what is a bug."""
    codec = codec_for(protocol, max_message_bytes=limit)
    found: list[WorkRequest] = []
    kept = 0
    try:
        for chunk in chunks:
            codec.feed(chunk)
            kept += len(chunk)
            found += codec.requests()
            # Between reads no more is held than came since the last whole message, and no message beyond the limit.
            held = len(codec._decoder._buffer)  # type: ignore[attr-defined]
            assert held <= min(kept, limit + 5)
            kept = held
        codec.close()
    except ProtocolError as error:
        # Its end may quote how much had come by then.
        return Outcome(found, " ".join(str(error).split()[:3]))
    return Outcome(found, "")


def pieces(stream: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    """The stream cut at these places, taken by its length."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return (stream[start:end] for start, end in pairwise(places))


CUTS: Final = st.lists(st.integers(0, 2**16), max_size=6)

# What means something to a scanner or a parser, where it does not belong.
_TOKENS: Final = st.sampled_from(
    [
        *(b"{", b"}", b'"', b"\\", b"[", b"]", b",", b":", b"\0", b"\n", b"\xff"),
        *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"1e400", b"NaN", b"-Infinity", b"null"),
        *(b'"requestId":1,', b'"requestId":-2147483649,', b"9" * 5000, b"[" * 3000, b'{"a":' * 3000),
        *(b"\x80" * 4, b"\xff" * 5, b"\xff\xff\xff\xff\x07", b"\x0b", b"\x0c"),
        *(b"\x12\xff\x01", b"\x18\xff\xff\xff\xff\x1f"),
    ]
)
_PLACES: Final = st.tuples(st.integers(0, 2**16), st.integers(0, 300))


@st.composite
def mutated_transcripts(draw: st.DrawFn) -> bytes:
    """What a real Bazel sent, damaged in up to four places."""
    stream = draw(st.sampled_from(TRANSCRIPTS))
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(_PLACES)
        place %= len(stream) + 1
        before, part, after = stream[:place], stream[place : place + length], stream[place + length :]
        match draw(st.sampled_from(["cut", "double", "flip", "put", "end", "join"])):
            case "cut":
                stream = before + after
            case "double":
                stream = before + part + part + after
            case "flip" if part:
                stream = before + bytes([part[0] ^ 1 << length % 8]) + part[1:] + after
            case "put":
                stream = before + draw(_TOKENS) + part + after
            case "join":
                stream = stream + draw(st.sampled_from(TRANSCRIPTS))
            case _:
                stream = before
    return stream


_NUMBERS: Final = st.sampled_from(
    [
        *("0", "-0", "1", "1.0", "1e0", "1e400", "-1e400", "1.5", "1E5", "NaN", "Infinity", "-Infinity"),
        *("2147483647", "2147483648", "-2147483649", "0x1", "01", "1_000", "+1", ".5", "\u0661"),
        *("9" * digits for digits in (10, 11, 4300, 4301)),
    ]
)
_TEXTS: Final = st.sampled_from(
    [
        *("", "a", "\\ud800", "\\udc00", "\\ud83d\\ude00", "\ud83d\\ude00", "\\u0000", "\0", "\\", '\\"'),
        *("}{", "\u00e9", "+1", "AA==", "A", "-_"),
        *("1" * digits for digits in (1, 10, 11, 4301)),
    ]
).map('"{}"'.format)
_NAMES: Final = st.sampled_from(
    [
        *("requestId", "request_id", "arguments", "inputs", "path", "digest", "sandboxDir", "sandbox_dir"),
        *("verbosity", "cancel", "unknown", "", "\\ud800", "request\\u0049d"),
    ]
)


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}"


_VALUES: Final = st.recursive(
    _NUMBERS | _TEXTS | st.sampled_from(["null", "true", "false", "", "nul"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(_NAMES, inner), max_size=4).map(_object)
    ),
    max_leaves=6,
)
_WHITE: Final = st.sampled_from(["", "\n", " ", "\ufeff", "\0", ",", "\u2028"])

JSON_STREAMS: Final = st.lists(
    st.tuples(st.lists(st.tuples(_NAMES, _VALUES), max_size=5).map(_object), _WHITE), max_size=4
).map(lambda parts: "".join(text + white for text, white in parts).encode("utf-8", "surrogatepass"))
"""Almost JSON: names that come twice, values of every wrong kind, white space that is none."""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_INTEGERS: Final = (st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**31, 2**32, 2**63, 2**64 - 1])).map(
    _varint
)
_BYTES: Final = st.binary(max_size=20) | st.sampled_from(
    [b"a", b"\xff", b"\xed\xa0\x80", b"\0", "\u00e9".encode()]
)
_FIELDS: Final = st.recursive(
    st.builds(
        lambda field, wire, value: bytes([field << 3 | wire]) + value,
        st.integers(0, 9),
        st.integers(0, 7),
        _INTEGERS,
    )
    | st.builds(
        lambda field, value: bytes([field << 3 | 2]) + encode_proto_frame(value), st.integers(1, 7), _BYTES
    ),
    lambda inner: st.builds(
        lambda field, value: bytes([field << 3 | 2]) + encode_proto_frame(value), st.integers(1, 7), inner
    ),
    max_leaves=4,
)
PROTO_STREAMS: Final = st.lists(
    st.lists(_FIELDS, max_size=4).map(b"".join).map(encode_proto_frame) | st.binary(max_size=6), max_size=4
).map(b"".join)
"""Almost protobuf: right frames of wrong fields, and other bytes between them."""

STREAMS: Final = {
    "bytes": st.binary(max_size=200),
    "transcripts": mutated_transcripts(),
    "json": JSON_STREAMS,
    "proto": PROTO_STREAMS,
}
