"""examples/make: one compile for both files of a crate, dependents that start early, and make's manners kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from attrs import Factory, define

from process.support import PATIENCE, Fifo
from real.through import WRAPPER, clean_environment, files, run, script

RUSTC = os.environ.get("HEADSTART_TEST_RUSTC") or shutil.which("rustc") or ""
MISSING = [tool for tool in ("make", "cc", "flock") if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(not RUSTC or bool(MISSING), reason="needs rustc, make, cc and flock"),
]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/make"
USES = {"words": (), "fnv": (), "table": (), "counts": ("fnv", "words"), "report": ("counts", "table")}
"""The libraries and what each uses, in an order in which they can be built."""

ENOUGH = "120"
"""Seconds that a build may take on a machine that is busy with other things; one that waits for itself fails then."""

TEXT = "the end of the beginning of the end"
COUNTED = "3  the\n2  end\n2  of\n1  beginning\n"


@define
class Project:
    """A copy of the example. Attributes: root, words for each call of make."""

    root: Path
    words: dict[str, str | Path] = Factory(dict)

    def command(self, *words: str) -> list[str]:
        given = {"WRAPPER": WRAPPER, "RUSTC": RUSTC, **self.words}
        return ["make", "--no-print-directory", *words, *(f"{name}={value}" for name, value in given.items())]

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs make, and waits for compiles that it left running."""
        try:
            return run(["timeout", ENOUGH, *self.command(*words)], self.root, {})
        finally:
            for lock in self.root.glob("build/*.lock"):
                subprocess.run(["flock", lock, "true"], check=True, timeout=PATIENCE)

    def built(self) -> dict[str, str]:
        """What make and rustc made, but for logs."""
        return files(self.root / "build", lambda name: not name.endswith((".log", ".lock")))

    def count(self) -> str:
        done = subprocess.run(
            [self.root / "build/top"], input=TEXT, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("build"))
    return Project(root)


@pytest.fixture
def fifos(tmp_path: Path) -> Iterator[tuple[Fifo, Fifo]]:
    with Fifo(tmp_path / "one") as one, Fifo(tmp_path / "two") as two:
        yield one, two


def rustc(tmp_path: Path, **cases: str) -> Path:
    """A rustc that does something of its own for some crates: a shell script, where "$@" is the compile's arguments."""
    said = "\n".join(f"*--crate-name={crate}*) {what} ;;" for crate, what in cases.items())
    directory = tmp_path / "bin"
    directory.mkdir(exist_ok=True)
    return script(
        directory / "rustc", f'#!/bin/sh\nrustc={RUSTC}\ncase "$*" in\n{said}\nesac\nexec $rustc "$@"\n'
    )


@pytest.mark.parametrize("jobs", ["-j1", "-j2", "-j"])
def test_it_builds_and_then_there_is_nothing_to_do(project: Project, jobs: str) -> None:
    done = project.make(jobs)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()[1::2]) == [
        "counts",
        "fnv",
        "fnvhash",
        "report",
        "table",
        "top",
        "words",
    ]
    assert project.count() == COUNTED
    assert project.make(jobs).stdout == "make: 'build/top' is up to date.\n"


