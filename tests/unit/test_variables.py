"""Options in the environment: every one that has a variable, what counts more, and what a bad value is told."""

from __future__ import annotations

import pytest

from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job
from headstart_wrapper.option_table import OPTIONS
from headstart_wrapper.options import Options, parse
from headstart_wrapper.variables import from_variables
from option_examples import ALL, BAD, EXAMPLES

NAMED = {option.name: option for option in OPTIONS if option.has_variable}
WITHOUT = {"--copy-output", "--persistent-worker", "--help", "--version"}
"""A pair has no place in one text; the others are what one command line is about."""


def value(options: Options, name: str) -> object:
    target = ALL[name].target
    return getattr(options.job if hasattr(options.job, target) else options, target)


def test_every_option_of_a_job_has_a_variable() -> None:
    assert set(ALL) - set(NAMED) == WITHOUT
    assert NAMED["--kill-delay"].variable == "HEADSTART_KILL_DELAY"
    assert len({option.variable for option in NAMED.values()}) == len(NAMED)
    assert (
        from_variables({"": "1", "HEADSTART_": "1", "HEADSTART_HELP": "1", "HEADSTART_JOB": "x"}) == Options()
    )


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_variable_says_what_its_option_says(name: str) -> None:
    text, expected = EXAMPLES[name]
    options = from_variables({NAMED[name].variable: text or "1"})
    assert value(options, name) == expected
    assert value(parse(["cc"], base=options), name) == expected
    assert from_variables({NAMED[name].variable: ""}) == Options()


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_bad_value_is_told_with_the_variables_name(name: str) -> None:
    variable = NAMED[name].variable
    flag = NAMED[name].convert is None
    for bad in ("2", "maybe", "\n") if flag else BAD[name]:
        with pytest.raises(RequestError) as error:
            from_variables({variable: bad})
        said = str(error.value)
        assert said.startswith(f"{variable}=")
        assert said.isprintable()
        assert "--" not in said.replace(bad, "")


@pytest.mark.parametrize("name", sorted(name for name in NAMED if not NAMED[name].convert))
def test_flags_are_switched_by_one_and_zero(name: str) -> None:
    for text, on in (("1", True), ("0", False), ("true", True), ("off", False)):
        assert value(from_variables({NAMED[name].variable: text}), name) is on


def test_the_command_line_counts_more_and_repeated_options_add() -> None:
    base = from_variables(
        {"HEADSTART_TIMEOUT": "5", "HEADSTART_ENV": "A=1\n\nB=x=y\n", "HEADSTART_STATS": "dir/", "OTHER": "1"}
    )
    assert base.job == Job(timeout=5.0, env=(("A", "1"), ("B", "x=y")), stats="dir/")
    job = parse(["-t0", "--env=A=2", "--stats=f", "--", "cc"], base=base).job
    assert job == Job(command=("cc",), env=(("A", "1"), ("B", "x=y"), ("A", "2")), stats="f")


def test_a_worker_takes_none_that_are_for_a_job_on_its_own() -> None:
    alone = {option.variable: EXAMPLES[name][0] or "1" for name, option in NAMED.items() if option.alone}
    assert alone
    assert from_variables(alone, worker=True) == Options()
    assert from_variables({**alone, "HEADSTART_TIMEOUT": "5"}, worker=True).job == Job(timeout=5.0)
