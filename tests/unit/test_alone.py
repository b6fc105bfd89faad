"""Why a request joins nothing, in words."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from headstart_worker import alone
from headstart_worker.identity import Identity
from headstart_worker.ledger import Claim
from headstart_worker.pipeline_states import JobId, Obstacle, Want
from headstart_worker.pipelines import Pipelines

MINE = Identity(
    compiler=b"rustc",
    command=("rustc", "-Copt-level=3", "lib.rs"),
    env=(("A", "1"), ("SECRET", "x")),
    inputs=(("lib.rs", b"1"), ("dep.rmeta", b"2")),
    early_outputs=("a.rmeta",),
    dialect="rustc",
    held=("",),
)
LONG = "--cfg=" + "x" * 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"command": ("rustc", "-Copt-level=0", "lib.rs")},
            "word 1 of its command is -Copt-level=3, and was -Copt-level=0",
        ),
        ({"command": ("rustc", "-Copt-level=3")}, "its command has lib.rs at its end"),
        ({"command": (*MINE.command, "-g")}, "its command lacks -g at its end"),
        ({"env": (("A", "1"), ("SECRET", "y"))}, "the variable SECRET was changed"),
        ({"env": (("A", "1"),)}, "the variable SECRET is new"),
        ({"env": (*MINE.env, ("B", ""))}, "the variable B is gone"),
        ({"inputs": (("lib.rs", b"0"), ("dep.rmeta", b"0"))}, "the input dep.rmeta was changed (and 1 more)"),
        ({"compiler": b"other"}, "the compiler was changed"),
        ({"early_outputs": ()}, "other early outputs are declared"),
        ({"dialect": "generic"}, "it is understood as another dialect"),
        ({"held": ("strict",)}, "it is held to something else, or in another place"),
        ({}, "nothing that is known"),
    ],
)
def test_what_differs_is_named(change: dict[str, Any], told: str) -> None:
    older = evolve(MINE, **change)
    assert MINE.differs_from(older) == told
    assert (older.fingerprint == MINE.fingerprint) is (not change)


def test_several_differences_are_all_named_and_long_words_are_cut() -> None:
    told = evolve(MINE, command=(LONG,), compiler=b"new").differs_from(MINE)
    assert "; the compiler was changed" in told
    assert LONG not in told
    assert len(told) < 250


def reason(pipelines: Pipelines, want: Want, fingerprint: str = "mine", other: Identity | None = None) -> str:
    assert not pipelines.joinable(fingerprint, want, {"a"})
    obstacle, job = pipelines.obstacle(fingerprint, want, {"a"})
    return alone.reason(want, obstacle, job, MINE, other)


def ran(
    *, fingerprint: str = "mine", outputs: tuple[str, ...] = ("a",), ok: bool | None = None
) -> tuple[Pipelines, JobId]:
    pipelines = Pipelines()
    job, _ = pipelines.request(Claim(1), Want.EARLY, fingerprint, outputs)
    pipelines.started(job)
    if ok is not None:
        pipelines.ended(job, ok=ok)
        pipelines.answered(Claim(1))
    return pipelines, job


def test_an_early_request_that_comes_first_is_nothing_to_explain() -> None:
    assert reason(Pipelines(), Want.EARLY) == ""


def test_a_full_request_without_an_early_one_found_nothing() -> None:
    assert reason(Pipelines(), Want.FULL).startswith("nothing ran for these outputs in this worker")


def test_other_work_for_the_same_outputs_is_told_apart() -> None:
    pipelines, _ = ran(fingerprint="other")
    other = evolve(MINE, compiler=b"old")
    assert reason(pipelines, Want.FULL, other=other) == (
        "job 1 for the same outputs is other work: the compiler was changed"
    )
    assert reason(pipelines, Want.EARLY).endswith("one of them is never joined")


def test_the_same_work_that_is_being_ended_is_not_joined() -> None:
    pipelines, _ = ran()
    pipelines.cancel(Claim(1))
    assert "job 1, the same work, is being ended" in reason(pipelines, Want.EARLY)


def test_a_half_that_was_told_of_a_failure_is_tried_anew() -> None:
    pipelines, _ = ran(ok=False)
    assert pipelines.joinable("mine", Want.FULL, {"a"})
    assert "job 1, the same work, has failed" in reason(pipelines, Want.EARLY)


def test_who_would_get_the_outputs_of_other_work_does_not_join() -> None:
    pipelines, _ = ran(outputs=("b",))
    pipelines.request(Claim(2), Want.ALONE, None, ("a",))
    assert "job 2, other work, may still write" in reason(pipelines, Want.FULL)


def test_there_are_words_for_everything() -> None:
    assert all(alone.reason(Want.FULL, obstacle, JobId(1), MINE, MINE) for obstacle in Obstacle)
