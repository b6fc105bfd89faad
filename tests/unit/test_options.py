"""The one grammar: what is read, what is expanded, what is refused, and in which words."""

from __future__ import annotations

import pytest

from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job, Sandbox
from headstart_wrapper.option_table import Option
from headstart_wrapper.options import Options, check, parse
from option_examples import ALL, BAD, EXAMPLES, misuses, names_of, words


def value(options: Options, option: Option) -> object:
    return getattr(options.job if hasattr(options.job, option.target) else options, option.target)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_option_in_every_spelling(name: str) -> None:
    option, (text, expected) = ALL[name], EXAMPLES[name]
    for spelled in names_of(option):
        for joined in (True, False):
            options = parse([*words(spelled, text, joined=joined), "--", "cc", "--jobs"])
            assert value(options, option) == expected
            assert options.job.command == ("cc", "--jobs")
    assert value(Options(), option) != expected


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("request_", [False, True], ids=["alone", "in a request"])
def test_every_misuse_is_one_sentence_that_names_the_option_as_it_is_spelled(
    name: str, *, request_: bool
) -> None:
    for spelled, arguments in misuses(ALL[name]):
        with pytest.raises(RequestError) as error:
            parse(arguments, request=request_)
        said = str(error.value)
        assert said.startswith(spelled) or f" {spelled};" in said, said
        assert said.isprintable()
        assert len(said) < 600


def test_the_tables_of_this_test_are_complete() -> None:
    assert set(EXAMPLES) == set(ALL)
    assert set(BAD) == set(ALL)


@pytest.mark.parametrize("name", sorted(name for name in ALL if ALL[name].convert))
def test_a_missing_value_is_said_with_what_it_is(name: str) -> None:
    count = "two values" if ALL[name].pair else "a value"
    for arguments in ([name], [name, "--", "cc"]):
        with pytest.raises(RequestError, match=f"{name} wants {count}; give it as {name}.") as error:
            parse(arguments)
        assert str(error.value).endswith(ALL[name].metavar)


@pytest.mark.parametrize("name", sorted(name for name in ALL if ALL[name].convert))
def test_no_value_holds_a_nul(name: str) -> None:
    text = EXAMPLES[name][0]
    with pytest.raises(RequestError, match=name) as error:
        parse([*words(name, f"{text}\0", joined=True), "--", "cc"])
    assert "\0" not in str(error.value)
    with pytest.raises(RequestError, match=r"the command's word c\\x00c holds a NUL"):
        check(parse(["--", "c\0c"]))


@pytest.mark.parametrize(
    "argument", ["--no-such", "--no-such=1", "-x", "-", "--timeouts=1", "-timeout=1", "-gx", "--", "--\n"]
)
def test_an_unknown_option_is_named(argument: str) -> None:
    if argument == "--":
        argument = "---"
    with pytest.raises(RequestError, match="unknown option") as error:
        parse([argument, "--", "cc"])
    assert argument.partition("=")[0].strip() in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--timout=5", "--timeout"),
        ("-timeout=5", "--timeout"),
        ("--kill-dealy", "--kill-delay"),
        ("--early_ouput=x", "--early-output"),
        ("--stdoutfile=x", "--stdout-file"),
        ("-debug", "--debug"),
    ],
)
def test_a_misspelled_option_is_told_its_name(word: str, meant: str) -> None:
    with pytest.raises(
        RequestError, match=f"unknown option {word.partition('=')[0]}; did you mean {meant}[?]"
    ):
        parse([word, "--", "cc"])


def test_what_is_like_no_option_is_told_none() -> None:
    for word in ("--frobnicate", "-q", "--x", "-", "--" + "y" * 10_000):
        with pytest.raises(RequestError) as error:
            parse([word, "--", "cc"])
        assert "did you mean" not in str(error.value)


def test_short_options_are_bazels() -> None:
    options = parse(["-gd", "-t1.5", "-k", "2", "-oout", "-e", "err", "-s", "usage", "--", "cc"])
    assert options.job == Job(
        command=("cc",),
        graceful_sigterm=True,
        explain=True,
        timeout=1.5,
        kill_delay=2.0,
        stdout="out",
        stderr="err",
        stats="usage",
        stats_format="bazel",
    )
    assert parse(["-gt5", "cc", "-t6"]).job == Job(command=("cc", "-t6"), graceful_sigterm=True, timeout=5.0)
    assert (parse(["-h"]).help, parse(["-h"]).short_help, parse(["--help"]).short_help) == (True, True, False)


