"""`--sandbox=enforce` and `strict` on real compilers: what is undeclared fails the job and is named, what is declared changes no byte."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from attrs import frozen

from headstart_wrapper.errors import MachineError
from headstart_wrapper.job import Sandbox
from headstart_wrapper.sandbox import policy, tracer
from process.support import HELD_MODES

strace = pytest.mark.skipif(
    bool(tracer.can_trace()), reason="strace names what was refused, and injects faults"
)


def each_mode(test: Callable[..., None]) -> Callable[..., None]:
    """A test for each mode that holds."""
    marked: Callable[..., None] = strace(pytest.mark.parametrize("mode", HELD_MODES)(test))
    return marked


@frozen
class Made:
    """A finished process."""

    code: int
    stdout: str
    stderr: str


def wrapper(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Made:
    """One job on its own."""
    done = subprocess.run(
        [sys.executable, "-m", "headstart_worker", *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Made(done.returncode, done.stdout, done.stderr)


def inputs(*paths: str) -> list[str]:
    return [f"--input={path}" for path in paths]


@frozen
class Case:
    """A job with something undeclared.

    Attributes:
        command: a compiler's.
        declared: what it declares.
        hidden: what it reads besides.
        output: what it makes.
        said: what names the thing in the message.
    """

    command: tuple[str, ...]
    declared: tuple[str, ...]
    hidden: tuple[str, ...]
    output: str
    said: str


RUSTC = ("rustc", "--edition=2021", "--crate-name=x", "--crate-type=lib", "-Cdebuginfo=1")
CPP = ("g++", "-g", "-c", "main.cpp", "-o", "main.o")

CASES = {
    "header": Case((*CPP, "-Iinc"), ("main.cpp",), ("inc/a.h",), "main.o", "inc/a.h"),
    "shadowing header": Case(
        (*CPP, "-Ishadow", "-Iinc"), ("main.cpp", "inc/a.h"), ("shadow/a.h",), "main.o", "shadow/a.h"
    ),
    "header beside the source": Case(
        ("g++", "-g", "-c", "near.cpp", "-o", "main.o"), ("near.cpp",), ("near.h",), "main.o", "near.h"
    ),
    "include_str!": Case((*RUSTC, "text.rs"), ("text.rs",), ("text.txt",), "libx.rlib", "text.txt"),
    "mod": Case((*RUSTC, "module.rs"), ("module.rs",), ("inner.rs",), "libx.rlib", "inner.rs"),
    "procedural macro": Case(
        (*RUSTC, "--extern=reader=libreader.so", "expand.rs"),
        ("expand.rs", "libreader.so"),
        ("text.txt",),
        "libx.rlib",
        "text.txt",
    ),
    "transitive library": Case(
        (*RUSTC, "-Ldependency=deps", "--extern=middle=deps/libmiddle.rlib", "top.rs"),
        ("top.rs", "deps/libmiddle.rlib"),
        ("deps/libbase.rlib",),
        "libx.rlib",
        "deps/libbase.rlib",
    ),
}

FILES = {
    "main.cpp": "#include <string>\n#include \"a.h\"\nstd::string f() { return std::string(A, 'a'); }\n",
    "inc/a.h": "#define A 1\n",
    "shadow/a.h": "#define A 2\n",
    "near.cpp": '#include "near.h"\nint f() { return B; }\n',
    "near.h": "#define B 1\n",
    "text.rs": 'pub const TEXT: &str = include_str!("text.txt");\n',
    "text.txt": "text\n",
    "module.rs": "mod inner;\npub fn f() -> u32 { inner::g() }\n",
    "inner.rs": "pub fn g() -> u32 { 42 }\n",
    "reader.rs": "extern crate proc_macro;\nuse proc_macro::TokenStream;\n#[proc_macro]\npub fn read(_: TokenStream) -> TokenStream {\n"
    '    format!("{:?}", std::fs::read_to_string("text.txt").unwrap()).parse().unwrap()\n}\n',
    "expand.rs": "pub const TEXT: &str = reader::read!();\n",
    "base.rs": "pub struct Base(pub u32);\n",
    "middle.rs": "pub fn base() -> base::Base { base::Base(1) }\n",
    "top.rs": "pub fn f() -> u32 { middle::base().0 }\n",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every source, and the libraries that cases need."""
    directory = tmp_path_factory.mktemp("sources")
    for name, text in FILES.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    (directory / "deps").mkdir()

    def rustc(*words: str) -> None:
        subprocess.run(["rustc", "--edition=2021", *words], cwd=directory, check=True)

    rustc("--crate-type=proc-macro", "--crate-name=reader", "reader.rs")
    rustc("--crate-type=lib", "base.rs", "--out-dir=deps")
    rustc("--crate-type=lib", "middle.rs", "--out-dir=deps", "--extern=base=deps/libbase.rlib")
    return directory


