"""A small graph of crates with what is read late, or through links: a static library, an included file, a procedural macro."""

from __future__ import annotations

import subprocess
from pathlib import Path

from headstart_worker.cargo.units import Extern, Unit, Units

_SOURCES = {
    "macros/macros.rs": """\
        use proc_macro::TokenStream;
        #[proc_macro] pub fn seven(_: TokenStream) -> TokenStream { "7".parse().unwrap() }
        """,
    "native/native.rs": """\
        #[link(name = "answer", kind = "static")] extern "C" { fn answer() -> u32; }
        pub fn text() -> &'static str { include_str!("text.txt") }
        pub fn native() -> u32 { unsafe { answer() } }
        """,
    "native/text.txt": "the answer is",
    "middle/middle.rs": """\
        pub fn middle() -> String { format!("{} {}", native::text(), native::native() * macros::seven!()) }
        """,
    "main/main.rs": 'fn main() { println!("{}", middle::middle()) }\n',
}
_NEEDS = {"macros": (), "native": (), "middle": ("native", "macros"), "main": ("middle",)}
_KINDS = {"macros": "proc-macro", "main": "bin"}
ANSWER = "the answer is 42\n"
"""What the program says."""


def write(root: Path) -> Units:
    """Writes it into an execution root; needs rustc, and a C compiler."""
    for path, text in _SOURCES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "native/lib").mkdir()
    (root / "answer.c").write_text("unsigned answer(void) { return 6; }\n")
    subprocess.run(["cc", "-c", "answer.c"], cwd=root, check=True)
    subprocess.run(["ar", "crsD", "native/lib/libanswer.a", "answer.o"], cwd=root, check=True)
    found = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True)
    return Units("rustc", f"{found.stdout.strip()}/bin/rustc", tuple(_unit(root, name) for name in _NEEDS))


def _unit(root: Path, name: str) -> Unit:
    externs = [Extern(need, need) for need in _NEEDS[name]]
    files = [str(path.relative_to(root)) for path in (root / name).rglob("*") if path.is_file()]
    return Unit(
        name=name,
        package=name,
        version="0.1.0",
        directory=name,
        crate_name=name,
        kind=_KINDS.get(name, "lib"),
        edition="2021",
        root=f"{name}/{name}.rs",
        args=("-C", "opt-level=1"),
        metadata=f"meta-{name}",
        extra_filename="-0",
        env={},
        inputs=tuple(sorted(files)),
        externs=(*externs, Extern("proc_macro")) if name == "macros" else tuple(externs),
        native=("native/lib",) if name == "native" else (),
    )
