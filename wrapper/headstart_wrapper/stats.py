"""What a job used, as JSON for a file: the schema that `--stats` promises.

Seconds, bytes, POSIX signal numbers; a key is never removed and never changes its meaning within a version.
"""

from __future__ import annotations

import json
from pathlib import Path

from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Outcome

VERSION = 1


def as_json(outcome: Outcome) -> str:
    """One JSON object, one line."""
    usage = outcome.usage
    return json.dumps(
        {
            "version": VERSION,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
            "timed_out": outcome.timed_out,
            "user_seconds": round(usage.user, 6),
            "system_seconds": round(usage.system, 6),
            "wall_seconds": round(usage.wall, 6),
            "spawn_seconds": round(usage.spawn, 6),
            "early_seconds": None if outcome.early is None else round(outcome.early, 6),
            "peak_memory_bytes": usage.peak_memory,
        }
    )


def write(outcome: Outcome, path: str) -> None:
    """Writes the statistics file.

    Raises:
        RequestError: it cannot be written.
    """
    try:
        Path(path).write_text(as_json(outcome) + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"the statistics file {path} cannot be written: {error.strerror}") from error
