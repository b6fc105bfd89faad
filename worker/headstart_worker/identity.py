"""What makes a job the one that it is, kept until it is forgotten, so that a person can be told what differs from another.

Whether two jobs are the same is what their fingerprints say (`fingerprint`, the wrapper's), and nothing here. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import asdict, frozen

from headstart_wrapper.fingerprint import fingerprint

_LONGEST = 80
"""Characters of a word that is shown."""


@frozen
class Identity:
    """Everything that a fingerprint is made of; see there."""

    compiler: bytes
    command: Sequence[str]
    env: Sequence[tuple[str, str]]
    inputs: Sequence[tuple[str, bytes]]
    early_outputs: Sequence[str]
    dialect: str
    held: Sequence[str]

    @property
    def fingerprint(self) -> str:
        """The name of the job."""
        return fingerprint(**asdict(self, recurse=False))

    def differs_from(self, older: Identity) -> str:
        """What is not the same as with an older job for the same outputs, in words; values of variables are nobody's business."""
        found = [
            *_of_commands(older.command, self.command),
            *_of_tables("the variable", dict(older.env), dict(self.env)),
            *_of_tables("the input", dict(older.inputs), dict(self.inputs)),
            *(["the compiler was changed"] if older.compiler != self.compiler else []),
            *(
                ["other early outputs are declared"]
                if set(older.early_outputs) != set(self.early_outputs)
                else []
            ),
            *(["it is understood as another dialect"] if older.dialect != self.dialect else []),
            *(["it is held to something else, or in another place"] if older.held != self.held else []),
        ]
        return "; ".join(found) or "nothing that is known"


def _of_commands(older: Sequence[str], newer: Sequence[str]) -> Iterable[str]:
    if older == newer:
        return
    pairs = enumerate(zip(older, newer, strict=False))
    place = next((at for at, (old, new) in pairs if old != new), None)
    if place is None:
        longer, change = (older, "lacks") if len(older) > len(newer) else (newer, "has")
        yield f"its command {change} {_shown(longer[min(len(older), len(newer))])} at its end"
    else:
        yield f"word {place} of its command is {_shown(newer[place])}, and was {_shown(older[place])}"


def _of_tables(kind: str, older: dict[str, object], newer: dict[str, object]) -> Iterable[str]:
    changed = [name for name in newer if name in older and newer[name] != older[name]]
    for names, what in (
        (changed, "was changed"),
        ([name for name in newer if name not in older], "is new"),
        ([name for name in older if name not in newer], "is gone"),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            yield f"{kind} {_shown(min(names))} {what}{more}"


def _shown(word: str) -> str:
    word = word.replace("\0", "")
    return word if len(word) <= _LONGEST else f"{word[: _LONGEST // 2]}…{word[-_LONGEST // 2 :]}"