def test_a_value_can_take_back_a_default() -> None:
    base = parse(["--timeout=5", "--stdout=x", "--stderr=y"])
    job = parse(["--timeout=0", "--stdout=-", "-e", "-"], base=base).job
    assert (job.timeout, job.stdout, job.stderr) == (None, None, None)


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


@pytest.mark.parametrize("name", sorted(ALL))
def test_of_an_option_that_is_not_repeated_the_last_counts(name: str) -> None:
    text, expected = EXAMPLES[name]
    options = parse([*words(name, text), *words(name, text), "--", "cc"])
    twice = (*expected, *expected) if ALL[name].repeated and isinstance(expected, tuple) else expected
    assert value(options, ALL[name]) == twice
    assert parse(["--timeout=1", "-t2", "--timeout", "3"]).job.timeout == 3


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


EARLY = "--early-output=x"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phase=full"], "--phase=full needs at least one --early-output=PATH"),
        (["--stop-after-early"], "--stop-after-early goes with --phase=early"),
        (["--stop-after-early", "--phase=full", EARLY], "--stop-after-early goes with --phase=early"),
        (["--on-early=true"], "--on-early .*--early-output"),
        (["--early-fifo=f"], "--early-fifo .*--early-output"),
        (["--early-fd=3"], "--early-fd .*--early-output"),
        (["--on-early=true", "--phase=full", EARLY], "--on-early .*--phase"),
        (["--rustc-quit-on-rmeta=true", "--phase=full", EARLY], "--rustc-quit-on-rmeta .*--phase=full"),
        (["--stdout=x", "--phase=early", EARLY], "--stdout .*--phase=early"),
        (["--output-file=x", "--phase=full", EARLY], "--output-file .*--phase=full"),
        (["--stats=x", "--stdout=x"], "--stdout and --stats name one file, x"),
        (["--stderr=a\nb", "--touch-file=a\nb"], r"--stderr and --touch-file name one file, a\\nb"),
        (["--copy-output", "a", "b", "--output-file=b"], "--output-file and --copy-output name one file, b"),
        (
            ["--sandbox=enforce", "--trace-files"],
            "--trace-files goes with --sandbox=audit, .* --sandbox=enforce",
        ),
        (["--sandbox=off", "--trace-files"], "--trace-files goes with --sandbox=audit, .* --sandbox=off"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(RequestError, match=said) as error:
        check(parse([*arguments, "--", "cc"]))
    assert str(error.value).isprintable()


def test_what_only_looks_like_a_contradiction_is_not() -> None:
    for arguments in (
        ["--stdout=x", "--stderr=x"],
        ["--stdout=/dev/stderr", "--stats=/dev/stderr"],
        ["--stats-format=bazel"],
        ["--copy-output", "a", "c", "--copy-output", "b", "c"],
        ["--kill-delay=1"],
        ["--phase=early", "--stop-after-early", EARLY],
    ):
        assert check(parse([*arguments, "--", "cc"])).command == ("cc",)


def test_a_job_has_a_command() -> None:
    for arguments in ([], ["--"], ["--timeout=1"]):
        with pytest.raises(RequestError, match="no command is given; put the compiler"):
            check(parse(arguments))
    assert check(parse(["--", "cc"])) == Job(command=("cc",))


@pytest.mark.parametrize(
    ("arguments", "check_"),
    [
        ([], None),
        (["--sandbox=off"], Sandbox.OFF),
        (["--sandbox=strict"], Sandbox.STRICT),
        (["--trace-files"], Sandbox.AUDIT),
        (["--sandbox-unused"], Sandbox.AUDIT),
        (["--sandbox-audit=error"], Sandbox.AUDIT),
        (["--sandbox-audit=error", "--sandbox=enforce"], Sandbox.ENFORCE),
        (["--sandbox-allow=/opt"], None),
    ],
)
def test_what_only_an_audit_can_do_asks_for_one(arguments: list[str], check_: Sandbox | None) -> None:
    job = check(parse([*arguments, "--", "cc"]))
    assert job.check == check_
    assert job.is_checked == (check_ not in {None, Sandbox.OFF})


def test_I11_a_misspelled_sandbox_is_never_left_out() -> None:
    assert parse(["--persistent_worker", "--for-another-worker"]).foreign == ("--for-another-worker",)
    for word in ("--sandboxing=strict", "--sandbox_=strict", "-sandbox=strict", "---sandbox"):
        with pytest.raises(RequestError, match=f"unknown option {word.partition('=')[0]}"):
            parse(["--persistent_worker", word])
