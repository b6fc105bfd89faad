"""What a compiler is expected to need: learned from runs, most certain first, and bounded itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.memory import JOBS, PROGRAMS, RUNS, UNKNOWN, Kind, Memory

A = Kind("out/a.rlib", "rustc")
B = Kind("out/b.rlib", "rustc")
C = Kind("out/c.o", "cc")


def test_nothing_known_is_the_stated_default() -> None:
    assert Memory(1).need(A) == UNKNOWN


def test_the_same_job_is_expected_to_need_what_its_latest_success_did() -> None:
    memory = Memory(1)
    for peak in (300, 500, 400):
        memory.learn(A, peak, ok=True)
        assert memory.need(A) == peak


def test_a_failed_run_only_raises_what_is_expected() -> None:
    memory = Memory(1)
    memory.learn(A, 300, ok=True)
    memory.learn(A, 20, ok=False)
    assert memory.need(A) == 300
    memory.learn(A, 900, ok=False)
    assert memory.need(A) == 900
    memory.learn(A, 300, ok=True)
    assert memory.need(A) == 300


def test_a_run_that_never_started_teaches_nothing() -> None:
    memory = Memory(1)
    memory.learn(A, 0, ok=True)
    assert memory.need(A) == UNKNOWN


@given(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=2 * RUNS))
def test_an_unknown_job_is_expected_to_need_what_nine_of_ten_of_its_program_did(peaks: list[int]) -> None:
    memory = Memory(1)
    for number, peak in enumerate(peaks):
        memory.learn(Kind(str(number), "rustc"), peak, ok=True)
    recent = peaks[-RUNS:]
    need = memory.need(B)
    assert 10 * sum(peak <= need for peak in recent) >= 9 * len(recent)
    assert 10 * sum(peak < need for peak in recent) < 9 * len(recent)
    assert memory.need(C) == UNKNOWN


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    memory = Memory(1)
    for number in (*range(JOBS), 0, JOBS):
        memory.learn(Kind(str(number), "rustc"), 1 + number, ok=True)
    assert memory.need(Kind("0", "rustc")) == 1, "it ran again, and is none of the oldest"
    assert memory.need(Kind("2", "rustc")) == 3
    assert memory.need(Kind("1", "rustc")) > 3, "its own need was forgotten"
    for number in range(PROGRAMS):
        memory.learn(Kind("", str(number)), 5, ok=True)
    assert memory.need(Kind("new", "rustc")) == UNKNOWN
    assert memory.need(Kind("new", "0")) == 5


@given(
    budget=st.integers(1, 3 * UNKNOWN),
    peaks=st.lists(st.integers(1, 2 * UNKNOWN), max_size=5),
    leaves=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60),
)
def test_what_is_taken_is_within_the_budget_unless_one_is_alone(
    budget: int, peaks: list[int], leaves: list[tuple[int, bool]]
) -> None:
    memory = Memory(budget)
    for number, peak in enumerate(peaks):
        memory.learn(Kind(str(number), "cc"), peak, ok=True)
    running: dict[int, int] = {}
    for number, leave in leaves:
        if leave:
            memory.give_back(number)
            running.pop(number, None)
        elif number not in running:
            kind = Kind(str(number), "cc")
            need = memory.need(kind)
            fits = not running or sum(running.values()) + need <= budget
            assert memory.take(number, kind) is fits
            if fits:
                running[number] = need
        assert memory.taken == sum(running.values())
        assert memory.taken <= budget or len(running) == 1
        assert all(memory.taken_by(job) == need for job, need in running.items())


def test_a_job_keeps_what_it_took_when_more_is_learned() -> None:
    memory = Memory(1000)
    memory.learn(A, 600, ok=True)
    assert memory.take(1, A)
    memory.learn(A, 10, ok=True)
    assert (memory.taken, memory.taken_by(1), memory.taken_by(2)) == (600, 600, 0)
    memory.give_back(1)
    memory.give_back(1)
    assert memory.taken == 0
