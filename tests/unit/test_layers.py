"""The layers hold, the check that says so would see a wrong import, and one job does not pay for the worker's libraries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Checks the packages of a tree. Paths before the editable installation's make its packages the ones that are seen."""
    paths = os.pathsep.join((str(tree / "worker"), str(tree / "wrapper")))
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", f"--config={tree / 'pyproject.toml'}"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("worker", "wrapper"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_layers_hold() -> None:
    checked = lint(ROOT)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("module", "wrong", "contract"),
    [
        (
            "wrapper/headstart_wrapper/run.py",
            "import headstart_worker.slots",
            "the wrapper never imports the worker",
        ),
        ("wrapper/headstart_wrapper/options.py", "import os", "pure rooms of the wrapper"),
        ("wrapper/headstart_wrapper/dialects/generic.py", "import subprocess", "pure rooms of the wrapper"),
        ("worker/headstart_worker/ledger.py", "import trio", "pure rooms of the worker"),
        (
            "worker/headstart_worker/pipelines.py",
            "import headstart_wrapper.outputs",
            "pure rooms of the worker",
        ),
        (
            "worker/headstart_worker/server.py",
            "from headstart_worker.generated import worker_protocol_pb2",
            "only messages knows the generated code",
        ),
    ],
)
def test_a_wrong_import_is_seen(copy: Path, module: str, wrong: str, contract: str) -> None:
    with (copy / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{wrong}\n")
    checked = lint(copy)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    (broken,) = (line for line in checked.stdout.splitlines() if line.endswith("BROKEN"))
    assert broken.startswith(contract)


@pytest.mark.parametrize(
    "dear",
    [
        "trio",
        "google",
        "asyncio",
        "subprocess",
        "socket",
        "tempfile",
        "ctypes",
        "elftools",
        "importlib.metadata",
        "attr",
        "typing",
        "pathlib",
        "json",
        "re",
        "blake3",
        "dataclasses",
    ],
)
def test_one_job_starts_without(dear: str) -> None:
    script = (
        "import sys\nfor path in sys.argv[1:]: sys.path.append(path)\n"
        "from headstart_wrapper.command_line import main\n"
        f"code = main(['--stay', '--', 'true']); sys.exit(code or {dear!r} in sys.modules)"
    )
    # -S: what site imports in some environments is not ours.
    packages = [ROOT / "wrapper", ROOT / "worker"]
    assert subprocess.run([sys.executable, "-E", "-S", "-c", script, *packages], check=False).returncode == 0


def test_becoming_a_compiler_imports_next_to_nothing() -> None:
    script = (
        "import sys, posix\nfor path in sys.argv[1:]: sys.path.append(path)\n"
        "sys.argv[1:] = ['--', 'true']; before = set(sys.modules)\n"
        "posix.execve = lambda *_: (print(*sorted(set(sys.modules) - before), flush=True), posix._exit(0))\n"
        "from headstart_worker.__main__ import main; main()"
    )
    packages = [ROOT / "wrapper", ROOT / "worker"]
    done = subprocess.run(
        [sys.executable, "-E", "-S", "-c", script, *packages],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.split() == [
        "__future__",
        "headstart_worker",
        "headstart_worker.__main__",
        "headstart_wrapper",
        "headstart_wrapper.environment",
        "headstart_wrapper.executables",
        "headstart_wrapper.programs",
        "headstart_wrapper.tail",
    ]
