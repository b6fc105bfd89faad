"""Frozen classes of fields that cost nothing to make: what attrs gives, where the start of a process is the product.

A compiler's launcher starts once a compile. Importing attrs and letting it write the methods of our classes was half of
that start (measured: 35 ms of 72); here every class shares four methods, and making one costs microseconds. The worker,
which starts once a build, uses attrs.

    class Point(Record):
        x: int
        y: int = 0

Type checkers know such a class as a dataclass (PEP 681). Fields have slots; a default is shared by all instances, so it
has to be immutable.
"""

from __future__ import annotations

TYPE_CHECKING = (
    False  # what type checkers take for typing's own; importing typing would cost four milliseconds
)

if TYPE_CHECKING:
    from typing import Any, ClassVar, TypeVar, dataclass_transform

    R = TypeVar("R", bound="Record")
else:

    def dataclass_transform(**_: object) -> object:
        """At run time nothing."""
        return lambda made: made


_set = object.__setattr__


@dataclass_transform(frozen_default=True)
class RecordType(type):
    """Takes a class's annotations for its fields."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, kw_only: bool = False
    ) -> RecordType:
        """Makes the class; `kw_only` is for type checkers, who then let fields without a default follow others."""
        del kw_only
        fields = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        return super().__new__(
            cls,
            name,
            bases,
            namespace | {"__slots__": fields, "__match_args__": fields, "_defaults": defaults},
        )


class Record(metaclass=RecordType):
    """Base of frozen classes; equal when class and fields are."""

    if TYPE_CHECKING:
        __slots__: ClassVar[tuple[str, ...]]
        _defaults: ClassVar[dict[str, Any]]
    else:

        def __init__(self, *values: Any, **named: Any) -> None:
            fields, defaults = self.__slots__, self._defaults
            if len(values) > len(fields):
                raise TypeError(f"{type(self).__name__} has {len(fields)} fields, not {len(values)}")
            for field, value in zip(fields, values, strict=False):
                _set(self, field, value)
            for field in fields[len(values) :]:
                if field in named:
                    _set(self, field, named.pop(field))
                elif field in defaults:
                    _set(self, field, defaults[field])
                else:
                    raise TypeError(f"{type(self).__name__} wants its field {field}")
            if named:
                raise TypeError(f"{type(self).__name__} has no free field {', '.join(named)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; evolve makes a changed copy")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return as_tuple(self) == as_tuple(other)

    def __hash__(self) -> int:
        return hash((type(self), as_tuple(self)))

    def __repr__(self) -> str:
        said = ", ".join(f"{field}={getattr(self, field)!r}" for field in self.__slots__)
        return f"{type(self).__name__}({said})"


def as_tuple(record: Record) -> tuple[object, ...]:
    """A record's values, in the order of its fields."""
    return tuple(getattr(record, field) for field in record.__slots__)


def fields_of(kind: type[Record]) -> tuple[str, ...]:
    """The names of a record's fields, in order."""
    return kind.__slots__


def evolve(record: R, **changes: Any) -> R:
    """A copy with some fields changed.

    Raises:
        TypeError: there is no such field.
    """
    return type(record)(**{field: getattr(record, field) for field in record.__slots__} | changes)
