"""Real Bazel as a peer of a benchmark."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headstart_worker.bench import competitors, graphs, runner
from headstart_worker.bench.hosts import Setting
from headstart_worker.bench.runner import Plan
from headstart_worker.cargo.importer import import_cargo
from host.bazel_workspace import HEADSTART, one_at_a_time

pytestmark = [
    pytest.mark.bazel,
    pytest.mark.rustc,
    pytest.mark.xdist_group("bazel"),
    pytest.mark.skipif(
        shutil.which("bazel") is None or shutil.which("cargo") is None, reason="no bazel, or no cargo"
    ),
]


class Silent:
    def begin(self, _what: str) -> None: ...
    def done(self) -> None: ...


def test_I6_bazel_makes_the_same_bytes_as_the_embedded_host_clean_and_after_an_edit(tmp_path: Path) -> None:
    units = graphs.cut(
        import_cargo(HEADSTART / "examples" / "hello", tmp_path / "workspace", progress=lambda _line: None)
    )
    setting = Setting(units, tmp_path / "workspace", tmp_path / "scratch", jobs=2)
    (base,) = (unit for unit in units if unit.crate_name == "base")
    libraries = sum(unit.is_library for unit in units)
    with one_at_a_time(), competitors.opened(["none", "bazel:worker"], setting) as (hosts, _):
        plan = Plan("hello", "dev", 2, units, hosts, rounds=2, edits={"low": base})
        clean, edit = runner.run(plan, Silent())
    assert clean.equal == (("none", "bazel:worker"),)
    assert len({one.outputs for one in clean.taken}) == len({one.outputs for one in edit.taken}) == 1
    assert {one.compilers for one in clean.taken} == {len(units)}
    assert {one.compilers for one in edit.taken} == {1 + len(graphs.dependents(units)[base.name])}
    for one in clean.of("bazel:worker"):
        assert (one.actions, one.joins) == (len(units) + libraries, libraries)
        assert one.cpu > 0
        assert one.peak_memory > 50_000_000  # with its server's
    assert not (setting.scratch / "bazel-worker" / "base").exists()
