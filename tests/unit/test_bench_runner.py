"""The order of a benchmark's builds, and what must hold of their outputs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker import timeline
from headstart_worker.bench import hosts, machine, outputs, runner
from headstart_worker.bench.outputs import DifferentBytesError
from headstart_worker.bench.records import CLEAN, Taken
from headstart_worker.bench.runner import Plan, Rounds
from headstart_worker.bench.sampling import Seen
from headstart_worker.bench.worker_peer import Peer, absolute, plain
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import Extern, Unit, Units
from unit.compiles import compile_


@given(st.integers(1, 8), st.integers(1, 40))
def test_rounds_begin_with_another_one_each_time_and_leave_nobody_out(count: int, rounds: int) -> None:
    things = list(range(count))
    orders = [runner.order(things, number) for number in range(rounds)]
    assert all(sorted(each) == things for each in orders)
    assert [each[0] for each in orders] == [number % count for number in range(rounds)]


@given(st.integers(3, 8))
def test_who_builds_after_whom_changes(count: int) -> None:
    """Else one would always have the other's caches and heat."""
    followers: dict[int, set[int]] = {}
    for number in range(2 * count):
        each = runner.order(range(count), number)
        for first, second in itertools.pairwise(each):
            followers.setdefault(first, set()).add(second)
    assert all(len(found) == 2 for found in followers.values())


def unit(name: str, *needs: str) -> Unit:
    return Unit(
        name, name, "1.0.0", f"crates/{name}", name, "lib", "2021", f"crates/{name}/lib.rs", (), "m", "-0", {},
        (f"crates/{name}/lib.rs",), tuple(Extern(need, need) for need in needs), (),
    )  # fmt: skip


UNITS = Units("rustc", "rustc", (unit("base"), unit("middle", "base"), unit("top", "middle")))


@define
class Scripted:
    """A host that writes what it is told to; its diary is everybody's."""

    name: str
    place: Path
    diary: list[str]
    same_bytes_as: str = "one run"
    mode: Mode | None = None
    phases: hosts.Phases = field(factory=dict)
    traced: timeline.Build | None = None
    text: str = "code"

    def prepare(self) -> None:
        self.diary.append(f"{self.name} prepares")
        self.place.mkdir()

    def clean(self) -> None:
        self.diary.append(f"{self.name} cleans")

    @contextmanager
    def edited(self, unit: Unit) -> Iterator[None]:
        self.diary.append(f"{self.name} edits {unit.name}")
        yield

    def build(self) -> Taken:
        self.diary.append(f"{self.name} builds")
        (self.place / "a").write_text(self.text)
        (self.place / "b").write_text("same")
        return hosts.taken(self, 2.0, Seen(user=3.0, system=1.0), actions=3, compilers=3)

    def outputs(self) -> Mapping[str, Path]:
        return {"a": self.place / "a", "b": self.place / "b"}

    def close(self) -> None:
        self.diary.append(f"{self.name} closes")


class Silent:
    def begin(self, _what: str) -> None: ...
    def done(self) -> None: ...


@define
class Counting:
    begun: int = 0

    def begin(self, _what: str) -> None:
        self.begun += 1

    def done(self) -> None: ...


def plan(*them: Scripted, rounds: int = 2) -> Plan:
    return Plan("w", "dev", 2, UNITS, them, rounds=rounds)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Scripted, Scripted]:
    diary: list[str] = []
    return Scripted("none", tmp_path / "none", diary), Scripted("worker", tmp_path / "worker", diary)


def test_every_build_is_preceded_by_what_it_has_to_compile(two: tuple[Scripted, Scripted]) -> None:
    (clean, edit) = runner.run(evolve(plan(*two), edits={"middle": UNITS["middle"]}), Silent())
    diary = two[0].diary
    assert diary[:2] == ["none prepares", "worker prepares"]
    assert diary[2:4] == ["none cleans", "none builds"]  # so that everything was read once
    assert diary[4:12] == [
        "none cleans", "none builds", "worker cleans", "worker builds",
        "worker cleans", "worker builds", "none cleans", "none builds",
    ]  # fmt: skip
    assert diary[12:16] == ["none edits middle", "none builds", "worker edits middle", "worker builds"]
    assert (clean.scenario, clean.units, len(clean.taken)) == (CLEAN, 3, 4)
    assert (edit.scenario, edit.units, len(edit.taken)) == ("edit of middle (middle)", 2, 4)
    assert clean.equal == (("none", "worker"),)


