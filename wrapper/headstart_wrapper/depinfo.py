r"""What a compiler says that it read: rustc's dep-info and the depfiles of C compilers, taken apart. Pure; fails at no input.

Both look like rules for make, with different escapes. rustc writes `\ ` for a space and every other character as it is, and then a rule
without prerequisites for each file; gcc and clang write `\ `, `\#` and `$$`, and lines that go on after a backslash. A file is rustc's
when it has a rule without prerequisites for the first file that it names: C compilers (`-MP`) have none for what they compile.

It is a hint and no evidence (measured). rustc leaves out libraries, what procedural macros read, and what it looked for in vain; gcc
leaves out `.incbin`, its own programs and what it looked for in vain, and with `-MMD` the headers of system directories.
"""

from __future__ import annotations

from headstart_wrapper.records import Record

TYPE_CHECKING = False  # what type checkers take for typing's own
if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLE = b"# env-dep:"
_TAB = b"\0"  # stands for an escaped tab between two steps; no path has it


class Dependencies(Record):
    """What one compilation read.

    Attributes:
        paths: files, as the compiler spelled them, each once, in its order; bytes that are not UTF-8 as `os.fsdecode` has them.
        variables: (name, value) of the environment's variables that the source asks for; None: it asked, and there was none.
    """

    paths: tuple[str, ...] = ()
    variables: tuple[tuple[str, str | None], ...] = ()


def parse(content: bytes) -> Dependencies:
    """Takes a dep-info file or depfile apart; what is neither gives whatever looks like a rule in it."""
    if _VARIABLE in content:
        return _of_rustc(content)
    named: dict[bytes, None] = {}
    alone = set()
    for line in content.replace(b"\\\n", b" ").split(b"\n"):
        targets, prerequisites = _rule(line)
        named.update(dict.fromkeys(prerequisites))
        if not prerequisites:
            alone.update(targets)
    if next(iter(named), None) in alone:
        return _of_rustc(content)
    return Dependencies(tuple(_text(path) for path in named))


def _of_rustc(content: bytes) -> Dependencies:
    """Reads the rules without prerequisites: they name every file once, and the other rules' targets are not escaped."""
    paths: dict[str, None] = {}
    variables: dict[str, str | None] = {}
    for line in content.split(b"\n"):
        if line.startswith(_VARIABLE):
            name, given, value = line.removeprefix(_VARIABLE).partition(b"=")
            variables[_unescaped(name)] = _unescaped(value) if given else None
        elif line.endswith(b":") and b" " not in line.replace(b"\\ ", b""):
            paths[_text(line[:-1].replace(b"\\ ", b" "))] = None
    return Dependencies(tuple(paths), tuple(variables.items()))


def _unescaped(value: bytes) -> str:
    """Undoes what rustc does to a variable: backslashes, line feeds and carriage returns."""
    parts = (part.replace(b"\\n", b"\n").replace(b"\\r", b"\r") for part in value.split(b"\\\\"))
    return _text(b"\\".join(parts))


def _rule(line: bytes) -> tuple[list[bytes], list[bytes]]:
    """Targets and prerequisites in one logical line; targets end with the first word that ends in a colon."""
    targets: list[bytes] = []
    words = _words(line)
    for word in words:
        if word.endswith(b":"):
            targets.append(word[:-1])
            return targets, list(words)
        targets.append(word)
    return [], []


def _words(line: bytes) -> Iterator[bytes]:
    """The words of a line as make has them: a blank after an odd number of backslashes belongs to the word."""
    *pieces, last = line.replace(b"\\\t", _TAB).replace(b"\t", b" ").split(b" ")
    word = b""
    for piece in pieces:
        bare = piece.rstrip(b"\\")
        slashes = len(piece) - len(bare)
        word += bare + b"\\" * (slashes // 2)
        if slashes % 2:
            word += b" "
        else:
            yield from _whole(word)
            word = b""
    yield from _whole(word + last)


def _whole(word: bytes) -> Iterator[bytes]:
    if word:
        yield word.replace(b"\\#", b"#").replace(b"$$", b"$").replace(_TAB, b"\t")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
