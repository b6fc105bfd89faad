"""Cargo builds with the wrapper where Cargo takes one, and without it: the same files, the same messages.

Incremental compilation is off: with it, two builds without any wrapper differ in the libraries already. Two files of Cargo's own are not
compared: `.rustc_info.json`, which remembers the compiler by the wrapper's path, and `.fingerprint/*/dep-*`, where Cargo lists what a
crate's dep-info (which is compared) says, in an order that is another one each time.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from attrs import field, frozen

from process.support import Fifo, gone
from real.through import BECOMES, STAYS, WRAPPER, Way, clean_environment, files, run, script, write
from survivors import VARIABLE

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(shutil.which("cargo") is None, reason="needs a real cargo"),
]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
REMEMBERED = ".rustc_info.json"
NO_DEBUG_INFO = {"CARGO_PROFILE_DEV_DEBUG": "0"}
"""A quarter of a large build's time; small ones here have it."""
ONLY_EXEC = '#!/bin/sh\nexec "$@"\n'
_OF_CARGO = re.compile(r"^\.rustc_info\.json$|/\.fingerprint/[^/]*/dep-[^/]*$")
"""What two builds of Cargo's need not have in common."""
_WAITED = re.compile(r"^ *Blocking waiting for file lock .*\n", re.MULTILINE)
"""What Cargo says when another one runs at the same time, as other tests' do."""

_FINISHED = re.compile(r"in \d+\.\d+s$", re.MULTILINE)
"""The time that Cargo says a build took, the only thing in its messages that is of the day."""


@frozen
class Built:
    """What one build left and said.

    Attributes:
        code: what Cargo exited with.
        stderr: its lines in sorted order: Cargo begins with crates that do not depend on each other in any order.
        info: how it remembers the compiler.
    """

    code: int
    stdout: str
    stderr: str
    files: dict[str, str]
    info: str = field(eq=False)


@frozen
class Project:
    """A Cargo workspace in a directory of its own, built in the same place each time."""

    root: Path

    def cargo(self, *words: str, **environment: str | Path) -> Built:
        """Runs Cargo, takes down what it left, and removes that."""
        fixed = {"CARGO_INCREMENTAL": "0", "CARGO_TERM_COLOR": "never", "CARGO_NET_OFFLINE": "true"}
        done = run(["cargo", *words], self.root, fixed | {k: str(v) for k, v in environment.items()})
        target = self.root / "target"
        info = target / REMEMBERED
        built = Built(
            done.returncode,
            done.stdout,
            "".join(
                sorted(_FINISHED.sub("in some time", _WAITED.sub("", done.stderr)).splitlines(keepends=True))
            ),
            files(target, lambda name: not _OF_CARGO.search(name)),
            info.read_text() if info.exists() else "",
        )
        shutil.rmtree(target, ignore_errors=True)
        return built


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("hello") / "project"
    shutil.copytree(EXAMPLES / "hello", root, ignore=shutil.ignore_patterns("target"))
    return Project(root)


@pytest.fixture(scope="module")
def bare_hello(hello: Project) -> Callable[[str], Built]:
    """What a subcommand of Cargo makes of it without a wrapper; each is run once."""
    made: dict[str, Built] = {}

    def bare(command: str) -> Built:
        if command not in made:
            made[command] = hello.cargo(command, "-j1")
        return made[command]

    return bare


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Built]:
    """The workspace with its dependencies, and what a build without the wrapper leaves."""
    root = tmp_path_factory.mktemp("search") / "project"
    shutil.copytree(EXAMPLES / "search", root, ignore=shutil.ignore_patterns("target"))
    if run(["cargo", "fetch", "--locked"], root, {}).returncode:
        pytest.skip("the registry cannot be reached")
    project = Project(root)
    return project, project.cargo("build", "-j2", "--locked", **NO_DEBUG_INFO)


@pytest.mark.xdist_group("search")  # one worker builds it without the wrapper
def test_I6_a_project_of_many_crates_has_the_same_bytes(search: tuple[Project, Built], way: Way) -> None:
    project, bare = search
    assert len([name for name in bare.files if re.fullmatch(r"debug/deps/lib.*\.r?lib", name)]) >= 30
    through = project.cargo(
        "build", "-j2", "--locked", RUSTC_WRAPPER=WRAPPER, **NO_DEBUG_INFO, **way.variables
    )
    assert through.code == bare.code == 0, through.stderr
    assert through.files == bare.files
    assert through.info != bare.info, "Cargo called the compiler without the wrapper"
    if way.name == STAYS:
        assert way.staid() > 30


@pytest.mark.parametrize("command", ["build", "check", "clippy"])
def test_I6_rustc_wrapper(hello: Project, bare_hello: Callable[[str], Built], command: str, way: Way) -> None:
    """In `cargo clippy` the wrapper's compiler is clippy-driver, whose compiler is rustc."""
    if command == "clippy" and shutil.which("cargo-clippy") is None:
        pytest.skip("there is no clippy")
    bare = bare_hello(command)
    through = hello.cargo(command, "-j1", RUSTC_WRAPPER=WRAPPER, **way.variables)
    assert (through.code, through.stderr) == (0, bare.stderr)
    assert through.files == bare.files
    assert through.info != bare.info


