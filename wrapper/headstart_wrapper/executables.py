"""Finds the file that a command names, as execvp(3) would find it, and runs it as that would."""

from __future__ import annotations

import posix  # os has the same, and costs a launcher half a millisecond

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where commands are looked for when the job's environment has no PATH; hosts start workers without one."""

SHELL = "/bin/sh"
"""Runs scripts that name no interpreter (execvp(3))."""

_KIND, _DIRECTORY = 0o170000, 0o040000
"""inode(7): the bits of a mode that tell what a file is, and those of a directory."""

_BEGINNING = 128
"""Bytes of a file in which a program for another machine has a NUL, and a text has none."""

_ELF = b"\x7fELF"
"""Begins a program, were it cut off right behind."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from headstart_wrapper.errors import CommandNotExecutableError, CommandNotFoundError


def find_executable(command: str, *, cwd: str, path: str | None) -> str:
    """The file that a command names, for whoever is elsewhere; see `named_executable`."""
    return _in(cwd, named_executable(command, cwd=cwd, path=path))


def named_executable(command: str, *, cwd: str, path: str | None) -> str:
    """The file that a command names, as execvp(3) would tell its name: a script is told it, and may write it into its outputs.

    What is relative in the command, or in PATH, stays relative to the job's directory.

    Args:
        command: a path, or a name to be looked for.
        cwd: what relative paths are relative to; "" for this process's own directory.
        path: the job's PATH.

    Raises:
        CommandNotFoundError: there is none.
        CommandNotExecutableError: there is one, but it may not be executed.
    """
    if "/" in command:
        candidate = _in(cwd, command)
        try:
            posix.stat(candidate)
        except PermissionError as error:
            raise _not_executable(
                command, "is in a directory that is closed to us; set its permission with chmod +x"
            ) from error
        except OSError as error:
            raise _not_found(command, "does not exist; is it declared as an input or tool?") from error
        if not _is_executable(candidate):
            raise _not_executable(command, "is not executable; set its permission with chmod +x")
        return command
    search = DEFAULT_PATH if path is None else path
    forbidden = None
    for directory in search.split(":") if command else ():
        named = _in(directory, command)
        candidate = _in(cwd, named)
        if _is_executable(candidate):
            return named
        if forbidden is None and _is_file(candidate):
            forbidden = named
    if forbidden is not None:
        raise _not_executable(
            command, f"is not executable; set the permission of {_shown(forbidden)} with chmod +x"
        )
    raise _not_found(command, f"is not on PATH ({search}); install it or name it by its path")


def _not_found(command: str, how: str) -> CommandNotFoundError:
    from headstart_wrapper.errors import CommandNotFoundError  # noqa: PLC0415 - only when something is wrong

    return CommandNotFoundError(f"the command {_shown(command)} {how}")


def _not_executable(command: str, how: str) -> CommandNotExecutableError:
    from headstart_wrapper.errors import CommandNotExecutableError  # noqa: PLC0415 - likewise

    return CommandNotExecutableError(f"the command {_shown(command)} {how}")


def _shown(command: str) -> str:
    from headstart_wrapper.option_values import shown  # noqa: PLC0415 - only when something is wrong

    return shown(command) or "''"


def _in(directory: str, path: str) -> str:
    if path.startswith("/") or not directory:
        return path
    return f"{directory}/{path}" if path else directory


def _is_executable(path: str) -> bool:
    return posix.access(path, posix.X_OK) and _is_file(path)


def _is_file(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & _KIND != _DIRECTORY
    except OSError:
        return False


def in_shell(executable: str, argv: Sequence[str], *, cwd: str) -> list[str] | None:
    """The command that runs a script of which the kernel knows no interpreter (ENOEXEC); None: it is no script.

    Args:
        executable: as `named_executable` has it.
        argv: the command.
        cwd: as there.
    """
    try:
        with open(_in(cwd, executable), "rb") as file:  # noqa: PTH123 - without pathlib
            beginning = file.read(_BEGINNING)
    except OSError:
        return None
    if beginning.startswith(_ELF) or b"\0" in beginning:
        return None
    return [SHELL, executable, *argv[1:]]
