"""What a host and a worker say to each other, as values, and their two encodings; framing is `framing`'s business.

The only module that knows the generated protobuf code, and it imports it when the first protobuf message comes by: a
worker that speaks JSON never pays for protobuf.

A payload that is no message raises `ProtocolError`: nothing after it on the stream can be trusted. What is merely strange
(unknown fields, explicit zeros and nulls, digests of any shape) is accepted, because real hosts send it. `protojson`
holds the rules of the JSON encoding.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen, validators

from headstart_worker.protojson import INT32_MAX, INT32_MIN, Fields
from headstart_wrapper.errors import ProtocolError
from headstart_wrapper.text import unsurrogated

if TYPE_CHECKING:
    from types import ModuleType

_INT32: Final = validators.and_(validators.ge(INT32_MIN), validators.le(INT32_MAX))


@frozen
class Input:
    """A file that the action may read.

    Attributes:
        path: relative to the directory that the request runs in.
        digest: names the content; opaque, may be empty; equality is all that it offers.
    """

    path: str
    digest: bytes = b""


@frozen
class WorkRequest:
    """New work, or with `cancel` the wish to give work up.

    Attributes:
        request_id: int32; 0 is served alone and in order, others together.
        arguments: the command line of this action.
        inputs: what the action declares; a host may give none.
        sandbox_dir: where relative paths lie, relative to the worker's directory; empty: there itself.
        verbosity: above 0, more on stderr.
        cancel: gives up the active request of this id; everything but the id is to be ignored.
    """

    request_id: int = field(default=0, validator=_INT32)
    arguments: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    sandbox_dir: str = ""
    verbosity: int = field(default=0, validator=_INT32)
    cancel: bool = False


@frozen
class WorkResponse:
    """The one answer to a request.

    Attributes:
        request_id: int32; the request's, verbatim.
        exit_code: int32; 0 is success.
        output: what the host shows; lone surrogates in it travel as U+FFFD.
        was_cancelled: only ever true after a cancel was read.
    """

    request_id: int = field(default=0, validator=_INT32)
    exit_code: int = field(default=0, validator=_INT32)
    output: str = ""
    was_cancelled: bool = False


# Protobuf


def decode_request_proto(payload: bytes) -> WorkRequest:
    """Reads a request.

    Raises:
        ProtocolError: the payload is no WorkRequest.
    """
    message = _parse("WorkRequest", payload)
    return WorkRequest(
        request_id=message.request_id,
        arguments=tuple(message.arguments),
        inputs=tuple([Input(each.path, each.digest) for each in message.inputs]),
        sandbox_dir=message.sandbox_dir,
        verbosity=message.verbosity,
        cancel=message.cancel,
    )


def encode_request_proto(request: WorkRequest) -> bytes:
    """Writes a request, as a host does."""
    schema = _schema()
    message = schema.WorkRequest(
        request_id=request.request_id,
        arguments=request.arguments,
        inputs=[schema.Input(path=each.path, digest=each.digest) for each in request.inputs],
        sandbox_dir=request.sandbox_dir,
        verbosity=request.verbosity,
        cancel=request.cancel,
    )
    return bytes(message.SerializeToString())


def decode_response_proto(payload: bytes) -> WorkResponse:
    """Reads a response, as a host does.

    Raises:
        ProtocolError: the payload is no WorkResponse.
    """
    message = _parse("WorkResponse", payload)
    return WorkResponse(
        request_id=message.request_id,
        exit_code=message.exit_code,
        output=message.output,
        was_cancelled=message.was_cancelled,
    )


def encode_response_proto(response: WorkResponse) -> bytes:
    """Writes a response."""
    message = _schema().WorkResponse(
        request_id=response.request_id,
        exit_code=response.exit_code,
        output=unsurrogated(response.output),
        was_cancelled=response.was_cancelled,
    )
    return bytes(message.SerializeToString())


def _schema() -> ModuleType:
    from headstart_worker.generated import worker_protocol_pb2  # noqa: PLC0415  # 30 ms that a JSON worker saves

    return worker_protocol_pb2


def _parse(kind: str, payload: bytes) -> Any:
    from google.protobuf.message import DecodeError  # noqa: PLC0415  # likewise

    message = getattr(_schema(), kind)()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise ProtocolError(
            f"a message of {len(payload)} bytes that begins with {payload[:16]!r} is no {kind} in protobuf; "
            "make the action's `requires-worker-protocol` and the worker's `--worker-protocol` agree"
        ) from None
    return message


# JSON


def decode_request_json(payload: bytes | str) -> WorkRequest:
    """Reads a request.

    Raises:
        ProtocolError: the payload is no WorkRequest.
    """
    fields = Fields.parse("WorkRequest", payload)
    return WorkRequest(
        request_id=fields.int32("requestId"),
        arguments=tuple(fields.texts("arguments")),
        inputs=tuple([Input(each.text("path"), each.digest("digest")) for each in fields.objects("inputs")]),
        sandbox_dir=fields.text("sandboxDir"),
        verbosity=fields.int32("verbosity"),
        cancel=fields.flag("cancel"),
    )


def encode_request_json(request: WorkRequest) -> bytes:
    """Writes a request on one line without the line's end, as a host does: default values are left out."""
    inputs = [
        _without_defaults({"path": each.path, "digest": base64.b64encode(each.digest).decode("ascii")})
        for each in request.inputs
    ]
    return _dump(
        _without_defaults(
            {
                "arguments": request.arguments,
                "inputs": inputs,
                "requestId": request.request_id,
                "cancel": request.cancel,
                "verbosity": request.verbosity,
                "sandboxDir": request.sandbox_dir,
            }
        )
    )


def decode_response_json(payload: bytes | str) -> WorkResponse:
    """Reads a response, as a host does.

    Raises:
        ProtocolError: the payload is no WorkResponse.
    """
    fields = Fields.parse("WorkResponse", payload)
    return WorkResponse(
        request_id=fields.int32("requestId"),
        exit_code=fields.int32("exitCode"),
        output=fields.text("output"),
        was_cancelled=fields.flag("wasCancelled"),
    )


def encode_response_json(response: WorkResponse) -> bytes:
    """Writes a response on one line of ASCII, without the line's end.

    ASCII, because some readers end a line at U+0085 or U+2028 too. Default values are left out as in every proto3 JSON,
    but the exit code is always said: a verdict should not have to be inferred.
    """
    rest = _without_defaults(
        {
            "output": unsurrogated(response.output),
            "requestId": response.request_id,
            "wasCancelled": response.was_cancelled,
        }
    )
    return _dump({"exitCode": response.exit_code, **rest})


def _without_defaults(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode("ascii")
