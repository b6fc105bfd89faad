"""The one grammar: what is read, what is expanded, what is refused, and in which words."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job, Phase, Sandbox
from headstart_wrapper.option_values import Size
from headstart_wrapper.options import (
    OPTIONS,
    Option,
    Options,
    check,
    parse,
    usage,
    weaker_sandbox,
)
from headstart_wrapper.params_files import MAX_NESTING, expand

EXAMPLES: Mapping[str, tuple[str, object]] = {
    "--timeout": ("1.5", 1.5),
    "--kill-delay": ("0", 0.0),
    "--dialect": ("rustc", "rustc"),
    "--phase": ("early", Phase.EARLY),
    "--early-output": ("out/a b", ("out/a b",)),
    "--output": ("--odd", ("--odd",)),
    "--input": ("in", ("in",)),
    "--env": ("NAME=a=b", (("NAME", "a=b"),)),
    "--subst": ("key=", (("key", ""),)),
    "--stop-after-early": ("", True),
    "--stats": ("file", "file"),
    "--explain": ("", True),
    "--sandbox": ("audit", Sandbox.AUDIT),
    "--sandbox-unavailable": ("warn", "warn"),
    "--encoding-check": ("é", "é"),
    "--trace": ("t.json", "t.json"),
    "--persistent-worker": ("", True),
    "--worker-protocol": ("json", "json"),
    "--jobs": ("3", 3),
    "--memory": ("6G", Size(6 << 30)),
    "--state-dir": ("/d", "/d"),
    "--worker-files": ("bin/tool", ("bin/tool",)),
    "--exit-when-changed": ("", True),
    "--collect-when-idle": ("30", 30.0),
    "--help": ("", True),
    "--version": ("", True),
}
ALL = {option.name: option for option in OPTIONS}
BAD = {
    "--timeout": ["", "soon", "-1", "nan", "inf"],
    "--kill-delay": ["-0.1"],
    "--dialect": [""],
    "--phase": ["", "late", "EARLY"],
    "--early-output": [""],
    "--output": [""],
    "--input": [""],
    "--env": ["NAME", "=value", ""],
    "--subst": ["key"],
    "--stop-after-early": ["yes"],
    "--stats": [""],
    "--explain": ["1"],
    "--sandbox": ["", "on"],
    "--sandbox-unavailable": ["ignore"],
    "--encoding-check": [""],
    "--trace": [""],
    "--persistent-worker": ["1"],
    "--worker-protocol": ["xml"],
    "--jobs": ["0", "-1", "two", "1.5", "²", ""],
    "--memory": ["", "0", "-1", "much", "1.5G", "G", "%", "0%", "101%", "0K", "6GB", "6g", "6 G", "8²"],
    "--state-dir": [""],
    "--worker-files": [""],
    "--exit-when-changed": ["1"],
    "--collect-when-idle": ["", "soon", "-1", "nan", "inf"],
    "--help": ["x"],
    "--version": ["x"],
}


def value(options: Options, option: Option) -> object:
    return getattr(options.job if hasattr(options.job, option.target) else options, option.target)


def words(name: str, text: str) -> list[str]:
    return [f"{name}={text}" if ALL[name].convert else name]


def files(**texts: str) -> object:
    def read(path: str) -> str:
        if path not in texts:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return texts[path]

    return read


def expanded(arguments: Sequence[str], **texts: str) -> list[str]:
    return expand(arguments, files(**texts))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_option_in_every_spelling(name: str) -> None:
    text, expected = EXAMPLES[name]
    underscored = "--" + name.removeprefix("--").replace("-", "_")
    joined = words(name, text)
    spellings = [joined, [joined[0].replace(name, underscored, 1)]]
    if ALL[name].convert:
        spellings += [[name, text], [underscored, text]]
    for spelled in spellings:
        options = parse([*spelled, "--", "cc", "--jobs"])
        assert value(options, ALL[name]) == expected
        assert options.job.command == ("cc", "--jobs")
        assert value(Options(), ALL[name]) != expected or name == "--sandbox-unavailable"


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in sorted(BAD) for text in BAD[name]])
def test_a_bad_value_is_one_sentence_that_names_the_option(name: str, text: str) -> None:
    with pytest.raises(RequestError) as error:
        parse([f"{name}={text}", "--", "cc"])
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_the_tables_of_this_test_are_complete() -> None:
    assert set(EXAMPLES) == set(BAD) == set(ALL)


@pytest.mark.parametrize("name", sorted(name for name in ALL if ALL[name].convert))
def test_a_missing_value_is_said(name: str) -> None:
    for arguments in ([name], [name, "--", "cc"]):
        with pytest.raises(RequestError, match=f"{name} wants a value"):
            parse(arguments)


@pytest.mark.parametrize("argument", ["--no-such", "--no-such=1", "-x", "-", "--timeouts=1", "-timeout=1"])
def test_an_unknown_option_is_named(argument: str) -> None:
    with pytest.raises(RequestError, match="unknown option") as error:
        parse([argument, "--", "cc"])
    assert argument.partition("=")[0] in str(error.value)


def test_after_the_dashes_everything_is_the_commands() -> None:
    assert parse(["--", "--timeout=1", "--", "-x", ""]).job.command == ("--timeout=1", "--", "-x", "")
    assert parse(["cc", "--timeout=1", "--", "-x"]).job.command == ("cc", "--timeout=1", "--", "-x")
    assert parse(["--explain", "cc", "--explain"]).job == Job(command=("cc", "--explain"), explain=True)
    assert parse([]).job.command == parse(["--"]).job.command == ()


@pytest.mark.parametrize("name", sorted(name for name in ALL if ALL[name].startup))
def test_startup_options_have_no_place_in_a_request(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name} has no place in a request"):
        parse([*words(name, EXAMPLES[name][0]), "--", "cc"], request=True)


def test_startup_options_are_the_defaults_of_every_request() -> None:
    base = parse(["--timeout=9", "--env=A=1", "--output=x", "--jobs=2", "--kill-delay=3"])
    options = parse(["--env=B=2", "--kill-delay=1", "--", "cc"], base=base, request=True)
    assert options.job == Job(
        command=("cc",), timeout=9.0, kill_delay=1.0, env=(("A", "1"), ("B", "2")), outputs=("x",)
    )
    assert options.jobs == 2
    assert base.job.command == ()


def test_the_last_of_an_option_that_is_not_repeated_counts() -> None:
    assert parse(["--timeout=1", "--timeout=2"]).job.timeout == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("6000000000", 6_000_000_000),
        ("3K", 3 * 1024),
        ("3M", 3 * 1024**2),
        ("3G", 3 * 1024**3),
        ("80%", 800),
        ("1%", 10),
        ("100%", 1000),
    ],
)
def test_an_amount_of_memory_is_bytes_or_a_part_of_the_machines(text: str, expected: int) -> None:
    size = parse([f"--memory={text}"]).memory
    assert size is not None
    assert size.of(1000) == expected


def test_a_bad_amount_of_memory_is_told_every_good_form() -> None:
    with pytest.raises(RequestError, match=r"--memory=6GB is no .*bytes .*--memory=6G.*--memory=80%"):
        parse(["--memory=6GB"])


def test_params_files_are_expanded_line_by_line_and_recursively() -> None:
    inner = "--explain\n\n  two words \n'quoted'"
    for marker in ("@", "--flagfile=", "-flagfile="):
        assert expanded(["a", f"{marker}outer", "z"], outer=f"1\n{marker}inner\n2\n", inner=inner) == [
            *("a", "1", "--explain", "", "  two words ", "'quoted'", "2", "z")
        ]
    assert expanded(["@empty", "@line"], empty="", line="\n") == [""]
    assert expanded(["@blank"], blank="a\n\n") == ["a", ""]


def test_nothing_is_expanded_after_the_dashes_wherever_they_came_from() -> None:
    assert expanded(["--", "@x", "--flagfile=x"]) == ["--", "@x", "--flagfile=x"]
    assert expanded(["@p", "@x"], p="--\ncc\n@x") == ["--", "cc", "@x", "@x"]
    assert expanded(["@outer", "@x"], outer="@inner\n@x", inner="--") == ["--", "@x", "@x"]


@pytest.mark.parametrize("argument", ["@@x", "@label//x", "@//x", "@", "a@x", "--env=A=@x"])
def test_what_is_no_params_file_stays(argument: str) -> None:
    assert expanded([argument]) == [argument]


def test_a_missing_params_file_is_named() -> None:
    with pytest.raises(RequestError, match=r"cannot read the params file inner: No such file.*declare it"):
        expanded(["@outer"], outer="@inner")


def test_a_params_file_that_is_no_text_is_named() -> None:
    with pytest.raises(RequestError, match="the params file p is not UTF-8"):
        expand(["@p"], lambda _path: b"\xff".decode())


def test_params_files_without_end_are_ended() -> None:
    with pytest.raises(RequestError, match="does one name itself"):
        expanded(["@p"], p="@p")
    depth = {f"p{n}": f"@p{n + 1}" for n in range(MAX_NESTING - 1)} | {f"p{MAX_NESTING - 1}": "end"}
    assert expanded(["@p0"], **depth) == ["end"]


def test_what_contradicts_itself_is_refused() -> None:
    for arguments, said in (
        ([], "no command"),
        (["--phase=full", "--", "cc"], "--early-output"),
        (["--stop-after-early", "--", "cc"], "--phase=early"),
        (["--stop-after-early", "--phase=full", "--early-output=x", "--", "cc"], "--phase=early"),
        (["--sandbox=enforce", "--", "cc"], "--sandbox=enforce"),
    ):
        with pytest.raises(RequestError, match=said) as error:
            check(parse(arguments))
        assert "\n" not in str(error.value)
    assert check(parse(["--", "cc"])) == Job(command=("cc",))


def test_I11_a_weaker_sandbox_is_said() -> None:
    asked = parse(["--sandbox=strict", "--sandbox-unavailable=warn", "--", "cc"])
    assert check(asked).command == ("cc",)
    assert "--sandbox=strict" in (weaker_sandbox(asked) or "")
    assert weaker_sandbox(parse(["--", "cc"])) is None


def test_the_help_names_every_option() -> None:
    lines = usage().splitlines()
    for option in OPTIONS:
        assert sum(line.split("=")[0].split()[:1] == [option.name] for line in lines) == 1
        assert any(line.endswith(option.help) for line in lines)


TEXT = st.text(min_size=1, max_size=8)
NAMES = st.text(min_size=1, max_size=5).filter(lambda name: "=" not in name)
PAIRS = st.lists(st.tuples(NAMES, st.text(max_size=5)), max_size=3).map(tuple)
PATHS = st.lists(TEXT, max_size=3).map(tuple)
JOBS = st.builds(
    Job,
    command=st.lists(st.text(max_size=8), max_size=4).map(tuple),
    env=PAIRS,
    substitutions=PAIRS,
    dialect=st.none() | TEXT,
    phase=st.none() | st.sampled_from(Phase),
    early_outputs=PATHS,
    outputs=PATHS,
    inputs=PATHS,
    timeout=st.none() | st.floats(0, 1e9),
    kill_delay=st.floats(0, 1e9),
    stats=st.none() | TEXT,
    stop_after_early=st.booleans(),
    explain=st.booleans(),
)


def rendered(job: Job, *, joined: bool) -> list[str]:
    found: list[str] = []
    for option in OPTIONS:
        if not hasattr(job, option.target):
            continue
        given_value = getattr(job, option.target)
        if option.convert is None:
            found += [option.name] if given_value else []
            continue
        for one in given_value if option.repeated else [given_value]:
            if one is None:
                continue
            text = "=".join(one) if isinstance(one, tuple) else str(one)
            # `--name --` is a missing value; only the other spelling can say it.
            found += [f"{option.name}={text}"] if joined or text == "--" else [option.name, text]
    return [*found, "--", *job.command]


@given(JOBS, st.booleans(), st.booleans())
def test_what_was_rendered_is_read_again(job: Job, joined: bool, request: bool) -> None:
    assert parse(rendered(job, joined=joined), request=request).job == job


def test_I11_a_misspelled_sandbox_is_never_left_out() -> None:
    assert parse(["--persistent_worker", "--for-another-worker"]).foreign == ("--for-another-worker",)
    with pytest.raises(RequestError, match="--sandboxing"):
        parse(["--persistent_worker", "--sandboxing=strict"])