@pytest.fixture
def place(sources: Path, tmp_path: Path) -> Path:
    """The sources, for one test."""
    return Path(shutil.copytree(sources, tmp_path / "job"))


@each_mode
@pytest.mark.parametrize("name", CASES)
def test_I11_what_is_undeclared_fails_the_job_and_is_named(mode: Sandbox, name: str, place: Path) -> None:
    case = CASES[name]
    held = (f"--sandbox={mode}", *inputs(*case.declared), f"--output={case.output}", "--", *case.command)
    done = wrapper(*held, cwd=place)
    if mode is Sandbox.STRICT and name == "shadowing header":
        # It does not exist: the declared one is found, and that is what was asked for.
        assert (done.code, done.stderr) == (0, "")
        return
    assert done.code == 1, done.stderr
    named = [
        line for line in done.stderr.splitlines() if line.startswith("process-wrapper: the sandbox kept")
    ]
    assert any(f" from {case.said} (" in line and f"--input={case.said}" in line for line in named), (
        done.stderr
    )
    assert not (place / case.output).exists()


@each_mode
@pytest.mark.parametrize("name", CASES)
def test_I6_declared_jobs_have_the_same_bytes(mode: Sandbox, name: str, place: Path) -> None:
    case = CASES[name]
    subprocess.run(case.command, cwd=place, check=True, capture_output=True)
    bare = (place / case.output).read_bytes()
    (place / case.output).unlink()
    held = (
        f"--sandbox={mode}",
        *inputs(*case.declared, *case.hidden),
        f"--output={case.output}",
        "--",
        *case.command,
    )
    done = wrapper("--stats=stats.json", *held, cwd=place)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert (place / case.output).read_bytes() == bare
    told = json.loads((place / "stats.json").read_text())
    assert (told["sandbox"], told["sandbox_assurance"], told["sandbox_findings"]) == (mode, mode, [])


@each_mode
def test_I11_a_write_outside_fails_and_is_named(mode: Sandbox, place: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.o"
    done = wrapper(
        f"--sandbox={mode}",
        *inputs("main.cpp", "inc/a.h"),
        "--output=main.o",
        "--",
        *("g++", "-Iinc", "-c", "main.cpp", "-o", str(outside)),
        cwd=place,
    )
    assert done.code == 1
    assert f"the sandbox kept the job of main.o from {outside} (writing" in done.stderr
    assert not outside.exists()
    assert not (place / "main.o").exists()


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this machine on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server.getsockname()[1]
        with pytest.raises(BlockingIOError):
            server.accept()


@each_mode
def test_I11_a_tcp_connection_fails_and_is_named(mode: Sandbox, listener: int, tmp_path: Path) -> None:
    script = f"import socket; socket.create_connection(('127.0.0.1', {listener}))"
    done = wrapper(f"--sandbox={mode}", "--", "/usr/bin/python3", "-I", "-c", script, cwd=tmp_path)
    assert done.code == 1
    assert f"the sandbox kept the job of python3 from 127.0.0.1:{listener} (" in done.stderr


@each_mode
def test_undeclared_variables_do_not_arrive(mode: Sandbox, tmp_path: Path) -> None:
    script = "echo ${SECRET-unset} ${CPATH-unset} $DECLARED ${HOME+home}"
    done = wrapper(
        f"--sandbox={mode}",
        "--env=DECLARED=here",
        *("--", "sh", "-c", script),
        cwd=tmp_path,
        env={"SECRET": "secret", "CPATH": "/somewhere"},
    )
    assert (done.code, done.stdout) == (0, "unset unset here home\n")


@each_mode
def test_a_private_directory_for_temporary_files_comes_and_goes(mode: Sandbox, tmp_path: Path) -> None:
    done = wrapper(
        f"--sandbox={mode}", "--", "sh", "-c", 'echo x >"$TMPDIR/x" && echo "$TMPDIR"', cwd=tmp_path
    )
    assert done.code == 0, done.stderr
    assert not Path(done.stdout.strip()).exists()


@each_mode
def test_an_output_among_sources_opens_nothing_else_there(mode: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "old").write_text("an older output")

    def run(script: str) -> tuple[int, str, list[str]]:
        done = wrapper(
            f"--sandbox={mode}", "--output=new", "--output=old", "--", "sh", "-c", script, cwd=tmp_path
        )
        return done.code, done.stdout, sorted(path.name for path in tmp_path.iterdir())

    assert run("echo made >new; echo more >>old; cat new old") == (
        0,
        "made\nmore\n",
        ["new", "old", "secret"],
    )
    assert run("cat secret") == (1, "", ["secret"])
    assert run("echo only one >new") == (0, "", ["new", "secret"])
    assert run("echo not declared >third") == (2, "", ["secret"])


def injected(fault: str, *arguments: str, cwd: Path) -> Made:
    """One job on a machine whose Landlock is another one: strace changes what the kernel answers to every question for it."""
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "--trace=landlock_create_ruleset"),
            *(f"--inject=landlock_create_ruleset:{fault}", "--"),
            *(sys.executable, "-m", "headstart_worker", *arguments),
        ],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Made(done.returncode, done.stdout, done.stderr)


