"""One encoding of the worker protocol as one object: bytes in, requests out; responses in, bytes out.

It only joins `framing` to `messages`: nothing is decided here, and there is no I/O. `Codec` is the worker's side and
`HostCodec` the host's, which tests and simulated hosts speak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

from attrs import frozen

from headstart_worker import framing, messages
from headstart_worker.messages import WorkRequest, WorkResponse
from headstart_wrapper.errors import RequestError


@frozen
class Encoding:
    """The functions that make one encoding; see `framing` and `messages` for each."""

    decoder: Callable[[int], framing.Decoder]
    frame: Callable[[bytes], bytes]
    decode_request: Callable[[bytes], WorkRequest]
    encode_request: Callable[[WorkRequest], bytes]
    decode_response: Callable[[bytes], WorkResponse]
    encode_response: Callable[[WorkResponse], bytes]


ENCODINGS: Final[Mapping[str, Encoding]] = {
    "proto": Encoding(
        decoder=framing.ProtoDecoder,
        frame=framing.encode_proto_frame,
        decode_request=messages.decode_request_proto,
        encode_request=messages.encode_request_proto,
        decode_response=messages.decode_response_proto,
        encode_response=messages.encode_response_proto,
    ),
    "json": Encoding(
        decoder=framing.JsonDecoder,
        frame=framing.encode_json_line,
        decode_request=messages.decode_request_json,
        encode_request=messages.encode_request_json,
        decode_response=messages.decode_response_json,
        encode_response=messages.encode_response_json,
    ),
}


class _Stream:
    """The reading half that both sides share."""

    def __init__(self, encoding: Encoding, max_message_bytes: int) -> None:
        self._encoding = encoding
        self._decoder = encoding.decoder(max_message_bytes)

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the stream, cut anywhere."""
        self._decoder.feed(data)

    def close(self) -> None:
        """Says that the stream has ended, once every whole message was taken.

        Raises:
            ProtocolError: the end lies inside a message.
        """
        self._decoder.close()

    def _payloads(self) -> Iterator[bytes]:
        while (payload := self._decoder.next_message()) is not None:
            yield payload


@final
class Codec(_Stream):
    """The worker's side; made by `codec_for`."""

    def requests(self) -> Iterator[WorkRequest]:
        """The requests that have come whole and were not taken yet.

        Raises:
            ProtocolError: the host broke the protocol; the requests before that were given out.
        """
        return map(self._encoding.decode_request, self._payloads())

    def encode(self, response: WorkResponse) -> bytes:
        """The bytes of one response, to be written without anything in between."""
        return self._encoding.frame(self._encoding.encode_response(response))


@final
class HostCodec(_Stream):
    """The host's side; made by `host_codec_for`."""

    def responses(self) -> Iterator[WorkResponse]:
        """The responses that have come whole and were not taken yet.

        Raises:
            ProtocolError: the worker broke the protocol.
        """
        return map(self._encoding.decode_response, self._payloads())

    def encode(self, request: WorkRequest) -> bytes:
        """The bytes of one request; in JSON with a newline, as Bazel 5 and later sends it."""
        return self._encoding.frame(self._encoding.encode_request(request))


def codec_for(protocol: str, *, max_message_bytes: int = framing.DEFAULT_MAX_MESSAGE_BYTES) -> Codec:
    """The worker's side of the protocol named `proto` or `json`.

    Raises:
        RequestError: there is no such protocol.
    """
    return Codec(_encoding(protocol), max_message_bytes)


def host_codec_for(protocol: str, *, max_message_bytes: int = framing.DEFAULT_MAX_MESSAGE_BYTES) -> HostCodec:
    """The host's side of the protocol named `proto` or `json`.

    Raises:
        RequestError: there is no such protocol.
    """
    return HostCodec(_encoding(protocol), max_message_bytes)


def _encoding(protocol: str) -> Encoding:
    try:
        return ENCODINGS[protocol]
    except KeyError:
        known = " and ".join(ENCODINGS)
        raise RequestError(
            f"there is no worker protocol {protocol!r}; --worker-protocol takes {known}"
        ) from None
