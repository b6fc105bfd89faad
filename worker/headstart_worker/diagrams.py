"""State diagrams of the transition tables, so that a document cannot say anything else than the code.

`headstart diagrams DESIGN.md` writes each diagram between `<!-- diagram:NAME -->` and `<!-- /diagram -->`; with `--check` it
only tells whether they are what they should be.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from headstart_worker import ledger, pipeline_states
from headstart_wrapper import lifecycle
from headstart_wrapper.errors import RequestError

_State = TypeVar("_State", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)

_PLACE = re.compile(r"(<!-- diagram:([a-z-]+) -->\n).*?(<!-- /diagram -->)", re.DOTALL)


def _mermaid(edges: Iterator[tuple[StrEnum, str, StrEnum]], first: StrEnum) -> str:
    """A Mermaid diagram; events that lead from one state to the same other one share an arrow."""
    labels: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    states: dict[StrEnum, None] = {first: None}
    for source, label, target in edges:
        states[source] = states[target] = None
        labels.setdefault((source, target), []).append(label)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'  state "{state.value}" as {state.name}' for state in states if state.value != state.name]
    lines += [f"  [*] --> {first.name}"]
    lines += [
        f"  {source.name} --> {target.name}: {', '.join(said)}" for (source, target), said in labels.items()
    ]
    return "\n".join([*lines, "```"])


def _plain(transitions: Mapping[_State, Mapping[_Event, _State]], first: StrEnum) -> str:
    """The diagram of a table from state and event to state; what changes nothing is not drawn."""
    edges = (
        (state, event.value, target)
        for state, row in transitions.items()
        for event, target in row.items()
        if target is not state
    )
    return _mermaid(edges, first)


def _lifecycle() -> str:
    return _plain(lifecycle.TRANSITIONS, lifecycle.State.STARTING)


def _ledger() -> str:
    return _plain(ledger.TRANSITIONS, ledger.State.ACTIVE)


def _pipelines() -> str:
    without_reactions = {
        state: {event: target for event, (target, _) in row.items()}
        for state, row in pipeline_states.TRANSITIONS.items()
    }
    return _plain(without_reactions, pipeline_states.State.QUEUED)


def _pipelines_table() -> str:
    states = [state for state, row in pipeline_states.TRANSITIONS.items() if row]
    lines = [
        "| event | " + " | ".join(f"in *{state.value}*" for state in states) + " |",
        "|---" * (len(states) + 1) + "|",
    ]
    for event in pipeline_states.Event:
        cells = [_cell(state, pipeline_states.TRANSITIONS[state].get(event)) for state in states]
        lines.append(f"| **{event.value}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(
    state: pipeline_states.State, row: tuple[pipeline_states.State, pipeline_states.Reaction] | None
) -> str:
    if row is None:
        return ""
    following, reaction = row
    said = [] if reaction is pipeline_states.Reaction.NOTHING else [reaction.value]
    if following is not state:
        said.append(f"→ *{following.value}*")
    return " ".join(said) or "-"


DIAGRAMS: Final[Mapping[str, Callable[[], str]]] = {
    "lifecycle": _lifecycle,
    "ledger": _ledger,
    "pipelines": _pipelines,
    "pipelines-table": _pipelines_table,
}


def filled(document: str) -> str:
    """The document with every diagram as the tables have it now.

    Raises:
        RequestError: it asks for a diagram that there is none of.
    """

    def fill(place: re.Match[str]) -> str:
        begin, name, end = place.groups()
        if name not in DIAGRAMS:
            raise RequestError(f"there is no diagram {name}; choose one of {', '.join(DIAGRAMS)}")
        return f"{begin}{DIAGRAMS[name]()}\n{end}"

    return _PLACE.sub(fill, document)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="headstart diagrams",
        description="Writes the state diagrams of the transition tables into a Markdown document, at its diagram marks.",
    )
    parser.add_argument("document", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 when the document is out of date"
    )
    options = parser.parse_args(arguments)
    before = options.document.read_text("utf-8")
    after = filled(before)
    if options.check and after != before:
        sys.stderr.write(
            f"headstart: {options.document} is out of date; run headstart diagrams {options.document}\n"
        )
        return 1
    if not options.check:
        options.document.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
