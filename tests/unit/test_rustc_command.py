"""rustc's command line, and the plans that are made for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.dialects import EarlySignal, Plan, find
from headstart_wrapper.dialects.rustc_command import Invocation, understand
from headstart_wrapper.errors import RequestError

FILES = {
    "params": "--crate-name\nx\n--crate-type=lib\r\n--emit=dep-info,metadata,link\n",
    "dirs": "--out-dir\nout\nsrc/lib.rs\n",
    "half": "--out-dir\n",
    "color": "--color=always\n--error-format=short\n",
    "nested": "@params\n--out-dir=out\n",
    "blank": "",
}
ADDED = ("--error-format=json", "--json=artifacts")
LIB = ("--crate-name=x", "--crate-type=lib", "--emit=dep-info,metadata,link", "--out-dir=out", "src/lib.rs")


def read(path: str) -> str:
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory", path)
    return FILES[path]


def said(*arguments: str) -> Invocation:
    return understand(["rustc", *arguments], read)


def plan(
    *arguments: str, early: tuple[str, ...] = (), stage: str | None = None, pipelined: bool | None = None
) -> Plan:
    wanted = bool(early) if pipelined is None else pipelined
    command = ["rustc", *arguments]
    return find(None, command).plan(
        command, early_outputs=early, pipelined=wanted, stage=stage, read=read, directory="/job"
    )


def test_options_in_every_spelling() -> None:
    for extra in (("-Cextra-filename=-1",), ("-C", "extra-filename=-1"), ("--codegen=extra-filename=-1",)):
        assert said(*extra, "--codegen", "metadata=m", "x.rs").codegen("extra-filename") == "-1"
    assert said("-gOCmetadata=1", "x.rs").codegen("metadata") == "1"
    for out in (("-ofile",), ("-o", "file"), ("-vgofile",), ("-vgo", "file")):
        assert said(*out, "x.rs").last("o") == "file"
    for kinds in (("--crate-type", "lib,rlib"), ("--crate-type=lib", "--crate-type", "rlib")):
        assert said(*kinds, "x.rs").crate_types == ("lib", "rlib")
    assert said("x.rs").crate_types == ("bin",)
    assert said("--test", "--crate-type=lib", "x.rs").crate_types == ("bin",)
    assert said("-", "--edition", "2021").input == "-"
    assert said("--edition=2021", "--", "-odd.rs").input == "-odd.rs"
    assert said("--cfg", "--test", "x.rs").crate_types == ("bin",)  # a value, whatever it looks like
    assert not said("--cfg", "--test", "x.rs").has("test")
    assert said("--json=a,b", "--json", "c", "x.rs").json == {"a", "b", "c"}


def test_emit() -> None:
    assert said("x.rs").emit == {"link": None}
    assert said("--emit=dep-info=a/b.d,metadata", "--emit", "link=l", "x.rs").emit == {
        "dep-info": "a/b.d",
        "metadata": None,
        "link": "l",
    }
    assert said("--emit=metadata=1", "--emit=metadata=2", "x.rs").emit == {"metadata": "2"}


def test_externs_are_inputs() -> None:
    arguments = (
        "--extern",
        "priv,noprelude:a=d/liba.rmeta",
        "--extern=b=x=y.rlib",
        "--extern=proc_macro",
        "r.rs",
    )
    assert said(*arguments).externs == (("a", "d/liba.rmeta"), ("b", "x=y.rlib"), ("proc_macro", None))
    assert plan(*arguments).inputs == ("r.rs", "d/liba.rmeta", "x=y.rlib")
    assert plan("--crate-type=lib", "-").inputs == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ("-vV",),
        ("--version", "x.rs"),
        ("--print=cfg", "x.rs"),
        ("--print", "file-names", "x.rs"),
        ("-C", "help", "x.rs"),
        ("--explain", "E0308"),
        ("-Zls=root", "libx.rlib"),
        ("-Z", "unpretty=expanded", *LIB),
        ("--help", *LIB),
        (),
        LIB[:-1],
    ],
)
def test_commands_that_compile_nothing_are_untouched(arguments: tuple[str, ...]) -> None:
    assert plan(*arguments, early=("out/libx.rmeta",), stage="/s") == Plan(
        ("rustc", *arguments), EarlySignal.NONE, directory="/job"
    )


def test_prints_while_compiling() -> None:
    assert plan("--print=native-static-libs", *LIB).final_metadata == "out/libx.rlib"


@pytest.mark.parametrize("early", [(), ("out/libx.rmeta",)])
def test_I6_library_gets_the_same_command_in_every_mode(early: tuple[str, ...]) -> None:
    planned = plan(*LIB, early=early)
    assert planned.command == ("rustc", *ADDED, *LIB)
    assert planned.early_signal is (EarlySignal.LINES if early else EarlySignal.NONE)
    assert (planned.final_metadata, planned.text_outputs) == ("out/libx.rlib", ("out/x.d",))
    assert planned.links_safely
    assert planned.stderr is not None


@pytest.mark.parametrize(
    ("options", "first", "rest"),
    [
        (("--error-format=human",), ADDED, ()),
        (("--error-format", "short"), (ADDED[0], "--json=artifacts,diagnostic-short"), ()),
        (("--color", "always"), (ADDED[0], "--json=artifacts,diagnostic-rendered-ansi"), ()),
        (("--color=never",), ADDED, ()),
        (("--error-format=json",), ("--json=artifacts",), ("--error-format=json",)),
        (("--error-format=json", "--color=always"), ("--json=artifacts",), ("--error-format=json",)),
        (("--error-format=json", "--json=x,artifacts"), (), ("--error-format=json", "--json=x,artifacts")),
        (("@color",), (ADDED[0], "--json=artifacts,diagnostic-short,diagnostic-rendered-ansi"), ()),
    ],
)
def test_messages(options: tuple[str, ...], first: tuple[str, ...], rest: tuple[str, ...]) -> None:
    assert plan(*options, *LIB).command == ("rustc", *first, *rest, *LIB)


@pytest.mark.parametrize(
    "options",
    [
        ("--json=artifacts",),
        ("--color=x",),
        ("--color=always", "--color=always"),
        ("--error-format=json", "--error-format=json"),
        ("--error-format=pretty-json",),
        ("--error-format=json", "--json=artifacts", "--color=never"),
    ],
)
def test_what_rustc_refuses_or_we_cannot_put_together_is_left_alone(options: tuple[str, ...]) -> None:
    planned = plan(*options, *LIB, early=("out/libx.rmeta",))
    assert planned.command == ("rustc", *options, *LIB)
    assert planned.early_signal is EarlySignal.NONE
    assert planned.note is not None
    assert planned.stderr is None


@pytest.mark.parametrize("kinds", ["bin", "proc-macro", "cdylib", "lib,cdylib"])
def test_other_crate_types_answer_at_the_end(kinds: str) -> None:
    arguments = (f"--crate-type={kinds}", "--emit=metadata,link", "x.rs")
    planned = plan(*arguments, early=("x.rmeta",))
    assert planned.command == ("rustc", *arguments)
    assert planned.early_signal is EarlySignal.NONE
    assert planned.note is not None
    assert kinds.rpartition(",")[2] in planned.note
    assert (planned.final_metadata, planned.stderr) == (None, None)


def test_library_without_metadata() -> None:
    arguments = ("--crate-name=x", "--crate-type=lib", "--emit=link", "--out-dir=out", "x.rs")
    with pytest.raises(RequestError, match=r"out/libx.rmeta.* add `metadata` to --emit"):
        plan(*arguments, early=("out/libx.rmeta",))
    assert plan(*arguments, early=("out/libx.rmeta",), pipelined=False).command == ("rustc", *arguments)


def test_two_run_mode() -> None:
    hollow = ("--crate-name=x", "--crate-type=lib", "-Zno-codegen", "--emit=link=h/libx.rlib", "x.rs")
    full = ("--crate-name=x", "--crate-type=lib", "--emit=dep-info=o/x.d,link=o/libx.rlib", "x.rs")
    for arguments in (hollow, full):
        planned = plan(*arguments, early=("h/libx.rlib",))
        assert planned.early_signal is EarlySignal.NONE
        assert (planned.command, planned.stderr, planned.note) == (("rustc", *arguments), None, None)
    assert planned.final_metadata == "o/libx.rlib"


def test_staging_moves_every_output() -> None:
    planned = plan(
        *("--crate-name=x", "--crate-type=lib", "-Cextra-filename=-1", "x.rs"),
        *("--emit=link=a/x,metadata=/job/b/x", "--emit", "dep-info,asm"),
        early=("b/x",),
        stage="/s",
    )
    assert planned.command == (
        *(
            "rustc",
            *ADDED,
            "--out-dir=/s/out",
            "--crate-name=x",
            "--crate-type=lib",
            "-Cextra-filename=-1",
            "x.rs",
        ),
        *("--emit=link=/s/link/x,metadata=/s/metadata/x", "--emit", "dep-info,asm"),
    )
    places = {name: planned.private(name) for name in ("a/x", "b/x", "x-1.d", "/job/x-1.s", "a/y")}
    assert places == {
        "a/x": "/s/link/x",
        "b/x": "/s/metadata/x",
        "x-1.d": "/s/out/x-1.d",
        "/job/x-1.s": "/s/out/x-1.s",
        "a/y": None,
    }
    assert set(planned.directories) == {"/s/out", "/s/link", "/s/metadata"}
    assert planned.restore(b"/s/link/x: /s/metadata/x /s/out/x-1.d /s/out") == b"a/x: /job/b/x x-1.d ."
    assert planned.early_signal is EarlySignal.LINES


def test_staging_keeps_stdout_and_minus_o() -> None:
    planned = plan("--crate-type=lib", "--emit=asm=-,obj", "-vodir/x.o", "x.rs", stage="/s")
    assert planned.command == (
        "rustc",
        "--crate-type=lib",
        "--emit=asm=-,obj",
        "-v",
        "-o",
        "/s/o/x.o",
        "x.rs",
    )
    assert planned.private("dir/x.o") == "/s/o/x.o"
    assert planned.private("-") is None


def test_staging_maps_split_debuginfo_after_every_other_mapping() -> None:
    split = "-Csplit-debuginfo=packed"
    assert plan(split, *LIB, stage="/s").command[3:5] == ("--remap-path-prefix=/s/out=out", split)
    command = plan("--remap-path-prefix=/job=.", split, *LIB, stage="/s").command
    assert command[3:6] == ("--remap-path-prefix=/job=.", "--remap-path-prefix=/s/out=out", split)


def test_stage_with_a_comma_cannot_be_expressed() -> None:
    with pytest.raises(RequestError, match="comma"):
        plan(*LIB, stage="/s,t")


def test_response_files_stay_unless_something_in_them_changes() -> None:
    assert plan("@params", "@dirs").command == ("rustc", *ADDED, "@params", "@dirs")
    assert plan("@params", "@dirs", stage="/s").command == (
        *("rustc", *ADDED, "@params", "--out-dir=/s/out", "src/lib.rs"),
    )
    # An option in one file with its value outside.
    assert plan("@params", "@half", "out", "x.rs", stage="/s").command == (
        *("rustc", *ADDED, "@params", "--out-dir=/s/out", "x.rs"),
    )
    assert plan("@blank", "@params", "x.rs").command == ("rustc", *ADDED, "@params", "x.rs")


def test_response_files_do_not_nest() -> None:
    assert said("@nested").input == "@params"
    with pytest.raises(RequestError, match="@nested begins with '@'"):
        plan("@nested", stage="/s")


def test_unreadable_response_file() -> None:
    with pytest.raises(RequestError, match=r"@missing.*No such file"):
        plan("@missing")


def test_driver_before_rustc() -> None:
    command = ["/bin/clippy-driver", "/bin/rustc", *LIB]
    planned = find(None, command).plan(command, early_outputs=(), pipelined=False, stage=None, read=read)
    assert planned.command == ("/bin/clippy-driver", "/bin/rustc", *ADDED, *LIB)
    assert planned.inputs == ("src/lib.rs",)


def test_a_toolchain_stays_in_the_first_place() -> None:
    """As rustup's proxy wants it."""
    command = ["rustc", "+nightly", *LIB]
    planned = find(None, command).plan(command, early_outputs=(), pipelined=False, stage=None, read=read)
    assert planned.command == ("rustc", "+nightly", *ADDED, *LIB)
    assert planned.inputs == ("src/lib.rs",)


