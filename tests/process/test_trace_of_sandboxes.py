"""I8 under strace: what the worker and a real rustc do with a sandbox, call by call, and what the judge says of those who do it wrong.

Each rustc is stopped between its metadata and its code, which is when the host takes the sandbox back and another action has it.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio
from attrs import evolve, frozen

from headstart_worker.messages import WorkResponse
from headstart_worker.testing import FakeHost
from process.holdings import held
from process.support import PATIENCE, Fifo
from process.traced import STRACE, Slot, Toolchain, Traced
from process.traced_crates import Crate, crates, prepare
from survivors import living

COMPILERS = {
    "chosen": os.environ.get("HEADSTART_TEST_RUSTC") or shutil.which("rustc") or "",
    "distribution": "/usr/bin/rustc",
}

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(not Path(STRACE).exists(), reason="there is no strace"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
]

SLOW = PATIENCE * 6
"""Seconds for a few compilers under strace."""

WORKER = ("-m", "headstart_worker")

PWD = ("--subst=pwd=${pwd}",)


@frozen
class Ground:
    """Where one test takes place.

    Attributes:
        tmp_path: everything is below it.
        workspace: the worker's directory, and the execution root.
        gate: where compilers wait.
        tag: what the test's processes are known by.
    """

    tmp_path: Path
    workspace: Path
    gate: Fifo
    tag: str

    def crate(self, name: str) -> Crate:
        return next(crate for crate in crates(self.tmp_path / "incremental") if crate.name == name)

    def slot(self, number: int, *, copies: bool = False) -> Slot:
        return Slot(self.workspace, f"__sandbox/{number}/workspace", self.tag, copies)

    def held(self, toolchain: Toolchain) -> Path:
        return toolchain.held(self.tmp_path / "tools", self.gate.path)

    def traced(self, toolchain: Toolchain, *worker: str) -> Traced:
        options = ("--jobs=2",) if worker == WORKER else ()
        return Traced(self.tmp_path, self.workspace, toolchain, *worker, options=options)

    def violations(self, traced: Traced) -> set[str]:
        """What the judge says of the run: kind and path, relative to the workspace."""
        found = traced.violations(read=(str(self.gate),), write=(str(self.tmp_path / "incremental"),))
        return {f"{each.kind} {relative(each.path, self.workspace)}" for each in found}


def relative(path: str, start: Path) -> str:
    """A path for people."""
    return os.path.relpath(path, start)


@pytest.fixture
def ground(tmp_path: Path, workspace: Path, fifo: Callable[[str], Fifo], tag: str) -> Ground:
    """A fresh one."""
    return Ground(tmp_path, workspace, fifo("gate"), tag)


@pytest.fixture(params=list(COMPILERS))
def toolchain(request: pytest.FixtureRequest) -> Toolchain:
    """Each rustc of this machine."""
    command = COMPILERS[request.param]
    if not Path(command).is_file():
        pytest.skip(f"there is no {command or 'rustc'}")
    return Toolchain.of(command)


@pytest.fixture
def rustc() -> Toolchain:
    """One rustc."""
    for command in COMPILERS.values():
        if Path(command).is_file():
            return Toolchain.of(command)
    pytest.skip("there is no rustc")


async def early(host: FakeHost, slot: Slot, crate: Crate, program: Path) -> WorkResponse:
    """Asks for a crate's interface."""
    words = (*PWD, "--phase=early", f"--early-output={crate.interface}", "--", *crate.command(program))
    return await slot.work(host, words, crate.inputs, (crate.interface,))


async def full(host: FakeHost, slot: Slot, crate: Crate, program: Path) -> WorkResponse:
    """Asks for the rest, as a host does that lists the interface among the inputs."""
    words = (*PWD, "--phase=full", *declarations(crate), "--", *crate.command(program))
    return await slot.work(host, words, (*crate.inputs, crate.interface), (crate.code, crate.dep_info))


def declarations(crate: Crate) -> Sequence[str]:
    """The options for a crate's outputs."""
    return f"--early-output={crate.interface}", f"--output={crate.code}", f"--output={crate.dep_info}"


async def unsandboxed(ground: Ground, crate: Crate, program: Path) -> dict[str, bytes]:
    """The outputs of the same command in the worker's own directory."""
    ground.gate.go()
    with trio.fail_after(SLOW):
        async with FakeHost("json", cwd=ground.workspace) as host:
            answer = await host.work((*PWD, *declarations(crate), "--", *crate.command(program)))
    assert answer.exit_code == 0, answer.output
    return harvest(ground, crate)


def harvest(ground: Ground, crate: Crate) -> dict[str, bytes]:
    """Takes a crate's outputs away: path to content."""
    made = {path: (ground.workspace / path).read_bytes() for path in crate.outputs}
    for path in made:
        (ground.workspace / path).unlink()
    return {path: data for path, data in made.items() if crate.reproducible or path != crate.code}


