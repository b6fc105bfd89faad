"""Synthetic graphs, built for real: every mode, host and check that there is for rustc's own crates."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from headstart_worker.bench.synthetic import Part, Shape, from_name, write
from headstart_worker.cargo.commands import MODES, Mode, Phase, outputs, request_lines
from headstart_worker.cargo.units import BINARY, PROC_MACRO, Units, decode
from headstart_worker.testing import BuildReport, FakeHost, Sandboxes, build
from headstart_wrapper import elf
from headstart_wrapper.errors import RequestError

SOON = 0.02
"""Seconds; about what the compiler's own start takes."""

SHAPE = Shape(
    "everything",
    (
        Part("low", (), SOON, SOON),
        Part("hidden", ("low",), SOON, SOON),
        Part("a-macro", ("hidden",), SOON, SOON, kind=PROC_MACRO),
        Part("mid", ("low", "a-macro"), SOON, SOON),
        Part("side", ("low",), SOON, SOON),
        Part("high", ("mid", "side"), SOON, SOON),
        Part("app", ("high",), SOON, SOON, kind=BINARY),
    ),
)
LIBRARIES = 5


def made(root: Path, units: Units, mode: Mode, outroot: str = "out") -> dict[str, bytes]:
    """Every output but the dep-info, by its path below the outputs."""
    found: dict[str, bytes] = {}
    for unit in units:
        names = outputs(unit, "", mode)
        found |= {path: (root / outroot / path).read_bytes() for path in names.all if path != names.dep_info}
    return found


async def built(
    root: Path, units: Units, mode: Mode, outroot: str = "out", sandboxes: Sandboxes | None = None
) -> BuildReport:
    cwd = root if sandboxes is None else root.parent / "worker"
    async with FakeHost(options=["--jobs=2", f"--state-dir={root.parent}/state"], cwd=cwd) as host:
        return await build(
            units, workspace=root, outroot=outroot, mode=mode, jobs=4, host=host, sandboxes=sandboxes
        )


@pytest.mark.parametrize("boxed", [False, True])
async def test_I6_every_mode_builds_it_and_only_hollow_has_bytes_of_its_own(
    tmp_path: Path, *, boxed: bool
) -> None:
    root = tmp_path / "synthetic"
    units = write(SHAPE, root)
    found = {}
    (tmp_path / "worker").mkdir()
    for mode in MODES:
        sandboxes = Sandboxes(tmp_path / "worker", root, slots=4) if boxed else None
        report = await built(root, units, mode, mode, sandboxes)
        assert report.failures == ()
        assert set(report.units) == {part.name for part in SHAPE.units}
        assert report.requests == len(SHAPE.units) + (0 if mode == "none" else LIBRARIES)
        found[mode] = made(root, units, mode, mode)
    assert found["none"] == found["two_invocation"] == found["worker"]
    app, low = (outputs(units[name], "").code for name in ("app", "low"))
    assert found["hollow"][low] != found["none"][low]
    programs = {mode: await_output(root / mode / app) for mode in MODES}
    assert programs["none"] == programs["two_invocation"] == programs["worker"] != programs["hollow"]


def await_output(program: Path) -> str:
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


async def test_I6_hollow_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    root = tmp_path / "synthetic"
    units = write(SHAPE, root)
    for outroot in ("first", "second"):
        assert (await built(root, units, "hollow", outroot)).failures == ()
    assert made(root, units, "hollow", "first") == made(root, units, "hollow", "second")


@pytest.mark.parametrize("mode", MODES)
async def test_only_pipelining_starts_dependents_while_code_is_generated(tmp_path: Path, mode: Mode) -> None:
    root = tmp_path / "synthetic"
    units = write(Shape("tail", (Part("low", (), SOON, 0.5), Part("high", ("low",), SOON, SOON))), root)
    told = (await built(root, units, mode)).units
    assert (told["high"].started < told["low"].ended) == (mode != "none")


