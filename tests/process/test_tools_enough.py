"""What is found for a compiler is what it needs: enough by strace's and by the kernel's account, and not everything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from headstart_wrapper.sandbox import landlock, system
from headstart_wrapper.sandbox.closure import Tools
from process.tool_jobs import EVERYTHING, RUSTC, environment, found_for, words

SOURCES: Final = {
    "lib.rs": "pub fn twice(n: u32) -> u32 { n * 2 }",
    "main.rs": 'fn main() { println!("{}", std::env::args().count()); }',
    "macros.rs": "extern crate proc_macro; #[proc_macro] "
    "pub fn same(t: proc_macro::TokenStream) -> proc_macro::TokenStream { t }",
    "main.c": "#include <stdio.h>\n#include <math.h>\nint main(int n, char **v) { return puts(v[0]) + (int) sin(n); }",
    "main.cc": "#include <iostream>\nint main() { std::cout << 1 << std::endl; }",
    "script": "#!/usr/bin/env python3\nimport json, decimal, glob\nopen('out', 'w').write('x')\n",
}

COMMANDS: Final = {
    "rustc": (
        "rustc --crate-type=lib --emit=metadata,link lib.rs",
        "rustc --crate-type=lib --emit=metadata lib.rs",
        "rustc -O -g main.rs -o out",
        "rustc --crate-type=proc-macro macros.rs",
        "rustc --test lib.rs -o out",
        "rustc -Clinker=gcc -Clink-arg=-s main.rs -o out",
    ),
    "/usr/bin/rustc": ("/usr/bin/rustc --crate-type=lib lib.rs", "/usr/bin/rustc main.rs -o out"),
    "gcc": (
        "gcc -g -MD -c main.c",
        "gcc -gsplit-dwarf -c main.c",
        "gcc main.c -o out -lm",
        "gcc -flto=2 -O2 main.c -o out -lm",
        "gcc -fuse-ld=gold main.c -o out -lm",
        "gcc @words",
    ),
    "g++": ("g++ -O2 -g -c main.cc", "g++ -static main.cc -o out"),
    "clang": ("clang -c main.c", "clang main.c -o out -lm"),
    "sh": ("sh -c 'ls > out; date >> out'", "./script"),
}

RESTRICTED: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(446, int(sys.argv[1]), 0) == 0
os.execv(sys.argv[2], sys.argv[3:])
"""
"""PR_SET_NO_NEW_PRIVS and landlock_restrict_self, then the command."""

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace on PATH")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "job"
    (directory / "tmp").mkdir(parents=True)
    for name, text in SOURCES.items():
        (directory / name).write_text(text)
    (directory / "script").chmod(0o755)
    (directory / "words").write_text('-c "main.c" -O1\n')
    return directory


def cases() -> list[object]:
    made: list[object] = []
    for program, commands in COMMANDS.items():
        there = RUSTC if program == "rustc" else shutil.which(program)
        gold = shutil.which("ld.gold")
        for command in commands:
            missing = not there or ("gold" in command and not gold)
            mark = pytest.mark.skipif(
                missing, reason=f"{command} cannot run here: a program of it is not on PATH"
            )
            made.append(pytest.param(command, marks=mark, id=command))
    return made


def real_all(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(os.path.realpath(path) for path in paths)


def opened(command: str, place: Path, executable: str = "") -> set[str]:
    """What a real run opens and executes, by strace's account, resolved; the job's own directory apart."""
    executable, argv = words(command, executable)
    logs = place.parent / "logs"
    logs.mkdir()
    traced = [
        "strace",
        "-ff",
        "-y",
        "-qq",
        "-e",
        "trace=open,openat,openat2,creat,execve,execveat",
        "-o",
        f"{logs}/x",
    ]
    run = subprocess.run(
        [*traced, executable, *argv[1:]],
        cwd=place,
        env={**environment(command), "TMPDIR": f"{place}/tmp"},
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    seen = set()
    for log in logs.iterdir():
        for line in log.read_text(errors="replace").splitlines():
            if descriptor := re.search(r"^(?:open|creat)\w*\(.* = \d+<(/[^>]*)>$", line):
                seen.add(descriptor[1].removesuffix(" (deleted)"))
            elif executed := re.search(r'^execve\w*\((?:AT_FDCWD<[^>]*>, )?"([^"]+)".* = 0$', line):
                seen.add(os.path.realpath(place / executed[1]))
    assert len(seen) > 3
    return {path for path in seen if not path.startswith(f"{place}/") and path != str(place)}


def uncovered(seen: set[str], tools: Tools) -> set[str]:
    everywhere = real_all((*system.READ, *system.WRITE))
    return {
        path
        for path in seen
        if not tools.cover(path)
        and path not in tools.listed
        and not any(path == each or path.startswith(f"{each}/") for each in everywhere)
    }


@needs_strace
@pytest.mark.parametrize("command", cases())
def test_what_a_real_compiler_opens_is_among_its_tools(command: str, place: Path) -> None:
    seen = opened(command, place)
    assert uncovered(seen, found_for(command, place)) == set()
    assert uncovered(seen, Tools())  # the check can fail


@needs_strace
@pytest.mark.rustc
@pytest.mark.skipif(not RUSTC, reason="there is no rustc on PATH")
def test_a_rustc_that_is_no_proxy_needs_no_settings_of_rustup(place: Path) -> None:
    asked = subprocess.run(
        [RUSTC, "--print", "sysroot"], env=EVERYTHING, capture_output=True, text=True, check=True
    )
    compiler = f"{asked.stdout.strip()}/bin/rustc"
    tools = found_for("rustc --crate-type=lib lib.rs", place, compiler)
    assert uncovered(opened("rustc --crate-type=lib lib.rs", place, compiler), tools) == set()
    assert not tools.listed
    assert tools.programs == (os.path.realpath(compiler),)


@pytest.mark.skipif(landlock.abi()[0] < 3, reason="this kernel has no Landlock that compilers can be held by")
@pytest.mark.parametrize("command", cases())
def test_S2_what_is_found_is_enough_when_the_kernel_holds_a_compiler_to_it(command: str, place: Path) -> None:
    executable, argv = words(command)
    tools = found_for(command, place)

    def run(tools: Tools) -> subprocess.CompletedProcess[bytes]:
        ruleset = landlock.ruleset(
            landlock.Rules(
                read=(*tools.files, *tools.directories, *tools.programs, *system.READ),
                list=tools.listed,
                write=(str(place), *system.WRITE),
            )
        )
        try:
            return subprocess.run(
                [sys.executable, "-c", RESTRICTED, str(ruleset), executable, *argv],
                cwd=place,
                env={**environment(command), "TMPDIR": f"{place}/tmp"},
                pass_fds=(ruleset,),
                capture_output=True,
                check=False,
            )
        finally:
            os.close(ruleset)

    held = run(tools)
    assert (held.returncode, held.stderr) == (0, b"")
    assert run(Tools(programs=tools.programs[:1])).returncode != 0  # the rules hold


def test_a_compile_needs_no_linker_and_no_systems_libraries(place: Path) -> None:
    for command in ("gcc -c main.c", "rustc --crate-type=lib lib.rs", "rustc --emit=metadata main.rs"):
        if not words(command)[0]:
            continue
        tools = found_for(command, place)
        assert not tools.cover(os.path.realpath(shutil.which("ld") or ""))
        assert "/usr/lib" not in tools.directories
        assert not tools.cover("/usr/share/dict/words")
        assert not tools.cover("/etc/hostname")