@pytest.mark.parametrize("way", ["the wrapper, not pipelined", "no wrapper"])
def test_I6_the_bytes_are_those_of_plain_compiles(project: Project, way: str) -> None:
    """What makes rustc tell of its metadata counts in a crate's hash, so a plain rustc has to be asked for it too."""
    project.make("-j2")
    piped = project.built()
    for path in (project.root / "build").iterdir():
        if path.suffix not in {".a", ".o"}:
            path.unlink()
    ours = (
        [WRAPPER, "--", RUSTC] if way != "no wrapper" else [RUSTC, "--error-format=json", "--json=artifacts"]
    )
    options = ["--edition=2021", "-Copt-level=2", "-Ldependency=build"]
    for crate, used in USES.items():
        command = [*ours, f"--crate-name={crate}", "--crate-type=lib", *options, "-Lnative=build"]
        command += ["--emit=dep-info,metadata,link", "--out-dir=build", f"src/{crate}.rs"]
        command += [f"--extern={each}=build/lib{each}.rmeta" for each in used]
        assert run(command, project.root, {}).returncode == 0
    top = [RUSTC, "--crate-name=top", *options, "--extern=report=build/libreport.rlib"]
    assert run([*top, "-o", "build/top", "src/main.rs"], project.root, {}).returncode == 0
    assert project.built() == piped
    assert len(piped) == 3 * len(USES) + 3


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_dependents_start_while_the_compile_goes_on(
    project: Project, tmp_path: Path, fifos: tuple[Fifo, Fifo], shell: str
) -> None:
    """The compile of `words` ends when that of `counts`, which uses it, has begun: not pipelined, it never would."""
    began, _ = fifos
    project.words["SHELL"] = shutil.which(shell) or pytest.skip(f"there is no {shell}")
    project.words["WRAPPER"] = f"{WRAPPER} --stats=stats/"
    project.words["RUSTC"] = rustc(
        tmp_path, words=f'$rustc "$@" || exit; read x < {began}; exit 0', counts=f"echo > {began}"
    )
    done = project.make("-j2")
    assert (done.returncode, done.stderr) == (0, "")
    assert project.count() == COUNTED
    stats = [json.loads(path.read_text()) for path in (project.root / "stats").iterdir()]
    assert len(stats) == len(USES)
    assert all(each["early_seconds"] < each["wall_seconds"] for each in stats)


def test_an_error_is_shown_once_and_ends_the_build(project: Project) -> None:
    project.edit("src/words.rs", "text.split", "text.spilt")
    done = project.make("-j2")
    assert done.returncode == 2
    assert done.stderr.count("error[E0599]") == 1
    assert "build/libwords.rmeta] Error 1" in done.stderr
    assert "counts" not in done.stdout
    project.edit("src/words.rs", "text.spilt", "text.split")
    assert project.make("-j2").returncode == 0
    assert project.count() == COUNTED


def test_an_error_behind_the_metadata_is_shown_once_and_ends_the_build(project: Project) -> None:
    """One that only writing the library finds: what it is to have in it is not there."""
    broken = '#[link(name = "nowhere", kind = "static")]\nextern "C" {}\n'
    project.make("-j2")
    with (project.root / "src/words.rs").open("a") as file:
        file.write(broken)
    for _ in range(2):
        done = project.make("-j2")
        assert done.returncode == 2
        assert done.stderr.count("native static library `nowhere`") == 1
        assert "build/libwords.rlib] Error 1" in done.stderr
    assert (project.root / "build/libwords.rmeta").exists()
    project.edit("src/words.rs", broken, "")
    assert project.make("-j2").returncode == 0
    assert project.count() == COUNTED


def test_a_compiler_that_is_killed_is_told_once(project: Project, tmp_path: Path) -> None:
    project.words["RUSTC"] = rustc(tmp_path, words="kill -KILL $$")
    done = project.make("-j2")
    assert done.returncode == 2
    assert done.stderr.count("process-wrapper: rustc was killed by signal 9 (SIGKILL)") == 1
    assert "Error 137" in done.stderr


def test_warnings_are_shown_once(project: Project) -> None:
    with (project.root / "src/words.rs").open("a") as file:
        file.write("fn never() {}\n")
    done = project.make("-j2")
    assert done.returncode == 0
    assert done.stderr.count("function `never` is never used") == 1
    assert project.make("-j2").stderr == ""


