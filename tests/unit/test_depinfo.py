"""What compilers say that they read, with the escapes of each; and anything else fails nobody."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart_wrapper.depinfo import Dependencies, parse

RUSTC = rb"""out/my lib.d: src/lib.rs src/a\ b#c.txt src/x$$y:z\w.txt

out/my lib.rmeta: src/lib.rs src/a\ b#c.txt src/x$$y:z\w.txt

src/lib.rs:
src/a\ b#c.txt:
src/x$$y:z\w.txt:
"""

VARIABLES = rb"""
# env-dep:CARGO_PKG_NAME=x=y
# env-dep:LINES=a\nb\\n\r
# env-dep:NOT_SET
# env-dep:EMPTY=
"""


def test_rustcs_dep_info() -> None:
    files = ("src/lib.rs", "src/a b#c.txt", r"src/x$$y:z\w.txt")
    assert parse(RUSTC) == Dependencies(files)
    assert parse(RUSTC + VARIABLES) == Dependencies(
        files,
        (("CARGO_PKG_NAME", "x=y"), ("LINES", "a\nb\\n\r"), ("NOT_SET", None), ("EMPTY", "")),
    )


def test_a_rule_that_ends_in_a_colon_is_no_file() -> None:
    assert parse(b"lib.d: a.rs b:\n\na.rs:\nb::\n") == Dependencies(("a.rs", "b:"))


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (b"m.o: m.c\n", ("m.c",)),
        (b"m.o: m.c a.h \\\n b.h \\\n c.h\n", ("m.c", "a.h", "b.h", "c.h")),
        (b"m.o o\\ u$$t.o: m.c a.h\na.h:\n", ("m.c", "a.h")),
        (b"m.o: m.c a.h\n\na.h:\n\nb.h:\n", ("m.c", "a.h")),  # as older gcc writes it
        (b"a:b m.o: m.c co:lon.h\nco:lon.h:\n", ("m.c", "co:lon.h")),
        (
            b"m.o: a\\ b.h c\\#d.h d$$e.h b\\s.h p%.h tab\\\tt.h bs\\\\\\ sp.h",
            ("a b.h", "c#d.h", "d$e.h", "b\\s.h", "p%.h", "tab\tt.h", "bs\\ sp.h"),
        ),
        (b"m.o: m.c\\\\ a.h", ("m.c\\", "a.h")),
        (b"m.o:\tm.c\ta.h", ("m.c", "a.h")),
        (b"m.o: \xff.h", ("\udcff.h",)),
        (b"m.o: m.c m.c a.h\nn.o: m.c b.h\n", ("m.c", "a.h", "b.h")),
        ("m.o: \u00a0\u2028.h\n".encode(), ("\u00a0\u2028.h",)),
        (b"", ()),
        (b"no rule at all\n", ()),
        (b"m.o:\n", ()),
    ],
)
def test_depfiles(content: bytes, paths: tuple[str, ...]) -> None:
    assert parse(content) == Dependencies(paths)


NAME = st.text("ab/.: #$\\%\té", min_size=1).filter(
    lambda name: not name.endswith(("\\", ":")) and "\\#" not in name and "\\\t" not in name
)


def as_make_has_it(name: str) -> str:
    """gcc's way: backslashes before a blank are doubled."""
    out = ""
    for at, one in enumerate(name):
        if one in " \t":
            before = name[:at]
            out += "\\" * (len(before) - len(before.rstrip("\\"))) + "\\"
        out += {"$": "$$", "#": "\\#"}.get(one, one)
    return out


@settings(deadline=None)
@given(st.lists(NAME, unique=True))
@example(["a\\ b", "#", "a\\\\b"])
def test_every_name_comes_back_from_a_depfile(names: list[str]) -> None:
    content = "m.o: m.c " + " \\\n ".join(map(as_make_has_it, names)) + "\n"
    expected = dict.fromkeys(["m.c", *names])
    assert parse(content.encode()).paths == tuple(expected)


@settings(deadline=None)
@given(st.lists(st.text("ab/.: #$\\%\té", min_size=1), unique=True, min_size=1))
def test_every_name_comes_back_from_dep_info(names: list[str]) -> None:
    names = [f"{name}x" for name in names]
    escaped = [name.replace(" ", "\\ ") for name in names]
    rules = f"lib.d: {' '.join(escaped)}\n\n" + "".join(f"{name}:\n" for name in escaped)
    assert parse((rules + "\n# env-dep:X\n").encode()).paths == tuple(names)


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(),
        st.lists(
            st.sampled_from([b"a", b":", b" ", b"\\", b"\n", b"$", b"#", b"\t", b"\0", b"# env-dep:", b"="])
        ).map(b"".join),
    )
)
def test_nothing_fails(content: bytes) -> None:
    parse(content)
