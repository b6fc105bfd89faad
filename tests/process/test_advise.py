"""`headstart advise` builds a graph once, for real, and answers in three sentences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEADSTART = [sys.executable, "-c", "from headstart_worker.tools import main; main()", "advise"]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HEADSTART, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def graph(place: Path) -> Path:
    """Two libraries that burn known times, one on the other, and a program."""
    file = place / "graph.json"
    units = [
        {"name": "low", "front": 0.1, "codegen": 0.3},
        {"name": "high", "needs": ["low"], "front": 0.2, "codegen": 0.1},
        {"name": "app", "needs": ["high"], "front": 0.1, "kind": "bin"},
    ]
    file.write_text(json.dumps({"name": "small", "units": units}))
    return file


def test_three_sentences_and_nothing_is_left_behind(tmp_path: Path) -> None:
    file = graph(tmp_path)
    done = run(str(file), "--cores=4", cwd=tmp_path)
    assert done.returncode == 0
    first, second, third = done.stdout.splitlines()
    assert first.startswith("With 4 cores, ")
    assert second.startswith("Against ")
    assert third.startswith("With 32 cores, ")
    assert list(tmp_path.iterdir()) == [file]


def test_json_has_the_costs_that_the_compilers_burnt(tmp_path: Path) -> None:
    done = run(str(graph(tmp_path)), "--json", cwd=tmp_path)
    document: dict[str, Any] = json.loads(done.stdout)
    costs = {cost["name"]: cost for cost in document["costs"]["units"]}
    assert len(document["sentences"]) == 3
    # Each compiler's own start comes on top; on a busy machine it is dear. Where one phase ends is looked at while the next runs.
    assert costs["low"]["front"] >= 0.1
    assert costs["low"]["codegen"] > 0
    assert 0.4 <= sum(costs["low"][phase] for phase in ("front", "codegen", "link")) <= 0.8
    assert costs["low"]["code"] > costs["low"]["sources"] > 0
    assert document["measured"]["cpu"] >= sum(cost["front"] for cost in costs.values())
    assert document["costs"]["request"] > 0


def test_remote_executors_are_asked_for_by_their_latency_or_bandwidth(tmp_path: Path) -> None:
    done = run(str(graph(tmp_path)), "--latency=100", cwd=tmp_path)
    assert done.stdout.startswith("With 50 remote executors of 2 cores, no pipelining pays")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere is no directory and no .json file"),
        (("chain:2", "--release"), "chain:2 is no Cargo workspace, so it has no profiles"),
        (("chain:2", "--cores=0"), "'0' is no number from 1 to 10000"),
        (("chain:2", "--latency=-1"), "'-1' is no number above 0"),
        (("chain:2", "--bandwidth=nan"), "'nan' is no number above 0"),
        ((), "DIR"),
    ],
)
def test_what_cannot_be_answered_is_said_before_anything_is_built(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode not in {0, 1}
    assert said in done.stderr
    assert not done.stdout
