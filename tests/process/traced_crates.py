"""Small crates that go through a traced worker: one of each kind of which something may be read late, or held."""

from __future__ import annotations

import subprocess
from pathlib import Path

from attrs import frozen

FLAGS = (
    *("--edition=2021", "--error-format=json", "--json=artifacts", "--out-dir=out"),
    "--remap-path-prefix=${pwd}=.",
)
"""The last word is what makes bytes independent of the directory."""


def bulk(count: int = 40) -> str:
    """Functions that take their time in code generation."""
    body = 'let mut v: Vec<String> = x.iter().map(|y| format!("{y}")).collect(); v.sort(); v.join("-")'
    return "".join(
        f"pub fn bulk{number}(x: &[u{8 << number % 4}]) -> String {{ {body} }}\n" for number in range(count)
    )


@frozen
class Crate:
    """A crate of one library.

    Attributes:
        name: its name, and that of its source.
        files: its files: path to text.
        flags: beside `FLAGS`.
        needs: other inputs, which `prepare` makes.
        reproducible: its code's bytes are the same in every directory.
    """

    name: str
    files: dict[str, str]
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    reproducible: bool = True

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.interface, self.code, self.dep_info

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.files, *self.needs)

    @property
    def interface(self) -> str:
        return f"out/lib{self.name}.rmeta"

    @property
    def code(self) -> str:
        return f"out/lib{self.name}.rlib"

    @property
    def dep_info(self) -> str:
        return f"out/{self.name}.d"

    def command(self, rustc: str | Path) -> tuple[str, ...]:
        """What compiles it."""
        emit = "--emit=dep-info,metadata,link"
        kind = ("--crate-type=lib", f"--crate-name={self.name}", emit)
        return (str(rustc), *kind, *FLAGS, *self.flags, next(iter(self.files)))


def crates(incremental: Path) -> list[Crate]:
    """One of each kind of which something may be read late, or held."""
    text = bulk()
    return [
        Crate(
            "plain",
            {"plain.rs": f"pub fn a() -> u32 {{ dep::b() }}\n{text}"},
            ("--extern=dep=out/libdep.rmeta",),
            ("out/libdep.rmeta",),
        ),
        Crate(
            "files",
            {
                "files.rs": f'pub const TEXT: &str = include_str!("text.txt"); pub mod inner;\n{text}',
                "text.txt": "a text\n",
                "inner.rs": "pub fn c() -> u32 { 3 }\n",
            },
        ),
        Crate(
            "native",
            {
                "native.rs": f'#[link(name = "n", kind = "static")] extern "C" {{ pub fn n() -> i32; }}\n{text}'
            },
            ("-Lnative=native",),
            ("native/libn.a",),
        ),
        Crate("incremental", {"incremental.rs": text}, (f"-Cincremental={incremental}",), reproducible=False),
        Crate(
            "derived",
            {"derived.rs": f"#[derive(mac::Mac)] pub struct D;\n{text}"},
            ("--extern=mac=out/libmac.so",),
            ("out/libmac.so",),
        ),
        Crate("release", {"release.rs": text}, ("-Copt-level=3", "-Cdebuginfo=2")),
    ]


_MACRO = """extern crate proc_macro;
#[proc_macro_derive(Mac)] pub fn mac(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    "impl D { pub fn made() -> u32 { 5 } }".parse().unwrap()
}
"""


def prepare(workspace: Path, rustc: str, crate: Crate) -> None:
    """Writes a crate's files and makes what it needs, in a workspace."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=workspace, check=True, capture_output=True)

    (workspace / "out").mkdir(exist_ok=True)
    for path, text in crate.files.items():
        (workspace / path).write_text(text)
    emit = ("--emit=metadata,link", "--edition=2021", "--out-dir=out")
    if "out/libdep.rmeta" in crate.needs:
        (workspace / "dep.rs").write_text("pub fn b() -> u32 { 2 }\n")
        run(rustc, "--crate-type=lib", *emit, "dep.rs")
    if "out/libmac.so" in crate.needs:
        (workspace / "mac.rs").write_text(_MACRO)
        run(rustc, "--crate-type=proc-macro", *emit, "mac.rs")
    if "native/libn.a" in crate.needs:
        (workspace / "native").mkdir()
        (workspace / "n.c").write_text("int n(void) { return 7; }\n")
        run("cc", "-c", "n.c", "-o", "n.o")
        run("ar", "rcs", "native/libn.a", "n.o")