@pytest.mark.parametrize("both", [False, True])
def test_I6_rustc_workspace_wrapper(hello: Project, tmp_path: Path, way: Way, *, both: bool) -> None:
    """The path of a workspace's wrapper is part of the names and hashes of its crates; so another wrapper has been in the same place."""
    place = script(tmp_path / "wrapper", ONLY_EXEC)
    bare = hello.cargo("build", "-j1", RUSTC_WORKSPACE_WRAPPER=place)
    place.unlink()
    place.symlink_to(WRAPPER)
    outer = {"RUSTC_WRAPPER": WRAPPER} if both else {}
    through = hello.cargo("build", "-j1", RUSTC_WORKSPACE_WRAPPER=place, **outer, **way.variables)
    assert (through.code, through.stderr) == (0, bare.stderr)
    assert through.files == bare.files
    assert through.info != bare.info


def test_I6_a_release_has_the_same_bytes(hello: Project, way: Way) -> None:
    bare = hello.cargo("build", "--release", "-j2")
    through = hello.cargo("build", "--release", "-j2", RUSTC_WRAPPER=WRAPPER, **way.variables)
    assert through.code == bare.code == 0
    assert through.files == bare.files


@pytest.fixture(params=["human", "short", "json"])
def message_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_warnings_and_errors_reach_the_user_unchanged(tmp_path: Path, message_format: str, way: Way) -> None:
    project = Project(tmp_path / "project")
    write(
        project.root,
        {
            "Cargo.toml": '[workspace]\nmembers = ["low", "top"]\nresolver = "2"\n',
            "low/Cargo.toml": '[package]\nname = "low"\nversion = "0.1.0"\nedition = "2021"\n',
            "low/src/lib.rs": 'pub fn low() { let unused = "ünïcode"; }\n#[deprecated] pub fn old() {}\n',
            "low/build.rs": 'fn main() { println!("cargo:warning=of a build script"); }\n',
            "top/Cargo.toml": '[package]\nname = "top"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nlow = { path = "../low" }\n',
            "top/src/main.rs": "fn main() { low::old(); let wrong: u8 = low::low(); undefined(); }\n",
        },
    )
    told = f"--message-format={message_format}"
    bare = project.cargo("build", "-j1", told)
    through = project.cargo("build", "-j1", told, RUSTC_WRAPPER=WRAPPER, **way.variables)
    assert through == bare
    assert bare.code == 101
    for said in ("unused variable", "deprecated", "mismatched types", "of a build script"):
        assert said in bare.stdout + bare.stderr


def test_the_death_of_a_compiler_is_told_as_cargo_tells_it(hello: Project, tmp_path: Path, way: Way) -> None:
    dying = script(
        tmp_path / "rustc",
        '#!/bin/sh\ncase "$*" in *"--crate-name base"*) kill -SEGV $$ ;; esac\nexec rustc "$@"\n',
    )
    bare = hello.cargo("build", "-p", "base", RUSTC=dying)
    through = hello.cargo("build", "-p", "base", RUSTC=dying, RUSTC_WRAPPER=WRAPPER, **way.variables)
    assert "(signal: 11, SIGSEGV" in bare.stderr
    said = through.stderr.replace(f"{WRAPPER} ", "")
    ours = "process-wrapper: rustc was killed by signal 11 (SIGSEGV)\n"
    assert said.count(ours) == (way.name == STAYS)
    assert said.replace(ours, "") == bare.stderr
    assert through.code == bare.code


def parent(pid: int) -> int:
    (told,) = re.findall(r"^PPid:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(told)


async def test_I3_an_interrupted_build_leaves_no_compiler(
    hello: Project, tmp_path: Path, way: Way, tag: str
) -> None:
    """Cargo has a group of its own, as a shell gives it one, and the group gets what ^C gives."""
    with Fifo(tmp_path / "up") as up, Fifo(tmp_path / "never") as never:
        waiting = script(
            tmp_path / "rustc",
            '#!/bin/sh\ncase "$*" in *"--crate-name base"*) ;; *) exec rustc "$@" ;; esac\n'
            f"echo $$ > {up}\nexec cat {never}\n",
        )
        cargo = await trio.lowlevel.open_process(
            ["cargo", "build", "--quiet", "--offline"],
            cwd=hello.root,
            env={
                **clean_environment(),
                "RUSTC": str(waiting),
                "RUSTC_WRAPPER": str(WRAPPER),
                VARIABLE: tag,
                **way.variables,
            },
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            compiler = await up.pid()
            assert (parent(compiler) == cargo.pid) == (way.name == BECOMES)
        finally:
            os.killpg(cargo.pid, signal.SIGINT)
            await cargo.wait()
        await gone(compiler)
        assert cargo.returncode == -signal.SIGINT
    shutil.rmtree(hello.root / "target")
