"""What people are told: the help text, and the manual page, from one table of options."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headstart_wrapper import man_page, manual
from headstart_wrapper.option_table import ALIASES, OPTIONS, SHORT
from headstart_wrapper.options import check, parse

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "wrapper/process-wrapper.1"


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_help_names_every_option_once_with_what_it_does() -> None:
    lines = manual.usage().splitlines()
    everything = flat(manual.usage())
    for option in OPTIONS:
        rows = [line for line in lines if re.match(rf"  (-., )?{option.name}([= ]|$)", line)]
        assert len(rows) == 1, option.name
        assert flat(option.help) in everything
        assert option.variable.removeprefix("HEADSTART_") in everything
    for short, name in SHORT.items():
        assert f"  {short}, {name}" in manual.usage()


def test_the_help_fits_people() -> None:
    lines = manual.usage().splitlines()
    assert len(lines) < 170
    assert max(map(len, lines)) < 80
    assert not [line for line in lines if line != line.rstrip()]
    assert len(manual.brief().splitlines()) < 25
    for said in ("124", "125", "126", "127", "becomes it", "stays beside"):
        assert said in manual.usage()


def test_the_groups_of_the_manual_are_those_of_the_table() -> None:
    assert list(manual.GROUPS) == list(dict.fromkeys(option.group for option in OPTIONS))


@pytest.mark.parametrize("group", sorted(manual.GROUPS))
def test_every_example_is_a_command_line_that_is_understood(group: str) -> None:
    spoken = subprocess.run(
        [
            "bash",
            "-c",
            f"process-wrapper() {{ printf '%s\\0' \"$@\"; }}; make() {{ echo made; }}; {manual.GROUPS[group].command}",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if spoken == "made\n":
        return
    options = parse(spoken.removesuffix("\0").split("\0"))
    if not options.persistent_worker:
        assert check(options).command


def test_the_manual_page_is_what_it_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert man_page.main(["--check", str(PAGE)]) == 0
    old = tmp_path / "old.1"
    assert man_page.main(["--check", str(old)]) == 1
    old.write_text(PAGE.read_text("utf-8") + "more")
    assert man_page.main(["--check", str(old)]) == 1
    assert "out of date; run python -m headstart_wrapper.man_page" in capsys.readouterr().err
    assert man_page.main([str(old)]) == 0
    assert man_page.main(["--check", str(old)]) == 0


def test_the_manual_page_has_every_section_and_every_name() -> None:
    page = man_page.page()
    sections = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert sections == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "EXIT STATUS"),
        *("SIGNALS", "FILES", "EXAMPLES", "SEE ALSO"),
    ]
    plain = page.replace("\\-", "-").replace("\\&", "")
    for name in (*(option.name for option in OPTIONS), *ALIASES, *SHORT):
        assert name in plain
    for option in OPTIONS:
        assert not option.variable or f".B {option.variable}\n" in plain
    assert page.isascii()


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff here")
def test_the_manual_page_is_formatted_without_a_warning() -> None:
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-P-cbou", str(PAGE)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    shown = flat(done.stdout)
    assert "-t, --timeout=SECONDS" in shown
    assert "--encoding-check=é" in shown
    assert "--subst pwd='${pwd}'" in shown


def test_what_roff_would_take_for_itself_is_escaped() -> None:
    assert man_page._escaped(".x") == "\\&.x"
    assert man_page._escaped("a\\n'-é") == "a\\en\\(aq\\-\\[u00E9]"
