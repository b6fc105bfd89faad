"""What a job may do, put together from what it declares, what its tools are, and what every job may (`system`). Pure.

Reading and executing: declared inputs, what `--sandbox-allow` names, its tools and their libraries, the system's list. Listing: the directories
that it searches. Writing: its private directories, and its outputs (`room`).
"""

from __future__ import annotations

from headstart_wrapper import jobserver
from headstart_wrapper.hints import TYPE_CHECKING
from headstart_wrapper.sandbox import system
from headstart_wrapper.sandbox.landlock import Rules
from headstart_wrapper.sandbox.observed import Free

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headstart_wrapper.sandbox.closure import Tools
    from headstart_wrapper.sandbox.declared import Declared


def of(declared: Declared, tools: Tools, env: Mapping[str, str], *, outputs: Iterable[str]) -> Rules:
    """What the kernel is to hold a job to.

    Args:
        declared: its declaration.
        tools: what it is made with.
        env: its variables, among which may be the jobserver's pipe.
        outputs: files and directories that it may write.
    """
    own = free(tools, env)
    return Rules(
        read=(*declared.inputs, *declared.allowed, *own.read),
        list=(*declared.search, *own.listed),
        write=(*declared.writable, *outputs, *own.write),
    )


def free(tools: Tools, env: Mapping[str, str]) -> Free:
    """What a job may do without declaring it: `tools` and `env` as in `of`."""
    return Free(
        read=(*tools.files, *tools.directories, *tools.programs, *system.READ),
        listed=tools.listed,
        write=(*system.WRITE, *jobserver.fifos(env)),
    )
