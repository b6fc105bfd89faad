"""Real Cargo builds, imported, and built again without Cargo: each unit in a directory that holds its declared inputs and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_worker.cargo.commands import Mode, Phase, outputs, request_inputs, request_lines
from headstart_worker.cargo.importer import import_cargo
from headstart_worker.cargo.units import BINARY, BUILD_SCRIPT, LIBRARY, PROC_MACRO, Units, decode
from headstart_wrapper import spawner
from real.audited import assert_audited

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(shutil.which("cargo") is None, reason="needs a real cargo"),
]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OUTROOT = "out"


def quiet(_line: str) -> None:
    pass


def refused(*arguments: str) -> tuple[int, str]:
    """The exit code of an import that is refused, and what it says."""
    command = [sys.executable, "-c", "from headstart_worker.tools import main; main()", "import-cargo"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def replay(workspace: Path, units: Units, mode: Mode, place: Path) -> dict[str, str]:
    """Runs every unit with plain rustc; returns the hash of every output but the dep-info, which is text with paths."""
    hashes = {}
    for number, unit in enumerate(units):
        root = place / str(number)
        phase: Phase | None = "full" if mode == "worker" and unit.kind == LIBRARY else None
        made = outputs(unit, OUTROOT)
        inputs = request_inputs(unit, units, mode=mode, phase=phase, outroot=OUTROOT)
        for path in set(inputs) - {made.metadata}:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            os.link((place if path.startswith(f"{OUTROOT}/") else workspace) / path, root / path)
        for path in made.all:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
        lines = request_lines(unit, units, mode=mode, phase=phase, outroot=OUTROOT, rustc=units.rustc)
        run(lines, root)
        assert_audited(root, unit, inputs, made)
        for path in made.all:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).rename(place / path)
            if path != made.dep_info:
                hashes[path] = hashlib.sha256((place / path).read_bytes()).hexdigest()
        shutil.rmtree(root)
    return hashes


def run(lines: list[str], root: Path) -> None:
    """What the process wrapper does with a request, without it."""
    end = lines.index("--")
    env = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}
    for line in lines[:end]:
        if line.startswith("--env="):
            name, _, value = line.removeprefix("--env=").partition("=")
            env[name] = value.replace("${pwd}", str(root))
    command = [argument.replace("${pwd}", str(root)) for argument in lines[end + 1 :]]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Units]:
    out = tmp_path_factory.mktemp("hello") / "workspace"
    return out, import_cargo(EXAMPLES / "hello", out, progress=quiet)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Units]:
    if subprocess.run(
        ["cargo", "fetch", "--locked"], cwd=EXAMPLES / "search", capture_output=True, check=False
    ).returncode:
        pytest.skip("the registry cannot be reached")
    out = tmp_path_factory.mktemp("search") / "workspace"
    return out, import_cargo(EXAMPLES / "search", out, progress=quiet)


def texts(workspace: Path) -> Iterator[tuple[Path, str]]:
    for pattern in ("units.json", "**/BUILD.bazel"):
        for path in workspace.glob(pattern):
            yield path, path.read_text()


def test_hello_has_its_four_crates(hello: tuple[Path, Units]) -> None:
    _out, units = hello
    kinds = {unit.package: unit.kind for unit in units}
    assert kinds == {"base": LIBRARY, "macros": PROC_MACRO, "middle": LIBRARY, "app": BINARY}


def test_the_file_says_what_the_function_returned(hello: tuple[Path, Units]) -> None:
    out, units = hello
    assert decode((out / "units.json").read_text()) == units


def test_the_compiler_is_no_proxy(hello: tuple[Path, Units]) -> None:
    _out, units = hello
    sysroot = subprocess.run(
        [units.rustc, "--print", "sysroot"], cwd="/", env={}, capture_output=True, text=True, check=True
    )
    assert units.rustc == sysroot.stdout.strip() + "/bin/rustc"


def test_nothing_of_the_machine_is_in_the_workspace(hello: tuple[Path, Units]) -> None:
    out, units = hello
    for path, text in texts(out):
        for word in (str(EXAMPLES), "headstart-cargo-", "MAKEFLAGS", "LD_LIBRARY_PATH", spawner.TAG):
            assert word not in text.replace(units.rustc, ""), path


def test_I6_hello_has_the_same_bytes_in_two_places_and_both_modes(
    hello: tuple[Path, Units], tmp_path: Path
) -> None:
    out, units = hello
    one, other = tmp_path / "one", tmp_path / "another/place"
    assert replay(out, units, "none", one) == replay(out, units, "worker", other)
    app = next(unit for unit in units if unit.kind == BINARY)
    done = subprocess.run([other / outputs(app, OUTROOT).code], capture_output=True, text=True, check=True)
    assert done.stdout == "Hello, world! EARLY\n"


def test_an_import_replaces_an_import(hello: tuple[Path, Units]) -> None:
    out, units = hello
    before = dict(texts(out))
    (out / "crates" / "base" / "stale.rs").touch()
    assert import_cargo(EXAMPLES / "hello", out, progress=quiet) == units
    assert dict(texts(out)) == before
    assert not (out / "crates" / "base" / "stale.rs").exists()


def test_release_has_other_flags(tmp_path: Path) -> None:
    units = import_cargo(EXAMPLES / "hello", tmp_path / "out", release=True, progress=quiet)
    assert all("opt-level=3" in unit.args for unit in units if unit.kind in {LIBRARY, BINARY})


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    code, said = refused(str(EXAMPLES / "hello"), "--out", str(tmp_path))
    assert code == 125
    assert "name another directory with --out" in said
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_without_a_manifest_it_says_so(tmp_path: Path) -> None:
    code, said = refused(str(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 125
    assert "there is no Cargo.toml in" in said


def test_without_cargo_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RUSTC", raising=False)
    code, said = refused(str(EXAMPLES / "hello"), "--out", str(tmp_path / "out"))
    assert code == 127
    assert "install Rust" in said


def test_a_failed_build_shows_the_compilers_error(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib.rs").write_text("pub fn f() -> u8 { true }\n")
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "broken"\nversion = "0.1.0"\nedition = "2021"\n')
    code, said = refused(str(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 125
    assert "mismatched types" in said.rpartition("it said:")[2]
    assert not (tmp_path / "out").exists()


def test_awkward_packages(tmp_path: Path) -> None:
    """Bazel's own files, a file beside the package, a build script's variables and sources, a renamed crate, a C library's name."""
    source = tmp_path / "source"
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["low", "top"]\nresolver = "2"\n',
        "words.txt": "beside",
        "low/Cargo.toml": '[package]\nname = "low-level"\nversion = "0.1.0+b1"\nedition = "2021"\ndescription = "two\\nlines"\n'
        '[lib]\ncrate-type = ["cdylib", "rlib"]\n',
        "low/src/lib.rs": 'pub const WORDS: &str = include_str!("../../words.txt");\n'
        'pub const ABOUT: &str = env!("CARGO_PKG_DESCRIPTION");\n',
        "low/BUILD": "not Bazel",
        "top/Cargo.toml": '[package]\nname = "top"\nversion = "0.1.0"\nedition = "2021"\n'
        '[dependencies]\nbelow = { package = "low-level", path = "../low" }\n',
        "top/build.rs": "fn main() {\n"
        '    let out = std::env::var("OUT_DIR").unwrap();\n'
        '    std::fs::write(format!("{out}/made here.rs"), "pub const MADE: u8 = 7;").unwrap();\n'
        '    println!("cargo:rustc-env=SAID=said {out}");\n'
        '    println!("cargo:rustc-cfg=told");\n'
        "}\n",
        "top/src/main.rs": 'include!(concat!(env!("OUT_DIR"), "/made here.rs"));\n'
        '#[cfg(told)]\nfn main() { println!("{} {} {MADE} {}", below::WORDS, below::ABOUT, &env!("SAID")[..4]); }\n',
    }
    for path, text in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    out = tmp_path / "out"
    units = import_cargo(source, out, progress=quiet)

    assert not (out / "crates/low-level/BUILD").exists()
    assert (out / "crates/words.txt").read_text() == "beside"
    assert 'exports_files(["crates/words.txt"])' in (out / "BUILD.bazel").read_text()
    top = next(unit for unit in units if unit.crate_name == "top")
    assert (
        f'"//crates/low-level:{units[top.externs[0].unit or ""].name}": "below"'
        in (out / "crates/top/BUILD.bazel").read_text()
    )
    assert top.env["SAID"] == f"said {top.env['OUT_DIR']}"
    assert top.env["OUT_DIR"].startswith("${pwd}/crates/top/out-")

    replay(out, units, "worker", tmp_path / "place")
    done = subprocess.run(
        [tmp_path / "place" / outputs(top, OUTROOT).code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "beside two lines 7 said\n"


def test_search_is_a_real_graph(search: tuple[Path, Units]) -> None:
    out, units = search
    kinds = [unit.kind for unit in units]
    assert len({unit.directory for unit in units}) >= 50
    assert kinds.count(PROC_MACRO) >= 3
    assert kinds.count(BUILD_SCRIPT) >= 5
    linecount = next(unit for unit in units if unit.crate_name == "linecount")
    assert "static=linecount" in linecount.args
    assert [(out / path / "liblinecount.a").is_file() for path in linecount.native] == [True]
    assert f"{linecount.native[0]}/liblinecount.a" in linecount.inputs


def test_search_declares_only_what_it_has(search: tuple[Path, Units]) -> None:
    out, units = search
    for unit in units:
        for path in (unit.root, *unit.inputs):
            assert (out / path).is_file(), unit.name
        assert (out / unit.directory / "BUILD.bazel").is_file()


def test_crates_of_search_read_what_they_declare(search: tuple[Path, Units], tmp_path: Path) -> None:
    out, units = search
    http = next(unit for unit in units if unit.package == "http")
    names = {http.name, *(unit.name for unit in units.needed(http))}
    few = Units(units.compiler, units.rustc, tuple(unit for unit in units if unit.name in names))
    assert len(replay(out, few, "none", tmp_path / "few")) == 2 * len(names)


def test_search_is_free_of_the_machine(search: tuple[Path, Units]) -> None:
    out, units = search
    for path, text in texts(out):
        for word in (str(EXAMPLES), "headstart-cargo-", str(Path.home()), "MAKEFLAGS"):
            assert word not in text.replace(units.rustc, ""), path
