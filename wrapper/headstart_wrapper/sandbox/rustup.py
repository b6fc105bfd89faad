"""What rustup's proxies read before they become the compiler: `~/.cargo/bin/rustc` is one, and starts the toolchain that it is told.

They are told by `+toolchain`, by RUSTUP_TOOLCHAIN, by a setting for a directory, by a file `rust-toolchain` in the job's directory or
above it, or by the default. Which one it is, only the proxy itself is asked (`drivers.sysroot`); here stands what the answer depends on.
"""

from __future__ import annotations

import os
import posixpath

from headstart_wrapper.hints import Final
from headstart_wrapper.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME: Final = "rustup"
_PINS: Final = ("rust-toolchain", "rust-toolchain.toml")
_COMMON_SETTINGS: Final = "/etc/rustup/settings.toml"
_OVERRIDES: Final = "[overrides]"
"""The table of settings for directories, the last in its file."""


class Proxy(Record):
    """What a proxy reads.

    Attributes:
        files: its settings, and the files that pin a toolchain; they need not exist.
        listed: directories of which it reads the names.
        directory: the job's directory where a setting may depend on it, else "".
    """

    files: tuple[str, ...]
    listed: tuple[str, ...]
    directory: str


def proxy(executable: str, *, env: Mapping[str, str], cwd: str) -> Proxy | None:
    """What stands behind an executable that is a proxy; None: it is none.

    Args:
        executable: its absolute path.
        env: the job's environment.
        cwd: the job's directory.
    """
    if not _is_proxy(executable):
        return None
    home = env.get("RUSTUP_HOME") or posixpath.join(_home(env), ".rustup")
    home = posixpath.join(cwd, home)
    settings = posixpath.join(home, "settings.toml")
    pins = next(_pins(cwd), ())
    return Proxy(
        (settings, _COMMON_SETTINGS, *pins),
        # The second it would make if it was not there, and ends if it cannot.
        (posixpath.join(home, "toolchains"), posixpath.join(home, "update-hashes")),
        cwd if _has_overrides(settings) else "",
    )


def _is_proxy(executable: str) -> bool:
    """Links to rustup, symbolic or hard."""
    try:
        return os.path.samefile(executable, posixpath.join(posixpath.dirname(executable), _NAME))  # noqa: PTH121 - without pathlib
    except OSError:
        return posixpath.basename(os.path.realpath(executable)) == _NAME


def _home(env: Mapping[str, str]) -> str:
    if env.get("HOME"):
        return env["HOME"]
    import pwd  # noqa: PLC0415 - hardly ever needed

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def _pins(directory: str) -> Iterator[tuple[str, ...]]:
    """Files that pin a toolchain, of one directory at a time, the nearest first."""
    while True:
        here = (posixpath.join(directory, name) for name in _PINS)
        if found := tuple(path for path in here if os.path.isfile(path)):  # noqa: PTH113 - without pathlib
            yield found
        if directory in {"", "/"}:
            return
        directory = posixpath.dirname(directory)


def _has_overrides(settings: str) -> bool:
    try:
        with open(settings, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - without pathlib
            return bool(file.read().partition(_OVERRIDES)[2].strip())
    except OSError:
        return False
