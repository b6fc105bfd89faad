"""`headstart import-cargo`: one real Cargo build becomes a workspace that any host can build again, anywhere.

Build scripts are compiled, never run again: what they wrote in this build (their OUT_DIR) and what they told Cargo (flags, variables,
native libraries) is part of the workspace as it was.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart_worker.cargo import capture, starlark, watching, workspace
from headstart_worker.cargo.assemble import Copies, make_units
from headstart_worker.cargo.units import Units, encode
from headstart_worker.interrupts import interruptible
from headstart_worker.progress import Progress
from headstart_wrapper.errors import RequestError

TARGET_KINDS = {"lib": "--lib", "bin": "--bins", "example": "--examples"}


def import_cargo(
    source: Path,
    out: Path,
    *,
    release: bool = False,
    target_kinds: Sequence[str] = (),
    headstart: str | None = None,
    progress: Progress | Callable[[str], None],
) -> Units:
    """Builds a Cargo workspace once and writes its copy for Bazel and the embedded host.

    Args:
        source: directory with a Cargo.toml. With a Cargo.lock, exactly that is built; without one, Cargo writes it there.
        out: the workspace to write; it may hold an older import, which is replaced.
        release: Cargo's release profile instead of dev.
        target_kinds: keys of TARGET_KINDS; empty means Cargo's own choice (libraries and programs).
        headstart: where the workspace finds Headstart, absolute or relative to it; this installation's own directory by default.
        progress: is told how far it is; a function is given lines.

    Returns:
        What was written to `units.json`.

    Raises:
        RequestError: no Cargo.toml, the build failed, or `out` is not ours.
        CommandNotFoundError: no Cargo.
    """
    source = source.resolve()
    if not (source / "Cargo.toml").is_file():
        raise RequestError(f"there is no Cargo.toml in {source}: name the directory of a Cargo workspace")
    workspace.check_free(out)
    toolchain = capture.find_toolchain(source)
    options = ["--release"] if release else []
    options += ["--locked"] if _locked(source) else []
    options += [TARGET_KINDS[kind] for kind in target_kinds]
    if isinstance(progress, Progress):
        if progress.is_live:
            progress.total = watching.packages(
                source, toolchain, locked=_locked(source), development="example" in target_kinds
            )
        progress = watching.follow(progress)
    with tempfile.TemporaryDirectory(prefix="headstart-cargo-", ignore_cleanup_errors=True) as directory:
        target_dir = Path(directory).resolve()
        built = capture.build(source, target_dir, toolchain, options=options, progress=progress)
        copies = Copies()
        units = Units(toolchain.version, toolchain.rustc, make_units(built, copies, progress))
        texts = {
            **starlark.build_files(units),
            "WORKSPACE": starlark.workspace_file(headstart or default_headstart()),
            "MODULE.bazel": starlark.module_file(headstart or default_headstart()),
            workspace.UNITS: encode(units),
        }
        workspace.write(out, copies.files, texts)
    progress(f"{len(units)} units of {len({unit.directory for unit in units})} packages are in {out}")
    return units


def default_headstart() -> str:
    """The directory that this module was loaded from, when it is a source tree with Bazel rules."""
    root = Path(__file__).resolve().parents[3]
    return str(root) if (root / "bazel").is_dir() else "."


def _locked(source: Path) -> bool:
    """Whether a lock file is in the directory or above it, where a workspace's root may be."""
    return any((directory / "Cargo.lock").is_file() for directory in (source, *source.parents))


def main(argv: Sequence[str]) -> int:
    """The companion command.

    Returns:
        0.

    Raises:
        HeadstartError: nothing was imported.
    """
    parser = argparse.ArgumentParser(
        prog="headstart import-cargo",
        description="Builds a Cargo workspace once, records every compile, and writes a workspace that Bazel (with Headstart's rules) and "
        "`headstart demo` build with the same commands.",
        epilog="The result is self-contained and can be moved. Build scripts are compiled but not run again: what they wrote and "
        "said in this build is a snapshot. Import again after a change of Cargo.toml, Cargo.lock, a build script or the toolchain.",
    )
    parser.add_argument("source", type=Path, metavar="DIR", help="directory with a Cargo.toml")
    parser.add_argument("--out", type=Path, help="the workspace to write (default: ./DIR-headstart)")
    parser.add_argument("--release", action="store_true", help="Cargo's release profile")
    parser.add_argument(
        "--target-kinds",
        nargs="+",
        choices=sorted(TARGET_KINDS),
        default=[],
        help="what to build (default: as cargo build does)",
    )
    parser.add_argument(
        "--headstart",
        help="where the workspace finds Headstart's rules (default: this installation's own directory)",
    )
    options = parser.parse_args(argv)
    out = options.out or Path(f"{options.source.resolve().name}-headstart")
    with interruptible(), Progress("import-cargo") as progress:
        import_cargo(
            options.source,
            out,
            release=options.release,
            target_kinds=options.target_kinds,
            headstart=options.headstart,
            progress=progress,
        )
    return 0
