"""What one job declared that it reads and writes, and where that really is."""

from __future__ import annotations

import os
import posixpath

from headstart_wrapper.dialects.base import place
from headstart_wrapper.hints import TYPE_CHECKING
from headstart_wrapper.job import Phase
from headstart_wrapper.records import Record
from headstart_wrapper.sandbox import system
from headstart_wrapper.surroundings import files_among

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from headstart_wrapper.dialects import Plan
    from headstart_wrapper.job import Job


class Declared(Record, kw_only=True):
    """A job's declaration, with every path absolute and normal (not resolved: a path may lead through symbolic links).

    Attributes:
        directory: where the command runs.
        inputs: files that it may read, and directories of which it may read everything.
        search: directories that it looks for inputs in (`-L`, `-I`): their names may be listed.
        outputs: files that it is to write: (as declared, where the command writes it).
        writable: private directories, of which it may write everything.
        env: names of variables that the request sets; what is inherited besides is not declared.
        allowed: further files and directories that it may read, by `--sandbox-allow`.
        dep_info: files in which the compiler tells what it read, where it writes them.
        private: directories in which nothing but inputs and outputs is to be when it has ended.
        secret: directories that no output is to name.
        spellings: (private beginning of a path, what stands for it in texts for people).
    """

    directory: str
    inputs: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    writable: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    dep_info: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    spellings: tuple[tuple[str, str], ...] = ()


def declare(
    job: Job,
    plan: Plan,
    inputs: Sequence[str],
    written: Callable[[str], str],
    *,
    given: str,
    directory: str,
    private: Sequence[str],
    environment: Iterable[str],
) -> Declared:
    """Puts together what a job declares.

    Args:
        job: what it says itself.
        plan: what its dialect knows of its command.
        inputs: what its host says.
        written: tells where the command writes a declared output.
        given: where the request's files are, which may be another directory than the job's.
        directory: where the command runs.
        private: directories of its own for its outputs.
        environment: the names of all its variables.
    """
    read = (*inputs, *job.inputs)
    if not read:  # nobody declares anything: what the command names, then
        read = (*plan.inputs, *files_among(job.command, given))
    outputs = tuple((output, written(output)) for output in (*job.early_outputs, *job.outputs))
    home = posixpath.normpath(os.environ.get("HOME") or "/")
    return Declared(
        directory=directory,
        inputs=tuple(dict.fromkeys(place(path, directory) for path in read)),
        search=tuple(place(path, directory) for path in searched(job.command)),
        outputs=outputs,
        writable=tuple(private),
        env=tuple(dict.fromkeys((*(name for name, _ in job.env), *filter(system.is_of_cargo, environment)))),
        allowed=tuple(place(path, given) for path in job.sandbox_allow),
        dep_info=tuple(
            dict.fromkeys(
                (
                    *map(written, plan.text_outputs),
                    *(where for output, where in outputs if output.endswith(_DEPFILE)),
                )
            )
        ),
        # An early half declares its own outputs only, and nobody may have said what the command makes at all.
        private=tuple(private) if outputs and job.phase is not Phase.EARLY else (),
        secret=tuple(
            dict.fromkeys(path for path in (*private, given, directory, home) if path.count("/") > 1)
        ),
        spellings=plan.spellings,
    )


_DEPFILE = ".d"
_SEARCH_FLAGS = ("-isystem", "-iquote", "-idirafter", "-I", "-L")


def searched(command: Sequence[str]) -> Iterator[str]:
    """The directories that a command names for a compiler to look into."""
    for at, word in enumerate(command):
        flag = next((flag for flag in _SEARCH_FLAGS if word.startswith(flag)), None)
        if flag is not None:
            value = word.removeprefix(flag) or "".join(command[at + 1 : at + 2])
            yield value.partition("=")[2] or value  # rustc: -L dependency=DIR
