"""Bytes to whole messages and back, in both encodings; not for what a message means (`messages` knows that).

A decoder is fed whatever a read returned: one byte, half a character, fifty messages. `next_message` gives the next
whole message or None until more has come, and `close` says that no more will come. There is no I/O here and no parsing
beyond what finding a message's end takes; the message is parsed once, when it is whole.

Every byte is looked at a bounded number of times, so a request of many megabytes costs the same in whichever pieces it
arrives. A decoder that raised stays where it was: asked again, it raises again.
"""

from __future__ import annotations

import re
from typing import Final, Protocol, final

from headstart_wrapper.errors import ProtocolError

# A request with 5000 inputs takes about half a megabyte, so this is some half a million inputs; it also was protobuf's
# own bound for long. A length beyond it is far likelier a stray byte on the stream than work to do.
DEFAULT_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

_AGREE: Final = "make the action's `requires-worker-protocol` and the worker's `--worker-protocol` agree"


class Decoder(Protocol):
    """Finds the messages in a stream; passive."""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the stream, cut anywhere."""

    def next_message(self) -> bytes | None:
        """The next whole message without its frame (it may be empty), or None until more bytes have come.

        Raises:
            ProtocolError: what has come can never become a message.
        """

    def close(self) -> None:
        """Says that the stream has ended; to be called once `next_message` has returned None.

        Raises:
            ProtocolError: the end lies inside a message.
        """


@final
class ProtoDecoder:
    """Messages behind their length as a base-128 varint (protobuf's delimited form)."""

    def __init__(self, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> None:
        self._max = max_message_bytes
        self._buffer = bytearray()
        self._length: int | None = None  # of the message whose length has been read and taken off the buffer
        self._at_start = True

    def feed(self, data: bytes) -> None:
        """See `Decoder.feed`."""
        self._buffer += data

    def next_message(self) -> bytes | None:
        """See `Decoder.next_message`."""
        if self._length is None:
            self._length = self._take_length()
        if self._length is None or len(self._buffer) < self._length:
            return None
        message = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._length = None
        return message

    def close(self) -> None:
        """See `Decoder.close`."""
        if self._length is not None:
            raise _ended_inside(f"{len(self._buffer)} of {self._length} bytes had come")
        if self._buffer:
            raise _ended_inside("its length was not complete")

    def _take_length(self) -> int | None:
        # A frame of 123 bytes that begins with field 4 as a string is what `{"` would mean, and no message has such a
        # field. Without this a JSON host waits for ever for a worker that waits for 123 bytes.
        if self._at_start and self._buffer == b"{":
            return None  # only the next byte tells
        if self._at_start and self._buffer.startswith(b'{"'):
            raise ProtocolError(f"the stream carries JSON where protobuf was expected; {_AGREE}")
        length = 0
        for index, byte in enumerate(self._buffer[:5]):  # an int32 takes at most five bytes of seven bits
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if length > self._max:
                    raise ProtocolError(
                        f"a message claims to be {length} bytes long, more than the limit of {self._max}; "
                        f"the stream is damaged, or does not carry protobuf: {_AGREE}"
                    )
                del self._buffer[: index + 1]
                self._at_start = False
                return length
        if len(self._buffer) >= 5:
            raise ProtocolError(
                "a message's length takes more than five bytes; "
                f"the stream is damaged, or does not carry protobuf: {_AGREE}"
            )
        return None


# Possessive (`*+`): what a pattern has passed is never tried again, so each match is linear.
_WHITE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_FLAT: Final = rb'[^"{}]*+(?:"' + _STRING + rb'"[^"{}]*+)*+'
_STRING_REST: Final = re.compile(_STRING, re.DOTALL)
# Everything up to the next brace or unfinished string, passing whole strings and whole innermost objects.
_BETWEEN: Final = re.compile(_FLAT + rb"(?:\{" + _FLAT + rb"\}" + _FLAT + rb")*+", re.DOTALL)


@final
class JsonDecoder:
    """JSON objects one after the other, with or without white space between them (Bazel 4.2.3 sends none).

    It counts braces outside of strings and nothing else; whether the object is JSON at all is for the parser to say.
    """

    def __init__(self, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> None:
        self._max = max_message_bytes
        self._buffer = bytearray()
        self._scanned = 0  # the bytes before this need no second look
        self._depth = 0  # braces open at that place
        self._in_string = False  # whether that place is inside a string

    def feed(self, data: bytes) -> None:
        """See `Decoder.feed`."""
        self._buffer += data

    def next_message(self) -> bytes | None:
        """See `Decoder.next_message`."""
        if self._depth == 0 and not self._open_object():
            return None
        whole = self._scan()
        if self._scanned > self._max:
            raise ProtocolError(
                f"a message is longer than the limit of {self._max} bytes; the action has more arguments and inputs "
                "than a worker takes, or the host never closed the object"
            )
        if not whole:
            return None
        message = bytes(self._buffer[: self._scanned])
        del self._buffer[: self._scanned]
        self._scanned = 0
        return message

    def close(self) -> None:
        """See `Decoder.close`."""
        if self._depth > 0 or not self._only_white():
            raise _ended_inside(f"{len(self._buffer)} bytes of an object had come")

    def _only_white(self) -> bool:
        return _end(_WHITE, self._buffer, 0) == len(self._buffer)

    def _open_object(self) -> bool:
        """Drops white space and steps over the opening brace; False when it has not come yet."""
        del self._buffer[: _end(_WHITE, self._buffer, 0)]
        if not self._buffer:
            return False
        if not self._buffer.startswith(b"{"):
            start = bytes(self._buffer[:16])
            raise ProtocolError(f"a message begins with {start!r} where a JSON object should begin; {_AGREE}")
        self._scanned = 1
        self._depth = 1
        return True

    def _scan(self) -> bool:
        """Goes on from where the last scan stopped; True when it has passed the object's closing brace."""
        buffer = self._buffer
        position = self._scanned
        while self._depth > 0 and position < len(buffer):
            if self._in_string:
                position = _end(_STRING_REST, buffer, position)
                if (
                    buffer[position : position + 1] != b'"'
                ):  # at the end, or at a backslash whose partner is to come
                    break
                self._in_string = False
                position += 1
            position = _end(_BETWEEN, buffer, position)
            if position == len(buffer):
                break
            match buffer[position]:
                case 0x7B:  # {
                    self._depth += 1
                case 0x7D:  # }
                    self._depth -= 1
                case _:  # the quote of a string that has not come to its end
                    self._in_string = True
            position += 1
        self._scanned = position
        return self._depth == 0


def encode_proto_frame(payload: bytes) -> bytes:
    """The payload behind its length."""
    length = len(payload)
    prefix = bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + payload


def encode_json_line(payload: bytes) -> bytes:
    """The object and a newline, which hosts that read lines need and all others skip."""
    return payload + b"\n"


def _end(pattern: re.Pattern[bytes], buffer: bytearray, start: int) -> int:
    """Where the pattern, which may match nothing at all, stops."""
    match = pattern.match(buffer, start)
    return match.end() if match else start


def _ended_inside(how_far: str) -> ProtocolError:
    return ProtocolError(
        f"the stream ended inside a message ({how_far}): the other side died or was stopped while it wrote; "
        "its log tells why, if nobody asked for that"
    )
