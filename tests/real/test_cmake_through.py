"""CMake and make with the wrapper where they take a compiler's launcher, and without it: the same files, the same messages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from attrs import frozen

from real.through import BECOMES, STAYS, WRAPPER, Way, files, run, script, write

GOOGLETEST = Path("/usr/src/googletest")
"""Where Debian's package has the sources."""

MAKEFILES, NINJA = "Unix Makefiles", "Ninja"

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
needs_googletest = pytest.mark.skipif(not GOOGLETEST.is_dir(), reason="there are no sources of GoogleTest")

GREETER = {
    "CMakeLists.txt": "cmake_minimum_required(VERSION 3.18)\nproject(greeter C)\n"
    "add_library(greet STATIC greet.c name.c)\nadd_executable(greeter main.c)\ntarget_link_libraries(greeter greet)\n",
    "Makefile": "CFLAGS = -g -O2 -Wall -MMD\ngreeter: main.o libgreet.a\n\t$(CC) -o $@ $^\n"
    "libgreet.a: greet.o name.o\n\t$(AR) rcsD $@ $^\n",
    "greet.h": "void greet(const char *whom);\nconst char *name(int number);\n",
    "greet.c": '#include "greet.h"\n#include <stdio.h>\nvoid greet(const char *whom) { int unused; printf("Hello, %s!\\n", whom); }\n',
    "name.c": '#include "greet.h"\nconst char *name(int number) { return number > 1 ? "all" : "world"; }\n',
    "main.c": '#include "greet.h"\nint main(int count, char **words) { greet(name(count)); return 0; }\n',
}


@pytest.fixture
def greeter(tmp_path: Path) -> Path:
    root = tmp_path / "greeter"
    write(root, GREETER)
    return root


@frozen
class Built:
    """What compiling left and said, and how often the wrapper was called for it."""

    stderr: str
    files: dict[str, str]
    wrapped: int


def cmake(source: Path, place: Path, generator: str, *definitions: str, **environment: str) -> Built:
    """Configures and builds, and removes everything; what configuring left already is not compared, for it names the launcher."""
    if generator == NINJA and shutil.which("ninja") is None:
        pytest.skip("there is no ninja")
    settings = [f"-D{definition}" for definition in definitions]
    configured = run(["cmake", "-G", generator, "-S", source, "-B", place, *settings], source, environment)
    assert configured.returncode == 0, configured.stderr
    before = set(files(place))
    done = run(["cmake", "--build", place, "-j2", "--verbose"], source, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    own = {".ninja_log", ".ninja_deps"}  # with times
    made = files(place, lambda name: name not in before | own)
    shutil.rmtree(place)
    return Built(
        "".join(sorted(done.stderr.splitlines(keepends=True))), made, done.stdout.count(str(WRAPPER))
    )


@needs_cmake
@needs_googletest
@pytest.mark.parametrize(("generator", "way"), [(MAKEFILES, BECOMES), (NINJA, STAYS)], indirect=["way"])
def test_I6_googletest_has_the_same_bytes(tmp_path: Path, generator: str, way: Way) -> None:
    place = tmp_path / "build"
    bare = cmake(GOOGLETEST, place, generator, "BUILD_GMOCK=OFF")
    launcher = f"CMAKE_CXX_COMPILER_LAUNCHER={WRAPPER}"
    through = cmake(GOOGLETEST, place, generator, "BUILD_GMOCK=OFF", launcher, **way.variables)
    assert {"lib/libgtest.a", "lib/libgtest_main.a"} <= set(bare.files)
    assert through.files == bare.files
    assert through.stderr == bare.stderr
    assert (bare.wrapped, through.wrapped) == (0, 2)
    if way.name == STAYS:
        assert way.staid() == 2


@needs_cmake
@pytest.mark.parametrize("generator", [MAKEFILES, NINJA])
def test_I6_a_c_project_of_cmake_has_the_same_bytes(
    greeter: Path, tmp_path: Path, generator: str, way: Way
) -> None:
    place = tmp_path / "build"
    bare = cmake(greeter, place, generator, "CMAKE_C_FLAGS=-g -Wall")
    launcher = f"CMAKE_C_COMPILER_LAUNCHER={WRAPPER}"
    through = cmake(greeter, place, generator, "CMAKE_C_FLAGS=-g -Wall", launcher, **way.variables)
    assert {"greeter", "libgreet.a"} <= set(bare.files)
    assert through.files == bare.files
    assert through.stderr == bare.stderr
    assert (bare.wrapped, through.wrapped) == (0, 3)


def make(
    project: Path, *words: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Runs make and tells what it left, and removes that.

    It runs as in a directory that was entered through a link: a C compiler then writes the link's name into debugging information,
    if PWD reaches it.
    """
    link = project.with_name("link")
    if not link.exists():
        link.symlink_to(project)
    sources = set(files(project))
    done = run(["make", *words], link, {"PWD": str(link), **environment})
    made = files(project, lambda name: name not in sources)
    for name in made:
        (project / name).unlink()
    return done, made


@needs_make
def test_I6_make_builds_the_same_bytes(greeter: Path, way: Way) -> None:
    bare, expected = make(greeter, "CC=cc")
    through, made = make(greeter, f"CC={WRAPPER} cc", **way.variables)
    assert {"greeter", "libgreet.a", "main.o", "main.d"} <= set(expected)
    assert made == expected
    assert (through.returncode, through.stderr) == (0, bare.stderr)
    assert "unused variable" in bare.stderr
    assert through.stdout.replace(f"{WRAPPER} ", "") == bare.stdout


@needs_make
def test_a_compilers_error_reaches_make_unchanged(greeter: Path, way: Way) -> None:
    (greeter / "name.c").write_text("const char *name(int number) { return missing; }\n")
    bare, _ = make(greeter, "CC=cc")
    through, _ = make(greeter, f"CC={WRAPPER} cc", **way.variables)
    assert "missing" in bare.stderr
    assert (through.returncode, through.stderr) == (bare.returncode, bare.stderr) == (2, through.stderr)


@needs_make
def test_a_jobserver_of_make_is_there_behind_the_wrapper(tmp_path: Path, way: Way) -> None:
    """What a compiler does that takes tokens: it reads one from the pipe that make names, and gives it back."""
    write(tmp_path, {"Makefile": "all:\n\t+@$(LAUNCHER) ./compiler\n"})
    script(
        tmp_path / "compiler",
        "#!/usr/bin/env python3\nimport os, re\n"
        'reads, writes = map(int, re.search(r"--jobserver-auth=(\\d+),(\\d+)", os.environ["MAKEFLAGS"]).groups())\n'
        "token = os.read(reads, 1)\nos.write(writes, token)\nprint(len(token), 'token')\n",
    )
    done = run(["make", "-j2", f"LAUNCHER={WRAPPER}"], tmp_path, way.variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 token\n", "")
