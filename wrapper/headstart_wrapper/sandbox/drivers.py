"""What compilers say about themselves: which programs they start, and where they look for headers and libraries.

A driver is asked by running it, as the job would: in its environment and directory, with those of its options that change
the answer. Only a real program that bears a compiler's name is asked. A script of that name may do anything, so it is treated
like any other program; and no question outlasts ten seconds.
"""

from __future__ import annotations

import os
import posixpath

from headstart_wrapper import programs
from headstart_wrapper.hints import Final
from headstart_wrapper.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = 10.0
"""How long an answer may take: a driver answers in milliseconds, a proxy on a cold disk in one second."""

COMPILING: Final = (
    *("cc1", "cc1plus", "cc1obj", "cc1objplus", "f951", "gnat1", "go1", "d21", "cc1d", "as"),
    "objcopy",  # -gsplit-dwarf
)
"""What a gcc may start to make an object file."""

LINKING: Final = (
    *("collect2", "ld", "ld.bfd", "ld.gold", "ld.lld", "ld.mold", "real-ld", "collect-ld"),
    *("lto-wrapper", "lto1", "nm", "strip", "dsymutil"),
    *("make", "sh", "touch", "mv"),  # -flto=2 writes a makefile
)
"""What it may start besides to link."""

_NAMES: Final = ("gcc", "g++", "cc", "c++", "cpp", "clang", "clang++", "gfortran", "gdc", "gnatgcc")

_RUSTDOC = "rustdoc"

_NOT_LINKING: Final = frozenset({"-c", "-S", "-E", "-M", "-MM", "-fsyntax-only", "--version", "--help"})

_WITH_VALUE: Final = frozenset({"-isysroot", "-B", "-target", "-resource-dir", "--sysroot"})
_IN_ONE: Final = (
    *("--sysroot=", "-isysroot", "-B", "-specs=", "--specs=", "--target=", "-stdlib=", "-resource-dir="),
    *("--gcc-toolchain=", "--gcc-install-dir=", "-nostdinc", "-nostdlibinc", "-fuse-ld=", "-m"),
)
"""Options of gcc and clang that change where they look."""

_STRANGERS: Final = frozenset(
    {
        *("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "LIBRARY_PATH"),
        *("DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES"),
    }
)
"""Variables that name somebody's headers and libraries, or have files written: not the compiler's own."""

RELEVANT: Final = (
    *("PATH", "HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_HOME", "SYSROOT", "RUST_TARGET_PATH"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "GCC_EXEC_PREFIX", "COMPILER_PATH", "SDKROOT"),
)
"""Variables that change an answer."""


SEARCHED: Final = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "COMPILER_PATH")
"""Those of them that are lists of places."""

_NO_PLACE: Final = ("-m", "-nostd", "-fuse-ld=", "-stdlib=", "--target=")
"""Options without a place in them."""


class Layout(Record):
    """Where a C compiler looks.

    Attributes:
        own: directories that are all its own, and its headers.
        programs: directories in which it looks for programs, before PATH.
        libraries: directories in which it looks for libraries and start files.
        listed: directories of which it reads the names.
    """

    own: tuple[str, ...]
    programs: tuple[str, ...]
    libraries: tuple[str, ...]
    listed: tuple[str, ...]


def is_c(executable: str) -> bool:
    """True for the names of gcc's and clang's drivers, with a machine in front (`arm-none-eabi-gcc`) or a version behind."""
    name = posixpath.basename(executable).rstrip("0123456789.").removesuffix("-")
    return any(name == known or name.endswith(f"-{known}") for known in _NAMES)


def is_rust(executable: str) -> bool:
    """True for rustc, whatever its version, clippy-driver and rustdoc."""
    name = posixpath.basename(executable)
    return programs.spoken_by((name,)) == programs.RUSTC or name == _RUSTDOC


def links(arguments: Sequence[str]) -> bool:
    """True unless a C compiler is told to stop before; in doubt true."""
    return _NOT_LINKING.isdisjoint(arguments)


def where_it_looks(arguments: Sequence[str]) -> tuple[str, ...]:
    """Those of a C compiler's arguments that change where it looks."""
    found: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in _WITH_VALUE:
            found += (word, next(rest, ""))
        elif word == "-mllvm":
            next(rest, None)
        elif word.startswith(_IN_ONE):
            found.append(word)
    return tuple(found)


def is_relative(options: Sequence[str]) -> bool:
    """True when one of the options that `where_it_looks` found may name a place relative to the job's directory."""
    places = (word for word in options if not word.startswith(("+", *_NO_PLACE)) and word not in _WITH_VALUE)
    return any(not word.startswith(("/", "-B/", "-isysroot/")) and "=/" not in word for word in places)


