"""`headstart verify` with real compilers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart_worker.verify import places

HEADSTART = str(Path(sys.executable).with_name("headstart"))
RUSTC = os.environ.get("HEADSTART_TEST_RUSTC") or shutil.which("rustc") or ""
GCC = shutil.which("gcc") or ""

needs_rustc = [pytest.mark.rustc, pytest.mark.skipif(not RUSTC, reason="there is no rustc")]
needs_gcc = pytest.mark.skipif(not GCC, reason="there is no gcc")

LIBRARY = "pub fn generic<T: Clone>(x: &T) -> T { x.clone() }\npub fn plain(x: u32) -> u32 { let unused = 1; x + 1 }\n"

Verify = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        project = tmp_path / "project"
        temporary = tmp_path / "temporary"
        temporary.mkdir(exist_ok=True)
        before = {path.name: path.stat() for path in project.iterdir()}
        done = subprocess.run(
            [HEADSTART, "verify", "--json", *arguments],
            cwd=project,
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        after = {path.name: path.stat() for path in project.iterdir()}
        assert {name: state.st_ctime_ns for name, state in after.items()} == {
            name: state.st_ctime_ns for name, state in before.items()
        }
        assert list(temporary.iterdir()) == []
        return done.returncode, json.loads(done.stdout)

    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "lib.rs").write_text(LIBRARY)
    (tmp_path / "project" / "a.c").write_text("int data = 1; int f(void) { return data; }\n")
    return run


def differing(told: dict[str, Any]) -> dict[str, set[str]]:
    found = {way["way"]: {each["subject"] for each in way["differences"]} for way in told["ways"]}
    return {way: subjects for way, subjects in found.items() if subjects}


class TestRustc:
    pytestmark = needs_rustc

    def test_I6_a_library_is_equal_in_every_way_and_pipelined(self, verify: Verify, tmp_path: Path) -> None:
        code, told = verify(
            "--",
            RUSTC,
            "--crate-type=lib",
            "--crate-name=a",
            "--emit=dep-info,metadata,link",
            "--error-format=json",
            "--json=artifacts",
            f"--remap-path-prefix={tmp_path}/project=.",
            "lib.rs",
        )
        assert (code, told["verdict"]) == (0, "equal"), json.dumps(told, indent=1)
        assert told["outputs"] == ["a.d", "liba.rlib", "liba.rmeta"]
        ways = {way["way"]: way for way in told["ways"]}
        assert not any(way["skipped"] for way in told["ways"])
        pipelined = ways["worker (pipelined)"]
        assert 0 < pipelined["early_seconds"] < pipelined["wall_seconds"]

    def test_words_that_the_dialect_adds_are_named(self, verify: Verify) -> None:
        code, told = verify(
            "--", RUSTC, "--crate-type=lib", "--crate-name=a", "--emit=metadata,link", "lib.rs"
        )
        assert (code, told["verdict"]) == (1, "differs")
        assert differing(told)["standalone"] == {"liba.rlib", "liba.rmeta"}
        (archive,) = (
            each
            for way in told["ways"]
            for each in way["differences"]
            if (way["way"], each["subject"]) == ("standalone", "liba.rlib")
        )
        assert archive["place"] == "member lib.rmeta, section .rmeta"
        assert any(
            "words that the dialect adds" in note and "--json=artifacts" in note for note in told["notes"]
        )


@needs_gcc
class TestGcc:
    def test_I6_an_object_is_equal_in_every_way(self, verify: Verify) -> None:
        code, told = verify("--", GCC, "-c", "a.c")
        assert (code, told["verdict"], told["outputs"]) == (0, "equal", ["a.o"]), json.dumps(told, indent=1)

    def test_a_failing_compile_has_the_same_message_everywhere(self, verify: Verify) -> None:
        code, told = verify("--output=a.o", "--", GCC, "-c", "none.c", "-o", "a.o")
        assert (code, told["verdict"]) == (0, "equal"), json.dumps(told, indent=1)
        assert {way.get("exit_code") for way in told["ways"] if not way["skipped"]} == {1}

    def test_a_random_object_is_not_blamed_on_us_and_its_section_is_named(self, verify: Verify) -> None:
        made = "unsigned data = $(od -An -N4 -tu4 /dev/urandom)u;"
        script = f'echo "{made}" | {GCC} -c -o a.o -x c -'
        code, told = verify("--", "sh", "-c", script)
        assert (code, told["verdict"]) == (1, "not deterministic"), json.dumps(told, indent=1)
        (difference,) = next(way["differences"] for way in told["ways"] if way["way"] == "standalone")
        assert difference["place"] == "section .data"
        assert "the compiler itself is not deterministic" in told["notes"][0]

    def test_places_in_objects_and_archives_are_named(self, tmp_path: Path) -> None:
        source = tmp_path / "a_source_with_a_long_name.c"
        source.write_text("int data = 0x11223344; int f(void) { return data; }\n")
        made = source.with_suffix(".o")
        subprocess.run([GCC, "-c", source, "-o", made], check=True)
        archive = tmp_path / "lib.a"
        subprocess.run(["ar", "rcsD", archive, made], check=True)
        value = bytes.fromhex("44332211")
        assert places.name(made, made.read_bytes().index(value)) == "section .data"
        assert places.name(archive, archive.read_bytes().index(value)) == f"member {made.name}, section .data"
        assert places.name(archive, 8) == "the symbol table, header"
        assert places.name(archive, 70) == "the symbol table"
        (tmp_path / "broken").write_bytes(made.read_bytes()[:100])
        assert places.name(tmp_path / "broken", 80) in {"", "between sections"}
