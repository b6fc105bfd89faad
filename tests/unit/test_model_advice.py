"""The three sentences say what the predictions say."""

from __future__ import annotations

import re

from headstart_worker.cargo.commands import MODES
from headstart_worker.model.advice import PAYS, Advice, Edit, advise
from headstart_worker.model.costs import Costs
from headstart_worker.model.plans import Cost, Remote


def library(name: str, front: float, codegen: float, *needs: str) -> Cost:
    return Cost(name, needs, is_library=True, front=front, codegen=codegen, link=0, width=1, memory=0)


def chain(count: int, front: float = 1, codegen: float = 1) -> Costs:
    names = [f"u{number}" for number in range(count)]
    return Costs(tuple(library(name, front, codegen, *names[:number]) for number, name in enumerate(names)))


def asked(costs: Costs, *, cores: int, edited: str = "u1", remote: Remote | None = None) -> Advice:
    edit = Edit(edited, costs.above(edited))
    machine = costs.machine(cores, remote=remote)
    return advise(costs, edit, machine, costs.machine(8 * cores, remote=remote))


def test_a_chain_on_two_cores_is_told_to_use_one_process() -> None:
    pays, how_much, outlook = asked(chain(10), cores=2).sentences
    assert pays == (
        "With 2 cores, mode worker pays: a clean build of the 10 compiles takes 11.0 s instead of 20.0 s without pipelining, "
        "1.82 times as fast."
    )
    assert how_much.startswith(
        "Against mode worker (11.0 s wall, 20.0 s CPU), no pipelining takes +82% wall and +0% CPU, "
    )
    assert "mode hollow takes +45% wall and +50% CPU" in how_much
    assert outlook == (
        "With 16 cores, worker would take 11.0 s instead of 20.0 s (1.82 times as fast); after an edit of u1 (9 of 10 compiles) with "
        "2 cores, worker would take 10.0 s instead of 18.0 s (1.80 times as fast)."
    )


def test_one_core_is_told_that_nothing_pays() -> None:
    pays, how_much, _ = asked(chain(10), cores=1).sentences
    assert pays == (
        "With 1 core, no pipelining pays for clean builds: the 10 compiles take 20.0 s without, and 20.0 s in mode worker, which is nearest."
    )
    assert how_much.startswith(
        "Against no pipelining (20.0 s wall, 20.0 s CPU), mode two_invocation takes +50% wall and +50% CPU"
    )


def test_a_gain_too_small_to_be_told_is_none() -> None:
    """One chain link in thirty has codegen that others could overlap: less than the model can tell."""
    front, codegen = 1, PAYS / 2
    pays, _, _ = asked(chain(30, front, codegen), cores=4).sentences
    assert pays.startswith("With 4 cores, no pipelining pays")
    pays, _, _ = asked(chain(30, front, 4 * codegen), cores=4).sentences
    assert pays.startswith("With 4 cores, mode worker pays")


def test_remote_executors_are_told_of_two_runs_and_never_of_one_process() -> None:
    """There, mode worker compiles everything twice, one half after the other."""
    pays, how_much, outlook = asked(chain(10), cores=50, remote=Remote(0.01, 1e8)).sentences
    assert pays.startswith("With 50 remote executors of 2 cores, mode hollow pays: ")
    assert "worker takes" in how_much
    assert outlook.startswith("With 400 remote executors of 2 cores, hollow would take")


def test_a_latency_can_eat_what_pipelining_gains() -> None:
    pays, _, _ = asked(chain(10), cores=50, remote=Remote(20, 1e8)).sentences
    assert pays.startswith("With 50 remote executors of 2 cores, no pipelining pays")


def test_every_number_of_a_sentence_is_among_the_predictions() -> None:
    answer = asked(chain(10), cores=2)
    assert {(one["scenario"], one["cores"], one["mode"]) for one in answer.predictions} == {
        (scenario, cores, mode) for scenario in ("clean", "edit of u1") for cores in (2, 16) for mode in MODES
    }
    seconds = {f"{one[name]:.1f}" for one in answer.predictions for name in ("wall", "cpu")}
    for sentence in answer.sentences:
        assert set(re.findall(r"(\d+\.\d) s", sentence)) <= seconds
        assert sentence.endswith(".")
        assert ". " not in sentence