def test_steps_are_as_many_as_are_begun(two: tuple[Scripted, Scripted]) -> None:
    progress = Counting()
    asked = evolve(plan(*two, rounds=3), edits={"low": UNITS["base"], "top": UNITS["top"]})
    runner.run(asked, progress)
    assert progress.begun == asked.steps == 2 + 1 + 2 * 3 * 3


def test_I6_another_byte_fails_the_experiment_and_is_named(two: tuple[Scripted, Scripted]) -> None:
    two[1].text = "cod3"
    with pytest.raises(DifferentBytesError, match=r"^a as worker built it is not what none built before"):
        runner.run(plan(*two), Silent())


def test_a_host_that_differs_from_itself_is_named(tmp_path: Path) -> None:
    class Moody(Scripted):
        def build(self) -> Taken:
            self.text += "!"
            return super().build()

    with pytest.raises(DifferentBytesError, match="a as hollow built it is not what it built before"):
        runner.run(plan(Moody("hollow", tmp_path / "hollow", [])), Silent())


def test_other_groups_may_have_other_bytes(two: tuple[Scripted, Scripted]) -> None:
    two[1].text, two[1].same_bytes_as = "else", "hollow"
    (clean,) = runner.run(plan(*two), Silent())
    assert clean.equal == (("none",), ("worker",))
    assert len({one.outputs for one in clean.taken}) == 2


def test_a_missing_output_is_no_equality(two: tuple[Scripted, Scripted]) -> None:
    class Forgetful(Scripted):
        def outputs(self) -> Mapping[str, Path]:
            return {**super().outputs(), "c": self.place / "c"}

    with pytest.raises(DifferentBytesError, match="c is not there"):
        runner.run(plan(Forgetful("none", two[0].place, [])), Silent())


