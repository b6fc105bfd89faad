"""Feeds the decoders with streams that reach new code, as long as libFuzzer's options say; a program of its own.

    python tests/stateful/coverage_guided.py -runs=100000

It begins with what a real Bazel sent. What it finds is written where `-artifact_prefix` says. Needs atheris.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

with atheris.instrument_imports(include=["headstart_worker", "json"]):
    from stateful.decoding import PROTOCOLS, TRANSCRIPTS, decoded


def try_one(data: bytes) -> None:
    """Two bytes say where the rest is cut; every protocol takes it whole and in two pieces."""
    cut, stream = int.from_bytes(data[:2], "big"), data[2:]
    cut %= len(stream) + 1
    for protocol in PROTOCOLS:
        assert decoded(protocol, [stream]) == decoded(protocol, [stream[:cut], stream[cut:]])


def main() -> None:
    with tempfile.TemporaryDirectory() as corpus:
        for number, transcript in enumerate(TRANSCRIPTS):
            Path(corpus, str(number)).write_bytes(b"\0\0" + transcript)
        atheris.Setup([*sys.argv, "-rss_limit_mb=2048", "-timeout=20", corpus], try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
