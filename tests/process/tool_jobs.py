"""What the tests of tools share: commands of real compilers, and the environments that they run in."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Final

from headstart_wrapper.sandbox import toolchain
from headstart_wrapper.sandbox.closure import Tools

RUSTC: Final = os.environ.get("HEADSTART_TEST_RUSTC") or shutil.which("rustc") or ""
PLAIN: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
EVERYTHING: Final = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
LIST: Final = os.path.realpath("/bin/ls")


def environment(command: str) -> dict[str, str]:
    """Scripts find what is the system's; compilers may be a user's own."""
    return PLAIN if "script" in command else EVERYTHING


def words(command: str, executable: str = "") -> tuple[str, list[str]]:
    """The executable that is found for a command, and its argv."""
    argv = shlex.split(command)
    found = executable or (RUSTC if argv[0] == "rustc" else shutil.which(argv[0]) or argv[0])
    return found, [found if argv[0] == "rustc" else argv[0], *argv[1:]]


def found_for(command: str, place: Path, executable: str = "", env: dict[str, str] | None = None) -> Tools:
    executable, argv = words(command, executable)
    return toolchain.tools(executable, argv, env=environment(command) if env is None else env, cwd=str(place))
