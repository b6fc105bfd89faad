"""Compilers are asked what is theirs, once, and told nothing but what changes the answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from headstart_wrapper.sandbox import drivers, toolchain
from headstart_wrapper.sandbox.closure import Tools
from process.tool_jobs import EVERYTHING, LIST, PLAIN, found_for
from survivors import VARIABLE

DRIVERS: Final = ("gcc", "g++", "cc", "c++", "clang", "clang++")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "job"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("driver", [name for name in DRIVERS if shutil.which(name)])
def test_a_drivers_programs_are_those_that_it_names_itself(driver: str, place: Path) -> None:
    tools = found_for(f"{driver} main.c", place)
    for name in ("cc1", "cc1plus", "as", "objcopy", "collect2", "ld", "ld.gold", "lto-wrapper", "lto1"):
        told = subprocess.run(
            [driver, f"-print-prog-name={name}"], env=PLAIN, capture_output=True, text=True, check=True
        )
        named = shutil.which(told.stdout.strip(), path=EVERYTHING["PATH"])
        assert named is None or os.path.realpath(named) in tools.programs


def test_options_move_where_a_driver_looks(place: Path) -> None:
    (place / "root/usr/include").mkdir(parents=True)
    elsewhere = found_for("gcc -c --sysroot=root main.c", place)
    assert f"{place}/root/usr/include" in elsewhere.directories
    assert not elsewhere.cover("/usr/include/stdio.h")
    (place / "other/root/usr/include").mkdir(parents=True)
    there = found_for("gcc -c --sysroot=root main.c", place / "other")
    assert f"{place}/other/root/usr/include" in there.directories
    assert found_for("gcc -c main.c", place).cover("/usr/include/stdio.h")
    assert (
        found_for("gcc main.c", place).cover("/usr/local/lib/libmine.so") == Path("/usr/local/lib").is_dir()
    )
    (place / "words").write_text("--sysroot='root' -c\n")
    assert found_for("gcc @words main.c", place) == elsewhere


@pytest.mark.parametrize("source", ["int main(void) { return 1; }", "int main(void) { for (;;) pause(); }"])
def test_a_program_that_does_not_answer_is_any_program(
    place: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "SECONDS", 0.2)
    tag = {VARIABLE: os.environ[VARIABLE]}  # a survivor fails the test
    for name in ("gcc", "rustc"):
        subprocess.run(
            ["gcc", "-include", "unistd.h", "-x", "c", "-", "-o", place / name],
            input=source.encode(),
            check=True,
        )
        tools = toolchain.tools(f"./{name}", [name, "main.c"], env=PLAIN | tag, cwd=str(place))
        assert f"{place}/{name}" in tools.programs
        assert tools.cover(LIST)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The questions that were really put to a driver from now on; nothing is known yet."""
    monkeypatch.setattr(toolchain, "_kept", {})
    questions: list[tuple[str, ...]] = []
    ask: Callable[..., str | None] = drivers._ask

    def noted(command: tuple[str, ...], **where: object) -> str | None:
        questions.append(command)
        return ask(command, **where)

    monkeypatch.setattr(drivers, "_ask", noted)
    return questions


def test_CPATH_adds_nothing(place: Path, asked: list[tuple[str, ...]]) -> None:
    (place / "mine").mkdir()
    names = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH")
    tools = found_for("gcc main.c", place, env=EVERYTHING | dict.fromkeys(names, str(place / "mine")))
    assert len(asked) == 2
    assert not any(path.startswith(str(place)) for path in tools.directories)


def test_a_script_with_a_compilers_name_is_never_asked(place: Path) -> None:
    for name in ("gcc", "rustc"):
        (place / name).write_text("#!/bin/sh\ntouch asked\n")
        (place / name).chmod(0o755)
        tools = toolchain.tools(f"./{name}", [name, "main.c"], env=PLAIN, cwd=str(place))
        assert tools.cover(LIST)
    assert not (place / "asked").exists()


def test_a_driver_is_asked_once_whoever_asks(place: Path, asked: list[tuple[str, ...]]) -> None:
    found: list[Tools] = []
    threads = [
        threading.Thread(target=lambda: found.append(found_for("gcc -c main.c", place))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 2
    assert len(found) == 8
    assert all(each is found[0] for each in found)
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    assert found_for("gcc -c other.c -DX -O3", elsewhere) is found[0]
    assert len(asked) == 2
    assert found_for("gcc other.c", place) is not found[0]
    assert len(asked) == 4


@pytest.mark.rustc
def test_a_proxy_starts_what_the_jobs_directory_pins(place: Path, asked: list[tuple[str, ...]]) -> None:
    listed = subprocess.run(
        ["rustup", "toolchain", "list", "-v"], capture_output=True, text=True, check=False
    )
    installed = {
        line.split()[0]: os.path.realpath(line.split()[-1])
        for line in listed.stdout.splitlines()
        if "/" in line
    }
    if len(set(installed.values())) < 2:
        pytest.skip("two toolchains of rustup's are needed")
    proxy = shutil.which("rustc") or ""
    inner = place / "a/b"
    inner.mkdir(parents=True)
    for name, sysroot in installed.items():
        (place / "a/rust-toolchain").write_text(f"{name}\n")
        tools = toolchain.tools(
            proxy, ["rustc", "lib.rs", "--crate-type=lib"], env=EVERYTHING, cwd=str(inner)
        )
        assert tools.directories == (f"{sysroot}/lib",)
        assert str(place / "a/rust-toolchain") in tools.files
        by_word = toolchain.tools(
            proxy, ["rustc", f"+{name}", "lib.rs", "--crate-type=lib"], env=EVERYTHING, cwd="/"
        )
        assert by_word.directories == tools.directories
    before = len(asked)
    toolchain.tools(proxy, ["rustc", "other.rs", "--crate-type=lib"], env=EVERYTHING, cwd=str(inner))
    assert len(asked) == before
