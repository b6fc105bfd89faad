"""Arguments that stand in files: what is expanded, what is not, and what is said of a file that is none."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

import pytest

from headstart_wrapper.errors import RequestError
from headstart_wrapper.options import arity, parse
from headstart_wrapper.params_files import MAX_NESTING, expand


def expanded(arguments: Sequence[str], **texts: str) -> list[str]:
    def read(path: str) -> str:
        if path not in texts:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return texts[path]

    return expand(arguments, read, arity=arity)


def test_params_files_are_expanded_line_by_line_and_recursively() -> None:
    inner = "--explain\n--input=  two words \n--input\n\n--input='quoted'"
    lines = inner.split("\n")
    for marker in ("@", "--flagfile=", "-flagfile="):
        assert expanded(
            ["--stay", f"{marker}outer", "--stay"], outer=f"-g\n{marker}inner\n--stay\n", inner=inner
        ) == ["--stay", "-g", *lines, "--stay", "--stay"]
    assert expanded(["@empty", "@line"], empty="", line="\n") == [""]
    assert expanded(["@blank"], blank="a\n\n") == ["a", ""]


@pytest.mark.parametrize(
    "options",
    [
        ["-g"],
        ["--explain"],
        ["-t", "5"],
        ["-t5"],
        ["-gt", "5"],
        ["--input", "x"],
        ["--copy-output", "a", "b"],
        ["@p"],
    ],
)
def test_nothing_is_expanded_after_the_commands_name(options: list[str]) -> None:
    found = expanded([*options, "cc", "@response", "--", "@x"], p="--timeout\n5")
    assert found[-4:] == ["cc", "@response", "--", "@x"]


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
        expand(["@p"], lambda _path: b"\xff".decode(), arity=arity)


def test_params_files_without_end_are_ended() -> None:
    with pytest.raises(RequestError, match="does one name itself"):
        expanded(["@p"], p="@p")
    depth = {f"p{n}": f"@p{n + 1}" for n in range(MAX_NESTING - 1)} | {f"p{MAX_NESTING - 1}": "end"}
    assert expanded(["@p0"], **depth) == ["end"]


@pytest.mark.parametrize("option", ["--env-file", "--arg-file", "--subst"])
def test_without_dashes_an_option_of_many_values_has_one(option: str) -> None:
    line = [option, "a=b", "cc", "@response"]
    assert expanded(line) == line
    assert parse(line).job.command == ("cc", "@response")
    many = [option, "a=b", "c=d", "@more", "-g", "--", "cc", "@response"]
    assert expanded(many, more="e=f") == [option, "a=b", "c=d", "e=f", "-g", "--", "cc", "@response"]


def test_a_name_that_no_file_can_have_is_one_sentence() -> None:
    def read(path: str) -> str:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as the program does
            return file.read()

    for name in ("a\0b", "\ud800", "a\nb", "x" * 5000):
        with pytest.raises(RequestError, match="params file") as error:
            expand([f"@{name}"], read, arity=arity)
        assert len(str(error.value).splitlines()) == 1
        assert len(str(error.value)) < 600
