"""typing's names for modules that a launcher imports: at run time they do nothing, and importing typing costs six milliseconds."""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for typing's own

if TYPE_CHECKING:
    from typing import Final, Protocol, final
else:
    Final = None

    class Protocol:
        """A base without meaning."""

    def final(decorated: object) -> object:
        """The class itself."""
        return decorated


__all__ = ["TYPE_CHECKING", "Final", "Protocol", "final"]
