"""The micro-benchmarks measure what they say: each in its smallest form, on real workers, and on workers that do what ours must not."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import figure_parts
import framing_speed
import micro
import micro_figures
import worker_requests
from cancelling import JOBS, cancelling
from headstart_worker.bench import regressions
from peer_workers import Peer
from sections import quantile, told, turns
from stagings import stage
from worker_client import Worker, client, ours

BIN = Path(sys.executable).parent
TINY = micro.Scale(
    requests=2,
    load=2,
    loads=(1, 4),
    spawning=2,
    parents={"10 MB": 10, "60 MB": 60},
    framing=2,
    start_up=2,
    stagings=2,
    inputs=30,
    cancels=1,
    tracing=2,
)

# Answers a request when it has so many and no more come; in the end, when all have come. Fewer or more are a failure.
COUNTING = """
import os, select, sys
from headstart_worker.codec import codec_for
from headstart_worker.messages import WorkResponse
wanted, left = int(sys.argv[1]), int(sys.argv[2])
codec, held = codec_for("proto"), []
while True:
    patience = 20 if len(held) < wanted and left else 0.02
    if not held or select.select([0], [], [], patience)[0]:
        data = os.read(0, 65536)
        if not data:
            break
        codec.feed(data)
        for request in codec.requests():
            held.append(request.request_id)
            left -= 1
    else:
        wrong = len(held) > wanted or left and len(held) < wanted
        os.write(1, codec.encode(WorkResponse(held.pop(0), int(wrong))))
"""

# Starts what it is asked for, and answers a cancel while the job lives.
NAIVE = """
import os, subprocess
from headstart_worker.codec import codec_for
from headstart_worker.messages import WorkResponse
codec, running = codec_for("proto"), {}
while data := os.read(0, 65536):
    codec.feed(data)
    for request in codec.requests():
        if request.cancel:
            os.write(1, codec.encode(WorkResponse(request.request_id, was_cancelled=True)))
        else:
            running[request.request_id] = subprocess.Popen(request.arguments[1:])
for process in running.values():
    process.wait()
"""


def script(text: str, *words: str) -> Worker:
    return Worker("a script", (sys.executable, "-c", text, *words))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Measures sections in the smallest form and reads them as from a file."""

    def measured(*sections: str, peers: tuple[Peer, ...] = ()) -> dict[str, Any]:
        result = micro.measured(TINY, BIN, peers, sections, tell=lambda _line: None)
        text = micro.document({**result, "command": "benchmarks/micro.py"})
        (tmp_path / "micro.json").write_text(text)
        read: dict[str, Any] = json.loads(text)
        return read

    return measured


def names(section: dict[str, Any]) -> list[str]:
    return [one["command"] for one in section["results"]]


ROUNDED = 2e-7
"""Seconds by which the difference of two times in the file can be wrong."""


def is_over(one: dict[str, Any], base: dict[str, Any]) -> bool:
    """True when it tells what it took over another, turn by turn. Whether that is much, is the machine's to say."""
    more = [time - least for time, least in zip(one["times"], base["times"], strict=True)]
    over = one["over"]
    return bool(
        over["median"] == pytest.approx(statistics.median(more), abs=ROUNDED) and over["q1"] <= over["q3"]
    )


def test_a_request_is_compared_with_a_bare_spawn_and_measured_under_load(
    run: Callable[..., dict[str, Any]],
) -> None:
    result = run("requests")
    bare, *others = result["requests"]["results"]
    assert bare["command"] == worker_requests.BARE
    assert names(result["requests"])[2:] == ["worker, proto", "worker, json"]
    assert all(is_over(one, bare) for one in others)
    for one in (bare, *others):
        assert len(one["times"]) == TINY.requests * worker_requests.ONE_AT_A_TIME
        assert one["rounds"] == TINY.requests
    assert [(one["command"], one["in_flight"]) for one in result["load"]["results"]] == [
        (f"worker, {protocol}, {load} in flight", load) for protocol in ("proto", "json") for load in (1, 4)
    ]
    assert names(result["throughput"]) == names(result["load"])
    for latency, each in zip(result["load"]["results"], result["throughput"]["results"], strict=True):
        assert (latency["rounds"], len(each["times"])) == (TINY.load, TINY.load)
        if (
            latency["in_flight"] == 1
        ):  # then each begins after the one before, and both are told of the same requests
            assert latency["mean"] <= each["mean"]
    assert result["memory"]["worker"]["rss"] > result["memory"]["helper"]["pss"] > 0


@pytest.mark.parametrize("in_flight", [1, 4, 16])
def test_exactly_so_many_requests_are_always_in_flight(in_flight: int) -> None:
    total = 20 + 2 * in_flight
    with client(script(COUNTING, str(in_flight), str(total))) as asked:
        burst = asked.together(in_flight, 20)
    assert len(burst.latencies) == 20
    assert burst.seconds > 0


def test_a_worker_that_fails_is_not_measured() -> None:
    with client(script(COUNTING, "0", "1")) as asked, pytest.raises(SystemExit, match="cannot be measured"):
        asked.one_at_a_time(1)
    with client(script("")) as asked, pytest.raises(SystemExit, match="a script ended"):
        asked.answer()
    silent = client(script("import sys; sys.stdin.read()"), patience=0.1)
    with silent as asked, pytest.raises(SystemExit, match="did not answer in"):
        asked.answer()


