"""`headstart check`, as tests run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from headstart_wrapper.sandbox.verdict import Kind

HEADSTART: Final = str(Path(sys.executable).with_name("headstart"))

MISLEADING: Final = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "SSL_CERT_FILE")
"""Variables that name files to compilers and to Python."""

READ, WRITE, PROBE, LISTING, NETWORK, UNUSED = (
    Kind.UNDECLARED_READ,
    Kind.UNDECLARED_WRITE,
    Kind.UNDECLARED_PROBE,
    Kind.UNDECLARED_LISTING,
    Kind.NETWORK,
    Kind.UNUSED_INPUT,
)


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEADSTART, "check", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def found(*arguments: str, code: int | None = None) -> set[tuple[str, str]]:
    """The findings; the command is expected to succeed, unless a code says how it is to end."""
    done = check("--json", *arguments)
    told: dict[str, Any] = json.loads(done.stdout or "{}")
    assert told, done.stderr
    assert told["exit_code"] == (code or 0), done.stderr
    faults = [each for each in told["findings"] if each["kind"] in {READ, WRITE}]
    assert told["declared"] == (not faults)
    assert done.returncode == (code or (1 if faults else 0))
    found = {(each["kind"], each["path"]) for each in told["findings"]}
    return {each for each in found if each[0] != Kind.LEAKED_PATH}  # which is the audit's to test


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
