"""Hosts of a benchmark, with real compilers: everybody builds the same units, the same bytes, and after an edit what depends on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from headstart_worker.bench import competitors, graphs, outputs, runner, worker_peer
from headstart_worker.bench.cargo_peer import CargoPeer
from headstart_worker.bench.embedded import Embedded
from headstart_worker.bench.hosts import BenchHost, Setting
from headstart_worker.bench.runner import Plan
from headstart_worker.bench.worker_peer import Peer, WorkerPeer
from headstart_worker.cargo.importer import import_cargo
from headstart_wrapper.errors import RequestError
from host import small_graph

ROOT = Path(__file__).resolve().parents[2]
PLAIN = f"{sys.executable} {Path(__file__).with_name('plain_worker.py')}"

pytestmark = [
    pytest.mark.rustc,
    pytest.mark.skipif(
        shutil.which("cargo") is None or shutil.which("cc") is None, reason="no cargo, or no cc"
    ),
]


ANSWERS_ONCE = """
import os
from headstart_worker.codec import codec_for
from headstart_worker.messages import WorkResponse
codec = codec_for("proto")
codec.feed(os.read(0, 65536))
os.write(1, codec.encode(WorkResponse(next(codec.requests()).request_id)))
"""


class Silent:
    def begin(self, _what: str) -> None: ...
    def done(self) -> None: ...


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """A library with a static one, one above it with a macro, and a program."""
    (tmp_path / "workspace").mkdir()
    return Setting(
        small_graph.write(tmp_path / "workspace"), tmp_path / "workspace", tmp_path / "scratch", jobs=2
    )


def plan(setting: Setting, hosts: tuple[BenchHost, ...]) -> Plan:
    return Plan(
        "small", "dev", setting.jobs, setting.units, hosts, rounds=1, edits={"low": setting.units["native"]}
    )


def test_I6_every_mode_and_a_peer_make_the_same_bytes_clean_and_after_an_edit(setting: Setting) -> None:
    marker = setting.workspace.with_name("marker")
    peer = Peer(f"{PLAIN} --marker={marker}", name="peer")
    names = ("none", "two_invocation", "hollow", "worker", "worker+sandbox")
    with competitors.opened(names, setting, [peer]) as (hosts, notes):
        clean, edit = runner.run(plan(setting, hosts), Silent())
    assert notes == ()
    same = ("none", "two_invocation", "worker", "worker+sandbox", "peer")
    assert clean.equal == edit.equal == (same, ("hollow",))
    for experiment, units, libraries in ((clean, 4, 2), (edit, 3, 2)):
        made = {one.mode: one for one in experiment.taken}
        assert {one.compilers for one in made.values()} == {units, units + libraries}
        assert {mode for mode, one in made.items() if one.compilers > units} == {"two_invocation", "hollow"}
        assert [made[mode].actions for mode in names] == [units, *(4 * [units + libraries])]
        assert (made["worker"].joins, made["none"].joins) == (libraries, None)
        assert all(one.cpu > 0 and one.wall > 0 for one in made.values())
        assert {one.peak_compilers for one in made.values()} <= {1, 2}
    assert {one.outputs for one in clean.taken}.isdisjoint(one.outputs for one in edit.taken)
    # The clean build, and that of the edit, each by a worker that was made ready.
    assert marker.read_text().splitlines() == ["true", *(4 * ["env"]), "true", *(3 * ["env"])]


def test_rounds_of_two_in_one_workspace_do_not_meet(setting: Setting, tmp_path: Path) -> None:
    several = []
    lowest = graphs.cut(setting.units, ("native",))
    for scratch, units, is_clean in (("edits", setting.units, False), ("clean", lowest, True)):
        (tmp_path / scratch).mkdir()
        one = evolve(setting, scratch=tmp_path / scratch, units=units)
        asked = evolve(plan(one, (Embedded(one, "worker"),)), rounds=3, warm_up=False, clean=is_clean)
        several.append((3, runner.rounds_of(evolve(asked, edits={} if is_clean else asked.edits), Silent())))
    (edited,), (clean,) = runner.spread(several)
    assert [one.compilers for one in edited.taken] == [3, 3, 3]
    assert [one.compilers for one in clean.taken] == [1, 1, 1]


def test_what_an_earlier_edit_left_is_built_anew_before_another_is_timed(setting: Setting) -> None:
    host = Embedded(setting, "worker")
    host.prepare()
    host.build()
    unedited = outputs.digests(host.outputs())
    with host.edited(setting.units["native"]):
        assert host.build().compilers == 3
    with host.edited(setting.units["middle"]):
        assert host.build().compilers == 2
    with host.edited(setting.units["middle"]):
        assert host.build().compilers == 2
    assert host.build().compilers == 2
    assert outputs.digests(host.outputs()) == unedited
    assert host.build().compilers == 0


def test_a_unit_that_cannot_be_built_is_named(setting: Setting) -> None:
    (setting.workspace / "middle/middle.rs").write_text("no rust\n")
    host = Embedded(setting, "none")
    host.prepare()
    with pytest.raises(RequestError, match=r"none cannot build middle.*--without"):
        host.build()


def test_an_unknown_name_is_refused_and_known_ones_are_told(setting: Setting) -> None:
    known = r"no mode 'fast'; there are none, .*worker\+sandbox, cargo, bazel:none"
    with pytest.raises(RequestError, match=known), competitors.opened(["none", "fast"], setting):
        pass


def test_without_bazel_its_modes_are_left_out_with_a_sentence(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with competitors.opened(["none", "bazel:worker"], setting) as (hosts, notes):
        assert [host.name for host in hosts] == ["none"]
    assert notes == ("bazel:worker is left out: there is no bazel on PATH; Debian has it as bazel-bootstrap",)


def test_without_bazel_there_may_be_nobody_left(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(RequestError, match=r"nobody to measure: bazel:worker is left out: there is no bazel"),
        competitors.opened(["bazel:worker"], setting),
    ):
        pass


def test_two_releases_of_one_worker_and_one_called_as_a_mode_have_names_of_their_own(
    setting: Setting,
) -> None:
    peers = [Peer("/old/worker"), Peer("/new/worker")]
    with competitors.opened(["worker"], setting, peers) as (hosts, _):
        assert [host.name for host in hosts] == ["worker", "worker #2", "worker #3"]


@pytest.mark.parametrize(
    ("command", "patience"), [("no-such-worker", 3600.0), ("true", 3600.0), ("sleep 3600 #", 0.2)]
)
def test_a_peer_that_answers_nothing_is_told_in_a_sentence(
    setting: Setting, command: str, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_peer, "FIRST_SECONDS", patience)
    host = WorkerPeer(setting, Peer(command, name="peer"))
    host.prepare()
    with pytest.raises(
        RequestError, match=r"the worker .* did not answer its first request; does it speak proto"
    ):
        host.build()


def test_a_peer_that_is_not_there_when_it_should_be_is_told_in_a_sentence(
    setting: Setting, tmp_path: Path
) -> None:
    (tmp_path / "once.py").write_text(ANSWERS_ONCE)
    host = WorkerPeer(setting, Peer(f"{sys.executable} {tmp_path}/once.py"))
    host.prepare()
    with pytest.raises(RequestError, match=r"the worker .* ended before the build did, or did not end after"):
        host.build()


def test_cargo_cannot_build_what_was_never_a_cargo_workspace(setting: Setting) -> None:
    with pytest.raises(RequestError, match="name one instead of an imported one"):
        CargoPeer(setting)


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """examples/hello, imported: base, a macro, middle above both, and a program."""
    directory = tmp_path_factory.mktemp("hello")
    source = directory / "source"
    shutil.copytree(ROOT / "examples" / "hello", source, ignore=shutil.ignore_patterns("target"))
    units = import_cargo(source, directory / "workspace", progress=lambda _line: None)
    return Setting(graphs.cut(units), directory / "workspace", directory / "scratch", 2, source)


@pytest.fixture
def cargo(hello: Setting) -> Iterator[CargoPeer]:
    yield CargoPeer(hello)
    shutil.rmtree(hello.scratch)


def test_cargo_compiles_exactly_the_units_of_the_others(hello: Setting, cargo: CargoPeer) -> None:
    assert hello.source is not None
    before = _bytes(hello.source)
    cargo.prepare()
    cargo.clean()
    clean = cargo.build()
    made = outputs.digests(cargo.outputs())
    assert clean.compilers == clean.actions == len(hello.units)
    (base,) = (unit for unit in hello.units if unit.crate_name == "base")
    with cargo.edited(base):
        assert cargo.build().compilers == 1 + len(graphs.dependents(hello.units)[base.name]) < clean.compilers
        assert outputs.digests(cargo.outputs()) != made
    assert cargo.build().compilers == 1 + len(graphs.dependents(hello.units)[base.name])
    assert outputs.digests(cargo.outputs()) == made
    assert cargo.build().compilers == 0
    assert _bytes(hello.source) == before


def test_a_compile_that_cargo_does_beyond_the_others_is_no_comparison(
    hello: Setting, cargo: CargoPeer
) -> None:
    cargo.prepare()
    (base,) = (unit for unit in hello.units if unit.crate_name == "base")
    shutil.rmtree(cargo._fingerprint(base))
    with pytest.raises(
        RequestError, match=r"Cargo compiled [1-9] units where the others compile 0, and .* --without"
    ):
        cargo.build()


def test_cargo_that_builds_otherwise_than_when_imported_is_no_comparison(
    cargo: CargoPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARGO_BUILD_TARGET", subprocess.run(
        ["rustc", "--print", "host-tuple"], check=True, capture_output=True, text=True
    ).stdout.strip())  # fmt: skip
    with pytest.raises(
        RequestError, match=r"otherwise than when the workspace was imported .*import it again"
    ):
        cargo.prepare()


def _bytes(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}
