"""What is said about builds and compiles."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from attrs import evolve

from headstart_worker.commands import explain as command
from headstart_worker.commands import timeline as draw
from headstart_worker.commands import traces
from headstart_worker.timeline import Build, Compile, Join, Need, read_build
from headstart_worker.timeline.critical import Critical
from headstart_worker.timeline.explain import build_told, compile_told, delays_told, find, summary_of_delays
from headstart_wrapper.errors import RequestError
from headstart_wrapper.trace_events import Trace

REAL = Path(__file__).parent.parent / "data" / "traces" / "clap_and_tokio.json"

LOW = Compile(
    "liblow-0123456789abcdef.rmeta", 0, 100, 104, 101, 3.0, 64 << 20, 0, job=1, cpu_early=0.5, process=7
)
SIDE = Compile("side.o", 1, 100, 103, None, 1.0, 1 << 20, 0, job=2)
TOP = Compile(
    "libtop-fedcba9876543210.rlib",
    1,
    103,
    107,
    None,
    4.0,
    2 << 20,
    0,
    job=3,
    queued=101.5,
    spawned=103.01,
    needs=(Need(LOW.label, early=True, at=101, job=1),),
)


def told_of(name: str, *compiles: Compile) -> list[str]:
    critical = Critical(Build(compiles, 0))
    (index,) = find(critical, name)
    return compile_told(critical, index)


def test_a_build_is_told_with_its_path_and_its_longest_chain() -> None:
    critical = Critical(Build((LOW, SIDE, TOP), 1))
    assert build_told(critical) == [
        "3 compiles in 7.00 s: CPU 8.00 s, at most 2 at once, 1 with early outputs, 1 join.",
        "The critical path has 2 compiles: 7.00 s compiling.",
        "With a slot for every compile it would have taken 5.00 s at least.",
    ]
    assert (
        summary_of_delays(critical) == "What delayed it most: low by 3.00 s, top by 3.00 s, side.o by 2.00 s."
    )
    assert delays_told(critical) == [
        "    3.00  low: 4.00 s, slack 2.00 s",
        "    3.00  top: 4.00 of its 4.00 s on the critical path, until the end",
        "    2.00  side.o: 3.00 of its 3.00 s on the critical path, until its slot was free",
    ]


def test_a_compile_is_told_from_what_it_needed_to_what_it_cost() -> None:
    assert told_of("top", LOW, SIDE, TOP) == [
        "top ran for 4.00 s, from 3.00 to 7.00 s; CPU 4.00 s, peak memory 2 MiB.",
        "It needed the early output of low, there at 1.00 s.",
        "The host asked for it 0.50 s later.",
        "It waited 1.50 s for its slot, which side.o held until 3.00 s.",
        "Starting its process took 0.01 s.",
        "It is on the critical path.",
        "Had it taken no time, the build would have ended 3.00 s sooner.",
    ]


def test_a_pipelined_compile_is_told_with_its_halves_and_who_joined() -> None:
    joined = evolve(
        LOW, joined=(Join("early", 99.5), Join("full", 101.25), Join("full", 104.5)), publishing=0.02
    )
    assert told_of("low", joined, SIDE, TOP) == [
        (
            "low ran for 4.00 s, from 0.00 to 4.00 s, early output after 1.00 s; CPU 3.00 s (0.50 s of it until "
            "the early output), peak memory 64 MiB."
        ),
        "It needed nothing that this worker had made.",
        "It got a slot at once.",
        "The early request joined it while it waited.",
        "The full request joined it 1.25 s after its start.",
        "The full request took what it had made, 0.50 s after its end.",
        "Bringing its outputs to their places took 0.02 s.",
        "It is not on the critical path: in this schedule it could have taken 2.00 s longer.",
        "Had it taken no time, the build would have ended 3.00 s sooner.",
    ]


def test_what_a_compile_let_start_is_told_by_what_it_gave() -> None:
    after = evolve(TOP, queued=103)
    first = next(line for line in told_of("side.o", LOW, SIDE, TOP) if "let start" in line)
    assert first == "Its slot let start: top."
    early = next(line for line in told_of("low", LOW, SIDE, after) if "let start" in line)
    assert early == "Its early output let start: top."


def test_why_a_request_joined_nothing_and_failed_is_told() -> None:
    alone = evolve(SIDE, alone="job 1 for the same outputs is other work: the command differs", exit_code=1)
    told = told_of("side.o", LOW, alone, TOP)
    assert told[0].endswith(" It failed with exit code 1.")
    assert "It joined nothing: job 1 for the same outputs is other work: the command differs." in told


def test_what_nobody_wanted_any_more_has_not_failed() -> None:
    told = told_of("side.o", LOW, evolve(SIDE, exit_code=143, cancelled=True), TOP)
    assert told[0].endswith(" MiB. It was ended: nobody wanted it any more.")


def test_what_no_trace_tells_is_not_said() -> None:
    apart = (LOW, evolve(TOP, needs=()))
    told = told_of("top", *apart)
    assert (
        "The trace does not tell what the compiles needed of each other, so only waits for slots are known."
        in told
    )
    assert not any("critical path" in line or "sooner" in line for line in told)
    assert not any("critical path" in line for line in build_told(Critical(Build(apart, 0))))
    assert delays_told(Critical(Build(apart, 0))) == []


def test_a_compile_alone_is_told_without_excuses() -> None:
    assert build_told(Critical(Build((SIDE,), 0))) == [
        "1 compile in 3.00 s: CPU 1.00 s, at most 1 at once, 0 with early outputs, 0 joins."
    ]
    assert told_of("side.o", SIDE)[1:] == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("low", ["low"]),
        ("liblow-0123456789abcdef.rmeta", ["low"]),
        ("0123", ["low"]),
        ("3", ["top"]),
        ("#2", ["side.o"]),
        ("lib", ["low", "top"]),
        ("none", []),
    ],
)
def test_compiles_are_found_by_what_people_call_them(wanted: str, found: list[str]) -> None:
    critical = Critical(Build((LOW, SIDE, TOP), 0))
    assert [critical.names[index] for index in find(critical, wanted)] == found


def test_names_are_as_long_as_it_takes_to_tell_compiles_apart() -> None:
    again, other = evolve(LOW, job=4), evolve(LOW, label="liblow-ffff456789abcdef.rmeta", job=5)
    assert Build((LOW, SIDE), 0).names() == ("low", "side.o")
    assert Build((LOW, other), 0).names() == ("low-0123", "low-ffff")
    assert Build((LOW, again, other), 0).names() == ("low-0123 #1", "low-0123 #4", "low-ffff")


def test_equal_numbers_of_two_workers_are_told_apart_by_the_worker() -> None:
    other = evolve(LOW, slot=1000)
    assert Build((LOW, other, evolve(LOW, job=4)), 0).names() == (
        "low-0123 #1.1",
        "low-0123 #2.1",
        "low-0123 #4",
    )
    critical = Critical(Build((LOW, other), 0))
    assert find(critical, "low-0123 #2.1") == [1]


def test_every_compile_of_a_real_build_can_be_found_by_its_name_and_told() -> None:
    critical = Critical(read_build([REAL.read_text("utf-8")]))
    for index, name in enumerate(critical.names):
        assert find(critical, name) == [index]
        told = compile_told(critical, index)
        assert told[0].startswith(f"{name} ran for ")
        assert all(line.endswith(".") and "\n" not in line for line in told)


def test_the_command_lists_what_delayed_the_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(REAL)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("21 compiles in ")
    seconds = [float(line.split()[0]) for line in told[told.index("") + 2 :]]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] > 1


def test_the_command_explains_one_job(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(REAL), "tokio"]) == 0
    assert capsys.readouterr().out.startswith("tokio ran for ")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("syn", "syn can mean 2 compiles, say which: syn-15ce, syn-81e7"),
        ("none", "no compile of this trace is called none; headstart explain TRACE lists them"),
    ],
)
def test_the_command_says_what_it_cannot_find_and_what_is_ambiguous(wanted: str, told: str) -> None:
    with pytest.raises(RequestError) as error:
        command.main([str(REAL), wanted])
    assert str(error.value) == told


def test_a_packed_trace_is_read_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    packed = tmp_path / "build.json.gz"
    packed.write_bytes(gzip.compress(REAL.read_bytes()))
    assert len(traces.read([packed]).compiles) == 21
    for damaged in (
        b"",
        b"no gzip",
        gzip.compress(REAL.read_bytes())[:-500],
        gzip.compress(b"[")[:10] + b"\xff" * 30,
    ):
        packed.write_bytes(damaged)
        with pytest.raises(RequestError) as error:
            traces.read([packed])
        assert "\n" not in str(error.value)


def ran(job: int, queued: float, start: float, end: float, *, process: int = 7) -> str:
    """What a worker tells of one compile, whose inputs were brought in the second before it was queued."""
    made, detail = Trace(process, 1_700_000_000.0), {"cpu": 0.5, "peak_memory": 1 << 20, "exit_code": 0}
    text = made.span("stage", 1000, queued - 1, queued, job=job, label=f"{job}.o")
    text += made.span("queue", 1000, queued, start, job=job, label=f"{job}.o")
    return text + made.span("compile", 0, start, end, job=job, label=f"{job}.o", **detail)


def test_of_several_builds_the_last_is_told_and_all_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "build.json"
    path.write_text(
        "[\n" + ran(1, 1, 2, 50) + ran(2, 112, 120, 130) + ran(3, 190, 191, 192), encoding="utf-8"
    )
    build = traces.read([path])
    assert [(done.job, done.start - done.queued, done.staging) for done in build.compiles] == [
        (2, 8.0, 1.0),
        (3, 1.0, 1.0),
    ]
    assert (
        capsys.readouterr().err
        == f"headstart: {path} holds earlier builds, which are left out; --all-builds shows them\n"
    )
    assert command.main([str(path), "--all-builds"]) == 0
    captured = capsys.readouterr()
    assert (captured.out.partition(" in ")[0], captured.err) == ("3 compiles", "")


def test_a_pause_in_one_worker_while_another_compiles_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.json").write_text("[\n" + ran(1, 1, 2, 3) + ran(2, 200, 201, 202), encoding="utf-8")
    (tmp_path / "2.json").write_text("[\n" + ran(1, 3, 4, 190, process=8), encoding="utf-8")
    assert len(traces.read([tmp_path]).compiles) == 3
    assert capsys.readouterr().err == ""


def test_a_directory_stands_for_the_traces_in_it(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no trace") as error:
        traces.read([tmp_path])
    assert "\n" not in str(error.value)
    (tmp_path / "b.json").write_text("[\n" + ran(1, 1, 2, 3), encoding="utf-8")
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(("[\n" + ran(1, 2, 3, 4, process=8)).encode()))
    (tmp_path / "notes.txt").write_text("no trace", encoding="utf-8")
    assert [done.process for done in traces.read([tmp_path]).compiles] == [7, 8]
    page = tmp_path / "page.html"
    assert draw.main([str(tmp_path), "-o", str(page)]) == 0
    assert page.read_text("utf-8").count("<section>") == 1
    everything = tmp_path.with_suffix(".json")
    assert draw.main([str(tmp_path), "-o", str(everything)]) == 0
    assert len(traces.read([everything]).compiles) == 2


def test_a_trace_without_compiles_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text(
        '[\n{"ph":"M","name":"process_name","ts":1,"pid":7,"tid":0,"args":{}},\n'
    )
    with pytest.raises(RequestError, match=r"no compile ended while .*empty\.json was written"):
        command.main([str(tmp_path / "empty.json")])