def expanded(arguments: Sequence[str], cwd: str) -> list[str]:
    """A C compiler's arguments with the words of its response files (GCC manual, Overall Options), as far as they can be read."""
    words: list[str] = []
    for word in arguments:
        words += _words(posixpath.join(cwd, word[1:])) if word.startswith("@") else [word]
    return words


def _words(path: str) -> list[str]:
    import shlex  # noqa: PLC0415 - only for response files

    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - without pathlib
            return shlex.split(file.read())
    except (OSError, ValueError):
        return []


def layout(executable: str, options: Sequence[str], *, env: Mapping[str, str], cwd: str) -> Layout | None:
    """Asks a C compiler where it looks; None: it is none, or does not say.

    Args:
        executable: its absolute path.
        options: what `where_it_looks` found.
        env: the job's environment.
        cwd: the job's directory.
    """
    asked_in = {name: value for name, value in env.items() if name not in _STRANGERS} | {"LC_ALL": "C"}
    said = _ask((executable, *options, "-print-search-dirs"), env=asked_in, cwd=cwd)
    if said is None:
        return None
    found: dict[str, tuple[str, ...]] = {"install": (), "programs": (), "libraries": ()}
    for line in said.splitlines():
        name, _, directories = line.partition(": ")
        if name in found:
            found[name] = tuple(filter(None, directories.removeprefix("=").split(":")))
    # Headers of C++ and of C; a compiler without C++ does not even say the others.
    for language in ("c++", "c"):
        said = _ask((executable, *options, "-E", "-v", "-x", language, "/dev/null"), env=asked_in, cwd=cwd)
        if said is not None:
            break
    own = found["install"]
    listed: tuple[str, ...] = ()
    if not own:  # clang tells no place of its own; the first of its libraries is in there
        own, listed = found["libraries"][:1], _gccs(found["libraries"])
    headers = _headers(said or "")
    # ld has a list of its own, which differs by what is local; where the compiler takes headers, ld takes libraries.
    local = (f"{at.removesuffix('include')}lib" for at in headers if at.endswith("/local/include"))
    return Layout((*own, *headers), found["programs"], (*found["libraries"], *local), listed)


def _gccs(libraries: Sequence[str]) -> tuple[str, ...]:
    """Where clang looks for the newest gcc, to use its libraries: beside the one that it found, and where Red Hat has them."""
    beside = (posixpath.dirname(directory) for directory in libraries)
    return (*(at for at in beside if posixpath.basename(posixpath.dirname(at)) == "gcc"), "/opt")


def _headers(said: str) -> tuple[str, ...]:
    """The directories between the lines that introduce and end them."""
    lines = iter(said.splitlines())
    for line in lines:
        if line.endswith("search starts here:"):
            break
    listed = []
    for line in lines:
        if line.startswith("End of search list"):
            break
        if line.startswith(" "):
            listed.append(line.strip().removesuffix(" (framework directory)"))
    return tuple(listed)


def sysroot(executable: str, options: Sequence[str], *, env: Mapping[str, str], cwd: str) -> str | None:
    """Asks a rustc for its sysroot; through rustup's proxy, that of the toolchain which it starts here. None: it does not say.

    Args:
        executable: its absolute path; rustdoc does not know, the rustc beside it does.
        options: `+toolchain`, and `--sysroot` where it is given.
        env: the job's environment.
        cwd: the job's directory.
    """
    if posixpath.basename(executable) == _RUSTDOC:
        executable = posixpath.join(posixpath.dirname(executable), programs.RUSTC)
    quiet = {**env, "RUSTUP_AUTO_INSTALL": "0"}  # a question downloads nothing
    said = _ask((executable, *options, "--print", "sysroot"), env=quiet, cwd=cwd)
    found = said.splitlines()[-1] if said else ""
    return found if found.startswith("/") and os.path.isdir(found) else None  # noqa: PTH112 - without pathlib


def _ask(command: Sequence[str], *, env: Mapping[str, str], cwd: str) -> str | None:
    """What a program says, on both ways that it can; None: it fails, does not answer, or cannot be started."""
    import signal  # noqa: PLC0415 - only who asks needs them
    import subprocess  # noqa: PLC0415

    try:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    except (OSError, ValueError):
        return None
    with process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # it is not reaped, so the number is its own
            return None
    return said.decode(errors="surrogateescape") if process.returncode == 0 else None
