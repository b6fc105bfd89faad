"""Bazel's statistics message for tests, from the names and numbers of its execution_statistics.proto."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

RUSAGE = (
    *("utime_sec", "utime_usec", "stime_sec", "stime_usec", "maxrss", "ixrss", "idrss", "isrss", "minflt"),
    *("majflt", "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"),
)
"""The fields of ResourceUsage, numbered from 1."""


def _message_class() -> type[Message]:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="execution_statistics.proto", package="tools.protos", syntax="proto3"
    )
    used = file.message_type.add(name="ResourceUsage")
    for number, name in enumerate(RUSAGE, 1):
        used.field.add(name=name, number=number, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    file.message_type.add(name="ExecutionStatistics").field.add(
        name="resource_usage",
        number=1,
        type=kinds.TYPE_MESSAGE,
        type_name=".tools.protos.ResourceUsage",
        label=kinds.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tools.protos.ExecutionStatistics"))


ExecutionStatistics = _message_class()


def encoded(figures: dict[str, int]) -> bytes:
    """The message with these figures, as protobuf writes it."""
    message = ExecutionStatistics()
    used = message.resource_usage  # type: ignore[attr-defined]
    used.SetInParent()
    for name, value in figures.items():
        setattr(used, name, value)
    return message.SerializeToString()


def decoded(data: bytes) -> dict[str, int]:
    """Every figure of a message; a field that is none of them is an error."""
    message = ExecutionStatistics()
    message.ParseFromString(data)
    used = message.resource_usage  # type: ignore[attr-defined]
    figures = {name: getattr(used, name) for name in RUSAGE}
    if encoded(figures) != data:
        raise ValueError(f"there is more in it than the figures: {data!r}")
    return figures