def test_spawning_tells_times_and_memory_for_each_size_and_way(run: Callable[..., dict[str, Any]]) -> None:
    found = run("spawning")["spawning"]["results"]
    assert len(found) == 8
    peak = {one["command"]: one["memory_usage_byte"] for one in found}
    # What the kernel says of a child of a big parent is the parent's memory; our helper is small.
    assert peak["Popen(preexec_fn=...), parent of 60 MB"] > 60 << 20
    assert peak["a job by our helper, parent of 60 MB"] < 60 << 20


def test_the_wire_is_measured_by_message(run: Callable[..., dict[str, Any]]) -> None:
    began = time.perf_counter()
    found = {one["command"]: one for one in run("framing")["framing"]["results"]}
    taken = time.perf_counter() - began
    assert len(found) == 8
    for what in ("read a request", "write a response"):
        for protocol in ("proto", "json"):
            small, large = (found[f"{what}, {protocol}, {size}"] for size in ("small", "large"))
            assert small["message_bytes"] < 100
            assert large["message_bytes"] > 50_000
            # It is told of one message, though so many were timed together.
            assert 0 < sum(small["times"]) * framing_speed.MOST_MESSAGES < taken


def test_start_up_is_measured_of_the_wrapper_and_of_workers(run: Callable[..., dict[str, Any]]) -> None:
    section = run("start_up")["start_up"]
    assert {"true", "process-wrapper -- true", "worker, json, first answer"} <= {*names(section)}
    true, *others = section["results"]
    assert true["command"] == "true"
    assert all(is_over(one, true) for one in others)


def test_staging_is_measured_with_an_empty_root_and_a_full_one(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    first, repeated = trio.run(stage, tmp_path, 30, 1)
    assert (first["turn"], first["linked"], first["kept"]) == ("first", 30, 0)
    assert (repeated["turn"], repeated["linked"], repeated["kept"]) == ("repeated", 0, 30)
    section = run("staging")["staging"]
    assert names(section) == ["first", "repeated"]
    assert [len(one["times"]) for one in section["results"]] == [2, 2]
    assert section["results"][0]["inputs"] == 30


def test_I2_no_answer_to_a_cancel_comes_before_the_job_is_dead(tmp_path: Path) -> None:
    with client(ours(BIN, "proto")) as asked:
        section = cancelling([asked], tmp_path, rounds=2)
    assert section.sentences == (
        "worker, proto: in 6 cancels no answer came before the job's last process was gone.",
    )
    times = {one["command"]: one for one in section.results}
    assert len(times) == 2 * len(JOBS)
    for job in JOBS:
        gone, answered = times[f"{job}, worker, proto: all gone"], times[f"{job}, worker, proto: answered"]
        assert all(dead <= told for dead, told in zip(gone["times"], answered["times"], strict=True))
    assert times["ignoring TERM, worker, proto: all gone"]["min"] >= 0.5  # the worker's patience


def test_a_worker_that_answers_a_cancel_and_kills_nobody_is_found_out(tmp_path: Path) -> None:
    with client(script(NAIVE)) as asked:
        section = cancelling([asked], tmp_path, rounds=2, patience=3)
    assert "nine processes, a script: 9 left alive 3 s after the cancel." in section.sentences
    assert not any("no answer came before" in sentence for sentence in section.sentences)
    assert not any("all gone" in one["command"] for one in section.results)


def test_every_figure_of_the_file_can_be_compared_and_shown(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = run(*micro.SECTIONS, peers=(Peer("a peer", None, "not here: nobody made it"),))
    figures = dict(regressions.figures(result))
    assert len(figures) == sum(
        len(one["results"]) for one in result.values() if isinstance(one, dict) and "results" in one
    )
    assert all(figures.values())
    assert {"command", "mean", "stddev", "median", "min", "max", "times"} <= {*result["load"]["results"][0]}
    assert result["peers"] == {"a peer": "not here: nobody made it"}
    monkeypatch.setattr(figure_parts, "RESULTS", tmp_path)
    for name, make in micro_figures.FIGURES.items():
        assert make().count("| ") > 8, name
    assert "a peer: not here: nobody made it." in micro_figures.requests_table()
    lines = (tmp_path / "micro.json").read_text().splitlines()
    assert sum('"times": [' in line for line in lines) == sum(
        '"times": [' in line and "]" in line for line in lines
    )


def test_sections_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["micro.py", "--only=requests,nothing"])
    with pytest.raises(SystemExit):
        micro.main()
    assert "there is no section nothing; there are requests, spawning" in capsys.readouterr().err


def test_turns_begin_with_another_name_each_round() -> None:
    assert "".join(turns("abc", 3)) == "abcbcacab"


def test_a_quantile_is_one_of_the_times() -> None:
    times = [float(number) for number in range(1, 201)]
    assert (quantile(times, 0.99), quantile([1.0, 2.0, 3.0], 0.5), quantile([3.0], 0.99)) == (198.0, 2.0, 3.0)
    assert [told(seconds).split() for seconds in (1.5, 0.0021, 3e-6)] == [
        ["1.50", "s"],
        ["2.10", "ms"],
        ["3.00", "us"],
    ]