@pytest.mark.parametrize(
    ("added", "changed"),
    [
        ("pub fn more() {}\n", {"low", "hidden", "a-macro", "mid", "side", "high", "app"}),
        ("fn private() {}\n", {"low", "a-macro", "app"}),
    ],
)
async def test_an_edit_changes_what_depends_on_what_was_edited(
    tmp_path: Path, added: str, changed: set[str]
) -> None:
    """On the interface: all that was compiled with it. On the code: what is linked from it, so no library but its own."""
    root = tmp_path / "synthetic"
    units = write(SHAPE, root)
    assert (await built(root, units, "worker", "before")).failures == ()
    source = root / units["low"].root
    source.write_text(source.read_text() + added)
    assert (await built(root, units, "worker", "after")).failures == ()
    before, after = made(root, units, "worker", "before"), made(root, units, "worker", "after")
    assert {unit.name for unit in units if before[(code := outputs(unit, "").code)] != after[code]} == changed


def test_the_workspace_is_one_that_others_read(tmp_path: Path) -> None:
    units = write(SHAPE, tmp_path / "synthetic")
    root = tmp_path / "synthetic"
    assert decode((root / "units.json").read_text()) == units
    assert (
        'load("@headstart//bazel/rust:defs.bzl", "rust_library")'
        in (root / "crates/low/BUILD.bazel").read_text()
    )
    asked = subprocess.run(
        [units.rustc, "--print", "sysroot"], check=True, capture_output=True, text=True
    ).stdout
    assert f"{asked.strip()}/bin/rustc" == units.rustc
    told = subprocess.run([units.rustc, "-vV"], check=True, capture_output=True, text=True).stdout
    assert told.strip() == units.compiler
    write(from_name("chain:2"), root)  # an older one is replaced
    assert not (root / "crates/low").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(RequestError, match="holds something that no import made"):
        write(SHAPE, tmp_path / "mine")


@frozen
class Ended:
    """A compile. Attributes: what the compiler said and returned, its processor seconds, and its peak memory in bytes."""

    code: int
    said: str
    seconds: float
    memory: int


