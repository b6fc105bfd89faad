"""The conformance checklist, points 1 to 12: bytes in, bytes out."""

from __future__ import annotations

import fcntl
import json
import shlex
import string
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from headstart_worker import framing, messages
from headstart_worker.codec import codec_for
from headstart_worker.framing import DEFAULT_MAX_MESSAGE_BYTES, encode_proto_frame
from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.protojson import Fields
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, cancelled, gone, response, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

BIG = WorkRequest(
    7,
    ("--", "/bin/echo", "big"),
    tuple(Input(f"bazel-out/k8-fastbuild/bin/a/{'deep/' * 30}{n}.rlib", b"5" * 64) for n in range(5000)),
)
"""A request of more than 1 MiB that declares 5,000 inputs."""


async def send_alone(host: FakeHost, data: bytes) -> None:
    """Writes to the worker and waits until it has taken that off the pipe: the next write is a read of its own."""
    await host.send_bytes(data)
    stdin = host.process.stdin
    assert isinstance(stdin, trio.lowlevel.FdStream)
    with trio.fail_after(PATIENCE):
        while any(fcntl.ioctl(stdin.fileno(), termios.FIONREAD, bytes(4))):  # noqa: ASYNC110 - nobody tells that
            await trio.sleep(0.0005)


def test_C01_I3_an_empty_input_ends_the_worker_and_nothing_is_said(tmp_path: Path, protocol: str) -> None:
    worker = (sys.executable, "-m", "headstart_worker", "--persistent_worker", f"--state-dir={tmp_path}")
    ended = subprocess.run(
        [*worker, f"--worker-protocol={protocol}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


async def test_C02_a_request_that_comes_byte_by_byte_is_one_request(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        # So long that its length takes two bytes.
        for byte in host.encode(WorkRequest(200, (*sh("echo 'héllo {\"'"), "x" * 200))):
            await send_alone(host, bytes([byte]))
        assert await response(host) == WorkResponse(200, 0, 'héllo {"\n')
        await host.finish()
        assert len(host.responses) == 1


async def test_C03_I1_fifty_requests_in_one_write_get_fifty_answers(worker: Worker, protocol: str) -> None:
    async with worker(protocol, "--jobs=4") as host:
        await host.send_bytes(b"".join(host.encode(WorkRequest(n, sh(f"echo {n}"))) for n in range(1, 51)))
        answers = [await response(host) for _ in range(50)]
        assert sorted((a.request_id, a.output, a.exit_code) for a in answers) == [
            (n, f"{n}\n", 0) for n in range(1, 51)
        ]
        await host.finish()
        assert len(host.responses) == 50


@pytest.mark.parametrize("between", ["", "\n", "\r\n \t\n"])
@pytest.mark.parametrize("indent", [None, 2])
async def test_C04_json_objects_come_in_any_layout(worker: Worker, between: str, indent: int | None) -> None:
    """Bazel 4.2.3 writes nothing between two requests; a person who tries a worker by hand writes much."""
    wanted = [{"requestId": n, "arguments": ["--", "/bin/echo", f"}}{n}{{"]} for n in (1, 2)]
    data = between.join(json.dumps(each, indent=indent) for each in wanted)
    async with worker("json") as host:
        await host.send_bytes(data.encode())
        answers = {answer.request_id: answer.output for answer in [await response(host) for _ in wanted]}
        assert answers == {1: "}1{\n", 2: "}2{\n"}


async def test_C04_a_read_may_end_inside_a_character(worker: Worker) -> None:
    text = json.dumps({"requestId": 1, "arguments": ["--", "/bin/echo", "é€😀"]}, ensure_ascii=False)
    data = text.encode()
    at = data.index("é".encode())
    async with worker("json") as host:
        for piece in (data[: at + 1], data[at + 1 : at + 4], data[at + 4 : at + 7], data[at + 7 :]):
            await send_alone(host, piece)
        assert await response(host) == WorkResponse(1, 0, "é€😀\n")


async def test_C05_a_request_of_a_megabyte_with_five_thousand_inputs_is_answered(
    worker: Worker, protocol: str
) -> None:
    async with worker(protocol) as host:
        data = host.encode(BIG)
        assert len(data) > 1 << 20
        for start in range(0, len(data), 4096):
            await host.send_bytes(data[start : start + 4096])
        assert await response(host) == WorkResponse(7, 0, "big\n")


@pytest.mark.parametrize("size", [1000, 65536])
def test_C05_a_big_request_is_parsed_once_and_every_byte_of_it_scanned_at_most_twice(
    monkeypatch: pytest.MonkeyPatch, protocol: str, size: int
) -> None:
    """Whether this is fast is for a benchmark to say; that it cannot be quadratic is for this test."""
    parsed: list[int] = []
    scanned = 0

    def counted(parse: Callable[..., Any]) -> Callable[..., Any]:
        def parse_and_count(*arguments: Any) -> Any:
            parsed.append(len(arguments[-1]))
            return parse(*arguments)

        return parse_and_count

    def measured(*arguments: Any) -> int:
        nonlocal scanned
        end = match(*arguments)
        scanned += end - arguments[-1] + 1
        return end

    match = framing._end
    monkeypatch.setattr(framing, "_end", measured)
    monkeypatch.setattr(messages, "_parse", counted(messages._parse))
    monkeypatch.setattr(Fields, "parse", counted(Fields.parse))
    codec = codec_for(protocol)
    data = FakeHost(protocol).encode(BIG)
    found: list[WorkRequest] = []
    for start in range(0, len(data), size):
        codec.feed(data[start : start + size])
        found += codec.requests()
    assert found == [BIG]
    assert len(parsed) == 1
    assert parsed[0] > 1 << 20
    assert scanned <= 2 * len(data)


UNKNOWN = {
    # Field 99 as a varint, as bytes and as a group's start and end, and once more inside an input.
    "proto": encode_proto_frame(
        b"\x98\x06\x01\x9a\x06\x03abc\x9b\x06\x9c\x06"
        b"\x0a\x02--\x0a\x09/bin/echo\x0a\x02on"
        b"\x12\x08\x0a\x01a\x9a\x06\x02xy"
        b"\x18\x05"
    ),
    "json": b'{"foo": {"requestId": 9, "cancel": [true, {"": null}]}, "arguments": ["--", "/bin/echo", "on"], '
    b'"inputs": [{"path": "a", "bar": 1.5e300}], "requestId": 5, "Cancel": true}',
}


async def test_C06_unknown_fields_are_ignored(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        await host.send_bytes(UNKNOWN[protocol])
        assert await response(host) == WorkResponse(5, 0, "on\n")
        assert (await host.finish()).stderr == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param(
            '{"arguments":["--","/bin/echo","x"]}', WorkResponse(0, 0, "x\n"), id="no id, no inputs"
        ),
        pytest.param(
            '{"requestId":3,"arguments":["--","/bin/echo","x"],"inputs":[{"path":"a"},{}]}',
            WorkResponse(3, 0, "x\n"),
            id="no digest, no path",
        ),
        pytest.param(
            '{"requestId":0,"arguments":["--","/bin/echo","x"],"inputs":[],"cancel":false,"verbosity":0,'
            '"sandboxDir":""}',
            WorkResponse(0, 0, "x\n"),
            id="every default said aloud",
        ),
    ],
)
async def test_C07_what_json_leaves_out_has_its_default(
    worker: Worker, text: str, answer: WorkResponse
) -> None:
    async with worker("json") as host:
        await host.send_bytes(text.encode())
        assert await response(host) == answer


async def test_C07_an_object_without_anything_is_a_request_without_a_command(worker: Worker) -> None:
    async with worker("json") as host:
        await host.send_bytes(b"{}")
        answer = await response(host)
        assert (answer.request_id, answer.exit_code) == (0, 125)
        assert "no command" in answer.output


async def broken_stream_ends_everything(host: FakeHost, data: bytes, pids: Fifo, *, close: bool) -> str:
    """Sends a request that runs and then bytes that are no request; returns the worker's one line on stderr."""
    await host.send(WorkRequest(1, sh(f"trap '' TERM; echo $$ > {pids}; while :; do sleep 1000; done")))
    job = await pids.pid()
    await host.send_bytes(data)
    if close:
        await host.close_stdin()
    with trio.fail_after(PATIENCE):
        ended = await host.ended()
    assert not is_alive(job)
    assert ended.exit_code == 125
    assert host.responses == []
    host._codec.close()  # raises when something came that was no whole response
    (line,) = ended.stderr.splitlines()
    assert line.startswith("process-wrapper: ")
    return line


@pytest.mark.parametrize("kept", [1, -1])
async def test_C08_I3_an_end_of_input_inside_a_message_ends_the_worker_and_its_jobs(
    worker: Worker, protocol: str, fifo: MakeFifo, kept: int
) -> None:
    async with worker(protocol) as host:
        message = host.encode(WorkRequest(9, ("--", "/bin/true", "x" * 200))).rstrip()
        line = await broken_stream_ends_everything(host, message[:kept], fifo("pids"), close=True)
        assert "ended inside a message" in line


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"\x81\x80\x80\x20", "67108865 bytes", id="one byte more than the limit"),
        pytest.param(b"\xff\xff\xff\xff\x0f", "4294967295 bytes", id="no int32"),
        pytest.param(b"\x80\x80\x80\x80\x80\x01", "five bytes", id="six bytes of length"),
        pytest.param(b"\xff\xff\xff\xff\xff", "five bytes", id="five bytes of length and no end"),
    ],
)
async def test_C09_I3_a_length_that_cannot_be_meant_ends_the_worker_and_its_jobs(
    worker: Worker, fifo: MakeFifo, data: bytes, text: str
) -> None:
    assert DEFAULT_MAX_MESSAGE_BYTES == 67108864
    async with worker("proto") as host:
        # Its input stays open: the worker sees that no end of a message will ever make this right.
        assert text in await broken_stream_ends_everything(host, data, fifo("pids"), close=False)


