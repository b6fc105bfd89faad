"""rustc's command line: what it says, and how to say it with a few words changed.

The grammar is that of the getopts library that rustc uses: `--name=value`, `--name value`, `-Cvalue`, `-C value`,
clusters of flags (`-gO`), everything after `--` is an input. `@file` stands for a file's lines, one argument each,
and is not looked for inside such files. What the words decide (names of outputs, pipelining) is told elsewhere.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence

from headstart_wrapper.errors import RequestError
from headstart_wrapper.records import Record

# Options that take no value. Every other option takes one, unstable and future ones included.
_LONG_FLAGS = frozenset({"help", "test", "verbose", "version"})
_SHORT_FLAGS = frozenset("hgOVv")
_LONG_FORMS = {"codegen": "C", "verbose": "v", "version": "V", "help": "h"}

# `--print` of these does not keep rustc from compiling (rustc_driver, print_crate_info).
_PRINTED_WHILE_COMPILING = frozenset({"link-args", "native-static-libs"})
# `-Z` options that make rustc show something instead of compiling.
_SHOWN_INSTEAD = frozenset({"help", "ls", "unpretty"})


class Word(Record):
    """One argument that rustc sees, and the index of the argument given to us from which it came."""

    text: str
    origin: int


class Argument(Record):
    """One option, or one input (with an empty name).

    Attributes:
        name: without dashes; options that have a short and a long form go by the short one.
        value: what follows; None for a flag and for an option whose value is missing.
        start: the first of its words.
        end: the word after its last.
        before: flags that stand in front of it in the same word (`-g` in `-go`), to be kept when it is rewritten.
    """

    name: str
    value: str | None
    start: int
    end: int
    before: str = ""


class Invocation(Record):
    """One rustc command line, understood.

    Attributes:
        given: the command as given.
        head: how many of its arguments say what is run: 1, or 2 for `clippy-driver rustc` and for `rustc +nightly`.
        words: every argument after the programs, response files expanded.
        arguments: those words as options and inputs.
    """

    given: tuple[str, ...]
    head: int
    words: tuple[Word, ...]
    arguments: tuple[Argument, ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of an option, in order."""
        return tuple(a.value for a in self.arguments if a.name == name and a.value is not None)

    def last(self, name: str) -> str | None:
        """Return the last value of an option."""
        return next(reversed(self.values(name)), None)

    def has(self, name: str) -> bool:
        """Tell whether a flag or an option is there."""
        return any(a.name == name for a in self.arguments)

    def codegen(self, name: str) -> str | None:
        """Return the last value of a `-C name=value` option."""
        pairs = (value.partition("=") for value in self.values("C"))
        return next(reversed([value for key, _, value in pairs if key == name]), None)

    @property
    def input(self) -> str | None:
        """The crate root; `-` is standard input."""
        return next(iter(self.values("")), None)

    @property
    def crate_name(self) -> str | None:
        """What `--crate-name` said; None leaves it to the crate root, which we do not read."""
        return self.last("crate-name")

    @property
    def crate_types(self) -> tuple[str, ...]:
        """The crate types; `bin` when nothing is said, although an attribute in the crate root may say otherwise."""
        if self.has("test"):
            return ("bin",)
        return tuple(kind for value in self.values("crate-type") for kind in value.split(",")) or ("bin",)

    @property
    def emit(self) -> dict[str, str | None]:
        """What is emitted, each with the path that it was given, if any; the last word on a kind counts."""
        kinds = (each.partition("=") for value in self.values("emit") for each in value.split(","))
        return {kind: path if equals else None for kind, equals, path in kinds} or {"link": None}

    @property
    def json(self) -> frozenset[str]:
        """What `--json` asked for."""
        return frozenset(each for value in self.values("json") for each in value.split(","))

    @property
    def externs(self) -> tuple[tuple[str, str | None], ...]:
        """The extern crates: name without its options (`priv:`, `noprelude:`), and path if one is given."""
        pairs = (value.partition("=") for value in self.values("extern"))
        return tuple((name.rpartition(":")[2], path or None) for name, _, path in pairs)

    @property
    def compiles(self) -> bool:
        """Whether outputs are made at all, instead of a version, a help text or a printed fact."""
        if self.input is None or any(self.has(name) for name in ("V", "h", "explain")):
            return False
        if "help" in {*self.values("C"), *self.values("W")}:
            return False
        if any(value.partition("=")[0] in _SHOWN_INSTEAD for value in self.values("Z")):
            return False
        return all(value.partition("=")[0] in _PRINTED_WHILE_COMPILING for value in self.values("print"))

    def rewritten(self, edits: Mapping[int, Iterable[str]], added: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the command with some arguments said differently.

        A response file stays one as long as nothing that came out of it changes; else its lines take its place.

        Args:
            edits: for the index of an argument, the words that take its place; none remove it.
            added: words that come first, right after what is run (in front of a `--`, that is).

        Raises:
            RequestError: a line of a response file would be read as a response file itself.
        """
        written: dict[int, tuple[str, ...]] = {}
        silent: set[int] = set()
        opened: set[int] = set()
        for index, words in edits.items():
            argument = self.arguments[index]
            before = (argument.before,) if argument.before else ()
            written[argument.start] = (*before, *words)
            silent.update(range(argument.start, argument.end))
            opened.update(self.words[at].origin for at in range(argument.start, argument.end))
        command = [*self.given[: self.head], *added]
        closed: set[int] = set()
        for at, word in enumerate(self.words):
            given = self.given[word.origin]
            if given.startswith("@") and word.origin not in opened:
                if word.origin not in closed:
                    command.append(given)
                    closed.add(word.origin)
            elif at in written:
                command.extend(written[at])
            elif at not in silent:
                if word.text.startswith("@"):
                    raise RequestError(f"a line of {given} begins with '@' ({word.text}); write ./ before it")
                command.append(word.text)
        return tuple(command)


def understand(command: Sequence[str], read: Callable[[str], str]) -> Invocation:
    """Return what a rustc command line says.

    Args:
        command: the argv.
        read: returns the text of a response file.

    Raises:
        RequestError: a response file cannot be read.
    """
    head = 2 if _drives_rustc(command) or _chooses_toolchain(command) else 1
    words = _words(command, head, read)
    return Invocation(tuple(command), head, words, tuple(_arguments(words)))


def _drives_rustc(command: Sequence[str]) -> bool:
    """Tell whether this is `clippy-driver /path/to/rustc ...`, which is how Cargo calls a driver."""
    first, second = (posixpath.basename(word) for word in (*command[:2], "", "")[:2])
    return first.startswith("clippy-driver") and second == "rustc"


def _chooses_toolchain(command: Sequence[str]) -> bool:
    """Tell whether this is `rustc +nightly ...`: rustup's proxy looks for that in the first place only."""
    return len(command) > 1 and command[1].startswith("+")


def _words(command: Sequence[str], head: int, read: Callable[[str], str]) -> tuple[Word, ...]:
    words = []
    for origin, given in enumerate(command[head:], head):
        if not given.startswith("@"):
            words.append(Word(given, origin))
            continue
        try:
            text = read(given[1:])
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"cannot read the response file {given}: {error}") from error
        # Lines as rustc's `str::lines` sees them: "\n" or "\r\n" ends a line, and nothing else does.
        lines = text.removesuffix("\n").split("\n") if text else []
        words.extend(Word(line.removesuffix("\r"), origin) for line in lines)
    return tuple(words)


def _arguments(words: Sequence[Word]) -> Iterable[Argument]:
    at = 0
    while at < len(words):
        text = words[at].text
        if text == "--":
            yield from (Argument("", words[i].text, i, i + 1) for i in range(at + 1, len(words)))
            return
        if text == "-" or not text.startswith("-"):
            yield Argument("", text, at, at + 1)
            at += 1
            continue
        flags, name, value = _option(text)
        yield from (Argument(flag, None, at, at + 1) for flag in flags)
        start, at = at, at + 1
        if name:
            if value is None and at < len(words):
                value, at = words[at].text, at + 1
            yield Argument(name, value, start, at, f"-{flags}" if flags and text[1] != "-" else "")


def _option(text: str) -> tuple[Sequence[str], str, str | None]:
    """Split a word that begins with a dash: flags, then at most one option that takes a value, and that value."""
    if text.startswith("--"):
        name, equals, value = text[2:].partition("=")
        short = _LONG_FORMS.get(name, name)
        if name in _LONG_FLAGS:
            return (short,), "", None
        return (), short, value if equals else None
    letters = text[1:]
    for position, letter in enumerate(letters):
        if letter not in _SHORT_FLAGS:
            return letters[:position], letter, letters[position + 1 :] or None
    return letters, "", None
