"""Any messages, cut anywhere, through both encodings at once: what went in comes out, in order, once."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headstart_worker.codec import ENCODINGS, codec_for, host_codec_for
from headstart_worker.framing import JsonDecoder, ProtoDecoder
from headstart_worker.messages import Input, WorkRequest
from headstart_wrapper.errors import ProtocolError

PROTOCOLS = st.sampled_from(sorted(ENCODINGS))
# Every character that means something to a JSON scanner, and characters of two, three and four bytes.
TEXT = st.text('{}[]"\\:,= \n\u00e9\u96ea\U0001f600a', max_size=20)
REQUESTS = st.builds(
    WorkRequest,
    request_id=st.integers(0, 2**31 - 1),
    arguments=st.lists(TEXT, max_size=4).map(tuple),
    inputs=st.lists(st.builds(Input, TEXT, st.binary(max_size=40)), max_size=3).map(tuple),
    sandbox_dir=TEXT,
    cancel=st.booleans(),
)
WHITE = st.sampled_from(["", " ", "\n", "\r\n\t "])


def rewritten(request: bytes, indent: int | None, *, ascii_only: bool) -> bytes:
    """The same JSON in another spelling."""
    return json.dumps(json.loads(request), indent=indent, ensure_ascii=ascii_only).encode("utf-8")


class FramingMachine(RuleBasedStateMachine):
    """Written bytes wait in `wire`; `deliver` hands over any number of them."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = bytearray()
        self.ends: deque[int] = deque()  # of the messages on the wire, counted in bytes still to deliver
        self.expected: list[WorkRequest] = []
        self.received: list[WorkRequest] = []

    @initialize(protocol=PROTOCOLS)
    def start(self, protocol: str) -> None:
        self.protocol = protocol
        self.codec = codec_for(protocol)
        self.host = host_codec_for(protocol)

    @rule(request=REQUESTS)
    def send(self, request: WorkRequest) -> None:
        self.wire += self.host.encode(request)
        self._sent(request)

    @rule(request=REQUESTS, indent=st.none() | st.integers(0, 3), ascii_only=st.booleans(), white=WHITE)
    def send_spelled_differently(
        self, request: WorkRequest, indent: int | None, ascii_only: bool, white: str
    ) -> None:
        if self.protocol == "json":
            encoded = ENCODINGS["json"].encode_request(request)
            self.wire += white.encode() + rewritten(encoded, indent, ascii_only=ascii_only)
        else:
            self.wire += self.host.encode(request)
        self._sent(request)

    def _sent(self, request: WorkRequest) -> None:
        self.expected.append(request)
        self.ends.append(len(self.wire))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self._deliver(data.draw(st.integers(0, len(self.wire))))

    @rule()
    def deliver_byte_by_byte(self) -> None:
        while self.wire:
            self._deliver(1)
            self._take()

    @rule()
    def take(self) -> None:
        self._take()

    @invariant()
    def whole_messages_and_no_others_come_out_in_order(self) -> None:
        if hasattr(self, "codec"):
            self._take()
            assert self.received == self.expected[: len(self.expected) - len(self.ends)] or (
                # In JSON the closing brace ends a message; the newline that is counted to it may still be on its way.
                self.protocol == "json"
                and self.ends
                and self.ends[0] == 1
                and self.received == self.expected[: len(self.expected) - len(self.ends) + 1]
            )

    def _deliver(self, count: int) -> None:
        self.codec.feed(bytes(self.wire[:count]))
        del self.wire[:count]
        self.ends = deque(end - count for end in self.ends if end > count)

    def _take(self) -> None:
        self.received += self.codec.requests()

    def teardown(self) -> None:
        if hasattr(self, "codec"):
            self._deliver(len(self.wire))
            self._take()
            assert self.received == self.expected
            self.codec.close()


TestFraming = FramingMachine.TestCase


def chunks(data: st.DataObject, stream: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def outcome(decoder: ProtoDecoder | JsonDecoder, pieces: list[bytes]) -> tuple[list[bytes], str]:
    """All messages, and how the stream ended: cleanly, or the beginning of the error (its end may quote bytes)."""
    found: list[bytes] = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            while (message := decoder.next_message()) is not None:
                found.append(message)
        decoder.close()
    except ProtocolError as error:
        return found, " ".join(str(error).split()[:3])
    return found, ""


SCANNED = st.text('{}"\\ a\u96ea').map(str.encode)


@given(st.data(), st.binary() | SCANNED, st.sampled_from([ProtoDecoder, JsonDecoder]))
def test_foreign_bytes_have_one_outcome_however_they_are_cut(
    data: st.DataObject, stream: bytes, decoder: Any
) -> None:
    assert outcome(decoder(50), chunks(data, stream)) == outcome(decoder(50), [stream])


@given(SCANNED)
def test_json_objects_end_where_counted_braces_outside_of_strings_say(stream: bytes) -> None:
    found, _how = outcome(JsonDecoder(), [b"{" + stream])
    if found:
        assert found[0] == b"{" + stream[: _closing(stream)]


def _closing(stream: bytes) -> int:
    """The plain way: one character at a time."""
    depth, in_string, escaped = 1, False, False
    for index, character in enumerate(stream.decode()):
        if escaped:
            escaped = False
        elif in_string:
            escaped = character == "\\"
            in_string = character != '"'
        elif character == '"':
            in_string = True
        else:
            depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return len(stream.decode()[: index + 1].encode())
    return -1
