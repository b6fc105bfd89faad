"""What a program loads and what interprets it is found as the loader and the kernel find it, and found anew when it changes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from headstart_wrapper.sandbox import toolchain
from headstart_wrapper.sandbox.closure import Closure, Tools
from process.tool_jobs import LIST, PLAIN

NEEDED: Final = ("-Wl,--no-as-needed",)
"""What is named after this is needed, whether it is used or not."""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on PATH")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "job"
    directory.mkdir()
    return directory


def found_for(program: Path | str, place: Path, **env: str) -> Tools:
    return toolchain.tools(str(program), [str(program)], env=PLAIN | env, cwd=str(place))


def test_what_ldd_finds_is_among_a_programs_libraries(place: Path) -> None:
    for program in filter(None, map(shutil.which, ("ls", "python3", "ld", "as", "strace", "git"))):
        if not Path(program).read_bytes().startswith(b"\x7fELF"):
            continue
        told = subprocess.run(["ldd", program], env=PLAIN, capture_output=True, text=True, check=False).stdout
        libraries = {os.path.realpath(path) for path in re.findall(r"(/\S+) \(0x", told)}
        closure = Closure(env=PLAIN, cwd=str(place))
        closure.program(program)
        tools = closure.tools()
        assert libraries
        assert libraries <= set(tools.files)
        assert set(tools.files) - libraries == set()


def library(place: Path, name: str, *flags: str, directory: str = "lib") -> Path:
    """A shared library of our own, and one word of C in it."""
    made = place / directory / f"lib{name}.so"
    made.parent.mkdir(exist_ok=True, parents=True)
    source = f"int {name}(void) {{ return 1; }}"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "-", *flags, "-o", str(made)],
        input=source.encode(),
        check=True,
    )
    return made


def program(place: Path, *flags: str, name: str = "bin/program") -> Path:
    made = place / name
    made.parent.mkdir(exist_ok=True, parents=True)
    source = b"int outer(void); int main(void) { return CALLS && !outer(); }"
    subprocess.run(["gcc", "-DCALLS=1", "-x", "c", "-", *flags, "-o", str(made)], input=source, check=True)
    return made


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        pytest.param(("-louter", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib"), {}, id="RUNPATH"),
        pytest.param(("-louter", "-Wl,--enable-new-dtags,-rpath,${ORIGIN}/../lib"), {}, id="braces"),
        pytest.param(("-louter", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib"), {}, id="RPATH"),
        pytest.param(("-louter",), {"LD_LIBRARY_PATH": "{place}/lib"}, id="LD_LIBRARY_PATH"),
        pytest.param(("-louter",), {"LD_LIBRARY_PATH": "/nowhere:lib"}, id="relative"),
        pytest.param(("-UCALLS", "-DCALLS=0"), {"LD_PRELOAD": "{place}/lib/libouter.so"}, id="LD_PRELOAD"),
    ],
)
def test_libraries_are_found_as_the_loader_finds_them(
    place: Path, flags: tuple[str, ...], env: dict[str, str]
) -> None:
    env = {name: value.format(place=place) for name, value in env.items()}
    inner = library(place, "inner", directory="lib/inner")
    outer = library(place, "outer", *NEEDED, f"-L{place}/lib/inner", "-linner", "-Wl,-rpath,$ORIGIN/inner")
    made = program(place, f"-L{place}/lib", f"-Wl,-rpath-link,{place}/lib/inner", *flags)
    link = place / "elsewhere/far/program"
    link.parent.mkdir(parents=True)
    link.symlink_to(made)
    assert subprocess.run([link], env=PLAIN | env, cwd=place, check=False).returncode == 0
    tools = found_for(link, place, **env)
    assert {str(inner), str(outer)} <= set(tools.files)
    assert tools.programs == (str(made),)
    assert dict(tools.links)[str(link)] == str(made)


@pytest.mark.parametrize(
    ("tags", "outers", "reaches"),
    [
        ("--disable-new-dtags", (), True),
        ("--enable-new-dtags", (), False),
        ("--disable-new-dtags", ("-Wl,--enable-new-dtags,-rpath,/nowhere",), False),
    ],
)
def test_an_RPATH_counts_for_the_libraries_libraries_and_a_RUNPATH_does_not(
    place: Path, tags: str, outers: tuple[str, ...], reaches: bool
) -> None:
    inner = library(place, "inner", directory="lib/inner")
    outer = library(place, "outer", *NEEDED, f"-L{place}/lib/inner", "-linner", *outers)
    path = f"-Wl,{tags},-rpath,$ORIGIN/../lib:$ORIGIN/../lib/inner,-rpath-link,{place}/lib/inner"
    made = program(place, f"-L{place}/lib", "-louter", path)
    ran = subprocess.run([made], env=PLAIN, stderr=subprocess.DEVNULL, check=False)
    assert (ran.returncode == 0) == reaches
    tools = found_for(made, place)
    assert str(outer) in tools.files
    assert (str(inner) in tools.files) == reaches


def test_a_library_for_another_machine_is_passed_over(place: Path) -> None:
    outer = library(place, "outer")
    foreign = library(place, "outer", directory="foreign")
    image = bytearray(foreign.read_bytes())
    image[18:20] = (183).to_bytes(2, "little")  # e_machine: AArch64
    foreign.write_bytes(image)
    made = program(place, f"-L{place}/lib", "-louter", "-Wl,-rpath,$ORIGIN/../foreign:$ORIGIN/../lib")
    tools = found_for(made, place)
    assert str(outer) in tools.files
    assert str(foreign) not in tools.files


def test_scripts_bring_their_interpreters(place: Path) -> None:
    shell = os.path.realpath("/bin/sh")
    for first, interpreters in {
        "#!/bin/sh\n": {shell},
        "#! /usr/bin/env -S sh -e\n": {shell, os.path.realpath("/usr/bin/env")},
        f"#!{place}/inner\n": {shell, f"{place}/inner"},
        "true\n": {shell},
    }.items():
        (place / "inner").write_text("#!/bin/sh\n")
        (place / "outer").write_text(first)
        for name in ("inner", "outer"):
            (place / name).chmod(0o755)
        tools = found_for("./outer", place)
        assert set(tools.programs) == {f"{place}/outer", *interpreters}
        assert tools.cover(LIST)  # what it starts cannot be known
        assert not tools.cover(str(place / "main.c"))


def test_scripts_that_interpret_each_other_come_to_an_end(place: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (place / one).write_text(f"#!{place}/{other}\n")
        (place / one).chmod(0o755)
    assert found_for("a", place).programs == (f"{place}/a", f"{place}/b")


@pytest.mark.parametrize(
    "content", [None, b"", b"\x7fELF", b"\x7fELF\x02\x01\x01" + bytes(60), b"#!", b"#!\n"]
)
def test_what_cannot_run_has_no_libraries(place: Path, content: bytes | None) -> None:
    if content is not None:
        (place / "odd").write_bytes(content)
    tools = found_for("./odd", place)
    assert {f"{place}/odd"} & set(tools.programs) == ({f"{place}/odd"} if content is not None else set())


@pytest.mark.parametrize("change", ["tool", "library", "link"])
def test_what_changed_is_found_anew(place: Path, change: str) -> None:
    library(place, "outer")
    made = program(place, f"-L{place}/lib", "-louter", "-Wl,-rpath,$ORIGIN/../lib")

    def look() -> Tools:
        return found_for(made, place)

    before = look()
    assert look() is before
    if change == "tool":
        program(place, f"-L{place}/lib", "-louter", *NEEDED, "-lm", "-Wl,-rpath,$ORIGIN/../lib")
    elif change == "library":
        library(place, "outer", *NEEDED, "-lm")
    else:
        (place / "lib").rename(place / "other")
        (place / "lib").symlink_to("other")
    after = look()
    assert after is not before
    assert look() is after
    if change == "link":
        assert f"{place}/other/libouter.so" in after.files


def test_a_python_of_ones_own_brings_its_library(place: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    script = place / "script"
    script.write_text(f"#!{place}/venv/bin/python\nimport json\n")
    script.chmod(0o755)
    tools = found_for(script, place)
    asked = (
        f"{place}/venv/bin/python",
        "-c",
        "import sys, json; print(json.__file__); print(*sys.path, sep='\\n')",
    )
    told = subprocess.run(asked, env=PLAIN, capture_output=True, text=True, check=True).stdout.splitlines()
    for path in (*filter(os.path.exists, filter(None, told)), f"{place}/venv/pyvenv.cfg"):
        assert tools.cover(os.path.realpath(path)), path
