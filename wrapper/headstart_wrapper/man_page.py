"""The manual page process-wrapper(1), written in the manual's words and the table of options.

    python -m headstart_wrapper.man_page FILE            write it
    python -m headstart_wrapper.man_page --check FILE    only tell whether it is what it should be

The macros are those of man(7), so that groff and mandoc show it alike.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from headstart_wrapper import manual
from headstart_wrapper.option_table import ALIASES, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headstart_wrapper.option_table import Option

_FILES = (
    (
        "$TMPDIR/headstart-*",
        "private outputs of running jobs; for workers, --state-dir is another place. Removed at the end.",
    ),
    ("@params-file", "more words of the command line, one a line, UTF-8, without quoting."),
)


def page() -> str:
    """The whole page."""
    lines = [
        '.\\" Made by python -m headstart_wrapper.man_page; change the table of options or the manual instead.',
        '.TH PROCESS-WRAPPER 1 "" "Headstart" "User Commands"',
        ".SH NAME",
        f"process\\-wrapper \\- {_escaped(manual.SUMMARY)}",
        ".SH SYNOPSIS",
    ]
    for number, synopsis in enumerate(manual.SYNOPSIS):
        program, _, rest = synopsis.partition(" ")
        lines += [*([".br"] if number else []), f".B {_escaped(program)}", _escaped(rest)]
    lines += [".SH DESCRIPTION", *_paragraphs(*manual.DESCRIPTION, manual.SPELLING)]
    lines.append(".SH OPTIONS")
    for group, example in manual.GROUPS.items():
        lines.append(f'.SS "{_escaped(group[0].upper() + group[1:])}"')
        for option in OPTIONS:
            if option.group == group:
                lines += _option(option)
        lines += _example(example)
    lines += [".SH ENVIRONMENT", *_paragraphs(manual.VARIABLES)]
    for option in OPTIONS:
        if option.has_variable:
            lines += [".TP", f".B {_escaped(option.variable)}", f"default of {_escaped(option.name)}"]
    lines.append(".SH EXIT STATUS")
    for code, meaning in manual.EXITS:
        lines += [".TP", f".B {_escaped(code)}", _escaped(meaning)]
    lines += [".SH SIGNALS", *_paragraphs(manual.SIGNALS), ".SH FILES"]
    for path, meaning in _FILES:
        lines += [".TP", f".I {_escaped(path)}", _escaped(meaning)]
    lines.append(".SH EXAMPLES")
    for example in manual.LAUNCHERS:
        lines += _example(example)
    lines += [".SH SEE ALSO", ".BR env (1),", ".BR timeout (1),", ".BR bazel (1)"]
    return "\n".join(lines) + "\n"


def _option(option: Option) -> Iterator[str]:
    names = [manual.spelled(option), *(alias for alias, name in ALIASES.items() if name == option.name)]
    yield from (".TP", f".B {_escaped(', '.join(names))}", _escaped(option.help))


def _example(example: manual.Example) -> Iterator[str]:
    yield ".PP"
    yield f"{_escaped(example.does[0].upper() + example.does[1:])}:"
    yield from (".PP", ".RS 4", ".nf", _escaped(example.command), ".fi", ".RE")


def _paragraphs(*texts: str) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield _escaped(text)


def _escaped(text: str) -> str:
    """Text as roff shows it: every character itself, no line a request."""
    characters = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
    made = "".join(
        characters.get(character, character if character.isascii() else f"\\[u{ord(character):04X}]")
        for character in text
    )
    return f"\\&{made}" if made.startswith(".") else made


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m headstart_wrapper.man_page", description="Writes the manual page of process-wrapper."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 when the page is out of date"
    )
    options = parser.parse_args(arguments)
    if not options.check:
        options.file.write_text(page(), encoding="utf-8")
    elif not options.file.exists() or options.file.read_text("utf-8") != page():
        sys.stderr.write(
            f"{options.file} is out of date; run python -m headstart_wrapper.man_page {options.file}\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