def compiled(root: Path, units: Units, name: str, *more: str, outroot: str = "out") -> Ended:
    """Runs the compiler itself for one unit, as in mode none."""
    unit = units[name]
    lines = request_lines(unit, units, mode="none", phase=None, outroot=outroot, rustc=units.rustc)
    (root / outroot / unit.directory / "_meta").mkdir(parents=True, exist_ok=True)
    with (root / "said").open("w+") as said:
        process = subprocess.Popen([*lines[lines.index("--") + 1 :], *more], cwd=root, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return Ended(process.returncode, said.read(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def test_it_takes_the_processor_time_and_the_memory_that_were_chosen(tmp_path: Path) -> None:
    root = tmp_path / "synthetic"
    units = write(Shape("costs", (Part("small"), Part("slow", (), 0.2, 0.3), Part("big", memory=400))), root)
    small, slow, big = (compiled(root, units, name) for name in ("small", "slow", "big"))
    assert small.code == slow.code == big.code == 0
    assert 0.5 <= slow.seconds < 0.65
    assert small.seconds < 0.2
    assert 400 << 20 <= big.memory < 450 << 20
    assert small.memory < 350 << 20


def test_the_chosen_part_of_the_time_is_needed_without_code(tmp_path: Path) -> None:
    root = tmp_path / "synthetic"
    units = write(Shape("early", (Part("u", (), 0.3, 0.4),)), root)
    whole, part = compiled(root, units, "u"), compiled(root, units, "u", "-Zno-codegen", outroot="hollow")
    assert whole.code == part.code == 0
    assert 0.3 <= part.seconds < 0.45
    assert whole.seconds >= 0.7


def test_outputs_are_told_in_rustcs_order_and_agree(tmp_path: Path) -> None:
    root = tmp_path / "synthetic"
    units = write(from_name("chain:1:0:0"), root)
    (unit,) = units
    made_ = outputs(unit, "out")
    assert made_.metadata is not None
    assert made_.dep_info is not None
    ended = compiled(root, units, unit.name, "--error-format=json", "--json=artifacts")
    assert ended.said == "".join(
        f'{{"$message_type":"artifact","artifact":"{path}","emit":"{kind}"}}\n'
        for kind, path in (("dep-info", made_.dep_info), ("metadata", made_.metadata), ("link", made_.code))
    )
    assert elf.agree(str(root / made_.metadata), str(root / made_.code))
    assert (root / made_.dep_info).read_text().endswith(f"{unit.root}:\n")
    assert compiled(root, units, unit.name).said == ""


def test_what_rustc_hashes_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds of output, and whether unstable options are allowed: what makes the two halves of mode hollow one crate."""
    root = tmp_path / "synthetic"
    units = write(Shape("hashed", (Part("u"),)), root)
    unit = units["u"]
    found = []
    for number, (mode, bootstrap) in enumerate(
        [("none", ""), ("none", "1"), ("hollow", ""), ("hollow", "1")]
    ):
        phase: Phase | None = "full" if mode == "hollow" else None
        place = f"out{number}"
        lines = request_lines(unit, units, mode=mode, phase=phase, outroot=place, rustc=units.rustc)  # type: ignore[arg-type]
        (root / place / unit.directory / "_meta").mkdir(parents=True)
        monkeypatch.setenv("RUSTC_BOOTSTRAP", bootstrap)
        subprocess.run(lines[lines.index("--") + 1 :], cwd=root, check=True)
        found.append(elf.metadata_of(str(root / outputs(unit, place).code)))
    assert len(set(found)) == 4


@pytest.fixture
def chained(tmp_path: Path) -> tuple[Path, Units]:
    """A chain of two libraries and a program, of which the libraries are compiled."""
    root = tmp_path / "synthetic"
    units = write(Shape("chain", (Part("a"), Part("b", ("a",)), Part("main", ("b",), kind=BINARY))), root)
    assert compiled(root, units, "a").code == compiled(root, units, "b").code == 0
    return root, units


def remove(root: Path, units: Units) -> None:
    (root / outputs(units["a"], "out").code).unlink()


def make_anew(root: Path, units: Units) -> None:
    source = root / units["a"].root
    source.write_text(source.read_text() + "pub fn more() {}\n")
    assert compiled(root, units, "a").code == 0


def take_the_code_out(root: Path, units: Units) -> None:
    code = root / outputs(units["a"], "out").code
    data = code.read_bytes()
    code.write_bytes(data[: data.index(b"code.o/")])


def write_something_else(root: Path, units: Units) -> None:
    (root / outputs(units["b"], "out").code).write_text("nothing of rustc's")


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (remove, "E0463: can't find crate for `liba-"),
        (make_anew, "E0460: found possibly newer version of crate `liba-"),
        (take_the_code_out, "undefined symbols: `liba-"),
        (write_something_else, "is no compiled crate"),
    ],
)
def test_a_build_tools_mistake_fails_as_it_does_with_rustc(
    chained: tuple[Path, Units], break_it: Callable[[Path, Units], None], sentence: str
) -> None:
    root, units = chained
    assert compiled(root, units, "main").code == 0
    break_it(root, units)
    ended = compiled(root, units, "main")
    assert ended.code == 1
    assert sentence in ended.said


def test_its_messages_are_a_failures_output(tmp_path: Path) -> None:
    root = tmp_path / "synthetic"
    units = write(from_name("chain:1:0:0"), root)
    shutil.rmtree(root / "crates")
    ended = compiled(root, units, "u0")
    assert ended.code == 1
    assert "error: [Errno 2] No such file or directory: 'crates/u0/lib.rs'" in ended.said
