"""`headstart check` with real compilers: what they read and wrote beyond what was declared, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headstart_wrapper.sandbox import tracer
from process.checking import MISLEADING, PROBE, READ, UNUSED, WRITE, check, found, write

pytestmark = pytest.mark.skipif(bool(tracer.can_trace()), reason=tracer.can_trace())
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on PATH")
needs_rustc = pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; nothing in the environment names files."""
    directory = tmp_path / "project"
    directory.mkdir()
    monkeypatch.chdir(directory)
    for name in MISLEADING:
        monkeypatch.delenv(name, raising=False)
    return directory


@pytest.fixture
def c_project(project: Path) -> Path:
    write("a.c", '#include "h.h"\nint answer(void) { return X; }\n')
    write("inc2/b.c", '#include "h.h"\nint answer(void) { return X; }\n')
    write("inc2/h.h", "#define X 42\n")
    Path("inc1").mkdir()
    return project


GCC = ("--output=a.o", "--", "gcc", "-Iinc1", "-Iinc2", "-c", "a.c", "-o", "a.o")


@needs_gcc
@pytest.mark.usefixtures("c_project")
def test_all_declared_is_an_empty_table() -> None:
    command = ("--output=b.o", "--", "gcc", "-Iinc1", "-c", "inc2/b.c", "-o", "b.o")
    assert not found("--input=inc1", "--input=inc2", *command)
    assert found("--input=inc1", "--input=inc2", "--input=c.c", *command) == {(UNUSED, "c.c")}


@needs_gcc
@pytest.mark.usefixtures("c_project")
def test_an_undeclared_header_and_the_places_that_could_shadow_it_are_told() -> None:
    told = found("--input=a.c", *GCC)
    assert (READ, "inc2/h.h") in told
    assert {(PROBE, "inc1/h.h"), (PROBE, "h.h")} <= told
    assert {kind for kind, _ in told} == {READ, PROBE}


@needs_gcc
@pytest.mark.usefixtures("c_project")
def test_what_the_depfile_misses_is_seen() -> None:
    write("blob.bin", "binary")
    write("a.c", '__asm__(".incbin \\"blob.bin\\"");\n')
    declared = ("--input=a.c", "--output=a.d", "--output=a.o")
    told = found(*declared, "--", "gcc", "-MD", "-c", "a.c", "-o", "a.o")
    assert "blob.bin" not in Path("a.d").read_text()
    assert {each for each in told if each[0] != PROBE} == {(READ, "blob.bin")}


@needs_gcc
@pytest.mark.usefixtures("c_project")
def test_a_program_is_linked_without_findings_about_the_system() -> None:
    write("main.c", '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
    told = found("--input=main.c", "--output=main", "--", "gcc", "main.c", "-o", "main")
    assert {each for each in told if each[0] != PROBE} == set()


@needs_gcc
@pytest.mark.usefixtures("c_project")
def test_a_person_reads_tables_and_what_to_add() -> None:
    done = check("--input=unused.h", *GCC)
    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "check: gcc -Iinc1 -Iinc2 -c a.c -o a.o (exit code 0)"
    assert lines[2:5] == ["read, and not declared (2)", "a.c read by cc1", "inc2/h.h read by cc1"]
    assert lines[lines.index("declared, and never used (1)") + 1] == "unused.h"
    assert lines[-3:] == ["to add: --input=a.c --input=inc2/h.h", "", "Not declared: 2 read, 0 written."]
    clean = check("--input=a.c", "--input=inc1", "--input=inc2", *GCC)
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (
        0,
        "Everything that it read and wrote is declared.",
    )


LIBRARY = ("--", "rustc", "--crate-type=lib", "--emit=metadata,link,dep-info", "--out-dir=out", "lib.rs")
OUTPUTS = ("--output=out/liblib.rlib", "--output=out/liblib.rmeta", "--output=out/lib.d")


@pytest.mark.rustc
@needs_rustc
@pytest.mark.usefixtures("project")
def test_what_a_library_includes_is_seen() -> None:
    write("lib.rs", 'pub const T: &str = include_str!("t.txt");\npub mod m;\n')
    write("m.rs", "")
    write("t.txt", "")
    pins = ("--input=rust-toolchain", "--input=rust-toolchain.toml", "--input=m")
    told = found("--input=lib.rs", *OUTPUTS, *LIBRARY)
    assert told >= {(READ, "m.rs"), (READ, "t.txt"), (PROBE, "m/mod.rs")}
    assert {each for each in told if each[0] != PROBE} == {(READ, "m.rs"), (READ, "t.txt")}
    told = found("--input=lib.rs", "--input=m.rs", "--input=t.txt", *pins, *OUTPUTS, *LIBRARY)
    assert {kind for kind, _ in told} <= {UNUSED}
    assert {(WRITE, "out/liblib.rmeta")} == found("--input=.", OUTPUTS[0], OUTPUTS[2], *LIBRARY)


@pytest.mark.rustc
@needs_rustc
@pytest.mark.usefixtures("project")
def test_what_a_procedural_macro_reads_is_seen() -> None:
    write(
        "m.rs",
        "extern crate proc_macro;\n#[proc_macro] pub fn m(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n"
        'let n = std::fs::read_to_string("data.txt").unwrap().len() + std::env::var("SEED").map_or(0, |seed| seed.len());\n'
        "n.to_string().parse().unwrap() }\n",
    )
    write("lib.rs", "pub const N: usize = m::m!();\n")
    write("data.txt", "data")
    macro = found("--input=m.rs", "--output=libm.so", "--", "rustc", "--crate-type=proc-macro", "m.rs")
    assert {kind for kind, _ in macro} <= {PROBE}
    command = (*LIBRARY, "--extern=m=libm.so")
    told = found("--input=lib.rs", "--input=libm.so", *OUTPUTS, *command)
    assert {each for each in told if each[0] != PROBE} == {(READ, "data.txt")}
    assert "data.txt" not in Path("out/lib.d").read_text()
    told = found("--input=lib.rs", "--input=libm.so", "--input=data.txt", *OUTPUTS, *command)
    assert {kind for kind, _ in told} <= {PROBE}
