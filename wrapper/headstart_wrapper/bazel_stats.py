"""What a job used, in the form that Bazel's own process-wrapper writes and Bazel reads.

The message is tools.protos.ExecutionStatistics of Bazel's execution_statistics.proto: one field, a ResourceUsage, whose 18
fields are the members of getrusage(2)'s structure in their order. Those that Linux does not keep are always zero, and a
proto3 message leaves out what is zero. Written without protobuf, which a job on its own does not import.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for typing's own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headstart_wrapper.job import Usage

_MICROSECONDS = 1_000_000

_BLOCK = 512
"""Bytes that getrusage(2) counts storage in."""

_VARINT, _LENGTH = 0, 2
"""Wire types of protobuf."""


def encoded(usage: Usage) -> bytes:
    """The message, complete."""
    body = b"".join(
        _varint(number << 3 | _VARINT) + _varint(value) for number, value in _fields(usage) if value
    )
    return _varint(1 << 3 | _LENGTH) + _varint(len(body)) + body


def _fields(usage: Usage) -> Iterator[tuple[int, int]]:
    """Number and value, in the order of the numbers."""
    for number, seconds in ((1, usage.user), (3, usage.system)):
        whole, microseconds = divmod(round(seconds * _MICROSECONDS), _MICROSECONDS)
        yield number, whole
        yield number + 1, microseconds
    yield 5, usage.peak_memory // 1024
    yield 9, usage.minor_page_faults
    yield 10, usage.major_page_faults
    yield 12, usage.storage_read // _BLOCK
    yield 13, usage.storage_written // _BLOCK
    yield 17, usage.voluntary_context_switches
    yield 18, usage.involuntary_context_switches


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
