"""Which job made what another one reads."""

from __future__ import annotations

from headstart_worker.producers import Producers
from headstart_wrapper.trace_events import Arrow


def arrow(of: int, *, early: bool = False) -> Arrow:
    return Arrow(of=of, track=0, at=float(of), early=early)


def test_there_is_one_arrow_for_each_job_that_made_something() -> None:
    producers = Producers()
    producers.made(["out/a", "out/a.d"], arrow(1))
    producers.made(["out/b"], arrow(2))
    read = [("src", b"0"), ("out/a", b"1"), ("out/a.d", b"2"), ("./out//b", b"3"), ("out/c", b"4")]
    assert producers.of(read) == [arrow(1), arrow(2)]


def test_who_reads_all_that_a_job_made_waited_for_all_of_it() -> None:
    producers = Producers()
    producers.made(["a.rmeta"], arrow(1, early=True))
    producers.made(["a.rlib"], arrow(1))
    assert producers.of([("a.rmeta", b"")]) == [arrow(1, early=True)]
    assert producers.of([("a.rmeta", b""), ("a.rlib", b"")]) == [arrow(1)]
    assert producers.of([("a.rlib", b""), ("a.rmeta", b"")]) == [arrow(1)]


def test_what_was_made_last_is_what_is_read() -> None:
    producers = Producers()
    producers.made(["a"], arrow(1))
    producers.made(["a"], arrow(2))
    assert producers.of([("a", b"")]) == [arrow(2)]


def test_what_somebody_else_has_written_since_was_not_made_by_the_job() -> None:
    producers = Producers()
    producers.made(["a"], arrow(1))
    assert producers.of([("a", b"as made")]) == [arrow(1)]
    assert producers.of([("a", b"as fetched")]) == []
    assert producers.of([("a", b"as made")]) == [arrow(1)]


def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    producers = Producers(remembered=2)
    for number in (1, 2):
        producers.made([f"out{number}"], arrow(number))
    producers.made(["out1"], arrow(3))
    producers.made(["out4"], arrow(4))
    assert producers.of([("out1", b""), ("out2", b""), ("out4", b"")]) == [arrow(3), arrow(4)]