@pytest.mark.parametrize("copies", [False, True], ids=["links", "copies"])
@pytest.mark.parametrize("name", ["plain", "files", "native", "incremental", "derived", "release"])
async def test_I8_I6_between_its_responses_a_sandbox_is_the_hosts_alone(
    ground: Ground, toolchain: Toolchain, name: str, copies: bool
) -> None:
    crate, program = ground.crate(name), ground.held(toolchain)
    prepare(ground.workspace, toolchain.rustc, crate)
    expected = await unsandboxed(ground, crate, program)

    first, second = ground.slot(1, copies=copies), ground.slot(2, copies=copies)
    traced = ground.traced(toolchain, *WORKER)
    with trio.fail_after(SLOW):
        async with traced as host:
            answer = await early(host, first, crate, program)
            assert answer.exit_code == 0, answer.output
            assert stopped(ground, toolchain), "it was answered at the end only"
            ground.gate.go()
            answer = await full(host, second, crate, program)
            assert answer.exit_code == 0, answer.output
    assert (first.seen, second.seen) == ([], [])
    assert ground.violations(traced) == set()
    assert harvest(ground, crate) == expected


def stopped(ground: Ground, toolchain: Toolchain) -> bool:
    """A compiler has told of its metadata, and waits."""
    return any(command.startswith(toolchain.rustc) for command in living(ground.tag).values())


async def test_I8_I6_a_sandbox_is_another_requests_while_the_first_ones_compiler_goes_on(
    ground: Ground, rustc: Toolchain
) -> None:
    program, slot = ground.held(rustc), ground.slot(1)
    pair = [ground.crate("native"), ground.crate("release")]
    expected = []
    for crate in pair:
        prepare(ground.workspace, rustc.rustc, crate)
        expected.append(await unsandboxed(ground, crate, program))

    traced, seen = ground.traced(rustc, *WORKER), []
    with trio.fail_after(SLOW):
        async with traced as host:
            for ask in (early, full):
                for crate in pair:
                    answer = await ask(host, slot, crate, program)
                    assert answer.exit_code == 0, answer.output
                    seen += slot.seen
                ground.gate.go(len(pair))
    assert seen == []
    assert ground.violations(traced) == set()
    assert [harvest(ground, crate) for crate in pair] == expected


CONTROLS = {
    "nothing": ("nothing", "native", set()),
    "directory": ("cwd", "native", {"after native/libn.a", "held .", "seen cwd ."}),
    "outputs": ("out", "native", {"after out/libnative.rlib", "write out/native.d"}),
    "path": ("nothing", "absolute", {"after native/libn.a"}),
}
"""What a naive worker does wrong; where the command says that the library is; what is to be found, relative to the sandbox."""


@pytest.mark.parametrize("control", list(CONTROLS))
async def test_I8_the_judge_knows_who_touches_a_sandbox_late(
    ground: Ground, rustc: Toolchain, control: str
) -> None:
    wrong, where, expected = CONTROLS[control]
    crate, program, slot = ground.crate("native"), ground.held(rustc), ground.slot(1, copies=True)
    prepare(ground.workspace, rustc.rustc, crate)
    if where == "absolute":
        crate = evolve(crate, flags=(f"-Lnative={slot.path}/native",))
    naive = (str(Path(__file__).with_name("naive_worker.py")), str(ground.tmp_path / "private"), wrong)
    traced = ground.traced(rustc, *naive)
    with trio.fail_after(SLOW):
        async with traced as host:
            answer = await early(host, slot, crate, program)
            assert answer.exit_code == 0, answer.output
            ground.gate.go()
    found = {
        violation.replace(f"{slot.name}/", "").replace(slot.name, ".")
        for violation in ground.violations(traced)
    }
    found |= {f"seen {each.what} {relative(each.path, slot.path)}" for each in slot.seen}
    assert found >= expected
    assert bool(found) == bool(expected)


async def test_I8_the_judge_knows_who_reads_what_was_not_declared(ground: Ground, rustc: Toolchain) -> None:
    secret = ground.workspace / "secret.txt"
    secret.write_text("not declared\n")
    plain = ground.crate("files")
    crate = evolve(
        plain, files={path: text.replace("text.txt", str(secret)) for path, text in plain.files.items()}
    )
    prepare(ground.workspace, rustc.rustc, crate)
    program, traced = ground.held(rustc), ground.traced(rustc, *WORKER)
    ground.gate.go()
    with trio.fail_after(SLOW):
        async with traced as host:
            answer = await early(host, ground.slot(1), crate, program)
            assert answer.exit_code == 0, answer.output
    assert ground.violations(traced) == {"read secret.txt"}


HOLDER = """
import mmap, os, sys
os.chdir(sys.argv[1])
mapped = mmap.mmap(os.open("mapped", os.O_RDWR), 0)
kept = os.open("open", os.O_RDONLY)
os.unlink("open")
print(flush=True)
input()
"""


def test_a_look_at_a_process_shows_what_no_call_does(tmp_path: Path) -> None:
    for name in ("mapped", "open"):
        (tmp_path / name).write_bytes(bytes(mmap.PAGESIZE))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        found = {(each.what, each.path) for each in held([process.pid])}
        process.stdin.write(b"\n")
    assert {
        ("cwd", str(tmp_path)),
        ("maps", f"{tmp_path}/mapped"),
        ("fd", f"{tmp_path}/mapped"),
        ("fd", f"{tmp_path}/open (deleted)"),
    } <= found
    assert held([process.pid]) == []