ABSENT = {"error=ENOSYS": "built without", "error=EOPNOTSUPP": "switched off", "retval=2": "ABI 2"}


@strace
@pytest.mark.parametrize("mode", [Sandbox.ENFORCE, Sandbox.STRICT])
@pytest.mark.parametrize("fault", ABSENT)
def test_I11_without_landlock_a_job_fails_or_runs_with_less_as_it_was_told(
    mode: Sandbox, fault: str, tmp_path: Path
) -> None:
    job = ("--stats=stats.json", "--", "sh", "-c", "echo ran")
    done = injected(fault, f"--sandbox={mode}", *job, cwd=tmp_path)
    assert (done.code, done.stdout) == (125, "")
    (line,) = done.stderr.splitlines()
    for said in (f"--sandbox={mode}", "Landlock", ABSENT[fault], "headstart doctor", "--sandbox-unavailable"):
        assert said in line
    done = injected(fault, f"--sandbox={mode}", "--sandbox-unavailable=warn", *job, cwd=tmp_path)
    assert (done.code, done.stdout) == (0, "ran\n"), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.endswith("this job runs with audit")
    told = json.loads((tmp_path / "stats.json").read_text())
    assert (told["sandbox"], told["sandbox_assurance"]) == (mode, "audit")


@strace
@pytest.mark.parametrize("fault", ABSENT)
def test_I11_an_audit_needs_no_landlock(fault: str, tmp_path: Path) -> None:
    done = injected(fault, "--sandbox=audit", "--", "sh", "-c", "echo ran", cwd=tmp_path)
    assert (done.code, done.stdout, done.stderr) == (0, "ran\n", "")


def available(landlock: int, *, view: bool) -> policy.Available:
    return policy.Available(landlock=landlock, view=view, why_no_view="" if view else "no namespaces")


@pytest.mark.parametrize("asked", Sandbox)
@pytest.mark.parametrize("view", [True, False], ids=["view", "no view"])
@pytest.mark.parametrize("abi", range(8))
def test_I11_no_decision_is_silently_weaker(asked: Sandbox, abi: int, *, view: bool) -> None:
    strength: Sequence[Sandbox] = list(Sandbox)
    there = available(abi, view=view)
    less = policy.decide(asked, there, unavailable="warn")
    is_all = less.got is asked and not less.partial
    assert strength.index(less.got) <= strength.index(asked)
    assert bool(less.warning) == (not is_all)
    if is_all:
        assert policy.decide(asked, there, unavailable="fail") == less
    else:
        with pytest.raises(MachineError, match=f"--sandbox={asked} cannot be had"):
            policy.decide(asked, there, unavailable="fail")
    if less.got in {Sandbox.ENFORCE, Sandbox.STRICT}:
        assert abi >= policy.LEAST_ABI
        assert (abi < policy.TCP_ABI) == ("without TCP" in less.name)
    if less.got is Sandbox.STRICT:
        assert view