def test_the_first_name_that_differs_is_told() -> None:
    assert outputs.difference({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) is None
    assert outputs.difference({"a": "1", "c": "2"}, {"a": "1", "b": "2"}) == "b"
    assert outputs.together({"a": "1", "b": "2"}) == outputs.together({"b": "2", "a": "1"})
    assert outputs.together({"a": "1", "b": "2"}) != outputs.together({"a": "2", "b": "1"})


def test_bounds_are_the_least_work_and_the_longest_path_of_fastest_compiles(tmp_path: Path) -> None:
    class Slower(Scripted):
        def build(self) -> Taken:
            more = self.diary.count("worker builds")
            seconds = {"base": (1.0, 3.0), "middle": (1.0, 2.0), "top": (0.5, 4.0)}
            self.phases = {name: (early + more, whole + more) for name, (early, whole) in seconds.items()}
            self.traced = timeline.Build((evolve(compile_(), cpu=3.0 + more),), 0)
            return super().build()

    hosts_ = Slower("worker", tmp_path / "worker", [], mode="worker"), Scripted("peer", tmp_path / "peer", [])
    (clean,) = runner.run(evolve(plan(*hosts_), warm_up=False), Silent())
    assert clean.bounds.keys() == {"worker"}
    assert clean.bounds["worker"].work == pytest.approx(3.0 / min(2, machine.cores()))
    assert clean.bounds["worker"].critical_path == pytest.approx(1.0 + 1.0 + 4.0)


@pytest.mark.parametrize(("kind", "added"), [("lib", "pub fn"), ("proc-macro", "fn"), ("bin", "fn")])
def test_an_edit_leaves_the_file_as_it_was_with_its_time(tmp_path: Path, kind: str, added: str) -> None:
    source = tmp_path / "lib.rs"
    source.write_bytes(b"// no line break at its end: \xff")
    before = 1_000_000_000
    os.utime(source, ns=(before, before))
    with hosts.edit(source, evolve(unit("a"), kind=kind)):
        last = source.read_bytes().splitlines()[-1]
        assert last == f"{added} headstart_bench_edit() {{}}".encode()
        assert source.stat().st_mtime_ns != before
    assert source.read_bytes() == b"// no line break at its end: \xff"
    assert source.stat().st_mtime_ns == before


def test_the_environment_has_nothing_that_only_some_hosts_heed(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {
        "MAKEFLAGS": "-j9",
        "CARGO_MAKEFLAGS": "-j9",
        "RUSTFLAGS": "-O",
        "RUSTC_WRAPPER": "x",
        "HEADSTART_STATS": "x",
    }
    for name, value in {**theirs, "KEPT": "x"}.items():
        monkeypatch.setenv(name, value)
    assert not theirs.keys() & hosts.environment().keys()
    assert hosts.environment()["KEPT"] == "x"


def test_a_peer_gets_a_plain_command_that_talks_as_ours_does() -> None:
    lines = [
        "--subst=pwd=${pwd}", "--env=A=${pwd}/a b", "--env=B=", "--output=o/liba.rlib", "--",
        "/bin/rustc", "--crate-type", "lib", "a.rs", "--emit=metadata=o/a.rmeta,link=o/a.rlib", "--remap-path-prefix=${pwd}=.",
    ]  # fmt: skip
    assert plain(lines, "/w") == [
        "env", "A=/w/a b", "B=", "/bin/rustc", "--error-format=json", "--json=artifacts", "--crate-type", "lib", "a.rs",
        "--emit=metadata=o/a.rmeta,link=o/a.rlib", "--remap-path-prefix=/w=.",
    ]  # fmt: skip


def test_a_peer_is_called_by_its_words_without_their_places() -> None:
    assert Peer("/usr/bin/python3 '/a b/worker.py' --json").name == "python3 worker.py --json"
    assert Peer("x", name="other").name == "other"


def test_a_peer_is_found_from_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a worker").touch()
    monkeypatch.chdir(tmp_path)
    assert absolute("./worker --fast") == "./worker --fast"  # no such file: a shell says so
    (tmp_path / "worker").symlink_to("a worker")  # it may go by its name
    assert absolute("./worker --fast") == f"{tmp_path}/worker --fast"
    assert absolute("worker --fast") == "worker --fast"  # from PATH
    assert absolute("$HOME/worker") == "$HOME/worker"
    assert absolute("'./a worker'") == "'./a worker'"


def test_what_cargo_makes_flags_of_reaches_cargo_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "RUSTFLAGS",
        "CARGO_PROFILE_DEV_OPT_LEVEL",
        "RUSTC_WRAPPER",
        "MAKEFLAGS",
        "HEADSTART_TIMEOUT",
    ):
        monkeypatch.setenv(name, "1")
    assert {"RUSTFLAGS", "CARGO_PROFILE_DEV_OPT_LEVEL"} == (
        hosts.cargo_environment().keys() - hosts.environment().keys()
    )
    assert not {"RUSTC_WRAPPER", "MAKEFLAGS", "HEADSTART_TIMEOUT"} & hosts.cargo_environment().keys()


def told(name: str, rounds: int, into: list[str]) -> Rounds[str]:
    try:
        for number in range(rounds):
            into.append(f"{name}{number}")
            yield
        return name
    finally:
        into.append(f"{name} ended")


def test_rounds_of_several_are_spread_over_the_whole_time() -> None:
    into: list[str] = []
    several = [(count, told(name, count, into)) for name, count in (("a", 5), ("b", 2), ("c", 1))]
    assert runner.spread(several) == ["a", "b", "c"]
    assert into[:8] == ["a0", "b0", "a1", "a2", "c0", "a3", "b1", "a4"]
    assert into[8:] == ["a ended", "b ended", "c ended"]


def test_one_with_fewer_rounds_than_were_told_is_found_out() -> None:
    with pytest.raises(AssertionError, match="number 1 has fewer rounds"):
        runner.spread([(3, told("a", 3, [])), (2, told("b", 1, []))])


def test_one_that_fails_ends_the_others_too() -> None:
    def failing() -> Rounds[str]:
        yield
        raise ValueError

    into: list[str] = []
    with pytest.raises(ValueError, match=r"^$"):
        runner.spread([(3, told("a", 3, into)), (2, failing())])
    assert into[-1] == "a ended"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_no_rounds_are_left_out_and_each_ones_keep_their_order(counts: list[int]) -> None:
    into: list[str] = []
    runner.spread([(count, told(f"{which}.", count, into)) for which, count in enumerate(counts)])
    for which, count in enumerate(counts):
        mine = [one for one in into if one.startswith(f"{which}.")]
        assert mine == [*(f"{which}.{number}" for number in range(count)), f"{which}. ended"]
