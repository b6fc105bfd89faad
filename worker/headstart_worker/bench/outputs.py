"""What builds made, compared byte for byte.

Only what a build is for: code, and metadata. What the compiler tells of its run (dep-info) names the places of that run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from blake3 import blake3

from headstart_worker.cargo import commands
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import Unit
from headstart_wrapper.errors import HeadstartError


class DifferentBytesError(HeadstartError):
    """Builds that must have made the same files did not; nothing that was measured of them can be compared."""


def files(units: Iterable[Unit], root: Path, mode: Mode) -> dict[str, Path]:
    """Where each unit's code and metadata are, by names that do not hang on the place.

    Args:
        units: what was built.
        root: directory of all outputs.
        mode: how it was built.
    """
    found: dict[str, Path] = {}
    for unit in units:
        made = commands.outputs(unit, "", mode)
        found |= {path: root / path for path in (made.metadata, made.code) if path is not None}
    return found


def digests(made: Mapping[str, Path]) -> dict[str, str]:
    """The content's hash of each file, by its name.

    Raises:
        DifferentBytesError: a file is not there.
    """
    found = {}
    for name, path in sorted(made.items()):
        try:
            found[name] = blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()
        except OSError as error:
            raise DifferentBytesError(
                f"a build ended well, but {path} is not there ({error.strerror})"
            ) from error
    return found


def together(digested: Mapping[str, str]) -> str:
    """One digest of all names and contents."""
    return blake3(
        "".join(f"{name}\0{digest}\n" for name, digest in sorted(digested.items())).encode()
    ).hexdigest()


def difference(one: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """The first name whose content is not the same in both; None: all are."""
    return min((name for name in one.keys() | other if one.get(name) != other.get(name)), default=None)
