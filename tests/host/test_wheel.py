"""What people install: the wheel, built from this tree and installed where nothing else is."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from headstart_worker.testing import FakeHost

ROOT = Path(__file__).parent.parent.parent
NO_INDEX = "Retrying (Retry("
"""What pip says each time that it does not reach a package index; a package that is not there is told otherwise."""

pytestmark = pytest.mark.xdist_group("wheel")  # one worker builds and installs for all


def run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def build(kind: str, out: Path) -> Path:
    built = run([sys.executable, "-m", "build", f"--{kind}", "--no-isolation", f"--outdir={out}", ROOT], out)
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a clean environment's programs, with the wheel and what it depends on."""
    place = tmp_path_factory.mktemp("clean")
    venv.create(place, with_pip=True)
    pip: list[str | Path] = [place / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    done = run([*pip, "install", "--quiet", wheel], place)
    if done.returncode and NO_INDEX in done.stdout + done.stderr:
        pytest.skip("the package index cannot be reached, so the wheel's dependencies cannot be installed")
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "bin"


def test_the_wheel_holds_both_packages_and_nothing_else_at_its_top(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    data, metadata = sorted(tops - {"headstart_worker", "headstart_wrapper"})
    assert re.fullmatch(r"headstart-[\d.]+\.dist-info", metadata)
    assert {name for name in names if name.startswith(data)} == {
        f"{data}/data/share/man/man1/process-wrapper.1"
    }
    assert tops >= {"headstart_worker", "headstart_wrapper"}


def test_every_module_of_the_tree_is_in_the_wheel(names: set[str]) -> None:
    for base in (ROOT / "worker", ROOT / "wrapper"):
        modules = {str(path.relative_to(base)) for path in base.rglob("*.py")}
        assert modules <= names
        assert modules


def test_the_wheel_is_typed_licensed_and_has_its_programs(wheel: Path, names: set[str]) -> None:
    assert {"headstart_worker/py.typed", "headstart_wrapper/py.typed"} <= names
    with zipfile.ZipFile(wheel) as archive:
        (license_,) = (name for name in names if name.endswith(".dist-info/licenses/LICENSE"))
        (programs,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        assert archive.read(license_) == (ROOT / "LICENSE").read_bytes()
        declared = archive.read(programs).decode().splitlines()
        told = email.message_from_bytes(archive.read(metadata))
    assert "process-wrapper = headstart_worker.__main__:main" in declared
    assert "headstart = headstart_worker.tools:main" in declared
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Requires-Python"] == ">=3.11"


def test_check_wheel_contents_finds_nothing(wheel: Path) -> None:
    checked = run([Path(sys.executable).with_name("check-wheel-contents"), wheel], ROOT)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_source_distribution_builds_the_same_packages(
    names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = build("sdist", tmp_path_factory.mktemp("sdist"))
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "proto/worker_protocol.proto"} <= held
    for name in names:
        if name.startswith("headstart_worker/"):
            assert f"worker/{name}" in held
        elif name.startswith("headstart_wrapper/"):
            assert f"wrapper/{name}" in held


def test_the_installed_wrapper_runs_a_command(installed: Path, tmp_path: Path) -> None:
    assert run([installed / "process-wrapper", "--", "true"], tmp_path).returncode == 0
    done = run([installed / "process-wrapper", "--", "sh", "-c", "echo out; exit 7"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "")


def test_the_installed_programs_tell_their_version_and_their_use(
    installed: Path, wheel: Path, tmp_path: Path
) -> None:
    version = wheel.name.split("-")[1]
    told = run([installed / "process-wrapper", "--version"], tmp_path)
    assert (told.returncode, told.stdout) == (0, f"process-wrapper {version}\n")
    told = run([installed / "headstart", "--version"], tmp_path)
    assert (told.returncode, told.stdout) == (0, f"headstart {version}\n")
    told = run([installed / "headstart", "--help"], tmp_path)
    assert told.returncode == 0
    assert told.stdout.startswith("usage: headstart ")


def test_the_manual_page_is_installed_and_the_one_of_this_tree(installed: Path) -> None:
    page = installed.parent / "share" / "man" / "man1" / "process-wrapper.1"
    assert page.read_bytes() == (ROOT / "wrapper" / "process-wrapper.1").read_bytes()


def test_a_launcher_of_the_installed_wheel_needs_nothing_of_this_tree(
    installed: Path, tmp_path: Path
) -> None:
    launcher = tmp_path / "process-wrapper"
    assert run([installed / "headstart", "launcher", launcher], tmp_path).returncode == 0
    assert str(ROOT) not in launcher.read_text()
    done = run([launcher, "--stats=s.json", "--", "sh", "-c", "echo out; exit 7"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "")


def test_generated_code_imports_under_the_installed_protobuf_without_a_warning(
    installed: Path, tmp_path: Path
) -> None:
    script = "import headstart_worker.generated.worker_protocol_pb2 as made; print(made.__file__)"
    done = run([installed / "python", "-W", "error", "-c", script], tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.parent)


@pytest.mark.parametrize("protocol", ["proto", "json"])
async def test_the_installed_worker_serves(installed: Path, tmp_path: Path, protocol: str) -> None:
    with trio.fail_after(60):
        async with FakeHost(protocol, cwd=tmp_path, command=(str(installed / "process-wrapper"),)) as host:
            response = await host.work(("--", "/bin/sh", "-c", "echo served; exit 3"))
            assert (response.exit_code, response.output) == (3, "served\n")
            assert (await host.finish()).exit_code == 0
