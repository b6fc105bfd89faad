"""Which dialect a command speaks, told by its program's name; and commands of which that need not even be asked.

A launcher in front of every compiler meets commands that no dialect changes far more often than others. They are known
here at a glance, without the dialect's own room, whose making would cost each of them milliseconds. In doubt the answer is
no, and the dialect plans the command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GENERIC, RUSTC = "generic", "rustc"

# Distributions append the version: rustc-1.63, rustc-mozilla-1.78.
_SPEAKERS = {"rustc": RUSTC, "clippy-driver": RUSTC}


def spoken_by(command: Sequence[str]) -> str:
    """The dialect that a command's program speaks."""
    program = command[0].rpartition("/")[2] if command else ""
    for name, dialect in _SPEAKERS.items():
        version = program.removeprefix(name)
        if version != program and (not version or _is_version(version)):
            return dialect
    return GENERIC


def _is_version(text: str) -> bool:
    return text[0] == "-" and len(text) > 1 and all(letter.isalnum() or letter in "_.+-" for letter in text)


def is_left_alone(dialect: str, command: Sequence[str]) -> bool:
    """True when the dialect surely runs a command that is not pipelined as it is, and shows its output as it comes."""
    return dialect == GENERIC or (dialect == RUSTC and _rustc_is_left_alone(command))


def _rustc_is_left_alone(command: Sequence[str]) -> bool:
    """What emits no metadata has nothing to tell early; what asks for artifacts in JSON, as Cargo does, hears all of it.

    A word is taken for an option only where it cannot be the value of the one before it, nor the name of a file.
    """
    emits_metadata = speaks_json = tells_artifacts = False
    previous = ""
    for word in command[1:]:
        if word.startswith("@") or word == "--":
            return False
        if word.startswith("--emit") or previous == "--emit":
            emits_metadata |= "metadata" in word
        if not previous.startswith("-") or "=" in previous:
            speaks_json |= word == "--error-format=json"
            tells_artifacts |= word.startswith("--json=") and "artifacts" in word[7:].split(",")
        previous = word
    return not emits_metadata or (speaks_json and tells_artifacts)
