"""Ctrl-C in the middle of a build: what is alive one second later, and what the next build gets.

What Bazel does on Ctrl-C decides what a worker can know. It sends no cancel for unsandboxed work. It closes the
connections (*proxies*) whose requests it abandons, and ends a worker process that has no other connection: TERM, and its
streams are closed. That is the ordinary case, and nothing runs any more. A connection that is idle, because the server once
had more requests at a time than now, keeps the process alive; then the worker is told nothing at all, and what was
abandoned goes on, because it looks like wanted work. What holds then: the next build gets new bytes, and the old work is
ended, never handed out, as soon as a request for its output or with its id comes.
"""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from host.bazel_workspace import BazelWorkspace, bazel_workspace
from host.gates import ARRIVE, Gate
from process.support import PATIENCE
from survivors import await_exit

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(shutil.which("bazel") is None, reason="there is no bazel on PATH"),
    pytest.mark.skipif(shutil.which("rustc") is None, reason="there is no rustc on PATH"),
]

INTERRUPTED = 8
"""Bazel's exit code after Ctrl-C."""

AT_ONCE = ["--jobs=4", "--local_cpu_resources=4"]
"""Bazel takes a core for each request, whoever computes."""

# Three compilers that are in the middle of their work, each at another place: `middle` waits while a macro is expanded, `tail`
# after its metadata (rustc opens native libraries when it writes the .rlib), `program` in its linker's child.
HELD = {
    "BUILD.bazel": """\
        load("@headstart//bazel/rust:defs.bzl", "rust_binary", "rust_library", "rust_proc_macro")

        rust_proc_macro(name = "hold", srcs = ["hold.rs"])

        rust_library(
            name = "tail",
            srcs = ["tail.rs"],
            rustc_flags = ["-Lnative={gate}", "-lstatic=tail"],
        )

        rust_library(
            name = "middle",
            srcs = ["middle.rs"],
            proc_macro_deps = [":hold"],
            rustc_env = {{"GATE": "{gate}"}},
            deps = [":tail"],
        )

        rust_binary(
            name = "program",
            srcs = ["program.rs"],
            rustc_flags = ["-Clinker={linker}"],
        )

        rust_binary(name = "show", srcs = ["show.rs"], deps = [":middle"])
        """,
    "hold.rs": """\
        use std::io::{Read, Write};
        #[proc_macro] pub fn hold(text: proc_macro::TokenStream) -> proc_macro::TokenStream {
            let gate = std::env::var("GATE").unwrap();
            let mut options = std::fs::OpenOptions::new();
            let mut pipe = options.read(true).write(true).open(format!("{gate}/middle")).unwrap();
            let mut begun = options.read(false).open(format!("{gate}/begun")).unwrap();
            begun.write_all(b"middle\\n").unwrap();
            pipe.read(&mut [0]).unwrap();
            text
        }
        """,
    "tail.rs": 'pub fn tail() -> &\'static str { "old tail" }\n',
    "middle.rs": 'pub fn middle() -> String { format!("{} {}", hold::hold!("old middle"), tail::tail()) }\n',
    "program.rs": "fn main() {}\n",
    "show.rs": 'fn main() { println!("{}", middle::middle()); }\n',
}

LINKER = f"""\
#!/bin/sh
{ARRIVE}
(arrive GATE linker; exit 0)
exec cc "$@"
"""

# Reads the source, arrives at the gate under the name that it read, writes the output.
SCRIPT = f"""{ARRIVE}; text=$(cat "$1"); arrive "$3" "$text"; echo "$text" >"$2\""""

COPY = """\
load("@headstart//bazel:defs.bzl", "compile_action")

def _copy_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".out")
    compile_action(
        ctx,
        worker = ctx.executable.worker,
        command = ["/bin/sh", "-c", {script}, "copy", ctx.file.src, output, ctx.attr.gate],
        env = {{"PATH": "/usr/bin:/bin"}},
        inputs = [ctx.file.src],
        mnemonic = "Copy",
        outputs = [output],
        protocol = ctx.attr.protocol,
    )
    return [DefaultInfo(files = depset([output]))]

copy = rule(
    implementation = _copy_impl,
    attrs = {{
        "gate": attr.string(),
        "protocol": attr.string(),
        "src": attr.label(allow_single_file = True),
        "worker": attr.label(allow_files = True, cfg = "exec", executable = True),
    }},
)
"""

# Answers every request with its own id, as the protocol demands, and knows nothing of other builds.
NAIVE_WORKER = """\
#!{python}
import json, os, subprocess, sys, threading

def serve(request):
    arguments = request["arguments"]
    code = subprocess.run(arguments[arguments.index("--") + 1 :], stdin=subprocess.DEVNULL).returncode
    answer = json.dumps({{"requestId": request["requestId"], "exitCode": code}})
    os.write(1, answer.encode() + b"\\n")

buffer = ""
while data := os.read(0, 65536):
    buffer += data.decode()
    while buffer := buffer.lstrip():
        try:
            request, end = json.JSONDecoder().raw_decode(buffer)
        except ValueError:
            break
        buffer = buffer[end:]
        threading.Thread(target=serve, args=[request], daemon=True).start()
os._exit(0)
"""

WORKERS = {"ours": ("@headstart//bazel:process-wrapper", "proto"), "naive": ("//:tools/naive", "json")}


