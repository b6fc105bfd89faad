"""The free audit of what real compilers left: everything declared is no finding, everything undeclared that they tell is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from attrs import field, frozen

from headstart_wrapper.records import evolve
from headstart_wrapper.sandbox import audit as audits
from headstart_wrapper.sandbox.audit import Audit, audit
from headstart_wrapper.sandbox.declared import Declared
from headstart_wrapper.sandbox.verdict import Finding, Kind, sentence

needs_rustc = pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH")
needs_gcc = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ on PATH")


@frozen
class Project:
    """A directory in which a compiler runs."""

    root: Path
    env: dict[str, str] = field(factory=dict)

    def write(self, files: dict[str, str]) -> None:
        """Writes files, by their paths."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *command: str) -> None:
        env = {name: value for name, value in os.environ.items() if name != "NEITHER"} | self.env
        subprocess.run(command, cwd=self.root, env=env, check=True, capture_output=True, text=True)

    def declared(self, *inputs: str, outputs: tuple[str, ...], **more: object) -> Declared:
        """A declaration with paths relative to the directory; what ends in `.d` among the outputs is dep-info."""
        return Declared(
            directory=str(self.root),
            inputs=tuple(str(self.root / path) for path in inputs),
            outputs=tuple((path, str(self.root / path)) for path in outputs),
            dep_info=tuple(str(self.root / path) for path in outputs if path.endswith(".d")),
            **more,  # type: ignore[arg-type]
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project directory"
    (root / "out").mkdir(parents=True)
    return Project(root)


def kinds(found: Audit) -> list[tuple[Kind, str]]:
    return [(finding.kind, finding.path) for finding in found.findings]


CRATE = {
    "src/lib.rs": """
        mod part;
        pub const TEXT: &str = include_str!("a text.txt");
        pub const BYTES: &[u8] = include_bytes!("../data.bin");
        pub const BOTH: &str = env!("BOTH");
        pub const NEITHER: Option<&str> = option_env!("NEITHER");
        pub fn f() -> u32 { part::g() }
    """,
    "src/part.rs": "pub fn g() -> u32 { panic!() }",
    "src/a text.txt": "text",
    "data.bin": "data",
}
SOURCES = ("src/lib.rs", "src/part.rs", "src/a text.txt", "data.bin")
RUST_OUTPUTS = ("out/lib.d", "out/liblib.rlib", "out/liblib.rmeta")
RUSTC = (
    *("rustc", "--edition=2021", "--crate-type=lib", "--emit=dep-info,metadata,link", "--out-dir=out"),
    "src/lib.rs",
)


@pytest.fixture
def crate(project: Project) -> Project:
    project.env["BOTH"] = "a=b"
    project.write(CRATE)
    project.run(*RUSTC, "-Cdebuginfo=2", f"--remap-path-prefix={project.root}=.")
    return project


@needs_rustc
def test_a_declared_crate_is_no_finding(crate: Project, tmp_path: Path) -> None:
    declared = crate.declared(*SOURCES, outputs=RUST_OUTPUTS, env=("BOTH", "NEITHER"))
    places = (str(crate.root), str(tmp_path), str(Path.home()))
    assert audit(declared, private=(str(crate.root),), secret=places, unused=True) == Audit()


@needs_rustc
@pytest.mark.parametrize("undeclared", SOURCES)
def test_an_undeclared_source_is_named(crate: Project, undeclared: str) -> None:
    inputs = [path for path in SOURCES if path != undeclared]
    declared = crate.declared(*inputs, outputs=RUST_OUTPUTS, env=("BOTH", "NEITHER"))
    found = audit(declared)
    assert kinds(found) == [(Kind.UNDECLARED_READ, undeclared)]
    assert sentence(found.findings[0], "out.o") == (
        f"{undeclared} was read and is not declared (out/lib.d names it); "
        f"declare it: --input={undeclared}, or an input of the action"
    )
    allowed = evolve(declared, allowed=(str(crate.root / undeclared),))
    assert audit(allowed) == Audit()
    assert audit(evolve(declared, inputs=(str(crate.root),))) == Audit()


@needs_rustc
def test_undeclared_variables_are_named_set_or_not(crate: Project) -> None:
    declared = crate.declared(*SOURCES, outputs=RUST_OUTPUTS)
    assert audit(declared).findings == (
        Finding(
            Kind.UNDECLARED_VARIABLE,
            "BOTH",
            "out/lib.d names it",
            "declare it: --env=BOTH=VALUE, or a variable of the action",
        ),
        Finding(
            Kind.UNDECLARED_VARIABLE,
            "NEITHER",
            "out/lib.d names it; it was not set",
            "declare it: --env=NEITHER=VALUE, or a variable of the action",
        ),
    )


@needs_rustc
def test_a_source_through_a_link_is_the_one_that_was_declared(crate: Project, tmp_path: Path) -> None:
    """As Bazel's execution root has it: links to sources, and to directories of them."""
    real = tmp_path / "elsewhere"
    (crate.root / "src").rename(real)
    (crate.root / "src").symlink_to(real)
    declared = crate.declared(*SOURCES, outputs=RUST_OUTPUTS, env=("BOTH", "NEITHER"))
    resolved = tuple(os.path.realpath(path) for path in declared.inputs)
    assert audit(evolve(declared, inputs=resolved), unused=True) == Audit()


@needs_rustc
@pytest.mark.parametrize("size", [0, 10, 5000, "half", -100, -1])
def test_a_library_that_was_cut_off_is_told(crate: Project, size: int | str) -> None:
    library = crate.root / "out/liblib.rlib"
    whole = library.stat().st_size
    os.truncate(library, whole // 2 if isinstance(size, str) else size if size >= 0 else whole + size)
    declared = crate.declared(*SOURCES, outputs=RUST_OUTPUTS, env=("BOTH", "NEITHER"))
    assert kinds(audit(declared)) == [(Kind.INCOMPLETE_OUTPUT, "out/liblib.rlib")]


@needs_rustc
def test_outputs_are_held_to_their_declaration(crate: Project) -> None:
    crate.write({"out/more.txt": "", "out/deep/more.txt": ""})
    (crate.root / "out/link").symlink_to("deep")
    declared = crate.declared(*SOURCES, outputs=(*RUST_OUTPUTS, "out/missing.o"), env=("BOTH", "NEITHER"))
    missing = (Kind.MISSING_OUTPUT, "out/missing.o")
    undeclared = [(Kind.UNDECLARED_OUTPUT, f"out/{name}") for name in ("link", "more.txt", "deep/more.txt")]
    assert kinds(audit(declared)) == [missing], "a directory that is not private holds other jobs' files"
    assert kinds(audit(declared, private=(str(crate.root / "out"),))) == [missing, *undeclared]
    whole = evolve(declared, outputs=(("out", str(crate.root / "out")),))
    assert audit(whole, private=(str(crate.root),)) == Audit(), "an output that is a directory"


@needs_rustc
def test_paths_are_spelled_as_the_declaration_has_them(crate: Project, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    (crate.root / "out").rename(stage)
    (stage / "liblib.rlib").write_bytes(b"!<arch>\nx")
    declared = Declared(
        directory=str(crate.root),
        inputs=tuple(str(crate.root / path) for path in SOURCES),
        outputs=tuple((path, str(stage / Path(path).name)) for path in RUST_OUTPUTS if "rmeta" not in path),
        dep_info=(str(stage / "lib.d"),),
        env=("BOTH",),
        spellings=((str(stage), "out"),),
    )
    found = audit(declared, private=(str(stage),))
    assert kinds(found) == [
        (Kind.UNDECLARED_VARIABLE, "NEITHER"),
        (Kind.UNDECLARED_OUTPUT, "out/liblib.rmeta"),
        (Kind.INCOMPLETE_OUTPUT, "out/liblib.rlib"),
    ]
    assert "out/lib.d names it" in found.findings[0].detail


@needs_rustc
def test_unused_sources_are_listed_on_request(crate: Project) -> None:
    more = ("src/unused.rs", "src/unused.txt", "libother.rlib")
    crate.write(dict.fromkeys(more, ""))
    declared = crate.declared(*SOURCES, *more, outputs=RUST_OUTPUTS, env=("BOTH", "NEITHER"))
    assert audit(declared) == Audit()
    assert kinds(audit(declared, unused=True)) == [(Kind.UNUSED_INPUT, "src/unused.rs")]
    without = audit(evolve(declared, dep_info=()), unused=True)
    assert without == Audit(notes=("unused inputs cannot be told: there is no dep-info",))


@needs_rustc
def test_dep_info_that_is_not_there_is_noted(crate: Project) -> None:
    (crate.root / "out/lib.d").unlink()
    found = audit(crate.declared(outputs=RUST_OUTPUTS))
    assert kinds(found) == [(Kind.MISSING_OUTPUT, "out/lib.d")]
    assert found.notes == ("what was read cannot be told from out/lib.d: No such file or directory",)


@needs_rustc
def test_rustc_leaks_are_told_by_section(project: Project) -> None:
    project.env["SECRET"] = f"{project.root}/secret"
    source = """
        #[no_mangle] pub static SECRET_TEXT: [u8; 4096] = *include_bytes!("../page.bin");
        #[inline] pub fn path() -> &'static str { env!("SECRET") }
        pub fn f(a: &[u8]) -> u8 { a[3] }
    """
    page = f"{project.root}/page".ljust(4096, "\0")
    project.write({"src/lib.rs": source, "page.bin": page})
    project.run(*RUSTC, "-Cdebuginfo=2", "-Cembed-bitcode=yes")
    declared = project.declared("src/lib.rs", "page.bin", outputs=RUST_OUTPUTS, env=("SECRET",))
    found = audit(declared, secret=(str(project.root),))
    assert {finding.kind for finding in found.findings} == {Kind.LEAKED_PATH}
    details = [finding.detail for finding in found.findings if finding.path == "out/liblib.rlib"]
    for place in (" in .rmeta of lib.rmeta", " in .llvmbc of lib.", " in .rodata", "(symbol SECRET_TEXT)"):
        assert any(place in detail for detail in details), (place, details)
    names = [detail for detail in details if " in .debug_str " in detail]
    assert len(names) == 1
    assert "(DW_AT_comp_dir)" in names[0]
    assert any(
        finding.path == "out/liblib.rmeta" and " at byte " in finding.detail for finding in found.findings
    )


HEADERS = {
    "main.cc": '#include "own.h"\n#include <vector>\n#include "deep/$ # x.h"\nstd::vector<int> f() { return {own()}; }\n',
    "own.h": "inline int own() { return 1; }\n",
    "deep/$ # x.h": "extern int x;\n",
}
C_SOURCES = ("main.cc", "own.h", "deep/$ # x.h")
C_OUTPUTS = ("out/main.o", "out/main.d")
GCC = ("g++", "-MD", "-MF", "out/main.d", "-c", "main.cc", "-o", "out/main.o")


@needs_gcc
@pytest.mark.parametrize("phony", [(), ("-MP",)])
def test_undeclared_headers_are_named_and_the_systems_are_not(
    project: Project, phony: tuple[str, ...]
) -> None:
    project.write(HEADERS)
    project.run(*GCC, *phony)
    assert audit(project.declared(*C_SOURCES, outputs=C_OUTPUTS), unused=True) == Audit()
    assert kinds(audit(project.declared("main.cc", outputs=C_OUTPUTS))) == [
        (Kind.UNDECLARED_READ, "own.h"),
        (Kind.UNDECLARED_READ, "deep/$ # x.h"),
    ]


@needs_gcc
def test_a_header_outside_of_the_directory_is_the_systems_the_tools_or_undeclared(
    project: Project, tmp_path: Path
) -> None:
    project.write({"main.cc": "#include <outer.h>\n#include <brought.h>\n"})
    tools = tmp_path / "tools/lib/gcc/include"
    tools.mkdir(parents=True)
    (tools / "brought.h").touch()
    (tmp_path / "outer.h").touch()
    project.run(*GCC, f"-I{tmp_path}", f"-I{tools}")
    declared = project.declared("main.cc", outputs=C_OUTPUTS)
    outer = str(tmp_path / "outer.h")
    assert kinds(audit(declared)) == [(Kind.UNDECLARED_READ, outer)]
    assert audit(declared, toolchain=(str(tmp_path),)) == Audit()


@needs_gcc
def test_a_header_beside_a_links_target_is_the_declared_one(project: Project, tmp_path: Path) -> None:
    """`link/../x.h` is beside what the link leads to."""
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "real/x.h").touch()
    (project.root / "link").symlink_to(tmp_path / "real/deep")
    project.write({"main.cc": '#include "link/../x.h"\n'})
    project.run(*GCC)
    declared = project.declared("main.cc", "../real/x.h", outputs=C_OUTPUTS)
    normal = tuple(os.path.normpath(path) for path in declared.inputs)
    assert audit(evolve(declared, inputs=normal), unused=True) == Audit()
    assert kinds(audit(evolve(declared, inputs=normal[:1]))) == [(Kind.UNDECLARED_READ, normal[1])]


@needs_gcc
def test_a_header_by_way_of_proc_is_the_declared_one(project: Project) -> None:
    project.write(HEADERS)
    project.run(*GCC[:-3], "/proc/self/cwd/main.cc", *GCC[-2:])
    assert "/proc/self/cwd/" in (project.root / "out/main.d").read_text()
    assert audit(project.declared(*C_SOURCES, outputs=C_OUTPUTS)) == Audit()
    assert kinds(audit(project.declared("own.h", outputs=C_OUTPUTS))) == [
        (Kind.UNDECLARED_READ, "main.cc"),
        (Kind.UNDECLARED_READ, "deep/$ # x.h"),
    ]


@needs_gcc
def test_what_is_not_there_any_more_is_no_finding(project: Project, tmp_path: Path) -> None:
    """A temporary header; a header that a script named from another directory."""
    project.write({"main.cc": "#include <made.h>\n"})
    private = tmp_path / "private"
    private.mkdir()
    (private / "made.h").touch()
    project.run(*GCC, f"-I{private}")
    declared = project.declared("main.cc", outputs=C_OUTPUTS)
    made = str(private / "made.h")
    assert kinds(audit(declared, private=(str(private),))) == [
        (Kind.UNDECLARED_READ, made),
        (Kind.UNDECLARED_OUTPUT, made),
    ]
    (private / "made.h").unlink()
    assert audit(declared, private=(str(private),)) == Audit()


@needs_gcc
def test_what_the_assembler_includes_is_missed_as_documented(project: Project) -> None:
    project.write({"main.cc": 'asm(".incbin \\"blob.bin\\"");\n', "blob.bin": "blob"})
    project.run(*GCC)
    assert audit(project.declared("main.cc", outputs=C_OUTPUTS)) == Audit()


@needs_gcc
@pytest.mark.parametrize("how", [(), ("-gz",)], ids=["plain", "compressed"])
def test_gcc_leaks_are_told(project: Project, how: tuple[str, ...]) -> None:
    project.write({"main.cc": 'extern "C" const char HERE[] = __FILE__;\nint f() { return 1; }\n'})
    command = (*GCC[:-3], str(project.root / "main.cc"), *GCC[-2:])
    project.run(*command, "-g", *how)
    plain = (project.root / "out/main.o").read_bytes().count(os.fsencode(project.root))
    assert plain == 1 if how else plain > 1, "what is compressed is not to be found without"
    declared = project.declared("main.cc", outputs=C_OUTPUTS)
    found = audit(declared, secret=(str(project.root),))
    details = {finding.detail for finding in found.findings}
    assert f"{project.root} once in .rodata (symbol HERE): {project.root}/main.cc" in details
    assert any(".debug_" in detail and "DW_AT_comp_dir" in detail for detail in details), details
    assert {finding.path for finding in found.findings} == {"out/main.o"}, "dep-info may name files"
    project.run(*command, "-g", *how, f"-ffile-prefix-map={project.root}=.")
    assert audit(declared, secret=(str(project.root),)) == Audit()


@needs_gcc
def test_an_output_that_is_too_large_is_noted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write({"main.cc": "const char HERE[] = __FILE__;\nint f() { return 1; }\n"})
    project.run(*GCC, "-g")
    monkeypatch.setattr(audits, "MOST_SEARCHED", 0)
    declared = project.declared("main.cc", outputs=C_OUTPUTS)
    notes = ("out/main.o is not searched for directories: it has more than 0 MiB",)
    assert audit(declared, secret=(str(project.root),)) == Audit(notes=notes)
    assert audit(declared) == Audit()


def test_outputs_that_are_no_files_are_passed_over(project: Project) -> None:
    os.mkfifo(project.root / "out/fifo")
    os.mkfifo(project.root / "out/fifo.d")
    (project.root / "out/broken").symlink_to("nowhere")
    (project.root / "out/null").symlink_to("/dev/null")
    declared = project.declared(outputs=("out/fifo", "out/fifo.d", "out/broken", "out/null"))
    assert audit(declared, secret=("/some/where",)) == Audit()
