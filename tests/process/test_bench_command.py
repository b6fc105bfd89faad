"""`headstart bench`, as a person runs it: a graph is built in modes, the result is told, and wrong use is one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headstart_worker.bench import result as results
from headstart_worker.bench import synthetic
from process.support import entries

HEADSTART = str(Path(sys.executable).with_name("headstart"))
GRAPH = {
    "name": "two",
    "units": [
        {"name": "low", "front": 0.02, "codegen": 0.02},
        {"name": "high", "needs": ["low"], "front": 0.02, "kind": "bin"},
    ],
}


def bench(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEADSTART, "bench", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def refused(told: subprocess.CompletedProcess[str], *said: str) -> None:
    """One sentence of ours, and nothing on stdout."""
    assert (told.returncode, told.stdout) == (125, ""), told.stderr
    assert told.stderr.startswith("headstart: ")
    assert told.stderr.count("\n") == 1
    for part in said:
        assert part in told.stderr


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


def test_a_graph_is_measured_and_told_in_every_form(graph: Path, tmp_path: Path) -> None:
    told = bench(
        graph,
        "--modes=none,worker",
        "--rounds=1",
        "--jobs=1",
        "--edits=low",
        "--output=result.json",
        "--report=page.html",
        "--csv=runs.csv",
        "--markdown=report.md",
        "--work=work",
        cwd=tmp_path,
    )
    assert told.returncode == 0, told.stderr
    result = results.read((tmp_path / "result.json").read_text("utf-8"))
    clean, edit = result.experiments
    assert (clean.workspace, clean.profile, clean.jobs, clean.modes) == (
        "two",
        "synthetic",
        1,
        ("none", "worker"),
    )
    assert (clean.scenario, edit.scenario) == ("clean", "edit of low (low)")
    assert clean.equal == (("none", "worker"),)
    assert {one.outputs for one in clean.taken} != {one.outputs for one in edit.taken}
    assert "two, synthetic, clean, 1 jobs, 2 units" in told.stdout
    assert "outputs are equal byte for byte: none, worker" in told.stdout
    assert "warning: 1 run of each mode tell no difference from chance" in told.stdout
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    assert (tmp_path / "runs.csv").read_text("utf-8").count("\n") == 1 + 4
    assert (tmp_path / "report.md").read_text("utf-8").startswith("# headstart bench\n")
    assert "clean, round 1: worker" in told.stderr
    assert "synthetic" in entries(tmp_path / "work")


def test_an_import_is_copied_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    source = tmp_path / "imported"
    synthetic.write(synthetic.from_json(json.dumps(GRAPH)), source)
    (source / "out").mkdir()
    before = sorted(source.rglob("*"))
    told = bench(source, "--modes=none", "--rounds=1", "--edits=none", "--only=low", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "imported, dev, clean" in told.stdout
    assert "1 units" in told.stdout
    assert sorted(source.rglob("*")) == before
    assert entries(temporary) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name what to build"),
        (("nowhere",), "nowhere is no directory"),
        (("ring:9",), "ring:9 is no shape"),
        (("chain:0",), "the graph has no units"),
        (("none.json",), "the graph none.json cannot be read"),
        (("graph.json", "--profile=release"), "has no profiles"),
        (("graph.json", "--only=middle"), "there is no package middle"),
        (("graph.json", "--edits=none,low"), "--edits=none goes with no other"),
        (("graph.json", "--output=missing/result.json"), "--output=missing/result.json cannot be written"),
        (("graph.json", "--report=."), "--report=. cannot be written"),
        (("graph.json", "--work=."), "--work=. is there and not empty"),
        ((".",), "neither a Cargo.toml"),
        (("--compare", "graph.json", "none.json"), "none.json cannot be read"),
        (("--compare", "graph.json", "graph.json"), "no figure in common"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: tuple[str, ...], said: str, graph: Path) -> None:
    refused(bench(*arguments, cwd=graph.parent), said)
    assert entries(graph.parent) == ["graph.json"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--rounds=0", "'0' is no number from 1 up"),
        ("--jobs=2,x", "'x' is no number from 1 up"),
        ("--jobs=", "name at least one"),
        (
            "--modes=fast",
            "there is no fast: choose from none, two_invocation, hollow, worker, worker+sandbox, cargo, bazel:none",
        ),
        ("--peer=a 'b", '"a \'b" is no shell command: No closing quotation'),
        ("--edits=bottom", "there is no bottom: choose from low, middle, top, none"),
        ("--profile=debug", "there is no debug: choose from dev, release"),
    ],
)
def test_a_wrong_value_is_told_with_its_option(option: str, said: str, graph: Path) -> None:
    told = bench(graph, option, cwd=graph.parent)
    assert told.returncode == 2
    assert f"argument {option.partition('=')[0]}: {said}" in told.stderr


def test_modes_are_listed(tmp_path: Path) -> None:
    told = bench("--list-modes", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    for mode in ("none", "two_invocation", "hollow", "worker", "worker+sandbox", "cargo", "bazel:worker"):
        assert any(line.split()[0] == mode for line in told.stdout.splitlines()), told.stdout


def _written(path: Path, seconds: float, **machine: int) -> Path:
    times = [seconds * factor for factor in (0.99, 0.995, 1.0, 1.005, 1.01)]
    path.write_text(
        json.dumps({"machine": machine, "results": [{"command": "spawn", "times": times}]}), encoding="utf-8"
    )
    return path


def test_compare_fails_on_a_regression_alone(tmp_path: Path) -> None:
    old, new = _written(tmp_path / "old.json", 1.0), _written(tmp_path / "new.json", 1.2)
    worse, better = bench("--compare", old, new, cwd=tmp_path), bench("--compare", new, old, cwd=tmp_path)
    assert (worse.returncode, better.returncode) == (1, 0)
    assert "spawn   1.00 s  1.20 s    1.200  REGRESSION" in worse.stdout
    assert "improvement" in better.stdout
    lenient = bench("--compare", old, new, "--threshold=25", cwd=tmp_path)
    assert (lenient.returncode, "within 25 %" in lenient.stdout) == (0, True)


def test_compare_refuses_other_machines_unless_forced(tmp_path: Path) -> None:
    old, new = _written(tmp_path / "old.json", 1.0, cores=2), _written(tmp_path / "new.json", 1.0, cores=4)
    refused(bench("--compare", old, new, cwd=tmp_path), "number of cores: 2 and 4", "--force")
    assert bench("--compare", old, new, "--force", cwd=tmp_path).returncode == 0
