"""What the rustc dialect claims of rustc, held against a real one (HEADSTART_TEST_RUSTC, else the one on PATH)."""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

from headstart_wrapper.dialects import EarlyReady, EarlySignal, Plan, Text, find
from headstart_wrapper.elf import agree, embedded_metadata, metadata_of

RUSTC = os.environ.get("HEADSTART_TEST_RUSTC") or shutil.which("rustc") or ""

pytestmark = [pytest.mark.rustc, pytest.mark.skipif(not RUSTC, reason="there is no rustc")]

LIBRARY = """//! A crate with generics, closures and several codegen units.
use std::collections::HashMap;
use std::fmt::Debug;
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<T> { pub all: Vec<T>, by_name: HashMap<String, T> }
impl<T: Clone + Debug> Pair<T> {
    pub fn new() -> Self { Pair { all: vec![], by_name: HashMap::new() } }
    #[inline] pub fn push(&mut self, t: T) { self.all.push(t.clone()); self.by_name.insert(format!("{:?}", t), t); }
}
pub fn mono() -> Pair<u64> { let mut pair = Pair::new(); pair.push(3); pair }
pub mod inner { pub fn small(x: u32) -> u32 { x + 1 } }
"""
WARNINGS = """pub fn small(x: u32) -> u32 { let unused = 3; let mut other = 4; x + 1 }
fn never() -> &'static str { "a very long literal that goes on and on and on, over and over again, until the line is much wider than one hundred and forty columns" }
#[deprecated] pub fn old() {}
pub fn calls() { old(); let name = "ünïcode \\u{1F980}"; }
"""
ERRORS = """pub fn a() -> u32 { "x" }
pub fn b() -> String { 5 }
fn c() { let y = 1; undefined_thing(); }
"""


@frozen
class Run:
    code: int
    text: bytes
    ready: list[str]


def run(plan: Plan, cwd: Path, **environment: str) -> Run:
    """Run a plan's command, its stderr through its filter in chunks of an awkward size."""
    for directory in plan.directories:
        Path(cwd, directory).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        plan.command, cwd=cwd, capture_output=True, check=False, env={**os.environ, **environment}
    )
    if plan.stderr is None:
        return Run(done.returncode, done.stderr, [])
    output = plan.stderr()
    events = [
        event for at in range(0, len(done.stderr), 1009) for event in output.feed(done.stderr[at : at + 1009])
    ]
    events += output.close()
    text = b"".join(event.data for event in events if isinstance(event, Text))
    return Run(done.returncode, text, [event.path for event in events if isinstance(event, EarlyReady)])


def plain(command: Sequence[str], cwd: Path) -> Run:
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=False)
    return Run(done.returncode, done.stderr, [])


def plan(
    cwd: Path,
    *arguments: str,
    early: Sequence[str] = (),
    stage: str | None = None,
    pipelined: bool | None = None,
) -> Plan:
    return find(None, ["rustc"]).plan(
        [RUSTC, *arguments],
        early_outputs=early,
        pipelined=bool(early) if pipelined is None else pipelined,
        stage=stage,
        read=lambda path: Path(cwd, path).read_text(encoding="utf-8"),
        directory=str(cwd),
    )


def library(*more: str, name: str = "dep") -> list[str]:
    emit = "--emit=dep-info,metadata,link"
    return [
        "--crate-name",
        name,
        "--crate-type",
        "lib",
        emit,
        "--out-dir",
        "out",
        "--edition=2021",
        *more,
        f"{name}.rs",
    ]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    Path(tmp_path, "out").mkdir()
    for name, source in {"dep": LIBRARY, "warn": WARNINGS, "err": ERRORS}.items():
        Path(tmp_path, f"{name}.rs").write_text(source, encoding="utf-8")
    return tmp_path


