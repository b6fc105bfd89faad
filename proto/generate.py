# ruff: noqa: INP001  (a directory of the schema, never an import package)
"""Generates the Python module and type stub of the worker protocol; `--check` compares instead of writing.

Not part of the installation: it needs the `dev` dependency group (grpcio-tools, mypy-protobuf).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]  # it carries no types

HERE = Path(__file__).resolve().parent
SCHEMA = HERE / "worker_protocol.proto"
GENERATED = HERE.parent / "worker" / "headstart_worker" / "generated"
NAMES = ("worker_protocol_pb2.py", "worker_protocol_pb2.pyi")


def generate(directory: Path) -> None:
    """Writes `NAMES` into `directory`.

    Raises:
        SystemExit: the generator failed; it has said why on stderr.
    """
    # The stub generator is a program beside this interpreter, which need not be on PATH.
    os.environ["PATH"] = os.pathsep.join(
        (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    )
    arguments = [
        "protoc",
        f"--proto_path={HERE}",
        f"--python_out={directory}",
        f"--mypy_out=quiet:{directory}",  # protoc's own --pyi_out does not pass mypy --strict
        str(SCHEMA),
    ]
    if protoc.main(arguments) != 0:
        sys.exit(f"generate.py: protoc failed on {SCHEMA.name}; correct the schema where it says so above.")


def differing(directory: Path) -> list[str]:
    """The names among `NAMES` whose committed file is missing or is not the one in `directory`."""
    return [
        name
        for name in NAMES
        if not (GENERATED / name).is_file()
        or (GENERATED / name).read_bytes() != (directory / name).read_bytes()
    ]


def main() -> None:
    """Generates, or with `--check` exits 1 with one sentence when the committed files are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when the committed files differ"
    )
    if not parser.parse_args().check:
        generate(GENERATED)
        return
    with tempfile.TemporaryDirectory() as temporary:
        generate(Path(temporary))
        stale = differing(Path(temporary))
    if stale:
        sys.exit(
            f"generate.py: {' and '.join(stale)} differ from what {SCHEMA.name} generates; "
            "run `python proto/generate.py` and commit the result."
        )


if __name__ == "__main__":
    main()
