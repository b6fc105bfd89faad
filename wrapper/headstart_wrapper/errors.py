"""Errors by blame: whose fault it is decides the exit code and who has to act.

A compiler that fails is no error of ours: its outcome carries its own exit code.
"""

from __future__ import annotations


class HeadstartError(Exception):
    """Base of every error that we raise on purpose; `str()` is one sentence that says what to do.

    Attributes:
        exit_code: what the job is answered with (the interface's table of exit codes).
    """

    exit_code = 125


class RequestError(HeadstartError):
    """The request is wrong: a bad option, a missing params file, an impossible combination."""


class ProtocolError(HeadstartError):
    """The host broke the worker protocol; the stream cannot be trusted from here on."""


class CommandNotFoundError(HeadstartError):
    """The compiler does not exist."""

    exit_code = 127


class CommandNotExecutableError(HeadstartError):
    """The compiler exists but cannot be executed."""

    exit_code = 126


class InterfaceChangedError(HeadstartError):
    """What dependents were, or would be, built with differs from what this run made."""

    exit_code = 70


class MachineError(HeadstartError):
    """The machine is short of something that we need: descriptors, disk, a kernel feature."""


def files_are_in_the_way(error: OSError) -> str:
    """The sentence for a job whose files could not be made or read."""
    reason = f"{error.strerror}: {error.filename}" if error.filename else str(error)
    return f"the job's files cannot be made or read ({reason}); see to that place, and to its disk"