def test_edits_are_seen_also_of_files_that_only_the_compiler_knows(project: Project) -> None:
    (project.root / "src/more").mkdir()
    (project.root / "src/more/lower.rs").write_text(
        "pub fn change(word: &str) -> String { word.to_lowercase() }\n"
    )
    project.edit("src/words.rs", "str::to_lowercase", "lower::change")
    with (project.root / "src/words.rs").open("a") as file:
        file.write('#[path = "more/lower.rs"]\nmod lower;\n')
    project.make("-j2")
    assert project.count() == COUNTED
    project.edit("src/more/lower.rs", "lowercase", "uppercase")
    done = project.make("-j2")
    assert done.stdout.split()[1::2] == ["words", "counts", "report", "top"]
    assert project.count() == COUNTED.upper()


def test_a_dry_run_does_nothing(project: Project) -> None:
    done = project.make("-n", "-j2")
    assert done.returncode == 0
    assert not (project.root / "build").exists()


async def test_I3_an_interrupted_build_leaves_no_compiler_and_goes_on_later(
    project: Project, tmp_path: Path, fifos: tuple[Fifo, Fifo]
) -> None:
    """^C reaches everybody in the foreground: make, what waits, and compiles that go on behind make's back."""
    project.make("-j2")
    whole = project.built()
    shutil.rmtree(project.root / "build")
    up, never = fifos
    project.words["RUSTC"] = rustc(
        tmp_path,
        words=f'$rustc "$@"; echo $$ > {up}; exec cat {never}',
        counts=f"echo $$ > {up}; exec cat {never}",
    )
    make = await trio.lowlevel.open_process(
        project.command("-j2"),
        cwd=project.root,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    await up.line()
    await up.line()
    os.killpg(make.pid, signal.SIGINT)
    with trio.fail_after(PATIENCE):
        await make.wait()
    # make dies of it; or fails, when it hears of a recipe's death first.
    assert make.returncode in {-signal.SIGINT, 2}
    assert not (project.root / "build/libwords.rlib").exists()
    told = (project.root / "build/libwords.rmeta").stat()
    project.words.clear()
    done = project.make("-j2")
    assert (done.returncode, done.stderr) == (0, "")
    assert project.built() == whole
    assert (project.root / "build/libwords.rmeta").stat().st_mtime_ns == told.st_mtime_ns


def test_what_was_told_early_is_not_touched_again(tmp_path: Path) -> None:
    """Also where publishing has to copy: a build tool would take a newer time for a change."""
    (tmp_path / "a.rs").write_text("pub fn a() {}\n")
    command = [RUSTC, "--crate-type=lib", "--emit=metadata,link,asm,dep-info", "--out-dir=out", "a.rs"]
    early = ["--early-output=out/liba.rmeta", "--on-early=stat -c '%i %y' out/liba.rmeta"]
    for shared in ("/dev/shm", str(tmp_path)):
        told = run([WRAPPER, *early, "--", *command], tmp_path, {"TMPDIR": shared})
        assert (told.returncode, told.stderr) == (0, "")
        assert run(["stat", "-c", "%i %y", "out/liba.rmeta"], tmp_path, {}).stdout == told.stdout
    piped = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    assert run([WRAPPER, "--", *command], tmp_path, {}).returncode == 0
    assert files(tmp_path / "out") == piped
    assert len(piped) == 4


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_line_for_shells(tmp_path: Path, shell: str) -> None:
    """As examples/README.md gives it."""
    readme = (EXAMPLE.parent / "README.md").read_text()
    (line,) = [text.strip() for text in readme.splitlines() if text.startswith("    early=$(flock")]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/words.rs").write_text("pub fn words() {}\n")
    (tmp_path / "build").mkdir()
    path = f"{WRAPPER.parent}:{Path(RUSTC).parent}:{os.environ['PATH']}"
    told = run([shell, "-c", f'{line}; echo "$early"; flock lock cat log'], tmp_path, {"PATH": path})
    assert (told.returncode, told.stdout, told.stderr) == (0, "0\n", "")
    assert {path.name for path in (tmp_path / "build").iterdir()} == {"libwords.rmeta", "libwords.rlib"}
