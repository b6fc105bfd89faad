"""The private roots of several workers in one place for temporary files: each has its own, and nobody else's is touched."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from headstart_worker.messages import Input
from headstart_worker.roots import Roots
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, entries, sh
from process.test_private_root import close_directories, ordinary_user

Worker = Callable[..., FakeHost]


def name(number: int) -> str:
    return f"headstart-roots-{os.geteuid()}-{number}"


def number_of(roots: Roots) -> int:
    return int(Path(roots.path("x")).parent.parent.name.rpartition("-")[2])


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    directory = tmp_path / "sandbox"
    directory.mkdir()
    (directory / "in").write_text("right")
    return directory


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    directory = tmp_path / "parent"
    directory.mkdir()
    return directory


def staged(roots: Roots, output: str, sandbox: Path, *more: str) -> Path:
    """The root of an output, staged and given back."""
    path = roots.path(output)
    roots.use(path).stage(str(sandbox), [Input("in", b"1"), *(Input(each, b"1") for each in more)])
    roots.give_back(path)
    return Path(path)


def test_numbers_are_taken_lowest_first_and_nothing_stays(parent: Path, sandbox: Path) -> None:
    with contextlib.closing(Roots(parent)) as first:
        assert number_of(first) == 0
        with contextlib.closing(Roots(parent)) as second, contextlib.closing(Roots(parent)) as third:
            assert (number_of(second), number_of(third)) == (1, 2)
            second.close()
            with contextlib.closing(Roots(parent)) as fourth:
                assert number_of(fourth) == 1
                assert first.path("out") != fourth.path("out")
                staged(fourth, "out", sandbox)
            staged(first, "out", sandbox)
    assert entries(parent) == []


def test_a_name_has_the_same_root_in_the_next_worker(parent: Path) -> None:
    found = set()
    for _ in range(2):
        with contextlib.closing(Roots(parent)) as roots:
            found.add(roots.path("out"))
            assert len({roots.path("out"), roots.path("other"), roots.path("out\udcff")}) == 3
    assert len(found) == 1


def test_nothing_is_on_disk_before_the_first_root_is_asked_for(parent: Path) -> None:
    with contextlib.closing(Roots(parent)):
        assert entries(parent) == []


def test_workers_that_begin_and_end_at_once_never_have_the_same_number(parent: Path, sandbox: Path) -> None:
    held, wrong = set[str](), list[str]()
    mutex = threading.Lock()

    def worker() -> None:
        for _ in range(20):
            with contextlib.closing(Roots(parent)) as roots:
                path = roots.path("out")
                with mutex:
                    wrong.extend({path} & held)
                    held.add(path)
                staged(roots, "out", sandbox)
                if entries(Path(path)) != ["in"]:
                    wrong.append(path)
                with mutex:
                    held.discard(path)

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_I13_a_dead_workers_number_is_taken_and_its_rubbish_removed(parent: Path) -> None:
    script = (
        "import os, pathlib; from headstart_worker.roots import Roots; "
        f"path = pathlib.Path(Roots(pathlib.Path({str(parent)!r})).path('x')); path.mkdir(parents=True); "
        "(path / 'rubbish').write_text('wrong'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert entries(parent) == [name(0)]
    with contextlib.closing(Roots(parent)) as roots:
        assert number_of(roots) == 0
        assert not Path(roots.path("x")).exists()
    assert entries(parent) == []


def test_what_is_somebody_elses_is_passed_over(parent: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "roots/x").mkdir(parents=True)
    (precious / "lock").write_text("")
    (parent / name(0)).symlink_to(precious)
    (parent / name(1)).write_text("a file")
    theirs = [parent / name(2), parent / name(3)]
    for directory in theirs:
        directory.mkdir()
    (theirs[0] / "lock").write_text("")
    try:
        for directory in theirs:
            os.chown(directory, 12345, -1)
    except PermissionError:
        pytest.skip("this user may not give directories away")
    with contextlib.closing(Roots(parent)) as roots:
        assert number_of(roots) == 4
    assert entries(parent) == [name(number) for number in range(4)]
    assert entries(precious) == ["lock", "roots"]
    assert entries(precious / "roots") == ["x"]


@pytest.mark.parametrize("whole", [False, True])
def test_I13_who_lost_his_lock_takes_another_place(parent: Path, sandbox: Path, *, whole: bool) -> None:
    with contextlib.closing(Roots(parent)) as first:
        made = staged(first, "x", sandbox)
        (parent / name(0) / "lock").unlink()
        if whole:
            made.joinpath("in").unlink()
            for directory in (made, made.parent, made.parent.parent):
                directory.rmdir()
        with contextlib.closing(Roots(parent)) as second:
            theirs = staged(second, "x", sandbox)
            assert (theirs == made) == whole
            assert entries(theirs) == ["in"]
            ours = staged(first, "x", sandbox)
            assert ours not in {theirs, made}
            assert entries(ours) == entries(theirs) == ["in"]


def test_the_roots_that_were_used_last_are_kept_up_to_a_number_of_inputs(parent: Path, sandbox: Path) -> None:
    for number in range(3):
        (sandbox / f"in{number}").write_text("right")
    with contextlib.closing(Roots(parent, most_links=4)) as roots:
        first, second = (staged(roots, each, sandbox, "in0") for each in ("first", "second"))
        assert staged(roots, "first", sandbox, "in0") == first
        used = roots.path("third")
        roots.use(used).stage(str(sandbox), [Input("in", b"1")])
        outdated = roots.give_back(used)
        # The second one: the first one was used again. What is to be removed is not in its place any more.
        assert not second.exists()
        assert [entries(Path(path)) for path in outdated] == [["in", "in0"]]
        assert first.exists()
        staged(roots, "second", sandbox, "in0")
        assert entries(second) == ["in", "in0"]
        assert len(set(outdated)) == 1
        too_many = roots.path("many")
        roots.use(too_many).stage(str(sandbox), [Input(each, b"1") for each in entries(sandbox)])
        roots.give_back(too_many)
        assert Path(too_many).exists()


def test_a_root_is_given_back_once_and_used_by_one(parent: Path) -> None:
    with contextlib.closing(Roots(parent, most_links=0)) as roots:
        path = roots.path("x")
        assert roots.give_back(path) == []
        roots.use(path)
        with pytest.raises(AssertionError, match="two jobs at once"):
            roots.use(path)
        roots.give_back(path)
        assert roots.give_back(path) == []


def test_directories_that_a_compiler_closed_are_gone_at_the_end(parent: Path) -> None:
    def begin_and_end() -> bool:
        with contextlib.closing(Roots(parent)) as roots:
            path = Path(roots.path("x"))
            path.mkdir(parents=True)
            close_directories(path)
        return entries(parent) == []

    assert ordinary_user(begin_and_end, parent)


async def test_I13_a_worker_makes_none_without_a_sandboxed_request_and_leaves_none(
    worker: Worker, workspace: Path, state: Path
) -> None:
    (workspace / "slot").mkdir()
    (workspace / "slot/in").write_text("right")
    declared = ("--phase=early", "--early-output=out")
    async with worker() as host:
        with trio.fail_after(PATIENCE):
            assert (await host.work(sh("echo x > out", *declared), [Input("in", b"1")])).exit_code == 0
            assert [each for each in entries(state) if "roots" in each] == []
            inside = await host.work(sh("pwd; cp in out", *declared), [Input("in", b"1")], sandbox_dir="slot")
        assert inside.exit_code == 0
        assert inside.output.startswith(f"{state / name(0)}/roots/")
        assert (workspace / "slot/out").read_text() == "right"
    assert entries(state) == []