def test_names_that_only_the_crate_root_knows() -> None:
    planned = plan("--crate-type=lib", "--emit=metadata,link", "my-crate.rs", early=("libmy_crate.rmeta",))
    assert planned.early_signal is EarlySignal.LINES
    assert planned.final_metadata is None


WORDS = st.sampled_from(
    [
        *LIB,
        "-C",
        "-o",
        "x",
        "-go",
        "--",
        "-",
        "--emit",
        "metadata=a,link",
        "--color",
        "@params",
        "@half",
        "@color",
        "-O",
        "--json",
        "",
    ]
)


@given(st.lists(WORDS, max_size=12))
def test_no_edits_give_the_command_back(arguments: list[str]) -> None:
    assert said(*arguments).rewritten({}) == ("rustc", *arguments) or "@blank" in arguments


@given(st.lists(WORDS, max_size=12))
def test_words_of_arguments_are_the_words(arguments: list[str]) -> None:
    invocation = said(*arguments)
    covered = [at for a in invocation.arguments for at in range(a.start, a.end)]
    flags_alone = set(range(len(invocation.words))) - set(covered)
    assert {invocation.words[at].text for at in flags_alone} <= {"--"}
    assert sorted(covered) == covered


@pytest.mark.parametrize(
    ("options", "signal"),
    [
        ((), EarlySignal.NONE),
        (("--error-format=json",), EarlySignal.NONE),
        (("--error-format=json", "--json=artifacts"), EarlySignal.LINES),
    ],
)
def test_I6_a_command_whose_words_were_chosen_is_given_none_of_ours(
    options: tuple[str, ...], signal: EarlySignal
) -> None:
    command = ("rustc", *options, *LIB)
    for early in ((), ("out/libx.rmeta",)):
        planned = find(None, command).plan(
            command, early_outputs=early, pipelined=bool(early), stage=None, read=read, verbatim=True
        )
        assert planned.command == command
        assert planned.early_signal is (signal if early else EarlySignal.NONE)