def harvest(directory: Path) -> dict[str, bytes]:
    """Take all outputs away: name to content."""
    found = {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
    shutil.rmtree(directory)
    directory.mkdir()
    return found


def published(done: Plan, outputs: Sequence[str], cwd: Path) -> dict[str, bytes]:
    """Read outputs from where a plan wrote them, as publishing does."""
    found = {}
    for output in outputs:
        private = done.private(output)
        assert private is not None
        content = Path(private).read_bytes()
        assert not Path(cwd, output).exists()
        texts = [posixpath.normpath(text) for text in done.text_outputs]
        found[posixpath.basename(output)] = (
            done.restore(content) if posixpath.normpath(output) in texts else content
        )
    return found


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-Dwarnings",),
        ("--error-format=short",),
        ("--error-format", "human"),
        ("--color=always",),
        ("--color=never",),
        ("--color", "always", "--error-format=short", "-Dwarnings"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(("name", "code"), [("dep", 0), ("warn", 0), ("err", 1)])
def test_text_is_what_plain_rustc_says(work: Path, name: str, code: int, options: tuple[str, ...]) -> None:
    arguments = library(*options, name=name)
    human = plain([RUSTC, *arguments], work)
    planned = run(plan(work, *arguments), work)
    assert planned.text == human.text
    assert planned.code == human.code
    if "-Dwarnings" not in options:
        assert human.code == code
    assert (name == "dep") == (human.text == b"")
    assert (b"\x1b[" in human.text) == ("always" in " ".join(options) and name != "dep")
    assert bool(planned.ready) == (human.code == 0)


def test_user_json_passes_unchanged_without_artifacts(work: Path) -> None:
    arguments = library("--error-format=json", "--json=diagnostic-short", name="warn")
    said = plain([RUSTC, *arguments], work)
    planned = run(plan(work, *arguments, early=["out/libwarn.rmeta"]), work)
    assert planned.text == said.text
    assert planned.text.count(b"\n") >= 5
    assert planned.ready == ["out/libwarn.rmeta"]


@pytest.mark.parametrize("stage", [False, True])
def test_user_artifacts_pass_unchanged(work: Path, tmp_path: Path, stage: bool) -> None:
    arguments = library("--error-format=json", "--json=artifacts", name="warn")
    said = plain([RUSTC, *arguments], work)
    assert b'"artifact":"out/libwarn.rlib"' in said.text
    planned = run(plan(work, *arguments, stage=str(tmp_path / "s") if stage else None), work)
    assert planned.text == said.text


def test_error_format_json_with_color(work: Path) -> None:
    arguments = library("--error-format=json", "--color=always", name="warn")
    assert run(plan(work, *arguments), work).text == plain([RUSTC, *arguments], work).text


@pytest.mark.parametrize(
    "options",
    [
        ("--json=artifacts",),
        ("--color=mauve",),
        ("--color=always", "--color=never"),
        ("--error-format=json", "--json=artifacts", "--color=always"),
        ("--error-format=human", "--error-format=json"),
        ("--error-format=nonsense",),
        ("--no-such-option",),
    ],
    ids=" ".join,
)
def test_refusals_are_worded_by_rustc(work: Path, options: tuple[str, ...]) -> None:
    arguments = library(*options)
    refused = plain([RUSTC, *arguments], work)
    planned = run(plan(work, *arguments), work)
    assert refused.code != 0
    assert (planned.code, planned.text) == (refused.code, refused.text)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-Cdebuginfo=2",),
        ("-O", "-Cdebuginfo=2", "-C", "extra-filename=-1f", "-C", "metadata=1f"),
        ("-Cdebuginfo=2", "-Csplit-debuginfo=packed", "-Zunstable-options"),
        ("-Cdebuginfo=2", "-Csplit-debuginfo=unpacked", "-Zunstable-options", "--remap-path-prefix=/=r/"),
    ],
    ids=" ".join,
)
def test_I6_same_bytes_pipelined_or_not_staged_or_not(work: Path, options: tuple[str, ...]) -> None:
    arguments = library(*options)
    extra = "-1f" if "extra-filename=-1f" in options else ""
    unstable = {"RUSTC_BOOTSTRAP": "1"} if "-Zunstable-options" in options else {}
    early = [f"out/libdep{extra}.rmeta"]
    assert run(plan(work, *arguments), work, **unstable).code == 0
    alone = harvest(work / "out")
    if unstable:
        assert run(plan(work, *arguments), work, **unstable).code == 0
        if harvest(work / "out") != alone:
            pytest.skip("this rustc (1.63 does) writes other bytes in every run with split debug information")
    assert {f"dep{extra}.d", f"libdep{extra}.rmeta", f"libdep{extra}.rlib"} <= alone.keys()

    assert run(plan(work, *arguments, early=early), work, **unstable).ready == early
    assert harvest(work / "out") == alone

    staged = plan(work, *arguments, early=early, stage=str(work / "a stage"))
    assert staged.early_signal is EarlySignal.LINES
    assert run(staged, work, **unstable).ready == early
    assert published(staged, [f"out/{name}" for name in alone], work) == alone


