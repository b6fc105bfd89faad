"""The values of options: text from a command line becomes what it means, or a sentence that says how to write it.

Every converter takes the option's name, for that sentence, and the text, and raises RequestError. Not here: which
option has which converter (`options`), or whether two options go together.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from headstart_wrapper.errors import RequestError

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@frozen
class Size:
    """An amount of memory. Attributes: bytes, or percent of a machine's memory."""

    amount: int
    percent: bool = False

    def of(self, machine: int) -> int:
        """Bytes, on a machine with so many."""
        return machine * self.amount // 100 if self.percent else self.amount


def to_text(name: str, value: str) -> str:
    """Text that is not empty."""
    if not value:
        raise RequestError(f"{name} wants a value; give it as {name}=VALUE")
    return value


def to_seconds(name: str, value: str) -> float:
    """Seconds, with a fraction if wanted."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise RequestError(f"{name}={value} is no number of seconds; give for example {name}=1.5")
    return seconds


def to_count(name: str, value: str) -> int:
    """A whole number of at least 1."""
    if not value.isdecimal() or int(value) < 1:
        raise RequestError(f"{name}={value} is no count; give a whole number of at least 1")
    return int(value)


def to_size(name: str, value: str) -> Size:
    """Bytes, with a unit if wanted, or a percentage of the machine's memory."""
    number = value[:-1] if value.endswith(("%", *_UNITS)) else value
    unit = value.removeprefix(number)
    if not number.isdecimal() or int(number) < 1 or (unit == "%" and int(number) > 100):
        raise RequestError(
            f"{name}={value} is no amount of memory; give bytes ({name}=6000000000), K, M or G as powers of 1024 "
            f"({name}=6G), or a part of the machine's memory from 1% to 100% ({name}=80%)"
        )
    return Size(int(number) * _UNITS.get(unit, 1), percent=unit == "%")


def to_pair(name: str, value: str) -> tuple[str, str]:
    """A name and what is behind the first equals sign."""
    key, equals, rest = value.partition("=")
    if not key or not equals:
        raise RequestError(f"{name}={value} lacks its second half; give it as {name}=NAME=VALUE")
    return key, rest


def one_of(*known: str) -> Callable[[str, str], str]:
    """The converter that takes these words only."""

    def convert(name: str, value: str) -> str:
        if value not in known:
            raise RequestError(f"{name}={value} is not known; choose one of {', '.join(known)}")
        return value

    return convert
