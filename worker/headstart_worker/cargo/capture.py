"""Runs `cargo build` once, in a target directory of its own, and brings home every compile exactly as Cargo asked for it.

Decides nothing about what the compiles mean: `rustc_args` takes the commands apart, `importer` makes units of them.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from headstart_worker.cargo.running import running
from headstart_wrapper import spawner
from headstart_wrapper.errors import CommandNotFoundError, RequestError

# As much of a failed build as fits a screen; the compiler's error is at its end.
_TAIL_LINES = 40
_INSTALL = "install Rust (https://rustup.rs, or the distribution's rustc and cargo)"


@frozen
class Toolchain:
    """The compiler and the Cargo that a directory's build uses.

    Attributes:
        rustc: absolute path of the compiler itself; rustup's proxy is looked through.
        cargo: absolute path of the Cargo beside it, or the one on PATH.
        version: what `rustc -vV` said.
    """

    rustc: str
    cargo: str
    version: str


@frozen
class Compile:
    """One rustc that Cargo started.

    Attributes:
        argv: the compiler and its arguments.
        cwd: absolute directory that it ran in.
        env: what its environment had that Cargo's own had not, or had otherwise.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]


@frozen
class Build:
    """A finished build.

    Attributes:
        compiles: in the order in which Cargo started them.
        local: absolute package directories that come from a path, not from a registry or git.
        build_scripts: absolute paths of the build scripts' crate roots.
    """

    compiles: tuple[Compile, ...]
    local: frozenset[str]
    build_scripts: frozenset[str]


def find_toolchain(source: Path) -> Toolchain:
    """Finds the toolchain of a directory (its rust-toolchain.toml counts, and the variables RUSTC and CARGO).

    Raises:
        CommandNotFoundError: there is no rustc or no cargo.
        RequestError: rustc does not answer.
    """
    rustc = os.environ.get("RUSTC", "rustc")
    sysroot = Path(_ask([rustc, "--print", "sysroot"], source).strip())
    # Only the toolchain's own binaries ignore the directory that they run in.
    real = sysroot / "bin" / "rustc"
    compiler = str(real) if os.access(real, os.X_OK) else rustc
    beside = sysroot / "bin" / "cargo"
    cargo = os.environ.get("CARGO") or (str(beside) if os.access(beside, os.X_OK) else "cargo")
    _ask([cargo, "--version"], source)
    return Toolchain(rustc=compiler, cargo=cargo, version=_ask([compiler, "-vV"], source))


def _ask(command: list[str], source: Path) -> str:
    try:
        answer = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CommandNotFoundError(f"there is no {command[0]} on PATH: {_INSTALL}") from None
    if answer.returncode != 0:
        raise RequestError(f"{shlex.join(command)} failed in {source}: {answer.stderr.strip()}")
    return answer.stdout


def build(
    source: Path,
    target_dir: Path,
    toolchain: Toolchain,
    *,
    options: Sequence[str],
    progress: Callable[[str], None],
) -> Build:
    """Builds everything anew and records it.

    Args:
        source: directory of the Cargo.toml.
        target_dir: an empty directory for what Cargo makes; the records go there too.
        toolchain: what to build with.
        options: more options of `cargo build`.
        progress: is given each line that Cargo says.

    Raises:
        RequestError: the build failed; the message ends with what Cargo said last.
    """
    records = target_dir / "records"
    records.mkdir()
    recorder = target_dir / "recorder"
    script = [sys.executable, "-I", "-S", str(Path(__file__).with_name("recorder.py")), str(records)]
    recorder.write_text(f'#!/bin/sh\nexec {shlex.join(script)} "$@"\n', encoding="utf-8")
    recorder.chmod(0o755)
    env = {
        **os.environ,
        "CARGO_BUILD_BUILD_DIR": str(target_dir),
        "CARGO_INCREMENTAL": "0",
        "CARGO_TARGET_DIR": str(target_dir),
        "RUSTC": toolchain.rustc,
        "RUSTC_WORKSPACE_WRAPPER": "",  # it would change the hashes of the workspace's crates
        "RUSTC_WRAPPER": str(recorder),
    }
    command = [toolchain.cargo, "build", "--message-format=json-render-diagnostics", *options]
    messages = target_dir / "messages"
    _run(command, source, env, messages, progress)
    return _read(messages, records, env)


def _run(
    command: list[str], source: Path, env: dict[str, str], messages: Path, progress: Callable[[str], None]
) -> None:
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with messages.open("wb") as stdout, running(command, cwd=source, env=env, stdout=stdout) as cargo:
        assert cargo.stderr is not None  # noqa: S101  we asked for a pipe
        for line in cargo.stderr:
            text = line.decode(errors="replace").rstrip()
            tail.append(text)
            progress(text)
    if cargo.returncode != 0:
        raise RequestError(f"{shlex.join(command)} failed in {source}; it said:\n" + "\n".join(tail))


def _read(messages: Path, records: Path, base: Mapping[str, str]) -> Build:
    local: set[str] = set()
    build_scripts: set[str] = set()
    for line in messages.read_text(encoding="utf-8").splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") != "compiler-artifact":
            continue
        if "path+file:" in message["package_id"]:
            local.add(str(Path(message["manifest_path"]).parent))
        if "custom-build" in message["target"]["kind"]:
            build_scripts.add(message["target"]["src_path"])
    compiles = []
    for path in sorted(records.iterdir()):  # named by the time of their start
        record = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        env = {
            name: value
            for name, value in record["env"].items()
            if (base.get(name) != value or name.startswith("CARGO_PKG_")) and name != spawner.TAG
        }
        compiles.append(Compile(tuple(record["argv"]), record["cwd"], env))
    return Build(tuple(compiles), frozenset(local), frozenset(build_scripts))
