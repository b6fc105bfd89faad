"""Every option, well used and ill: what tests of the grammar, of variables and of the program share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from headstart_wrapper.job import Phase, Sandbox
from headstart_wrapper.option_table import ALIASES, OPTIONS, SHORT, Option, find
from headstart_wrapper.option_values import Size

ALL = {option.name: option for option in OPTIONS}

EXAMPLES: Mapping[str, tuple[str, object]] = {
    "--timeout": ("1.5", 1.5),
    "--kill-delay": ("0", 0.0),
    "--graceful-sigterm": ("", True),
    "--dialect": ("rustc", "rustc"),
    "--stay": ("", True),
    "--phase": ("early", Phase.EARLY),
    "--early-output": ("out/a b", ("out/a b",)),
    "--on-early": ("echo x", "echo x"),
    "--early-fifo": ("fifo", "fifo"),
    "--early-fd": ("3", 3),
    "--output": ("--odd", ("--odd",)),
    "--input": ("in", ("in",)),
    "--env": ("NAME=a=b", (("NAME", "a=b"),)),
    "--stop-after-early": ("", True),
    "--stdout": ("out.txt", "out.txt"),
    "--stderr": ("err.txt", "err.txt"),
    "--stats": ("file", "file"),
    "--stats-format": ("bazel", "bazel"),
    "--explain": ("", True),
    "--sandbox": ("audit", Sandbox.AUDIT),
    "--sandbox-unavailable": ("warn", "warn"),
    "--sandbox-audit": ("error", "error"),
    "--sandbox-allow": ("/opt", ("/opt",)),
    "--sandbox-unused": ("", True),
    "--trace-files": ("", True),
    "--encoding-check": ("é", "é"),
    "--subst": ("key=", (("key", ""),)),
    "--env-file": ("vars", ("vars",)),
    "--arg-file": ("args", ("args",)),
    "--stable-status-file": ("stable", "stable"),
    "--volatile-status-file": ("volatile", "volatile"),
    "--out-dir": ("made", "made"),
    "--touch-file": ("touched", "touched"),
    "--copy-output": ("from to", (("from", "to"),)),
    "--output-file": ("raw", "raw"),
    "--rustc-quit-on-rmeta": ("true", True),
    "--rustc-output-format": ("rendered", "rendered"),
    "--require-explicit-unstable-features": ("true", True),
    "--trace": ("t.json", "t.json"),
    "--persistent-worker": ("", True),
    "--worker-protocol": ("json", "json"),
    "--jobs": ("3", 3),
    "--memory": ("6G", Size(6 << 30)),
    "--look-ahead": ("t.json", "t.json"),
    "--state-dir": ("/d", "/d"),
    "--worker-files": ("bin/tool", ("bin/tool",)),
    "--exit-when-changed": ("", True),
    "--collect-when-idle": ("30", 30.0),
    "--help": ("", True),
    "--version": ("", True),
}
"""A good value, and what it means."""

HUGE = "9" * 100_000

_SECONDS = ["soon", "-1", "nan", "inf", "1_0", "1s", "\u0661", HUGE, "1\n2"]
_FLAG = ["", "1", "true"]
BAD: Mapping[str, Sequence[str]] = {
    **{name: _FLAG for name, option in ALL.items() if option.convert is None},
    **{name: [] for name, option in ALL.items() if option.convert is not None},
    "--timeout": _SECONDS,
    "--kill-delay": _SECONDS,
    "--collect-when-idle": _SECONDS,
    "--dialect": ["cobol", "Rustc", HUGE, "a\nb"],
    "--phase": ["late", "EARLY"],
    "--early-fd": ["-1", "0", "2", "x", "1048576", "3.0", "²", HUGE],
    "--env": ["NAME", "=value"],
    "--subst": ["key", "=value"],
    "--stats-format": ["xml"],
    "--sandbox": ["on"],
    "--sandbox-unavailable": ["ignore"],
    "--sandbox-audit": ["tell"],
    "--rustc-quit-on-rmeta": ["1", "True"],
    "--rustc-output-format": ["text"],
    "--require-explicit-unstable-features": ["yes"],
    "--worker-protocol": ["xml"],
    "--jobs": ["0", "-1", "two", "1.5", "²", "65537", HUGE],
    "--memory": [
        *("0", "-1", "much", "1.5G", "G", "%", "0%", "101%", "0K", "6GB", "6g", "6 G", "8²", HUGE),
    ],
}
"""Values that are refused, beside the empty one of an option that wants a value."""


def underscored(name: str) -> str:
    """The other spelling of a long name."""
    return "--" + name.removeprefix("--").replace("-", "_")


def words(name: str, text: str, *, joined: bool = True) -> list[str]:
    """An option and its value, on a command line."""
    option = find(name)
    assert option is not None
    if option.convert is None:
        return [name]
    if option.pair:
        return [name, *text.split()]
    return [f"{name}={text}"] if joined else [name, text]


def names_of(option: Option) -> list[str]:
    """Every name that an option has, short ones apart."""
    aliases = [alias for alias, name in ALIASES.items() if name == option.name]
    return list(dict.fromkeys([option.name, underscored(option.name), *aliases]))


def misuses(option: Option, names: Sequence[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """The option as it is spelled (in these ways, or in all), and a command line that has it wrong."""
    command = ["--", "true"]
    for name in names or names_of(option):
        if option.pair:
            for few in ([], ["a"], ["", "a"], ["a", ""], ["a", "a"]):
                yield name, [name, *few, *command]
            yield name, [name, "a"]
        elif option.convert is not None:
            yield name, [name]
            yield name, [name, *command]
            yield name, [f"{name}=", *command]
        for bad in BAD[option.name]:
            yield name, [f"{name}={bad}", *command]
        wrong = name[:3] + name[4:]
        assert find(wrong) is None
        yield wrong, [wrong, *command]
        yield name[1:], [f"{name[1:]}=1", *command]
    for short in (letter for letter, name in SHORT.items() if name == option.name and option.convert):
        yield short, [short]
        yield short, [short, *command]
        for bad in BAD[option.name]:
            yield short, [f"{short}{bad}", *command]
