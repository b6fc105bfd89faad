"""Messages come out of a stream whole, however the stream is cut; damage is an error, never a wait or a guess."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from headstart_worker.codec import Codec, codec_for, host_codec_for
from headstart_worker.framing import (
    Decoder,
    JsonDecoder,
    ProtoDecoder,
    encode_json_line,
    encode_proto_frame,
)
from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_wrapper.errors import ProtocolError, RequestError

TRANSCRIPTS = Path(__file__).resolve().parent.parent / "data" / "transcripts"


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def messages(decoder: Decoder, chunks: Iterable[bytes]) -> list[bytes]:
    found = []
    for chunk in chunks:
        decoder.feed(chunk)
        while (message := decoder.next_message()) is not None:
            found.append(message)
    return found


def requests(codec: Codec, chunks: Iterable[bytes]) -> list[WorkRequest]:
    found: list[WorkRequest] = []
    for chunk in chunks:
        codec.feed(chunk)
        found += codec.requests()
    codec.close()
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_protobuf_messages_in_any_chunking(size: int) -> None:
    payloads = [b"", b"x", b"y" * 127, b"{" + b'"' * 122, b"z" * 128, b"w" * 20_000, b""]
    stream = b"".join(map(encode_proto_frame, payloads))
    decoder = ProtoDecoder()
    assert messages(decoder, pieces(stream, size)) == payloads
    decoder.close()


@pytest.mark.parametrize("between", [b"", b"\n", b" \r\n\t "])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_json_objects_in_any_chunking_with_or_without_white_space(size: int, between: bytes) -> None:
    values = [
        {},
        {"arguments": ["}{", '"', "\\", '\\"', "\u96ea\U0001f600", "", "[{"]},
        {"a": {"b": {"c": [{}, {"d": "}"}, [[{}]]]}}, "e": {}},
        {"requestId": 7, "inputs": [{"path": "p"}]},
    ]
    objects = [json.dumps(value, ensure_ascii=False).encode() for value in values]
    objects.append(json.dumps(values[2], indent=2).encode())
    decoder = JsonDecoder()
    stream = between.join([b"", *objects, b""])
    assert messages(decoder, pieces(stream, size)) == objects
    decoder.close()


def test_fifty_messages_in_one_read() -> None:
    for protocol in ("proto", "json"):
        host = host_codec_for(protocol)
        sent = [WorkRequest(request_id=number, arguments=("a", str(number))) for number in range(50)]
        assert requests(codec_for(protocol), [b"".join(map(host.encode, sent))]) == sent


@pytest.mark.parametrize("decoder", [ProtoDecoder(), JsonDecoder()])
def test_an_empty_stream_ends_cleanly(decoder: Decoder) -> None:
    assert decoder.next_message() is None
    decoder.close()


def test_trailing_white_space_ends_cleanly() -> None:
    decoder = JsonDecoder()
    assert messages(decoder, [b"{}\n \r\n", b"\t"]) == [b"{}"]
    decoder.close()


@pytest.mark.parametrize("protocol", ["proto", "json"])
def test_an_end_inside_a_message_is_an_error_at_every_byte(protocol: str) -> None:
    stream = host_codec_for(protocol).encode(WorkRequest(request_id=300, arguments=("x" * 200, '"')))
    stream = stream.rstrip(b"\n")
    for length in range(1, len(stream)):
        codec = codec_for(protocol)
        codec.feed(stream[:length])
        assert list(codec.requests()) == []
        with pytest.raises(ProtocolError, match="ended inside a message"):
            codec.close()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xff\xff\xff\xff", "more than five bytes"),
        (b"\xff\xff\xff\xff\x0f", "more than the limit"),
        (b"\x80\x80\x80\x80\x80\x01", "more than five bytes"),
        (encode_proto_frame(b"x" * 101)[:1], "more than the limit"),
        (b'{"requestId":1}', "carries JSON"),
    ],
)
def test_a_length_that_cannot_be_true_is_an_error(data: bytes, message: str) -> None:
    for size in (1, len(data)):
        decoder = ProtoDecoder(max_message_bytes=100)
        with pytest.raises(ProtocolError, match=message):
            messages(decoder, pieces(data, size))
        with pytest.raises(ProtocolError, match=message):  # nothing was consumed: it stays an error
            decoder.next_message()


@pytest.mark.parametrize("data", [b"[]", b"null", b'"{}"', b"}", b"\x04\x18\x01\x20\x01", b"\xef\xbb\xbf{}"])
def test_anything_but_an_object_is_an_error(data: bytes) -> None:
    decoder = JsonDecoder()
    decoder.feed(b"{} " + data)
    assert decoder.next_message() == b"{}"
    for _ in range(2):
        with pytest.raises(ProtocolError, match="where a JSON object should begin"):
            decoder.next_message()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_object_beyond_the_limit_is_an_error_before_it_ends(size: int) -> None:
    exact = b'{"a":"' + b"x" * 92 + b'"}'
    decoder = JsonDecoder(max_message_bytes=100)
    assert messages(decoder, pieces(exact, size)) == [exact]
    with pytest.raises(ProtocolError, match="longer than the limit of 100 bytes"):
        messages(decoder, pieces(b'{"a":"' + b"x" * 200, size))


@pytest.mark.parametrize("protocol", ["proto", "json"])
def test_requests_before_a_broken_one_are_given_out(protocol: str) -> None:
    codec = codec_for(protocol)
    good = WorkRequest(request_id=1, arguments=("a",))
    codec.feed(host_codec_for(protocol).encode(good))
    codec.feed(encode_proto_frame(b"\xff\xff") if protocol == "proto" else b'{"requestId":"x"}')
    found = codec.requests()
    assert next(found) == good
    with pytest.raises(ProtocolError):
        next(found)


@pytest.mark.parametrize("protocol", ["proto", "json"])
def test_responses_come_back(protocol: str) -> None:
    worker, host = codec_for(protocol), host_codec_for(protocol)
    sent = [WorkResponse(number, 0, f"line {number}\n") for number in range(3)]
    host.feed(b"".join(map(worker.encode, sent)))
    assert list(host.responses()) == sent
    host.close()


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="proto and json"):
        codec_for("xml")


@pytest.mark.parametrize("protocol", ["proto", "json"])
def test_a_large_request_costs_the_same_in_small_pieces(protocol: str) -> None:
    large = WorkRequest(
        arguments=('quote " and \\',) * 100,
        inputs=tuple(
            Input(f"bazel-out/k8-fastbuild/bin/a/b/c/file{number}.rs", b"%064x" % number)
            for number in range(30_000)
        ),
    )
    stream = host_codec_for(protocol).encode(large)
    assert len(stream) > 3_000_000

    def seconds(size: int) -> float:
        chunks = list(pieces(stream, size))
        start = time.process_time()
        assert requests(codec_for(protocol), chunks) == [large]
        return time.process_time() - start

    whole = min(seconds(len(stream)) for _ in range(2))
    # Parsing anew at each of 800 pieces would cost some hundred times as much; noise does not reach a factor of four.
    assert seconds(4096) < 4 * whole + 0.2


@pytest.mark.parametrize(
    "start", [b"{" * 9, b'{"' + b"\\" * 9, b'{"a":"', b'{"a":[[[', b'{"a":{"b":"c"},' * 3]
)
def test_a_request_that_never_ends_costs_linear_time(start: bytes) -> None:
    decoder = JsonDecoder()
    begin = time.process_time()
    assert messages(decoder, pieces(start * (400_000 // len(start)), 64)) == []
    assert time.process_time() - begin < 5  # quadratic would be minutes


def recorded(name: str) -> tuple[str, bytes]:
    return name.split("-", 1)[0], (TRANSCRIPTS / f"{name}.bin").read_bytes()


def test_there_are_transcripts() -> None:
    assert len(list(TRANSCRIPTS.glob("*.bin"))) == 8


@pytest.mark.parametrize("name", sorted(path.stem for path in TRANSCRIPTS.glob("*.bin")))
def test_transcripts_of_a_real_bazel(name: str) -> None:
    protocol, stream = recorded(name)
    found = requests(codec_for(protocol), [stream])
    assert requests(codec_for(protocol), pieces(stream, 1)) == found
    first, *rest = found
    assert first.arguments[0].startswith("bazel-out/")
    assert "input.txt" in {each.path for each in first.inputs}
    assert all(len(each.digest) == 64 for each in first.inputs)  # sha256 in hexadecimal, in both encodings
    if name.endswith("singleplex"):
        assert [each.request_id for each in found] == [0, 0, 0]
    elif name.endswith("multiplex"):
        assert sorted(each.request_id for each in found) == [1, 2, 3]
    else:
        expected = 1 if name.endswith("interrupt-cancel") else 0
        assert first.request_id == expected
        assert rest == [WorkRequest(request_id=expected, cancel=True)]
    if "cancel" not in name:
        texts = {each.arguments[1:] for each in found}
        assert ("", "two words", 'quote " backslash \\', "brace { } bracket [ ]") in texts


@pytest.mark.parametrize("name", ["singleplex", "multiplex"])
def test_what_we_encode_in_protobuf_is_what_bazel_sent(name: str) -> None:
    protocol, stream = recorded(f"proto-{name}")
    host = host_codec_for(protocol)
    assert b"".join(map(host.encode, requests(codec_for(protocol), [stream]))) == stream


def test_json_needs_no_protobuf() -> None:
    script = (
        "import sys; from headstart_worker.codec import codec_for; from headstart_worker.messages import *; "
        "codec = codec_for('json'); codec.feed(b'{}'); list(codec.requests()); codec.encode(WorkResponse()); "
        "sys.exit(any(name.startswith('google') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], env=PYTHON_ENVIRONMENT, check=False).returncode == 0


def test_a_frame_is_one_line_in_json() -> None:
    assert encode_json_line(b"{}") == b"{}\n"


# The packages are importable here by pytest's own path, which a child does not inherit.
PYTHON_ENVIRONMENT = {"PYTHONPATH": ":".join(sys.path)}
