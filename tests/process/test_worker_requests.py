"""What one request gets: output, exit codes, messages; each beside another request that must not notice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, children, gone, links, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


async def test_I1_fifty_requests_in_one_write_get_fifty_answers(worker: Worker, protocol: str) -> None:
    async with worker(protocol, "--jobs=4") as host:
        await host.send_bytes(b"".join(host.encode(WorkRequest(n, sh(f"echo {n}"))) for n in range(1, 51)))
        with trio.fail_after(PATIENCE):
            answers = [await host.next_response() for _ in range(50)]
        assert sorted((a.request_id, a.output, a.exit_code) for a in answers) == [
            (n, f"{n}\n", 0) for n in range(1, 51)
        ]
        await host.finish()
        assert len(host.responses) == 50


async def test_a_request_may_come_byte_by_byte(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        for byte in host.encode(WorkRequest(2**31 - 1, sh("echo héllo"))):
            await host.send_bytes(bytes([byte]))
        answer = await host.next_response()
        assert (answer.request_id, answer.output) == (2**31 - 1, "héllo\n")


async def test_json_objects_need_no_newline_between_them(worker: Worker) -> None:
    async with worker("json") as host:
        data = b"".join(host.encode(WorkRequest(n, sh("exit 3"))).rstrip() for n in (1, 2))
        await host.send_bytes(data)
        assert {(await host.next_response()).request_id for _ in range(2)} == {1, 2}


async def test_words_reach_the_command_verbatim(worker: Worker, protocol: str) -> None:
    words = ("", " ", "a b", '"', "\\", "'", "$HOME", "@x", "--", "*", "ü")
    async with worker(protocol) as host:
        answer = await host.work(("--", "/usr/bin/printf", "<%s>\\n", *words))
        assert answer.output == "".join(f"<{word}>\n" for word in words)


async def test_both_streams_come_in_order_and_end_in_a_newline(worker: Worker) -> None:
    async with worker() as host:
        answer = await host.work(sh("echo 1; echo 2 >&2; echo 3; printf 4 >&2; exit 9"))
        assert (answer.exit_code, answer.output) == (9, "1\n2\n3\n4\n")


async def test_options_of_a_request_set_its_environment(worker: Worker, workspace: Path) -> None:
    async with worker() as host:
        answer = await host.work(
            ("--env=A=1 2", "--env=HERE=${dir}/x", "--subst=dir=${pwd}", *sh('echo "$A $HERE"'))
        )
        assert answer.output == f"1 2 {workspace}/x\n"


async def test_I4_a_child_holds_no_descriptor_but_its_own_three(
    worker: Worker, protocol: str, fifo: MakeFifo
) -> None:
    ready, go = fifo("ready"), fifo("go")
    async with worker(protocol, "--jobs=4") as host, trio.open_nursery() as nursery:
        # Others run and start meanwhile: their pipes must not be seen either.
        for _ in range(2):
            nursery.start_soon(host.work, sh(f"echo $$ > {ready}; read x < {go}"))
        await ready.line()
        await ready.line()
        # listing takes a descriptor itself, which is gone when its name is looked at
        script = (
            "import os; d = '/proc/self/fd/'; "
            "print(*(os.readlink(d + n) for n in os.listdir(d) if os.path.lexists(d + n)))"
        )
        answer = await host.work(("--", "/usr/bin/python3", "-I", "-S", "-c", script))
        go.go(2)
        shown = answer.output.split()
        assert len(shown) == 3, answer.output
        assert shown[0] == "/dev/null"
        assert shown[1] == shown[2]
        assert shown[1].startswith("pipe:")


async def test_I4_the_helper_holds_nothing_of_the_protocol_nor_of_ended_jobs(worker: Worker) -> None:
    async with worker() as host:
        await host.work(sh("true"))
        (helper,) = children(host.pid)
        places = links(helper)
        # its stderr, which is the worker's
        assert len({place for place in places if place.startswith("pipe:")}) == 1
        assert len(places) == 4
        await host.finish()


async def test_I4_stdin_is_empty_and_prints_stay_in_the_answer(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        next_one = host.encode(WorkRequest(8, sh("echo next")))
        await host.send_bytes(host.encode(WorkRequest(7, sh("cat; echo eof; echo '{}'; echo x > /dev/fd/1"))))
        await host.send_bytes(next_one)
        answers = {a.request_id: a.output for a in [await host.next_response() for _ in range(2)]}
        assert answers == {7: "eof\n{}\nx\n", 8: "next\n"}


BAD = [
    pytest.param(("--", "/no/such/compiler"), 127, "does not exist", id="missing by path"),
    pytest.param(("--", "no-such-compiler-at-all"), 127, "PATH", id="missing by name"),
    pytest.param(("--", "./plain"), 126, "chmod", id="not executable"),
    pytest.param(("--", "./directory"), 126, "not executable", id="a directory"),
    pytest.param(("--", "./nonsense"), 126, "cannot be executed", id="not a program"),
    pytest.param(("--", "./orphan"), 127, "first line", id="interpreter missing"),
    pytest.param(("--no-such-option", "--", "true"), 125, "--no-such-option", id="unknown option"),
    pytest.param(("--timeout=soon", "--", "true"), 125, "--timeout", id="bad value"),
    pytest.param(("--jobs=3", "--", "true"), 125, "started", id="startup option"),
    pytest.param(("--dialect=cobol", "--", "true"), 125, "cobol", id="unknown dialect"),
    pytest.param(("--phase=early", "--", "true"), 125, "--early-output", id="phase alone"),
    pytest.param(("@missing.params",), 125, "missing.params", id="params file missing"),
    pytest.param((), 125, "no command", id="no arguments"),
    pytest.param(("--",), 125, "no command", id="no command"),
    pytest.param(("--", "/bin/sh", "-c", "kill -SEGV $$"), 139, "SIGSEGV", id="killed"),
    pytest.param(("--timeout=0.05", "--", "sleep", "60"), 124, "--timeout", id="timed out"),
    pytest.param(("--", "/bin/echo", "x" * 300_000), 125, "longer", id="argument too long"),
]


@pytest.mark.parametrize(("arguments", "exit_code", "text"), BAD)
async def test_what_is_wrong_is_said_and_hurts_nobody_else(
    *, worker: Worker, workspace: Path, fifo: MakeFifo, arguments: tuple[str, ...], exit_code: int, text: str
) -> None:
    (workspace / "plain").write_text("#!/bin/sh\n")
    (workspace / "directory").mkdir()
    for name, content in (("nonsense", b"\x7fELF nonsense"), ("orphan", b"#!/no/such/interpreter\n")):
        (workspace / name).write_bytes(content)
        (workspace / name).chmod(0o755)
    go = fifo("go")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(900, sh(f"read x < {go}; echo fine")))
        answer = await host.work(arguments)
        assert answer.exit_code == exit_code, answer
        assert text in answer.output
        (line,) = answer.output.splitlines()
        assert line.startswith("process-wrapper: ")
        assert not answer.was_cancelled
        go.go()
        other = await host.next_response()
        assert (other.request_id, other.exit_code, other.output) == (900, 0, "fine\n")
        assert (await host.finish()).stderr == ""


async def test_a_missing_sandbox_directory_is_named(worker: Worker) -> None:
    async with worker() as host:
        answer = await host.work(sh("true"), sandbox_dir="__sandbox/7/ws")
        assert answer.exit_code == 125
        assert "__sandbox/7/ws" in answer.output


async def test_output_that_is_not_text_becomes_text(worker: Worker, protocol: str) -> None:
    async with worker(protocol) as host:
        answer = await host.work(("--", "/usr/bin/printf", r"a\377b\000c\n"))
        assert answer.output == "a�b�c\n"


async def test_a_hundred_mebibytes_are_bounded(worker: Worker, protocol: str, fifo: MakeFifo) -> None:
    go = fifo("go")
    async with worker(protocol, "--jobs=2") as host:
        await host.send(WorkRequest(900, sh(f"read x < {go}; echo fine")))
        script = "echo first; head -c 104857600 /dev/zero | tr '\\0' x; echo; echo last"
        answer = await host.work(sh(script))
        assert answer.exit_code == 0
        assert answer.output.startswith("first\n")
        assert answer.output.endswith("last\n")
        assert "left out" in answer.output
        assert len(answer.output) < 2_000_000
        go.go()
        assert (await host.next_response()).output == "fine\n"


async def test_a_compiler_that_closes_its_pipes_is_waited_for(worker: Worker, fifo: MakeFifo) -> None:
    closed, go = fifo("closed"), fifo("go")
    async with worker("proto", "--jobs=2") as host:
        await host.send(
            WorkRequest(1, sh(f"echo said; exec >&- 2>&-; echo $$ > {closed}; read x < {go}; exit 5"))
        )
        pid = await closed.pid()
        assert (await host.work(sh("echo other"))).output == "other\n"
        assert len(host.responses) == 1
        assert is_alive(pid)
        go.go()
        answer = await host.next_response()
        assert (answer.exit_code, answer.output) == (5, "said\n")


async def test_a_background_process_neither_delays_the_answer_nor_outlives_it_long(
    worker: Worker, fifo: MakeFifo
) -> None:
    pids = fifo("pids")
    async with worker() as host:
        with trio.fail_after(PATIENCE):
            answer = await host.work(sh(f"sleep 1000 & echo $! > {pids}; echo done; exit 3"))
        assert (answer.exit_code, answer.output) == (3, "done\n")
        await pids.pid()
        # that it is gone is what the guard of every test sees


async def test_the_helper_may_die_and_the_worker_goes_on(worker: Worker, fifo: MakeFifo) -> None:
    pids = fifo("pids")
    async with worker("proto", "--jobs=2") as host:
        await host.send(WorkRequest(1, sh(f"echo $$ > {pids}; exec sleep 1000")))
        job = await pids.pid()
        (helper,) = children(host.pid)
        os.kill(helper, signal.SIGKILL)
        await gone(helper)
        assert (await host.work(sh("echo on"))).output == "on\n"
        os.kill(job, signal.SIGKILL)  # its end is seen, its status is lost with the helper
        with trio.fail_after(PATIENCE):
            answer = await host.next_response()
        assert (answer.request_id, answer.exit_code) == (1, 125)
        assert "helper" in answer.output


async def test_statistics_are_true(worker: Worker, workspace: Path) -> None:

    async with worker() as host:
        script = "import time; x = bytearray(60_000_000); [None for _ in range(2_000_000)]"
        answer = await host.work(("--stats=s.json", "--", "/usr/bin/python3", "-I", "-S", "-c", script))
        assert answer.exit_code == 0
        stats = json.loads((workspace / "s.json").read_text())
        assert 60_000_000 < stats["peak_memory_bytes"] < 120_000_000
        assert 0 < stats["user_seconds"] <= stats["wall_seconds"] + 0.1
        small = await host.work(("--stats=t.json", "--", "/bin/true"))
        assert small.exit_code == 0
        # true of a child whatever its parent weighs: the worker has more than this
        assert json.loads((workspace / "t.json").read_text())["peak_memory_bytes"] < 20_000_000