@contextmanager
def workspace_with(files: dict[str, str]) -> Iterator[BazelWorkspace]:
    """A workspace of its own: what Bazel does on Ctrl-C depends on all that its server did before."""
    with bazel_workspace() as scratch:
        for path, text in files.items():
            scratch.write(path, text)
        yield scratch


def strategy(*mnemonics: str) -> list[str]:
    return [f"--strategy={mnemonic}=worker" for mnemonic in mnemonics]


def test_I3_ctrl_c_leaves_no_compiler_and_the_next_build_is_right(tmp_path: Path) -> None:
    """All connections that Bazel has to this worker are busy, as in the first build and in any that is the widest so far."""
    linker = tmp_path / "linker"
    places = {"gate": tmp_path / "gate", "linker": linker}
    files = {path: textwrap.dedent(text) for path, text in HELD.items()}
    files["BUILD.bazel"] = files["BUILD.bazel"].format(**places)
    linker.write_text(LINKER.replace("GATE", str(places["gate"])))
    linker.chmod(0o755)
    flags = [*AT_ONCE, *strategy("Rust", "RustMetadata")]
    flags += [f"--worker_extra_flag={mnemonic}=--jobs=4" for mnemonic in ("Rust", "RustMetadata")]
    with (
        Gate(tmp_path / "gate", "middle", "linker", "libtail.a") as gate,
        workspace_with(files) as workspace,
    ):
        # Alone: while it is compiled, more connections would be busy than are later on.
        workspace.bazel("build", *flags, "//:hold")
        with workspace.started("build", *flags, "//...") as build:
            gate.await_arrivals(build, "middle", "linker")
            compilers = workspace.compilers()
            names = [command.split()[0].rpartition("/")[2] for command in compilers.values()]
            assert names.count("rustc") == 3, compilers
            assert names.count("sh") == 2, compilers
            build.send_signal(signal.SIGINT)
            # Bazel's client, its server and the worker have to hear of it, one after the other.
            assert await_exit(compilers, PATIENCE), "a compiler survives Ctrl-C"
            assert build.wait() == INTERRUPTED
        assert workspace.compilers() == {}, "nor was another one started"

        gate.remove()
        (gate.directory / "libtail.a").write_bytes(b"!<arch>\n")  # an archive of nothing
        for path in ("tail.rs", "middle.rs"):
            source = workspace.root / path
            source.write_text(source.read_text().replace('"old ', '"new '))
        assert workspace.bazel("run", *flags, "//:show").stdout == "new middle new tail\n"
        workspace.bazel("build", *flags, "//...")


@pytest.mark.parametrize("worker", WORKERS)
def test_I5_work_of_an_interrupted_build_never_answers_the_next_one(worker: str, tmp_path: Path) -> None:
    """Bazel 4 tells nobody that the user pressed Ctrl-C, and numbers the requests of the next build from 1 again.

    The naive worker shows that the danger is real: its old work is taken for the new one's, and Bazel reports success.
    """
    label, protocol = WORKERS[worker]
    attributes = f'gate = "{tmp_path}/gate", protocol = "{protocol}", worker = "{label}"'
    files = {
        "copy.bzl": COPY.format(script=repr(SCRIPT)),
        "BUILD.bazel": 'load(":copy.bzl", "copy")\n\n'
        + "".join(f'copy(name = "{n}", src = "{n}.txt", {attributes})\n' for n in ("a", "b", "c", "slow")),
        "tools/naive": NAIVE_WORKER.format(python=sys.executable),
        **{f"{name}.txt": f"{name}\n" for name in ("a", "b", "c")},
        "slow.txt": "old\n",
    }
    flags = [*AT_ONCE, "--strategy=Copy=worker", "--worker_extra_flag=Copy=--jobs=4"]
    flags += ["--experimental_worker_allow_json_protocol"]
    with Gate(tmp_path / "gate", "a", "b", "c", "old", "new") as gate, workspace_with(files) as workspace:
        (workspace.root / "tools/naive").chmod(0o755)
        # Several at once: with idle connections to the worker left, Bazel does not end it on Ctrl-C.
        with workspace.started("build", *flags, "//:a", "//:b", "//:c") as build:
            gate.await_arrivals(build, "a", "b", "c")
            assert all(map(gate.let_through, ("a", "b", "c")))
            assert build.wait() == 0

        with workspace.started("build", *flags, "//:slow") as build:
            gate.await_arrivals(build, "old")
            old = workspace.compilers()
            assert len(old) == 1, old
            build.send_signal(signal.SIGINT)
            assert build.wait() == INTERRUPTED
        assert workspace.compilers().keys() <= old.keys()

        workspace.write("slow.txt", "new\n")
        with workspace.started("build", *flags, "//:slow") as build:
            gate.await_arrivals(build, "new")
            if worker == "ours":
                assert not gate.let_through("old"), "the old work was ended before the new one started"
                assert not old.keys() & workspace.compilers().keys()
                assert gate.let_through("new")
            else:
                assert gate.let_through("old"), "the old work goes on"
            assert build.wait() == 0
            output = (workspace.root / "bazel-bin" / "slow.out").read_text()
            gate.let_through("new")
        assert output == ("new\n" if worker == "ours" else "old\n")
