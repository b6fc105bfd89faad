"""The long mode of tests of chance (`make fuzz`): how much of it, and what it says while it runs."""

from __future__ import annotations

import os
import sys
import time
from typing import Final, final

LONG: Final = bool(os.environ.get("HEADSTART_FUZZ"))
"""True in `make fuzz`. Then each run is another one; otherwise the same examples are tried every time."""

STEPS: Final = 1_000_000
"""Of the state machine, at least."""

INPUTS: Final = 20_000
"""Streams for the decoders, at least, of each kind."""

COVERAGE_RUNS: Final = 500_000
"""Streams that a coverage-guided fuzzer makes, where there is one."""

_SECONDS: Final = 10.0
"""Between two lines: often enough to see that it goes on."""


@final
class Progress:
    """Says on stderr, in plain lines, how far something came and how fast."""

    def __init__(self, what: str, goal: int) -> None:
        """Nothing is done yet; `goal` is how many of `what` are to be done."""
        self._what = what
        self._goal = goal
        self._began = self._told = time.monotonic()

    def at(self, done: int, *, last: bool = False) -> None:
        """So many are done; the last line is always said, others not too often."""
        now = time.monotonic()
        if not LONG or (now - self._told < _SECONDS and not last):
            return
        self._told = now
        rate = done / max(now - self._began, 1e-3)
        sys.stderr.write(
            f"fuzz: {done} of at least {self._goal} {self._what}, {now - self._began:.0f} s, {rate:.0f}/s\n"
        )
        sys.stderr.flush()