def test_I6_explicit_paths_of_equal_names_and_none(work: Path) -> None:
    for name in ("a", "b"):
        Path(work, name).mkdir()
    arguments = [
        *("--crate-name=dep", "--crate-type=lib", "--edition=2021", "dep.rs", "--emit=link=a/x"),
        *("--emit", f"metadata={work}/b/x", "--emit=dep-info,obj"),
    ]
    assert run(plan(work, *arguments), work).code == 0
    names = ["a/x", "b/x", "dep.d", "dep.o"]
    before = {name: Path(work, name).read_bytes() for name in names}
    for name in names:
        Path(work, name).unlink()
    assert agree_bytes(before["a/x"], before["b/x"], work)

    staged = plan(work, *arguments, early=["b/x"], stage=f"{work}/s")
    assert run(staged, work).ready == ["b/x"]
    for name in names:
        content = published(staged, [name], work)[posixpath.basename(name)]
        assert content == before[name], name
    assert sorted(path.name for path in work.iterdir()) == [
        "a",
        "b",
        "dep.rs",
        "err.rs",
        "out",
        "s",
        "warn.rs",
    ]


def agree_bytes(archive: bytes, metadata: bytes, cwd: Path) -> bool:
    Path(cwd, "archive").write_bytes(archive)
    Path(cwd, "metadata").write_bytes(metadata)
    equal = agree(str(cwd / "metadata"), str(cwd / "archive"))
    Path(cwd, "archive").unlink()
    Path(cwd, "metadata").unlink()
    return equal


@pytest.mark.parametrize("path", ["out/stem.rlib", "stem"])
@pytest.mark.parametrize("kinds", ["metadata,link,dep-info", "dep-info=out/d.d,link,metadata=out/m.rmeta"])
def test_minus_o(work: Path, path: str, kinds: str) -> None:
    arguments = [
        "--crate-name=dep",
        "--crate-type=rlib",
        f"--emit={kinds}",
        "-o",
        path,
        "--edition=2021",
        "dep.rs",
    ]
    direct = plan(work, *arguments)
    assert direct.final_metadata is not None
    said = run(direct, work)
    assert said.code == 0
    (dep_info,) = direct.text_outputs
    outputs = [direct.final_metadata, dep_info, *said.ready]
    before = {posixpath.basename(name): Path(work, name).read_bytes() for name in outputs}
    for name in outputs:
        Path(work, name).unlink()
    staged = plan(work, *arguments, early=said.ready, stage=f"{work}/s")
    again = run(staged, work)
    assert (again.text, again.ready) == (said.text, said.ready)
    assert published(staged, outputs, work) == before


@pytest.mark.parametrize("kind", ["bin", "proc-macro", "cdylib", "dylib", "staticlib"])
def test_I6_other_crate_types_are_left_alone_and_move(work: Path, kind: str) -> None:
    source = {
        "bin": 'fn main() { println!("x"); }',
        "proc-macro": "#[proc_macro] pub fn m(t: proc_macro::TokenStream) -> proc_macro::TokenStream { t }",
    }.get(kind, "#[no_mangle] pub extern fn f() {}")
    Path(work, "x.rs").write_text(source + "fn unused() {}\n", encoding="utf-8")
    options = ["--extern", "proc_macro"] if kind == "proc-macro" else []
    arguments = [
        "--crate-name=x",
        "--crate-type",
        kind,
        "--emit=dep-info,link",
        "--out-dir=out",
        "-Cdebuginfo=2",
    ]
    arguments += ["-Cprefer-dynamic", *options, "x.rs"]
    direct = plan(work, *arguments, early=["out/libx.rmeta"])
    assert direct.command == (RUSTC, *arguments)
    assert direct.early_signal is EarlySignal.NONE
    assert direct.note is not None
    said = run(direct, work)
    assert said.code == 0
    alone = harvest(work / "out")

    staged = plan(work, *arguments, stage=f"{work}/s")
    assert run(staged, work).text == said.text != b""
    assert published(staged, [f"out/{name}" for name in alone], work) == alone


def test_private_paths_never_show_in_a_link_error(work: Path) -> None:
    Path(work, "x.rs").write_text(
        'extern "C" { fn nowhere(); } fn main() { unsafe { nowhere() } }', encoding="utf-8"
    )
    staged = plan(work, "--crate-type=bin", "--emit=link", "--out-dir=out", "x.rs", stage=f"{work}/private")
    failed = run(staged, work)
    assert failed.code == 1
    assert b"nowhere" in failed.text
    assert b"out/x" in failed.text
    assert b"private" not in failed.text


def test_response_file_is_inlined_only_for_a_change(work: Path) -> None:
    Path(work, "params").write_text("\n".join(library("-Cdebuginfo=2")) + "\n", encoding="utf-8")
    direct = plan(work, "@params")
    assert direct.command[-1] == "@params"
    assert run(direct, work).code == 0
    alone = harvest(work / "out")
    staged = plan(work, "@params", stage=f"{work}/s")
    assert "@params" not in staged.command
    assert run(staged, work).code == 0
    assert published(staged, [f"out/{name}" for name in alone], work) == alone


