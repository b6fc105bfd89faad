"""The model of an imported build: commands taken apart, places, units, requests."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from headstart_worker.cargo import layout
from headstart_worker.cargo.commands import (
    MODES,
    Mode,
    awaited,
    outputs,
    phases,
    request_inputs,
    request_lines,
)
from headstart_worker.cargo.rustc_args import Extern as Named
from headstart_worker.cargo.rustc_args import dep_info_paths, parse
from headstart_worker.cargo.units import BINARY, LIBRARY, PROC_MACRO, Extern, Unit, Units, decode, encode
from headstart_wrapper.errors import RequestError

NEW_CARGO = [
    "/tc/bin/rustc", "--crate-name", "mid", "--edition=2021", "/reg/mid-1.0.0/src/lib.rs", "--error-format=json",
    "--json=diagnostic-rendered-ansi,artifacts,future-incompat", "--diagnostic-width=80", "--crate-type", "lib",
    "--emit=dep-info,metadata,link", "-C", "embed-bitcode=no", "-Copt-level=3", "--cfg", 'feature="std"', "--check-cfg",
    "cfg(docsrs,test)", "-C", "metadata=950d", "-C", "extra-filename=-60d9", "--out-dir", "/t/debug/deps", "-C",
    "incremental=/t/inc", "-L", "dependency=/t/debug/deps", "--extern", "low=/t/debug/deps/liblow-1.rmeta", "--extern",
    "proc_macro", "--cap-lints", "allow", "-L", "native=/t/build/low-2/out", "-L", "native=/t/build/low-2/out", "-l",
    "static=low", "--color=always",
]  # fmt: skip


def unit(name: str, kind: str = LIBRARY, externs: tuple[str, ...] = ()) -> Unit:
    directory = f"vendor/{name}-1.0.0"
    return Unit(
        name=f"{name}-1.0.0-1",
        package=name,
        version="1.0.0",
        directory=directory,
        crate_name=name,
        kind=kind,
        edition="2021",
        root=f"{directory}/src/lib.rs",
        args=("--cap-lints", "allow"),
        metadata="m1",
        extra_filename="-1",
        env={"OUT_DIR": f"${{pwd}}/{directory}/out-1"},
        inputs=(f"{directory}/src/lib.rs",),
        externs=(*(Extern(extern, f"{extern}-1.0.0-1") for extern in externs), Extern("alloc")),
        native=(f"{directory}/out-1",),
    )


# hidden <- macro <- low <- mid <- app
HIDDEN, MACRO, LOW = unit("hidden"), unit("macro", PROC_MACRO, ("hidden",)), unit("low", externs=("macro",))
MID, APP = unit("mid", externs=("low",)), unit("app", BINARY, ("mid",))
UNITS = Units("rustc 1", "/tc/bin/rustc", (HIDDEN, MACRO, LOW, MID, APP))


def test_a_command_is_taken_apart() -> None:
    command = parse(NEW_CARGO)
    assert command is not None
    assert command.crate_name == "mid"
    assert command.crate_types == ("lib",)
    assert command.edition == "2021"
    assert command.root == "/reg/mid-1.0.0/src/lib.rs"
    assert command.metadata == "950d"
    assert command.extra_filename == "-60d9"
    assert command.out_dir == "/t/debug/deps"
    assert command.externs == (Named("low", "/t/debug/deps/liblow-1.rmeta"), Named("proc_macro", None))
    assert command.native == ("/t/build/low-2/out",)


def test_what_is_left_is_what_the_crate_is_compiled_with() -> None:
    command = parse(NEW_CARGO)
    assert command is not None
    assert command.args == (
        "-C", "embed-bitcode=no", "-Copt-level=3", "--cfg", 'feature="std"', "--check-cfg", "cfg(docsrs,test)",
        "--cap-lints", "allow", "-l", "static=low",
    )  # fmt: skip


@pytest.mark.parametrize(
    "question",
    [
        ["rustc", "-vV"],
        ["rustc", "-", "--crate-name", "___", "--print=file-names", "--crate-type", "bin"],
        [
            "rustc",
            "--crate-name=probe",
            "--crate-type=lib",
            "--emit=dep-info,metadata",
            "--out-dir",
            "/o",
            "build/probe.rs",
        ],
    ],
)
def test_a_question_to_the_compiler_is_no_compile(question: list[str]) -> None:
    assert parse(question) is None


@pytest.mark.parametrize(("written", "name"), [("low=/l.rmeta", "low"), ("priv:low=/l.rmeta", "low")])
def test_the_name_of_an_extern(written: str, name: str) -> None:
    command = parse([*NEW_CARGO, "--extern", written])
    assert command is not None
    assert command.externs[-1] == Named(name, "/l.rmeta")


def test_dep_info_names_each_file_once() -> None:
    text = "out/a.d: src/lib.rs /o/made\\ here.rs\n\nout/a.rlib: src/lib.rs /o/made\\ here.rs\n\nsrc/lib.rs:\n/o/made\\ here.rs:\n\n"
    text += "# env-dep:OUT_DIR=/o: x\n"
    assert dep_info_paths(text) == ["src/lib.rs", "/o/made here.rs"]


def placed() -> layout.Layout:
    packages = [
        layout.Package("top", "1.0.0", "/src", local=True),
        layout.Package("low", "1.0.0", "/src/low", local=True),
        layout.Package("dep", "2.0.0", "/reg/dep-2.0.0", local=False),
        layout.Package("dep", "2.0.0", "/git/dep", local=False),
    ]
    return layout.plan(packages, {"/t/build/dep-abc/out": "/reg/dep-2.0.0"})


def test_every_package_has_its_own_place() -> None:
    plan = placed()
    assert plan.packages["/src/low"] == "crates/low"
    assert sorted(plan.packages[root] for root in ("/git/dep", "/reg/dep-2.0.0")) == [
        "vendor/dep-2.0.0",
        "vendor/dep-2.0.0-2",
    ]
    assert plan.out_dirs["/t/build/dep-abc/out"] == f"{plan.packages['/reg/dep-2.0.0']}/out-abc"


@pytest.mark.parametrize(
    ("path", "package", "place"),
    [
        ("/src/low/src/lib.rs", "/src/low", "crates/low/src/lib.rs"),
        ("/src/words.txt", "/src/low", "crates/words.txt"),
        ("/t/build/dep-abc/out/made.rs", "/reg/dep-2.0.0", "vendor/dep-2.0.0-2/out-abc/made.rs"),
        ("/elsewhere/x", "/src/low", None),
        ("/git/x", "/git/dep", None),
    ],
)
def test_the_place_of_a_file(path: str, package: str, place: str | None) -> None:
    assert placed().place(path, package) == place


def test_the_longest_directory_wins_and_ends_at_a_boundary() -> None:
    text = "/src/low/x /src/lower /src/x /srcs"
    assert placed().relocate(text) == "crates/low/x crates/top/lower crates/top/x /srcs"
    assert placed().relocate("/src/low", prefix="${pwd}/") == "${pwd}/crates/low"


def test_units_survive_their_file() -> None:
    assert decode(encode(UNITS)) == UNITS


@given(st.dictionaries(st.text(), st.text()), st.lists(st.text()))
def test_any_text_survives_the_file(env: dict[str, str], args: list[str]) -> None:
    units = Units("", "", (evolve(HIDDEN, env=env, args=tuple(args)),))
    assert decode(encode(units)) == units


def test_unknown_attributes_are_passed_over() -> None:
    document = json.loads(encode(UNITS))
    document["units"][0]["later"] = document["later"] = 1
    assert decode(json.dumps(document)) == UNITS


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "compiler": "", "rustc": "", "units": [{}]}']
)
def test_what_is_no_units_file_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="import the workspace again"):
        decode(text)


def test_dependents_before_dependencies_are_refused() -> None:
    with pytest.raises(RequestError, match=r"mid-1\.0\.0-1 needs low-1\.0\.0-1"):
        Units("", "", (MID, LOW))


def test_what_a_macro_was_linked_from_is_not_needed() -> None:
    assert UNITS.needed(MID) == (MACRO, LOW)
    assert UNITS.needed(MACRO) == (HIDDEN,)


READ_BY_LIBRARIES = {
    "none": "liblow-1.rlib",
    "two_invocation": "_meta/liblow-1.rmeta",
    "hollow": "_hollow/liblow-1.rlib",
    "worker": "_meta/liblow-1.rmeta",
}


@pytest.mark.parametrize("mode", MODES)
def test_what_a_library_reads(mode: Mode) -> None:
    for phase in phases(MID, mode):
        read = request_inputs(MID, UNITS, mode=mode, phase=phase, outroot="out")
        low = [path for path in read if path.startswith("out/vendor/low-1.0.0/")]
        assert low == [f"out/vendor/low-1.0.0/{READ_BY_LIBRARIES[mode]}"]
        assert "out/vendor/macro-1.0.0/libmacro-1.so" in read


@pytest.mark.parametrize("mode", MODES)
def test_what_is_linked_reads_code_and_is_one_request_in_every_mode(mode: Mode) -> None:
    assert phases(APP, mode) == phases(MACRO, mode) == (None,)
    read = request_inputs(APP, UNITS, mode=mode, phase=None, outroot="out")
    assert read == request_inputs(APP, UNITS, mode="none", phase=None, outroot="out")
    assert "out/vendor/low-1.0.0/liblow-1.rlib" in read
    lines = request_lines(APP, UNITS, mode=mode, phase=None, outroot="out", rustc="/r")
    assert lines == request_lines(APP, UNITS, mode="none", phase=None, outroot="out", rustc="/r")


@pytest.mark.parametrize("mode", MODES)
def test_requests_make_every_output_once(mode: Mode) -> None:
    for unit in UNITS:
        made = outputs(unit, "out", mode)
        halves = [made.of(phase) for phase in phases(unit, mode)]
        assert sorted(path for half in halves for path in half) == sorted(made.all)


def test_only_libraries_wait_for_what_is_early() -> None:
    found = {(one.name, mode): awaited(LOW, one, mode) for one in (MID, APP) for mode in MODES}
    assert {key for key, phase in found.items() if phase == "early"} == {
        (MID.name, mode) for mode in MODES if mode != "none"
    }
    assert {awaited(MACRO, MID, mode) for mode in MODES} == {"full"}


@pytest.mark.parametrize("mode", ["two_invocation", "hollow", "worker"])
def test_the_full_half_reads_what_the_early_half_published(mode: Mode) -> None:
    early = request_inputs(MID, UNITS, mode=mode, phase="early", outroot="out")
    full = request_inputs(MID, UNITS, mode=mode, phase="full", outroot="out")
    assert set(full) - set(early) == {outputs(MID, "out", mode).metadata}


@pytest.mark.parametrize("mode", ["two_invocation", "worker"])
def test_I7_both_halves_have_one_command_and_one_environment(mode: Mode) -> None:
    early, full = (
        request_lines(MID, UNITS, mode=mode, phase=phase, outroot="out", rustc="/r")
        for phase in ("early", "full")
    )
    assert early[early.index("--") :] == full[full.index("--") :]
    own = ("--phase=", "--output=", "--early-output=", "--stop-after-early")
    assert ("--stop-after-early" in early) == (mode == "two_invocation")
    assert "--stop-after-early" not in full
    assert [line for line in early if not line.startswith(own)] == [
        line for line in full if not line.startswith(own)
    ]
    assert "--early-output=out/vendor/mid-1.0.0/_meta/libmid-1.rmeta" in early
    assert "--output=out/vendor/mid-1.0.0/libmid-1.rlib" in full
    assert not [line for line in early if line.startswith("--output=")]


def test_the_request_of_a_library() -> None:
    lines = request_lines(MID, UNITS, mode="worker", phase="early", outroot="out", rustc="/r")
    assert lines == [
        "--subst=pwd=${pwd}",
        "--env=OUT_DIR=${pwd}/vendor/mid-1.0.0/out-1",
        "--phase=early",
        "--early-output=out/vendor/mid-1.0.0/_meta/libmid-1.rmeta",
        "--",
        "/r", "--crate-name", "mid", "--edition=2021", "--crate-type", "lib", "vendor/mid-1.0.0/src/lib.rs",
        "--cap-lints", "allow", "-C", "metadata=m1", "-C", "extra-filename=-1",
        "--emit=dep-info=out/vendor/mid-1.0.0/mid-1.d,metadata=out/vendor/mid-1.0.0/_meta/libmid-1.rmeta,link=out/vendor/mid-1.0.0/libmid-1.rlib",
        "--extern", "low=out/vendor/low-1.0.0/_meta/liblow-1.rmeta", "--extern", "alloc",
        "-L", "dependency=out/vendor/low-1.0.0/_meta", "-L", "dependency=out/vendor/macro-1.0.0",
        "-L", "native=vendor/mid-1.0.0/out-1",
        "--remap-path-prefix=${pwd}=.",
    ]  # fmt: skip


def test_hollow_halves_are_two_jobs_that_differ_by_one_flag_and_the_place() -> None:
    early, full = (
        request_lines(MID, UNITS, mode="hollow", phase=phase, outroot="out", rustc="/r")
        for phase in ("early", "full")
    )
    hollow, code = "out/vendor/mid-1.0.0/_hollow/libmid-1.rlib", "out/vendor/mid-1.0.0/libmid-1.rlib"
    env = ["--subst=pwd=${pwd}", "--env=OUT_DIR=${pwd}/vendor/mid-1.0.0/out-1", "--env=RUSTC_BOOTSTRAP=1"]
    assert early[: early.index("--")] == [*env, f"--output={hollow}"]
    assert full[: full.index("--")] == [*env, "--phase=full", f"--early-output={hollow}", f"--output={code}"]
    emitted = early.index("-Zno-codegen")
    assert early[emitted : emitted + 2] == ["-Zno-codegen", f"--emit=link={hollow}"]
    early[emitted : emitted + 2] = [f"--emit=link={code}"]
    assert early[early.index("--") :] == full[full.index("--") :]
    assert "low=out/vendor/low-1.0.0/_hollow/liblow-1.rlib" in full
    assert "dependency=out/vendor/low-1.0.0/_hollow" in full
    assert outputs(MID, "out", "hollow").dep_info is None


def test_a_phase_that_a_unit_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no phase early"):
        request_lines(APP, UNITS, mode="worker", phase="early", outroot="out", rustc="/r")
    with pytest.raises(ValueError, match="no phase None"):
        request_lines(MID, UNITS, mode="worker", phase=None, outroot="out", rustc="/r")