async def test_C10_sixty_four_answers_of_a_mebibyte_at_once_do_not_mix(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    """A mebibyte is what an answer may hold at most, so nothing is left out of these."""
    ready, go = fifo("ready"), fifo("go")
    letters = (string.ascii_letters + string.digits + "+-")[:64]
    async with worker(protocol, "--jobs=64") as host:
        for number, letter in enumerate(letters, 1):
            output = f"head -c {(1 << 20) - 1} /dev/zero | tr '\\0' {letter}; echo"
            await host.send(WorkRequest(number, sh(f"echo > {ready}; read x < {go}; {output}")))
        for _ in letters:
            await ready.line()
        go.go(len(letters))
        answers = {answer.request_id: answer for answer in [await response(host) for _ in letters]}
        for number, letter in enumerate(letters, 1):
            assert answers[number].exit_code == 0
            assert answers[number].output == letter * ((1 << 20) - 1) + "\n"
        await host.finish()
        assert len(host.responses) == len(letters)


async def test_C11_I12_a_host_that_does_not_read_still_has_its_cancels_carried_out(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    pids, done = fifo("pids"), fifo("done")
    async with worker(protocol, "--jobs=3") as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; exec sleep 1000")))
        pid = await pids.pid()
        host.pause_reading()
        # More than the pipe and the host's one read take; each says by itself when it is over.
        for number in range(2, 8):
            await host.send(WorkRequest(number, sh(f"head -c 200000 /dev/zero | tr '\\0' x; echo > {done}")))
        for _ in range(6):
            await done.line()
        await host.cancel(1)
        await gone(pid)
        await host.send(WorkRequest(8, sh(f"echo ran > {done}")))
        assert await done.line() == "ran"
        host.resume_reading()
        answers = {answer.request_id: answer for answer in [await response(host) for _ in range(8)]}
        assert answers[1] == cancelled(1)
        assert {len(answers[number].output) for number in range(2, 8)} == {200001}


def fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(pairs) == len(dict(pairs)), "a key comes twice"
    return dict(pairs)


async def test_C12_a_json_response_is_one_line_with_known_keys_once_each(
    workspace: Path, state: Path, fifo: MakeFifo
) -> None:
    ready = fifo("ready")
    recording = f'{shlex.quote(sys.executable)} -m headstart_worker "$@" | tee received'
    options = (f"--state-dir={state}", "--jobs=2")
    requests = [
        ("--", "/usr/bin/printf", r"two\nlines \"quoted\" \\ {}[]\r\n"),
        ("--", "/usr/bin/printf", r"\302\205 \342\200\250 \342\200\251 \303\251 \360\237\230\200"),
        ("--", "/usr/bin/printf", r"\000 \377 \355\240\200 \033[1m"),
        ("--no-such-option",),
        ("--", "/bin/false"),
        ("--", "/bin/true"),
    ]
    command = ("/bin/sh", "-c", recording, "sh")
    async with FakeHost("json", options, cwd=workspace, command=command) as host:
        await host.send(WorkRequest(99, sh(f"echo > {ready}; exec sleep 1000")))
        await ready.line()
        await host.cancel(99)
        assert await response(host) == cancelled(99)
        for number, arguments in enumerate(requests):
            await host.work(arguments, request_id=number)
        await host.finish()
    received = (workspace / "received").read_bytes()
    *lines, rest = received.decode("utf-8").split("\n")
    assert rest == ""
    assert len(lines) == len(host.responses) == len(requests) + 1
    for line in lines:
        assert len(line.splitlines()) == 1, "some readers end a line at more than a newline"
        found = json.loads(line, object_pairs_hook=fields_once)
        assert set(found) <= {"exitCode", "output", "requestId", "wasCancelled"}
