"""The dialect of a compiler that we know nothing about.

The command runs as it is, in its own places. An early output is complete when it was renamed into place or closed
after writing, which is true of every compiler that writes a file once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headstart_wrapper.dialects.base import EarlySignal, Plan
from headstart_wrapper.records import Record


class Generic(Record):
    """Any command."""

    name: str = "generic"
    stages: bool = False

    def plan(
        self,
        command: Sequence[str],
        *,
        early_outputs: Sequence[str],
        pipelined: bool,
        stage: str | None,  # noqa: ARG002 - where an unknown command writes cannot be changed
        read: Callable[[str], str],  # noqa: ARG002 - nor is it ours to know what its arguments mean
        directory: str = "",
        verbatim: bool = False,  # noqa: ARG002 - it always is
        stands_for: str | None = None,  # noqa: ARG002 - how it is told which names to write is not known
    ) -> Plan:
        """Return the command untouched; see `Dialect.plan`."""
        watched = pipelined and bool(early_outputs)
        return Plan(
            command=tuple(command),
            early_signal=EarlySignal.WATCH if watched else EarlySignal.NONE,
            directory=directory,
        )
