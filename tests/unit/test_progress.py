"""What a progress line says, in how many columns, and when it dares to foretell."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.cargo.watching import follow
from headstart_worker.progress import Progress, fitted, in_words


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in {"W", "F"})
        for letter in text
    )


@given(
    what=st.text(), times=st.lists(st.sampled_from(["1:12", "about 3 min left"])), width=st.integers(0, 100)
)
def test_a_line_never_needs_more_columns_than_there_are(what: str, times: list[str], width: int) -> None:
    line = fitted("bench: 3 of 60", what, times, width=width)
    assert columns(line) <= width
    assert line.isprintable()


def test_a_wide_letter_takes_two_columns_and_an_accent_none() -> None:
    assert fitted("bench: 1", "\u6f22\u5b57" * 20, [], width=30) == "bench: 1, " + "\u6f22\u5b57" * 4 + "..."
    assert fitted("bench: 1", "e\u0301" * 20, [], width=30) == "bench: 1, " + "e\u0301" * 20


def test_what_is_left_out_first() -> None:
    shown = {
        width: fitted(
            "bench: 3 of 60", "clean build in mode worker", ["1:12", "about 3 min left"], width=width
        )
        for width in (80, 60, 45, 20, 9)
    }
    assert shown == {
        80: "bench: 3 of 60, clean build in mode worker, 1:12, about 3 min left",
        60: "bench: 3 of 60, clean build in mo..., 1:12, about 3 min left",
        45: "bench: 3 of 60, 1:12, about 3 min left",
        20: "bench: 3 of 60, 1:12",
        9: "bench: 3 ",
    }


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than 1 min left"),
        (44, "less than 1 min left"),
        (45, "about 1 min left"),
        (100, "about 2 min left"),
        (89 * 60, "about 89 min left"),
        (90 * 60, "about 2 h left"),
        (5 * 3600, "about 5 h left"),
    ],
)
def test_an_estimate_is_no_more_exact_than_it_can_be(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_the_rest_is_foretold_from_the_steps_before_and_from_no_fewer_than_two() -> None:
    clock = Clock()
    progress = Progress("bench", total=5, clock=clock)
    left = []
    for seconds in (10.0, 20.0):
        progress.begin("a step")
        left.append(progress.seconds_left())
        clock.now += seconds
        progress.done()
    assert left == [None, None]
    assert progress.seconds_left() == 45.0  # three steps of 15 seconds
    progress.begin("another")
    clock.now += 5
    assert progress.seconds_left() == 40.0
    clock.now += 95
    assert (
        progress.seconds_left() == 30.0
    )  # it takes longer than any before: the other two, and no negative time


def test_nothing_is_foretold_where_nobody_knows_how_much_there_is() -> None:
    clock = Clock()
    progress = Progress("import", clock=clock)
    for _ in range(3):
        progress.begin("a step")
        clock.now += 1
    assert progress.seconds_left() is None
    progress.total = 2  # wrong, as the third step shows
    assert progress.seconds_left() is None


def test_off_a_terminal_each_step_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress("bench", total=4, clock=clock) as progress:
        for number in range(4):
            progress.begin(f"step {number}")
            clock.now += 60
            progress.say("said") if number == 0 else progress.remark("remarked")
            with progress.hidden():
                pass
        progress.done()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "step 0 (1 of 4)",
        "said",
        "step 1 (2 of 4)",
        "remarked",
        "step 2 (3 of 4, about 2 min left)",
        "remarked",
        "step 3 (4 of 4, about 1 min left)",
        "remarked",
    ]


def test_in_the_background_nothing_is_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("headstart_worker.progress._can_rewrite", lambda: True)
    monkeypatch.setattr("headstart_worker.progress._is_ours", lambda: False)
    with Progress("bench") as progress:
        monkeypatch.setattr(progress, "_write", written.append)
        progress.begin("a step")
        with progress.hidden():
            pass
        progress.say("a line that stays")
        progress.done()
        progress.begin("another")
    assert written == ["a line that stays\n"]


def test_off_a_terminal_cargos_lines_are_passed_on_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["   Compiling base v0.1.0 (/a/b)", "", "warning: unused", "    Finished dev in 3s"]
    with Progress("import") as progress:
        for line in lines:
            follow(progress)(line)
    assert capsys.readouterr().err.splitlines() == lines
