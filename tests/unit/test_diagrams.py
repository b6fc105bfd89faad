"""Documents show what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart_worker import ledger, pipeline_states
from headstart_worker.diagrams import DIAGRAMS, filled, main
from headstart_wrapper import lifecycle
from headstart_wrapper.errors import RequestError

DOCUMENT = "# Title\n\n<!-- diagram:{name} -->\nold\n<!-- /diagram -->\nafter\n"


def test_every_change_of_state_is_an_arrow() -> None:
    for name, table in (("lifecycle", lifecycle.TRANSITIONS), ("ledger", ledger.TRANSITIONS)):
        text = DIAGRAMS[name]()
        for source, row in table.items():
            for event, target in row.items():
                arrows = [
                    line
                    for line in text.splitlines()
                    if line.startswith(f"  {source.name} --> {target.name}: ")
                ]
                labels = [label for line in arrows for label in line.partition(": ")[2].split(", ")]
                assert (event.value in labels) == (source is not target)
        assert text.startswith("```mermaid\nstateDiagram-v2\n")
        assert text.endswith("\n```")


def test_the_table_of_pipelines_has_every_cell() -> None:
    header, _rule, *rows = DIAGRAMS["pipelines-table"]().splitlines()
    states = [cell.strip(" *").removeprefix("in *") for cell in header.strip("|").split("|")][1:]
    assert states == [state.value for state, row in pipeline_states.TRANSITIONS.items() if row]
    for line, event in zip(rows, pipeline_states.Event, strict=True):
        first, *cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
        assert first == f"**{event.value}**"
        for cell, state in zip(cells, states, strict=True):
            row = pipeline_states.TRANSITIONS[pipeline_states.State(state)].get(event)
            assert bool(cell) == (row is not None)
            if row is not None and row[0].value != state:
                assert cell.endswith(f"→ *{row[0].value}*")


def test_the_diagram_of_pipelines_has_no_loops() -> None:
    for line in DIAGRAMS["pipelines"]().splitlines():
        source, arrow, target = line.strip().partition(" --> ")
        assert not arrow or source != target.partition(":")[0]


@pytest.mark.parametrize("name", sorted(DIAGRAMS))
def test_only_what_stands_between_the_marks_is_replaced(name: str) -> None:
    document = DOCUMENT.format(name=name)
    new = filled(document)
    assert new == document.replace("old", DIAGRAMS[name]())
    assert filled(new) == new


def test_a_diagram_that_does_not_exist_is_named() -> None:
    with pytest.raises(RequestError, match="there is no diagram nonsense"):
        filled(DOCUMENT.format(name="nonsense"))


def test_checking_changes_nothing_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "D.md"
    path.write_text(DOCUMENT.format(name="ledger"))
    assert main(["--check", str(path)]) == 1
    said = capsys.readouterr().err
    assert "D.md" in said
    assert said.count("\n") == 1
    assert path.read_text() == DOCUMENT.format(name="ledger")
    assert main([str(path)]) == 0
    assert main(["--check", str(path)]) == 0
