"""Halves of one job from different sandboxes: the first one's is taken away with its answer, and nothing depends on which it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import trio
from attrs import frozen

from headstart_worker.messages import Input, WorkRequest, WorkResponse
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, cancelled, entries, response, sh
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]

SCRIPT = """
echo run >> {runs}
ls -A . out > {runs}.seen
cat in > out/early.tmp && mv out/early.tmp out/early
echo $$ > {pids}
read x < {go}
cat in late > out/full
"""

FIRST_WAITS = """
echo run >> {runs}
echo $$ > {pids}
read x < {go}
cat in > out/early
cat in late > out/full
"""

EARLY, FULL = "--early-output=out/early", "--output=out/full"


@frozen
class Ground:
    """A worker's directory with sandboxes in it, and a compiler that says its process id and waits for the test."""

    workspace: Path
    root: Path
    runs: Path
    pids: Fifo
    go: Fifo
    script: str = SCRIPT

    def write(self, name: str, text: str) -> None:
        """A source, made anew as build tools do."""
        (self.root / name).unlink(missing_ok=True)
        (self.root / name).write_text(text)

    def sandbox(self, name: str, **texts: str) -> str:
        """A new one, with links to the sources."""
        sandbox = self.workspace / name
        shutil.rmtree(sandbox, ignore_errors=True)
        (sandbox / "out").mkdir(parents=True)
        for source in ("in", "late"):
            (sandbox / source).symlink_to(self.root / source)
        for path, text in texts.items():
            (sandbox / path).write_text(text)
        return name

    def take_back(self, name: str) -> None:
        """The directory is another action's now."""
        shutil.rmtree(self.workspace / name)
        (self.workspace / name / "out").mkdir(parents=True)
        for path in ("in", "late", "out/early", "out/full"):
            (self.workspace / name / path).write_text("garbage")

    def is_untouched(self, name: str) -> bool:
        """Since it was taken back."""
        files = [path for path in (self.workspace / name).rglob("*") if path.is_file()]
        return len(files) == 4 and {path.read_text() for path in files} == {"garbage"}

    def request(
        self,
        number: int,
        phase: str,
        sandbox: str,
        *options: str,
        digest: bytes = b"1",
        more: Iterable[Input] = (),
    ) -> WorkRequest:
        """One half of the job."""
        script = self.script.format(runs=self.runs, pids=self.pids, go=self.go)
        declared = (EARLY,) if phase == "early" else (EARLY, FULL)
        inputs = (Input("in", digest), Input("late", digest), *more)
        return WorkRequest(number, sh(script, *options, f"--phase={phase}", *declared), inputs, sandbox)

    @property
    def count(self) -> int:
        """How often the compiler ran."""
        return self.runs.read_text().count("run") if self.runs.exists() else 0

    def seen(self) -> list[str]:
        """What the compiler found where it ran."""
        return Path(f"{self.runs}.seen").read_text().split()

    def made(self, sandbox: str) -> dict[str, str]:
        """The outputs in a sandbox."""
        out = self.workspace / sandbox / "out"
        return {name: (out / name).read_text() for name in entries(out)}


@pytest.fixture
def ground(tmp_path: Path, workspace: Path, fifo: MakeFifo) -> Ground:
    root = tmp_path / "execroot"
    root.mkdir()
    ground = Ground(workspace, root, tmp_path / "runs", fifo("pids"), fifo("go"))
    ground.write("in", "interface\n")
    ground.write("late", "code\n")
    return ground


MADE = {"early": "interface\n", "full": "interface\ncode\n"}


