"""What files and keys add to a command and its variables, in the order and with the meaning of rules_rust's process_wrapper."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job
from headstart_wrapper.job_files import settled
from headstart_wrapper.params_files import MAX_NESTING

PLACES = {"${pwd}": "/job", "${output_base}": "/base", "${exec_root}": "/base/execroot/job"}


class Known:
    """Files that are texts."""

    def __init__(self, **texts: str) -> None:
        self.texts = {name.replace("__", "/").replace("_", "."): text for name, text in texts.items()}

    def read(self, path: str) -> str:
        if path not in self.texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.texts[path]

    def is_file(self, path: str) -> bool:
        return path in self.texts

    def place(self, magic: str) -> str:
        return PLACES[magic]


def made(job: Job, inherited: Mapping[str, str] = MappingProxyType({}), /, **texts: str) -> Job:
    return settled(job, inherited, Known(**texts))


def variables(
    job: Job, inherited: Mapping[str, str] = MappingProxyType({}), /, **texts: str
) -> dict[str, str]:
    """All that the command gets."""
    return {**inherited, **dict(made(job, inherited, **texts).env)}


def test_keys_are_replaced_wherever_they_stand() -> None:
    job = Job(
        command=("${tool}", "--a=${dir}/x:${dir}", "${other}", "$dir", "${dir"),
        env=(("${dir}", "${dir}/bin"), ("B", "plain")),
        substitutions=(("dir", "${pwd}"), ("tool", "cc")),
        outputs=("${dir}/o",),
    )
    done = made(job)
    assert done.command == ("cc", "--a=/job/x:/job", "${other}", "$dir", "${dir")
    assert done.env == (("${dir}", "/job/bin"), ("B", "plain"))
    assert done.outputs == ("${dir}/o",)
    assert done.is_settled


def test_what_stands_for_a_directory_is_a_whole_value_and_no_key() -> None:
    command = ("${a}", "${b}", "${c}", "${d}", "${pwd}")
    keys = (("a", "${output_base}"), ("b", "${exec_root}"), ("c", "x${pwd}"), ("d", "${nothing}"))
    assert made(Job(command=command, substitutions=keys)).command == (
        "/base",
        "/base/execroot/job",
        "x${pwd}",
        "${nothing}",
        "${pwd}",
    )


def test_a_job_that_is_complete_is_itself() -> None:
    job = Job(command=("${x}", "@p"), env=(("A", "${x}"),))
    assert made(job, {"B": "${x}"}, p="${x}") is job


def test_later_sources_of_variables_override_earlier_ones() -> None:
    job = Job(
        command=("cc",),
        env_files=("one", "two"),
        out_dir="gen",
        env=(("D", "option"), ("D", "last")),
    )
    texts = {
        "one": "A=one\nB=one\nC=one\nD=one\nOUT_DIR=one\n",
        "two": "B=two=2\nD=two\nE=\n",
    }
    assert variables(job, {"A": "inherited", "Z": "${pwd}", "OUT_DIR": "inherited"}, **texts) == {
        "A": "one",
        "B": "two=2",
        "C": "one",
        "D": "last",
        "E": "",
        "OUT_DIR": "/job/gen",
        "Z": "${pwd}",
    }


def test_keys_are_replaced_in_inherited_variables_too() -> None:
    job = Job(command=("cc",), substitutions=(("pwd", "${pwd}"),), env_files=("e",))
    assert made(job, {"A": "${pwd}/a", "B": "b"}, e="C=${pwd}/c\nD=${pwd}\nB=b\n").env == (
        ("A", "/job/a"),
        ("C", "/job/c"),
        ("D", "/job"),
    )


@pytest.mark.parametrize(("given", "directory"), [("bin/x.out", "/job/bin/x.out"), ("/abs", "/abs")])
def test_out_dir_is_a_key_and_a_variable(given: str, directory: str) -> None:
    job = Job(command=("cc", "-L${out_dir}"), out_dir=given, env=(("X", "${out_dir}/x"),))
    assert made(job).command == ("cc", f"-L{directory}")
    assert variables(job) == {"OUT_DIR": directory, "X": f"{directory}/x"}


def test_status_is_replaced_in_variables_before_keys_are() -> None:
    job = Job(
        command=("cc", "{STABLE}"),
        stable_status_file="s",
        volatile_status_file="v",
        substitutions=(("pwd", "${pwd}"), ("STABLE", "wrong")),
        env=(("A", "{STABLE}-{TIME}-{NONE}"), ("B", "${STABLE}"), ("C", "{DIR}")),
    )
    texts = {"s": "STABLE a value\nEMPTY \nDIR ${pwd}\nBARE\n", "v": "TIME 1\n"}
    found = variables(job, {"D": "[{EMPTY}{BARE}]"}, **texts)
    assert found == {"A": "a value-1-{NONE}", "B": "$a value", "C": "/job", "D": "[]"}
    assert made(job, **texts).command == ("cc", "{STABLE}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\r\nb", ["a", "b"]),
        ("a\n\n\nb c \n", ["a", "b c "]),
        ("a\\\nb\nc", ["a\nb", "c"]),
        ("a\\\\\nb", ["a\\", "b"]),
        ("a\\\\\\\nb", ["a\\\nb"]),
        ("a\\b\n", ["a\\b"]),
        ("a\\\n\\\nb", ["a\n\nb"]),
        ("a\\\n", ["a\n"]),
        ("\x0b\u2028x\x85", ["\x0b\u2028x\x85"]),
        ("", []),
    ],
)
def test_lines_and_their_escapes(text: str, words: list[str]) -> None:
    assert made(Job(command=("cc",), arg_files=("f",)), f=text).command == ("cc", *words)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])).filter(bool), max_size=5
    )
)
def test_what_was_escaped_comes_back(words: list[str]) -> None:
    # A line is escaped by doubling the backslashes before its end, and by one more before each newline inside of it.
    def escaped(word: str) -> str:
        lines = [line + "\\" * (len(line) - len(line.rstrip("\\"))) for line in word.split("\n")]
        return "\\\n".join(lines)

    lines = [escaped(word) for word in words]
    # An empty line is no line, inside a word too.
    if all(line for word in words for line in word.split("\n")):
        assert made(Job(command=("cc",), arg_files=("f",)), f="\n".join(lines)).command == ("cc", *words)


def test_lines_of_files_follow_the_command_and_their_keys_are_replaced() -> None:
    job = Job(command=("cc", "${k}"), arg_files=("one", "two"), substitutions=(("k", "v"),))
    assert made(job, one="-D${k}\n@${k}.p\n", two="last").command == ("cc", "v", "-Dv", "@v.p", "last")


def test_params_files_are_changed_in_name_and_text() -> None:
    job = Job(
        command=("cc", "@${dir}/x.params", "@plain", "@none", "@@x", "a@plain"),
        substitutions=(("dir", "${pwd}"),),
    )
    found = made(job, __job__x_params="-I${dir}\n-v\n", plain="nothing to do")
    assert found.command == ("cc", "@/job/x.params", "@plain", "@none", "@@x", "a@plain")
    assert found.params == ((1, "-I/job\n-v\n"),)


def test_a_program_is_no_params_file() -> None:
    assert made(Job(command=("@cc",), substitutions=(("k", "v"),)), cc="${k}").params == ()


def test_a_text_without_a_last_newline_or_with_carriage_returns_stays_so() -> None:
    job = Job(command=("cc", "@p"), substitutions=(("k", "v"),))
    assert made(job, p="a\r\n${k}\r\n\r\nb").params == ((1, "a\r\nv\r\n\r\nb"),)


def test_files_that_a_params_file_names_come_in_their_places() -> None:
    job = Job(command=("cc", "@p"), substitutions=(("k", "q"),))
    assert made(job, p="a\n@${k}\n@none\nb\n", q="1\n${k}2\n").params == ((1, "a\n1\nq2\n@none\nb\n"),)


def test_a_params_file_that_names_itself_is_said_so() -> None:
    with pytest.raises(RequestError, match=f"nested more than {MAX_NESTING} deep at p; does one name itself"):
        made(Job(command=("cc", "@p"), substitutions=(("k", "v"),)), p="@p\n")


@pytest.mark.parametrize(
    ("command", "text", "adds"),
    [
        (("rustc",), "", True),
        (("rustc", "-Zallow-features=x"), "", False),
        (("rustc", "-Z", "allow-features="), "", False),
        (("rustc", "-Zother"), "", True),
        (("rustc", "-Z${k}"), "", False),
        (("rustc", "@p"), "-Cx\n-Zallow-features=y\n", False),
        (("rustc", "@p"), "-Z\nallow-features=y\n", False),
        (("rustc", "@p"), "@q\n", False),
        (("rustc", "@p"), "-Cx\n", True),
    ],
)
def test_unstable_features_are_allowed_by_name_only(command: tuple[str, ...], text: str, adds: bool) -> None:
    job = Job(command=command, explicit_features=True, substitutions=(("k", "allow-features=z"),))
    found = made(job, p=text, q="-Zallow-features=q")
    assert (found.command[-1] == "-Zallow-features=") is adds
    assert len(found.command) == len(command) + adds


def test_unstable_features_may_be_allowed_by_a_file_of_arguments() -> None:
    job = Job(command=("rustc",), explicit_features=True, arg_files=("a",))
    assert made(job, a="-Zallow-features=x\n").command == ("rustc", "-Zallow-features=x")
    assert made(job, a="-O\n").command == ("rustc", "-O", "-Zallow-features=")


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        (
            Job(env_files=("no",)),
            "the file no of --env-file cannot be read: No such file or directory; declare",
        ),
        (Job(arg_files=("no",)), "the file no of --arg-file cannot be read"),
        (Job(stable_status_file="no"), "the file no of --stable-status-file cannot be read"),
        (Job(volatile_status_file="no"), "the file no of --volatile-status-file cannot be read"),
        (Job(env_files=("bad",)), "the file bad of --env-file has the line 'bad'; write it as NAME=VALUE"),
        (Job(env_files=("worse",)), "the file worse of --env-file has the line '=x'; write it as NAME=VALUE"),
        (
            Job(stable_status_file="blank"),
            "the file blank of --stable-status-file has the line ' x'; write it as",
        ),
    ],
)
def test_what_is_wrong_names_the_option_and_the_file(job: Job, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        made(job, bad="A=1\nbad\n", worse="=x\n", blank=" x\n")


def test_I7_directories_can_be_named_instead_of_shown_while_files_are_found_all_the_same() -> None:
    job = Job(
        command=("${pwd}/cc", "@${pwd}/p"),
        substitutions=(("pwd", "${pwd}"), ("base", "${output_base}")),
        out_dir="gen",
    )
    files = Known(__job__p="-I${pwd}\n-L${base}\n@${pwd}/q\n", __job__q="${out_dir}\n")
    found = settled(job, {"A": "${pwd}"}, files, named=lambda magic: f"<{magic[2:-1]}>")
    assert found.command == ("<pwd>/cc", "@<pwd>/p")
    assert found.params == ((1, "-I<pwd>\n-L<output_base>\n<pwd>/gen\n"),)
    assert dict(found.env) == {"A": "<pwd>", "OUT_DIR": "<pwd>/gen"}
