"""The colours of every picture, each for light and for dark surroundings.

One colour of text stands on all bars, so bars are light on light and dark on dark, and have outlines. What matters is never told by
colour alone: the critical path has a thick outline, too.
"""

from __future__ import annotations

from typing import Final

PALETTE: Final = {
    "ground": ("#ffffff", "#10141f"),
    "raised": ("#f4f6fa", "#1a2130"),
    "text": ("#1b2330", "#e6eaf2"),
    "quiet": ("#556073", "#a3aec2"),
    "line": ("#dde2ea", "#2d3648"),
    "early": ("#7fabf8", "#2a5bbf"),
    "early-edge": ("#2f6bdc", "#7fabf8"),
    "codegen": ("#d6dcfc", "#363b78"),
    "codegen-edge": ("#7d8ae0", "#8b95ea"),
    "whole": ("#c3cbd7", "#465066"),
    "whole-edge": ("#77839a", "#94a1b8"),
    "failed": ("#f7b0ac", "#8c2424"),
    "failed-edge": ("#c62828", "#f28b82"),
    "path": ("#b4530a", "#ffb74d"),
    "waiting": ("#f3d9a4", "#5c4718"),
    "waiting-edge": ("#a87c1c", "#d6ae57"),
    "memory": ("#b9e0d2", "#1f5246"),
    "memory-edge": ("#2b8468", "#5fc4a4"),
}
"""(light, dark) by what has the colour; the names of outlines end in `-edge`."""


def as_variables() -> str:
    """Custom properties that follow the page's colour scheme."""
    return "".join(f"--{name}:light-dark({light},{dark});" for name, (light, dark) in PALETTE.items())


def as_rules(rules: dict[str, dict[str, str]]) -> str:
    """Style rules with plain colours, and those for dark surroundings after them: for programs that know no variables.

    Args:
        rules: by selector, the colour of each property by its name here.
    """

    def written(scheme: int) -> str:
        return "".join(
            f"{selector}{{{';'.join(f'{key}:{PALETTE[name][scheme]}' for key, name in colours.items())}}}"
            for selector, colours in rules.items()
        )

    return f"{written(0)}@media(prefers-color-scheme:dark){{{written(1)}}}"
