"""Requests and responses survive both encodings; what real hosts send is accepted, and damage is named."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.messages import (
    Input,
    WorkRequest,
    WorkResponse,
    decode_request_json,
    decode_request_proto,
    decode_response_json,
    decode_response_proto,
    encode_request_json,
    encode_request_proto,
    encode_response_json,
    encode_response_proto,
)
from headstart_wrapper.errors import ProtocolError

ROOT = Path(__file__).resolve().parent.parent.parent

INT32 = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text()
REQUESTS = st.builds(
    WorkRequest,
    request_id=INT32,
    arguments=st.lists(TEXT, max_size=5).map(tuple),
    inputs=st.lists(st.builds(Input, TEXT, st.binary()), max_size=5).map(tuple),
    sandbox_dir=TEXT,
    verbosity=INT32,
    cancel=st.booleans(),
)
RESPONSES = st.builds(WorkResponse, INT32, INT32, TEXT, st.booleans())
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=8,
)


@given(REQUESTS)
def test_requests_survive_both_encodings(request_: WorkRequest) -> None:
    assert decode_request_proto(encode_request_proto(request_)) == request_
    assert decode_request_json(encode_request_json(request_)) == request_


@given(RESPONSES)
def test_responses_survive_both_encodings(response: WorkResponse) -> None:
    assert decode_response_proto(encode_response_proto(response)) == response
    assert decode_response_json(encode_response_json(response)) == response


@given(RESPONSES)
def test_C12_a_json_response_is_one_line_of_known_keys(response: WorkResponse) -> None:
    encoded = encode_response_json(response)
    assert len(encoded.decode("ascii").splitlines()) == 1
    pairs = json.loads(encoded, object_pairs_hook=lambda pairs: pairs)
    keys = [key for key, _value in pairs]
    assert len(keys) == len(set(keys))
    assert set(keys) <= {"exitCode", "output", "requestId", "wasCancelled"}
    assert ("wasCancelled" in keys) == response.was_cancelled


@pytest.mark.parametrize(
    ("response", "encoded"),
    [
        (WorkResponse(), b'{"exitCode":0}'),
        (WorkResponse(12, 1, "bad\n"), b'{"exitCode":1,"output":"bad\\n","requestId":12}'),
        (WorkResponse(3, was_cancelled=True), b'{"exitCode":0,"requestId":3,"wasCancelled":true}'),
    ],
)
def test_json_responses_are_minimal(response: WorkResponse, encoded: bytes) -> None:
    assert encode_response_json(response) == encoded


def test_cancels_are_the_bytes_that_bazel_sends() -> None:
    assert encode_request_proto(WorkRequest(request_id=1, cancel=True)) == bytes.fromhex("1801 2001")
    assert encode_request_proto(WorkRequest(cancel=True)) == bytes.fromhex("2001")
    assert encode_request_json(WorkRequest(request_id=1, cancel=True)) == b'{"requestId":1,"cancel":true}'
    assert encode_request_json(WorkRequest(cancel=True)) == b'{"cancel":true}'


def test_C66_verbosity_is_read_in_both_encodings() -> None:
    assert decode_request_proto(bytes.fromhex("1807 280a")) == WorkRequest(request_id=7, verbosity=10)
    assert decode_request_json('{"requestId":7,"verbosity":10}') == WorkRequest(request_id=7, verbosity=10)


def test_id_zero_is_absent_from_a_protobuf_response() -> None:
    assert encode_response_proto(WorkResponse(0, 1)) == bytes.fromhex("0801")


def test_C06_unknown_fields_are_ignored() -> None:
    field_99 = bytes.fromhex("9a06 03") + b"abc"
    assert decode_request_proto(field_99 + bytes.fromhex("1807")) == WorkRequest(request_id=7)
    assert decode_request_json('{"foo":{"bar":[1,{}]},"requestId":7}') == WorkRequest(request_id=7)


@pytest.mark.parametrize(
    "encoded",
    [
        "{}",
        '{"requestId":0,"arguments":[],"inputs":[],"cancel":false,"verbosity":0,"sandboxDir":""}',
        '{"requestId":null,"arguments":null,"inputs":null,"cancel":null,"verbosity":null,"sandboxDir":null}',
    ],
)
def test_absent_zero_and_null_are_the_default(encoded: str) -> None:
    assert decode_request_json(encoded) == WorkRequest()
    assert decode_request_proto(b"") == WorkRequest()


def test_names_in_snake_case() -> None:
    request = decode_request_json('{"request_id":"7","sandbox_dir":"s"}')
    assert request == WorkRequest(request_id=7, sandbox_dir="s")
    response = decode_response_json('{"request_id":7,"exit_code":-1,"was_cancelled":true}')
    assert response == WorkResponse(7, -1, "", was_cancelled=True)


@pytest.mark.parametrize("value", ["7", '"7"', "7.0", "7e0", '"007"'])
def test_integers_as_proto3_json_spells_them(value: str) -> None:
    assert decode_request_json(f'{{"requestId":{value}}}').request_id == 7


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31)])
def test_the_ends_of_the_range_of_ids(value: int) -> None:
    for text in (str(value), f'"{value}"'):
        assert decode_request_json(f'{{"requestId":{text}}}').request_id == value


HASH = b"7d3f9b6284c6f36e77b425cac882e8fbbcc97a4727ec20790853076d0f463453"


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        (base64.b64encode(HASH).decode(), HASH),
        ("YQ==", b"a"),
        ("YQ", b"a"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("+/+/", b"\xfb\xff\xbf"),
        ("", b""),
        (None, b""),
        ("not base64!", b"not base64!"),
        ("abcde", b"abcde"),  # no base64 has this length
        ("\u96ea", "\u96ea".encode()),
        (1.5, b"1.5"),
    ],
)
def test_C70_digests_are_opaque(value: Any, digest: bytes) -> None:
    encoded = json.dumps({"inputs": [{"path": "p", "digest": value}]})
    assert decode_request_json(encoded).inputs == (Input("p", digest),)


def test_an_input_without_a_digest() -> None:
    assert decode_request_json('{"inputs":[{"path":"p"}]}').inputs == (Input("p", b""),)


@given(JSON_VALUES)
def test_C70_no_digest_is_refused(value: Any) -> None:
    decode_request_json(json.dumps({"inputs": [{"path": "p", "digest": value}]}))


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ('{"requestId":1.5}', "requestId in a WorkRequest is not an integer"),
        ('{"requestId":"x"}', "requestId in a WorkRequest is not an integer"),
        ('{"requestId":true}', "requestId in a WorkRequest is not an integer"),
        ('{"requestId":2147483648}', "is not an integer of 32 bits"),
        ('{"requestId":"-2147483649"}', "is not an integer of 32 bits"),
        ('{"requestId":1e999}', "is not an integer"),
        ('{"requestId":5,"verbosity":[]}', "verbosity in the WorkRequest 5"),
        ('{"requestId":5,"arguments":"x"}', "arguments in the WorkRequest 5 is not a list"),
        ('{"requestId":5,"arguments":[1]}', "arguments in the WorkRequest 5 is not text"),
        ('{"requestId":5,"arguments":[null]}', "arguments in the WorkRequest 5 is not text"),
        ('{"requestId":5,"arguments":["\\ud800"]}', "half of a surrogate pair"),
        ('{"requestId":5,"inputs":[3]}', "inputs in the WorkRequest 5 is not a list of objects"),
        ('{"requestId":5,"inputs":[{"path":3}]}', "path in inputs of the WorkRequest 5"),
        ('{"requestId":5,"cancel":1}', "cancel in the WorkRequest 5 is not true or false"),
        ("[]", "is a JSON list"),
        ("{]}", "cannot be read as JSON"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "cannot be read as JSON"),
        ('{"requestId":' + "9" * 10_000 + "}", "cannot be read as JSON"),
    ],
)
def test_malformed_json_is_named_with_its_request(encoded: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message) as caught:
        decode_request_json(encoded)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "payload", [b'{"a":"\xff"}', b"\xff\xfe{\x00}\x00", '{"requestId":1}'.encode("utf-16")]
)
def test_json_is_utf8(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="cannot be read as JSON"):
        decode_request_json(payload)


@pytest.mark.parametrize("payload", [b"junk", b'{"requestId":1}', bytes.fromhex("0a02 fffe"), b"\x0a\x05a"])
def test_malformed_protobuf_is_named(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match=f"a message of {len(payload)} bytes .* is no WorkRe"):
        decode_request_proto(payload)


@given(st.binary())
def test_foreign_bytes_are_a_message_or_a_protocol_error(payload: bytes) -> None:
    for decode in (decode_request_proto, decode_request_json, decode_response_proto, decode_response_json):
        try:
            decode(payload)
        except ProtocolError as error:
            assert str(error)  # noqa: PT017  # both ends are right; only another exception is not


@given(
    st.dictionaries(
        st.sampled_from(
            ["requestId", "arguments", "inputs", "sandboxDir", "verbosity", "cancel", "exitCode", "output"]
        ),
        JSON_VALUES,
    )
)
def test_foreign_values_are_a_message_or_a_protocol_error(values: dict[str, Any]) -> None:
    for decode in (decode_request_json, decode_response_json):
        try:
            decode(json.dumps(values))
        except ProtocolError as error:
            assert str(error)  # noqa: PT017  # likewise


def test_every_output_can_be_sent() -> None:
    output = "caf\udce9 \ud800 \U0001f600\n"
    for encode, decode in (
        (encode_response_proto, decode_response_proto),
        (encode_response_json, decode_response_json),
    ):
        assert decode(encode(WorkResponse(output=output))).output == "caf\ufffd \ufffd \U0001f600\n"


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_numbers_that_no_message_can_carry_are_refused_when_made(number: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        WorkRequest(request_id=number)
    with pytest.raises(ValueError, match="must be"):
        WorkResponse(exit_code=number)


def test_the_committed_messages_are_what_the_schema_generates() -> None:
    subprocess.run([sys.executable, ROOT / "proto" / "generate.py", "--check"], check=True)