def cwd(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


def early_of(made: dict[str, str]) -> dict[str, str]:
    return {"early": made["early"]}


def full_of(made: dict[str, str]) -> dict[str, str]:
    return {"full": made["full"]}


async def barrier(host: FakeHost) -> None:
    """Returns when every request that was sent before has its place."""
    with trio.fail_after(PATIENCE):
        assert (
            await host.work(sh("echo x > barrier", "--phase=early", "--early-output=barrier"))
        ).exit_code == 0


async def answer(host: FakeHost) -> WorkResponse:
    """The next one, which is a success."""
    next_one = await response(host)
    assert next_one.exit_code == 0, next_one.output
    return next_one


@pytest.mark.parametrize("digest", [b"1", b""])
async def test_I8_the_early_answer_comes_first_and_what_is_read_late_is_what_the_sandbox_held(
    worker: Worker, ground: Ground, protocol: str, digest: bytes
) -> None:
    async with worker(protocol) as host:
        await host.send(ground.request(1, "early", ground.sandbox("slot-1"), digest=digest))
        assert await answer(host) == WorkResponse(1)
        pid = await ground.pids.pid()
        assert is_alive(pid)
        assert ground.made("slot-1") == early_of(MADE)
        assert not cwd(pid).is_relative_to(ground.workspace)
        ground.take_back("slot-1")
        await host.send(ground.request(2, "full", ground.sandbox("slot-2"), digest=digest))
        ground.go.go()
        assert await answer(host) == WorkResponse(2)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.is_untouched("slot-1")
    assert ground.count == 1


async def test_full_first_leaves_the_early_half_to_an_early_request_from_elsewhere(
    worker: Worker, ground: Ground
) -> None:
    async with worker() as host:
        ground.go.go()
        await host.send(ground.request(1, "full", ground.sandbox("slot-1")))
        await answer(host)
        assert ground.made("slot-1") == full_of(MADE)
        ground.take_back("slot-1")
        await host.send(ground.request(2, "early", ground.sandbox("slot-2")))
        await answer(host)
    assert ground.made("slot-2") == early_of(MADE)
    assert ground.count == 1
    assert ground.is_untouched("slot-1")


async def test_I5_I7_a_newer_content_supersedes_from_another_sandbox_in_the_same_root(
    worker: Worker, ground: Ground
) -> None:
    async with worker("proto", "--jobs=2") as host:
        await host.send(ground.request(1, "early", ground.sandbox("slot-1")))
        await answer(host)
        old = await ground.pids.pid()
        place = cwd(old)
        ground.take_back("slot-1")
        ground.write("late", "new code\n")
        await host.send(ground.request(2, "early", ground.sandbox("slot-2"), digest=b"2"))
        assert (await answer(host)).request_id == 2
        assert not is_alive(old)
        new = await ground.pids.pid()
        assert cwd(new) == place
        ground.take_back("slot-2")
        ground.go.go()
        await host.send(ground.request(3, "full", ground.sandbox("slot-3"), digest=b"2"))
        await answer(host)
    assert ground.made("slot-3") == {"full": "interface\nnew code\n"}
    assert ground.is_untouched("slot-1")
    assert ground.is_untouched("slot-2")
    assert ground.count == 2


async def test_I7_without_digests_the_content_in_the_sandbox_counts(worker: Worker, ground: Ground) -> None:
    async with worker() as host:
        await host.send(ground.request(1, "early", ground.sandbox("slot-1"), digest=b""))
        await answer(host)
        ground.take_back("slot-1")
        ground.write("late", "new code\n")
        ground.go.go(2)  # one for the older compiler, should it still be there to take it
        await host.send(ground.request(2, "full", ground.sandbox("slot-2"), digest=b""))
        await answer(host)
    assert ground.made("slot-2") == {"full": "interface\nnew code\n"}
    assert ground.count == 2


STAGING_WAITS = """
from headstart_worker.private_root import PrivateRoot
stage = PrivateRoot.stage
def staging(*arguments):
    open({told!r}, "w").write("staging\\n")
    open({go!r}).readline()
    return stage(*arguments)
PrivateRoot.stage = staging
"""


async def test_I8_a_cancel_waits_while_its_sandbox_is_read_and_no_longer(
    buggy: Worker, ground: Ground, fifo: MakeFifo
) -> None:
    told, go = fifo("told"), fifo("stage")
    first = ground.request(1, "early", ground.sandbox("slot-1"))
    code = STAGING_WAITS.format(told=str(told), go=str(go))
    async with buggy("proto") as host:
        await host.send(WorkRequest(1, ("bug", code, *first.arguments), first.inputs, first.sandbox_dir))
        assert await told.line() == "staging"
        await host.send(ground.request(2, "full", ground.sandbox("slot-2")))
        await barrier(host)
        await host.cancel(1)
        await barrier(host)
        assert [each.request_id for each in host.responses if each.request_id < 1000] == []
        go.go()
        assert await response(host) == cancelled(1)
        ground.take_back("slot-1")
        ground.go.go()
        await answer(host)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.is_untouched("slot-1")
    assert ground.count == 1


async def test_I2_cancelled_while_it_is_staged_for_itself_alone_it_never_runs(
    buggy: Worker, ground: Ground, fifo: MakeFifo
) -> None:
    told, go = fifo("told"), fifo("stage")
    first = ground.request(1, "early", ground.sandbox("slot-1"))
    code = STAGING_WAITS.format(told=str(told), go=str(go))
    async with buggy("proto") as host:
        await host.send(WorkRequest(1, ("bug", code, *first.arguments), first.inputs, first.sandbox_dir))
        assert await told.line() == "staging"
        await host.cancel(1)
        await barrier(host)
        assert [each.request_id for each in host.responses if each.request_id < 1000] == []
        go.go()
        assert await response(host) == cancelled(1)
        ground.take_back("slot-1")
        assert ground.count == 0
        ground.go.go()
        go.go()
        await host.send(ground.request(2, "full", ground.sandbox("slot-2")))
        await answer(host)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.is_untouched("slot-1")


@pytest.mark.parametrize("waits", [True, False])
async def test_I8_a_cancel_in_the_queue_is_acknowledged_at_once_and_the_sandbox_needed_no_more(
    worker: Worker, ground: Ground, fifo: MakeFifo, *, waits: bool
) -> None:
    began, release = fifo("began"), fifo("release")
    async with worker("proto", "--jobs=1") as host:
        await barrier(host)
        await host.send(WorkRequest(9, sh(f"echo > {began}; read x < {release}")))
        await began.line()
        await host.send(ground.request(1, "early", ground.sandbox("slot-1")))
        if waits:
            await host.send(ground.request(2, "full", ground.sandbox("slot-2")))
        await barrier(host)
        await host.cancel(1)
        assert await response(host) == cancelled(1)
        ground.take_back("slot-1")
        release.go()
        ground.go.go()
        assert (await answer(host)).request_id == 9
        if not waits:
            await host.send(ground.request(2, "full", ground.sandbox("slot-2")))
        assert (await answer(host)).request_id == 2
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.is_untouched("slot-1")
    assert ground.count == 1


@pytest.mark.parametrize("phase", ["early", "full"])
async def test_I2_what_runs_is_dead_when_its_cancel_is_acknowledged_and_the_next_attempt_is_right(
    worker: Worker, ground: Ground, phase: str
) -> None:
    waiting = Ground(ground.workspace, ground.root, ground.runs, ground.pids, ground.go, FIRST_WAITS)
    async with worker() as host:
        for _ in range(3):
            await host.send(waiting.request(1, phase, ground.sandbox("slot-1")))
            pid = await ground.pids.pid()
            await host.cancel(1)
            assert await response(host) == cancelled(1)
            assert not is_alive(pid)
            ground.take_back("slot-1")
        ground.go.go()
        await host.send(waiting.request(2, "full", ground.sandbox("slot-2")))
        await answer(host)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.is_untouched("slot-1")


async def test_a_cancelled_home_lets_the_one_that_waits_go_on_while_it_runs(
    worker: Worker, ground: Ground
) -> None:
    waiting = Ground(ground.workspace, ground.root, ground.runs, ground.pids, ground.go, FIRST_WAITS)
    async with worker() as host:
        await host.send(waiting.request(1, "early", ground.sandbox("slot-1")))
        pid = await ground.pids.pid()
        await host.send(waiting.request(2, "full", ground.sandbox("slot-2")))
        await barrier(host)
        await host.cancel(1)
        assert await response(host) == cancelled(1)
        ground.take_back("slot-1")
        assert is_alive(pid)
        ground.go.go()
        await answer(host)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.is_untouched("slot-1")
    assert ground.count == 1


async def test_I2_a_cancelled_full_request_ends_the_tail_that_it_waited_for(
    worker: Worker, ground: Ground
) -> None:
    async with worker() as host:
        for _ in range(2):
            await host.send(ground.request(1, "early", ground.sandbox("slot-1")))
            await answer(host)
            pid = await ground.pids.pid()
            ground.take_back("slot-1")
            await host.send(ground.request(2, "full", ground.sandbox("slot-2")))
            await barrier(host)
            await host.cancel(2)
            assert await response(host) == cancelled(2)
            assert not is_alive(pid)
            assert ground.made("slot-2") == {}
            ground.take_back("slot-2")
    assert ground.is_untouched("slot-1")
    assert ground.is_untouched("slot-2")


@pytest.mark.parametrize("when", ["running", "ended"])
async def test_I13_a_state_directory_that_is_taken_away_costs_time(
    worker: Worker, ground: Ground, state: Path, when: str
) -> None:
    async with worker("proto", "--jobs=1") as host:
        await host.send(ground.request(1, "early", ground.sandbox("slot-1")))
        await answer(host)
        pid = await ground.pids.pid()
        ground.take_back("slot-1")
        if when == "ended":
            ground.go.go()
            await host.send(WorkRequest(9, sh("true")))  # it gets the slot when all is over
            await answer(host)
            assert not is_alive(pid)
        shutil.rmtree(state)
        ground.go.go()
        await host.send(ground.request(2, "full", ground.sandbox("slot-2")))
        full = await response(host)
        if full.exit_code:  # the compiler itself met the end of its directory, and said so
            assert when == "running"
            ground.go.go()
            await host.send(ground.request(2, "full", ground.sandbox("slot-2")))
            await answer(host)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.is_untouched("slot-1")


async def test_id_0_is_answered_at_the_end_from_each_sandbox(worker: Worker, ground: Ground) -> None:
    async with worker() as host:
        await host.send(ground.request(0, "early", ground.sandbox("slot-1")))
        pid = await ground.pids.pid()
        ground.go.go()
        await answer(host)
        assert not is_alive(pid)
        ground.take_back("slot-1")
        await host.send(ground.request(0, "full", ground.sandbox("slot-2")))
        await answer(host)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.count == 1


async def test_I8_where_the_host_declares_no_inputs_the_job_runs_in_its_sandbox_and_is_answered_at_the_end(
    worker: Worker, ground: Ground
) -> None:
    request = ground.request(1, "early", ground.sandbox("slot-1"))
    async with worker() as host:
        await host.send(WorkRequest(1, request.arguments, (), request.sandbox_dir))
        pid = await ground.pids.pid()
        assert cwd(pid) == ground.workspace / "slot-1"
        await barrier(host)
        assert [each for each in host.responses if each.request_id == 1] == []
        ground.go.go()
        await answer(host)
        assert not is_alive(pid)


async def test_the_root_holds_the_inputs_and_neither_params_files_nor_what_the_job_makes_itself(
    worker: Worker, ground: Ground
) -> None:
    ground.write("in", "interface\n")
    first = ground.request(1, "early", "slot-1")
    lines = "\n".join(first.arguments[:-1])
    assert "\n" not in first.arguments[0]
    async with worker() as host:
        name = ground.sandbox("slot-1", **{"out/early-2.params": lines, "other": "undeclared"})
        inputs = (*first.inputs, Input("out/early-2.params", b"p"))
        script = first.arguments[-1]
        # The params file has the options; the script itself has lines, which a params file cannot hold.
        await host.send(WorkRequest(1, ("@out/early-2.params", script), inputs, name))
        await answer(host)
        await ground.pids.pid()
        assert ground.seen() == [".:", "in", "late", "out", "out:"]
        ground.take_back("slot-1")
        ground.go.go()
        full = ground.request(2, "full", ground.sandbox("slot-2", **{"out/early": "interface\n"}))
        await host.send(
            WorkRequest(2, full.arguments, (*full.inputs, Input("out/early", b"any")), full.sandbox_dir)
        )
        await answer(host)
    assert ground.made("slot-2") == MADE
    assert ground.count == 1


@pytest.mark.parametrize(("known", "exit_code"), [("interface\n", 0), ("of another run\n", 70)])
async def test_I9_a_full_request_alone_looks_at_the_early_output_that_its_dependents_used(
    worker: Worker, ground: Ground, known: str, exit_code: int
) -> None:
    async with worker() as host:
        ground.go.go()
        sandbox = ground.sandbox("slot-1", **{"out/early": known})
        await host.send(ground.request(1, "full", sandbox, more=[Input("out/early", b"any")]))
        full = await response(host)
        assert full.exit_code == exit_code, full.output
        assert ("dependents were built with" in full.output) == bool(exit_code)
    assert ground.seen() == [".:", "in", "late", "out", "out:"]


async def test_pwd_is_where_the_command_runs_and_the_halves_join_all_the_same(
    worker: Worker, ground: Ground
) -> None:
    telling = Ground(
        ground.workspace,
        ground.root,
        ground.runs,
        ground.pids,
        ground.go,
        SCRIPT.replace("cat in >", 'test "$OUT_DIR" = "$PWD/x" || exit 9\ncat in >'),
    )
    options = ("--env=OUT_DIR=${here}/x", "--subst=here=${pwd}")
    async with worker() as host:
        await host.send(telling.request(1, "early", ground.sandbox("slot-1"), *options))
        await answer(host)
        ground.take_back("slot-1")
        ground.go.go()
        await host.send(telling.request(2, "full", ground.sandbox("slot-2"), *options))
        await answer(host)
    assert ground.made("slot-2") == full_of(MADE)
    assert ground.count == 1


async def test_outputs_that_only_look_like_anothers_have_roots_of_their_own(
    worker: Worker, ground: Ground
) -> None:
    script = f'for out; do cat in > "$out"; done; pwd > {ground.pids}; read x < {ground.go}'
    async with worker("proto", "--jobs=3") as host, trio.open_nursery() as nursery:
        answers: list[WorkResponse] = []

        async def ask(sandbox: str, *names: str) -> None:
            declared = (f"--early-output={name}" for name in names)
            arguments = (*sh(script, "--phase=early", *declared), "sh", *names)
            answers.append(await host.work(arguments, [Input("in", b"1")], sandbox_dir=sandbox))

        for number, names in enumerate((("a\nb",), ("a", "b"), ("out/a",))):
            nursery.start_soon(ask, ground.sandbox(f"slot-{number}"), *names)
        places = {await ground.pids.line() for _ in range(3)}
        ground.go.go(3)
    assert len(places) == 3
    assert [each.exit_code for each in answers] == [0, 0, 0]


@pytest.mark.rustc
async def test_I6_texts_name_the_workers_directory_whatever_sandbox_it_was(
    worker: Worker, workspace: Path
) -> None:
    command = ("--", "rustc", "--crate-name=x", "--crate-type=lib", "--emit=dep-info,metadata,link", "lib.rs")
    options = ("--env=OUT_DIR=${here}/gen", "--subst=here=${pwd}")
    early, late = "--early-output=libx.rmeta", ("--output=libx.rlib", "--output=x.d")
    inputs = (Input("lib.rs", b"1"), Input("gen/made.rs", b"1"))
    for slot in ("slot-1", "slot-2"):
        (workspace / slot / "gen").mkdir(parents=True)
        (workspace / slot / "lib.rs").write_text('include!(concat!(env!("OUT_DIR"), "/made.rs"));')
        (workspace / slot / "gen/made.rs").write_text("pub fn answer() -> u32 { 42 }")
    async with worker() as host:
        first = await host.work((*options, "--phase=early", early, *command), inputs, sandbox_dir="slot-1")
        assert first.exit_code == 0, first.output
        shutil.rmtree(workspace / "slot-1")
        full = await host.work(
            (*options, "--phase=full", early, *late, *command), inputs, sandbox_dir="slot-2"
        )
        assert full.exit_code == 0, full.output
    told = (workspace / "slot-2/x.d").read_text()
    assert f"{workspace}/gen/made.rs" in told
    assert f"# env-dep:OUT_DIR={workspace}/gen" in told
    assert "headstart" not in told
    assert "slot" not in told


@pytest.mark.rustc
async def test_I6_a_whole_job_leaves_in_its_sandbox_what_it_leaves_without_one(
    worker: Worker, workspace: Path
) -> None:
    def arguments(out: str) -> tuple[str, ...]:
        emit = f"--emit=dep-info={out}/x.d,link"
        rustc = ("rustc", "--crate-name=x", "--crate-type=lib", emit, f"--out-dir={out}", "lib.rs")
        options = (f"--output={out}/libx.rlib", "--stdout=said", "--subst=here=${pwd}")
        return (*options, "--", *rustc, "--remap-path-prefix=${here}=.")

    for directory in (workspace, workspace / "slot"):
        (directory / "out").mkdir(parents=True)
        (directory / "lib.rs").write_text("pub fn answer() -> u32 { 42 }")
    async with worker() as host:
        for sandbox in ("", "slot"):
            made = await host.work(arguments("out"), [Input("lib.rs", b"1")], sandbox_dir=sandbox)
            assert made.exit_code == 0, made.output
    for name in ("out/libx.rlib", "out/x.d", "said"):
        assert (workspace / "slot" / name).read_bytes() == (workspace / name).read_bytes()


NO_THREAD = """
import trio._threads as threads
start = threads.start_thread_soon
def refuse(*arguments):
    threads.start_thread_soon = start
    raise RuntimeError("can't start new thread")
threads.start_thread_soon = refuse
"""


async def test_a_job_that_there_is_no_thread_to_stage_for_is_told_so(buggy: Worker, ground: Ground) -> None:
    first = ground.request(1, "early", ground.sandbox("slot-1"))
    async with buggy("proto") as host:
        await host.send(WorkRequest(1, ("bug", NO_THREAD, *first.arguments), first.inputs, first.sandbox_dir))
        refused = await response(host)
        assert refused.exit_code == 125
        assert "can't start new thread; raise the limit of processes" in refused.output
        ground.take_back("slot-1")
        ground.go.go()
        await host.send(ground.request(2, "early", ground.sandbox("slot-2")))
        await answer(host)
    assert ground.made("slot-2") == early_of(MADE)