@pytest.mark.parametrize(
    "arguments",
    [("-vV",), ("--version",), ("--print", "cfg", "dep.rs"), ("-C", "help"), ("--explain=E0308",)],
)
def test_questions_pass_untouched(work: Path, arguments: tuple[str, ...]) -> None:
    asked = plan(work, *arguments, stage=f"{work}/s")
    assert asked.command == (RUSTC, *arguments)
    assert asked.stderr is None
    assert run(asked, work).code == 0


def test_noise_without_newline_before_a_diagnostic(work: Path) -> None:
    Path(work, "noise.rs").write_text(
        "#[proc_macro] pub fn noise(t: proc_macro::TokenStream) -> proc_macro::TokenStream {"
        ' eprintln!("a line"); eprintln!("{{\\"message\\":\\"mine\\"}}"); eprint!("no newline"); t }\n',
        encoding="utf-8",
    )
    Path(work, "user.rs").write_text(
        "noise::noise!{ fn unused() {} }\npub fn f() { let x = 1; }\n", encoding="utf-8"
    )
    made = plain([RUSTC, "--crate-type=proc-macro", "--extern=proc_macro", "--out-dir=out", "noise.rs"], work)
    assert made.code == 0, made.text
    macro = next(path.name for path in (work / "out").glob("libnoise*"))
    arguments = library(f"--extern=noise=out/{macro}", name="user")
    human = plain([RUSTC, *arguments], work)
    planned = run(plan(work, *arguments, early=["out/libuser.rmeta"]), work)
    assert b'mine"}\nno newlinewarning' in human.text
    assert planned.text == human.text
    assert planned.ready == ["out/libuser.rmeta"]


def test_I9_killed_at_the_metadata_line_leaves_the_metadata_of_a_whole_run(work: Path) -> None:
    arguments = library("-O")
    early = "out/libdep.rmeta"
    whole = plan(work, *arguments)
    assert run(whole, work).code == 0
    assert whole.final_metadata == "out/libdep.rlib"
    assert agree(str(work / early), str(work / whole.final_metadata))
    assert embedded_metadata(str(work / whole.final_metadata)) == metadata_of(str(work / early))
    complete = harvest(work / "out")

    killed = plan(work, *arguments, early=[early])
    assert killed.stderr is not None
    output = killed.stderr()
    with subprocess.Popen(killed.command, cwd=work, stderr=subprocess.PIPE, bufsize=0) as process:
        assert process.stderr is not None
        while data := process.stderr.read(4096):
            if EarlyReady(early) in output.feed(data):
                process.kill()
                break
        else:
            pytest.fail("rustc never said that the metadata is complete")
    assert Path(work, early).read_bytes() == complete["libdep.rmeta"]


@pytest.mark.parametrize(
    "options",
    [(), ("-O", "-Cdebuginfo=2"), ("-Copt-level=3", "-Ccodegen-units=4", "-Cpanic=abort")],
    ids=" ".join,
)
def test_I9_metadata_of_the_two_run_mode_is_equal_byte_for_byte(work: Path, options: tuple[str, ...]) -> None:
    Path(work, "hollow").mkdir()
    common = ["--crate-name=dep", "--crate-type=lib", "--edition=2021", *options, "dep.rs"]
    hollow, full = "hollow/libdep.rlib", "out/libdep.rlib"
    first = plan(work, *common, "-Zno-codegen", f"--emit=link={hollow}", early=[hollow])
    second = plan(work, *common, f"--emit=link={full}", early=[hollow])
    for half in (first, second):
        assert half.early_signal is EarlySignal.NONE
        assert run(half, work, RUSTC_BOOTSTRAP="1").code == 0
    assert second.final_metadata == full
    assert Path(work, hollow).stat().st_size < Path(work, full).stat().st_size
    assert agree(str(work / hollow), str(work / full))
    assert run(second, work).code == 0  # without RUSTC_BOOTSTRAP: another crate hash
    assert not agree(str(work / hollow), str(work / full))


def test_metadata_differs_when_the_interface_does(work: Path) -> None:
    assert run(plan(work, *library()), work).code == 0
    before = Path(work, "out/libdep.rmeta").read_bytes()
    Path(work, "before.rmeta").write_bytes(before)
    Path(work, "dep.rs").write_text(LIBRARY + "pub fn more() {}\n", encoding="utf-8")
    assert run(plan(work, *library()), work).code == 0
    assert not agree(str(work / "before.rmeta"), str(work / "out/libdep.rlib"))
