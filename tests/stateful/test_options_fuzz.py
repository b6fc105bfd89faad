"""Any words for a command line, its params files and variables: options, or one sentence that says what is wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart_wrapper.errors import HeadstartError, RequestError
from headstart_wrapper.job import Job, Phase, Sandbox
from headstart_wrapper.option_table import ALIASES, OPTIONS, SHORT
from headstart_wrapper.options import arity, check, parse
from headstart_wrapper.params_files import expand
from headstart_wrapper.records import fields_of
from headstart_wrapper.variables import from_variables
from option_examples import BAD, EXAMPLES, underscored
from stateful.long_mode import INPUTS, LONG, Progress

LONGEST = 600
"""Characters of a sentence, whatever was given."""

fuzzed: Callable[[Callable[..., None]], Callable[..., None]] = settings(
    max_examples=INPUTS if LONG else 400,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

NAMES = st.sampled_from(
    [option.name for option in OPTIONS]
    + [underscored(option.name) for option in OPTIONS]
    + [*ALIASES, *SHORT]
)
VALUES_OF_ALL = st.sampled_from(
    [text for text, _ in EXAMPLES.values()] + [bad for all_ in BAD.values() for bad in all_]
)
ODD = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    [
        "--",
        "-",
        "",
        "=",
        "---",
        "@",
        "@p",
        "@q",
        "@@p",
        "--flagfile=p",
        "--flagfile",
        "-flagfile=q",
        "--=",
        "-=",
        "cc",
        "\0",
        "\n",
    ]
)
FRAGMENTS = st.builds(lambda name, start, end: name[start:end], NAMES, st.integers(0, 4), st.integers(1, 12))
WORD = st.one_of(
    NAMES,
    FRAGMENTS,
    ODD,
    VALUES_OF_ALL,
    st.builds("{}={}".format, NAMES | FRAGMENTS, VALUES_OF_ALL | ODD),
    st.builds("{}{}".format, st.sampled_from([*SHORT]), VALUES_OF_ALL | ODD),
    st.lists(st.sampled_from([letter[1:] for letter in SHORT] + ["x", "é"]), max_size=4).map(
        lambda found: f"-{''.join(found)}"
    ),
)
LINE = st.lists(WORD, max_size=8)
FILES = st.dictionaries(
    st.sampled_from(["p", "q", "r"]), st.lists(WORD, max_size=4).map("\n".join), max_size=3
)


def expect_one_sentence(error: HeadstartError, *, about: tuple[str, ...] = ("",)) -> None:
    said = str(error)
    assert len(said.splitlines()) == 1
    assert len(said) < LONGEST
    assert said.startswith(about)
    assert error.exit_code == 125


def test_any_command_line_is_a_job_or_one_sentence() -> None:
    progress, done = Progress("command lines", INPUTS), 0

    @fuzzed
    @given(LINE, FILES, st.booleans())
    def try_one(line: list[str], files: Mapping[str, str], request: bool) -> None:
        nonlocal done
        done += 1
        progress.at(done)

        def read(path: str) -> str:
            if path not in files:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return files[path]

        try:
            words = expand(line, read, arity=arity)
            options = parse(words, request=request)
            job = check(options)
        except HeadstartError as error:
            expect_one_sentence(error)
            return
        # What is the command's is the command's last words, as they are, and nothing is missing.
        assert tuple(words[len(words) - len(job.command) :]) == job.command or options.encoding_check
        assert all(isinstance(word, str) for word in job.command)

    try_one()
    progress.at(done, last=True)


@fuzzed
@given(
    st.dictionaries(
        st.sampled_from(
            [option.variable for option in OPTIONS if option.variable] + ["HEADSTART_", "HEADSTART_X", ""]
        ),
        VALUES_OF_ALL | ODD | st.lists(VALUES_OF_ALL | ODD, max_size=3).map("\n".join),
        max_size=4,
    ),
    LINE,
    st.booleans(),
)
def test_any_variables_are_options_or_one_sentence_that_names_one(
    variables: dict[str, str], line: list[str], worker: bool
) -> None:
    try:
        base = from_variables(variables, worker=worker)
    except RequestError as error:
        expect_one_sentence(error, about=tuple(name for name in variables if name))
        return
    try:
        check(parse(line, base=base, request=worker))
    except RequestError as error:
        expect_one_sentence(error)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1, max_size=8)
ANY_TEXT = st.just("") | TEXT
PATHS = st.lists(TEXT, max_size=3).map(tuple)
PAIRS = st.lists(st.tuples(TEXT.filter(lambda name: "=" not in name), ANY_TEXT), max_size=3).map(tuple)
COPIES = st.lists(
    st.tuples(TEXT, TEXT).filter(lambda pair: pair[0] != pair[1] and not any(map(is_option, pair))),
    max_size=2,
).map(tuple)
STREAM = st.none() | TEXT.filter(lambda path: path != "-")
VALUES: Mapping[str, st.SearchStrategy[object]] = {
    "command": st.lists(ANY_TEXT, max_size=4).map(tuple),
    "env": PAIRS,
    "substitutions": PAIRS,
    "copies": COPIES,
    "dialect": st.sampled_from([None, "generic", "rustc"]),
    "phase": st.none() | st.sampled_from(Phase),
    "timeout": st.none() | st.floats(0, 1e9, exclude_min=True),
    "kill_delay": st.floats(0, 1e9),
    "stats_format": st.sampled_from(["json", "bazel"]),
    "rustc_output_format": st.sampled_from([None, "json", "rendered"]),
    "early_fd": st.none() | st.integers(3, 1000),
    "sandbox": st.none() | st.sampled_from(Sandbox),
    "sandbox_unavailable": st.sampled_from(["fail", "warn"]),
    "sandbox_audit": st.sampled_from(["report", "error"]),
    "stdout": STREAM,
    "stderr": STREAM,
}


def strategy(name: str) -> st.SearchStrategy[object]:
    """Any value of a job's attribute, by its default's kind where nothing else is said."""
    default = getattr(Job(), name)
    by_kind = st.booleans() if default is False else PATHS if default == () else st.none() | TEXT
    return VALUES.get(name, by_kind)


def is_option(text: str) -> bool:
    """True for what cannot be a pair's word: it would be the next option."""
    return text.startswith("--")


TARGETS = {"command", *(option.target for option in OPTIONS)} & set(fields_of(Job))
"""The attributes that a command line sets."""

JOBS = st.builds(Job, **{name: strategy(name) for name in TARGETS})


def rendered(job: Job, *, joined: bool) -> list[str]:
    found: list[str] = []
    for option in OPTIONS:
        if option.target not in TARGETS:
            continue
        for one in getattr(job, option.target) if option.repeated else [getattr(job, option.target)]:
            if one is None or one is False:
                continue
            if option.convert is None:
                found.append(option.name)
            elif option.pair:
                found += [option.name, *one]
            else:
                text = "true" if one is True else "=".join(one) if isinstance(one, tuple) else str(one)
                # `--name --` is a missing value, and behind `--name one` more values follow.
                apart = not joined and text != "--" and not option.many
                found += [option.name, text] if apart else [f"{option.name}={text}"]
    return [*found, "--", *job.command]


@fuzzed
@given(JOBS, st.booleans())
def test_what_was_rendered_is_read_again(job: Job, joined: bool) -> None:
    assert parse(rendered(job, joined=joined)).job == job
