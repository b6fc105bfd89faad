"""What a job's tool reads and executes itself, wherever it is: what no rule declares because every job of its kind needs it.

    rustc       its toolchain (through rustup's proxy), and where the command links, the linker with all that is its
    gcc, clang  their programs, own headers, the system's headers; where the command links, the system's libraries
    any other   its libraries, and the system's directories of programs, libraries and shared data (`system.PROGRAMS`,
                `system.LIBRARIES`): what a shell or a script starts cannot be known

Every program counts with the libraries that it loads and the interpreter that its first line names. What was found is kept in
memory, and on disk where that is wanted, and found anew when the tool, one of its libraries, or what says which tool is meant
has changed. Not here: what a job reads because it is asked to (`declared`), and what everything on a system reads (`system`).
"""

from __future__ import annotations

import _thread  # threading is 3 ms of a launcher's start
import posixpath

from headstart_wrapper import executables
from headstart_wrapper.errors import HeadstartError
from headstart_wrapper.hints import Final
from headstart_wrapper.records import Record
from headstart_wrapper.sandbox import drivers, rustup, stored_tools, system
from headstart_wrapper.sandbox.closure import Closure, State, Tools, find, first_bytes, is_elf
from headstart_wrapper.sandbox.libraries import entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Tools", "tools"]

_LINKABLE: Final = frozenset({"bin", "dylib", "cdylib", "proc-macro"})
"""Crate types for which rustc starts a linker; an archive it writes itself."""

_SHARED: Final = frozenset({"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"})
"""Directories that a Rust toolchain shares with everything else, where a distribution brings it."""

_MOST_KEPT: Final = 256
"""Tools in memory: more than a build has, a few kilobytes each."""


class Question(Record, kw_only=True):
    """What decides which tools a job needs, besides the environment and the files themselves.

    Attributes:
        executable: absolute path of the program.
        knowledge: "rust", "c", or "" for a program that we do not know.
        options: those that change what the program would answer.
        links: a C compiler goes on to link.
        linker: what a rustc starts to link; None: it does not.
        proxy: what stands behind a rustc that is one of rustup's.
    """

    executable: str
    knowledge: str = ""
    options: tuple[str, ...] = ()
    links: bool = False
    linker: Question | None = None
    proxy: rustup.Proxy | None = None


_kept: dict[object, tuple[State, Tools]] = {}
_lock = _thread.allocate_lock()


def tools(
    executable: str, command: Sequence[str], *, env: Mapping[str, str], cwd: str, store: str = ""
) -> Tools:
    """Finds what a job's tool reads and executes itself.

    The first call for a tool starts it, one to four times, to be told (see `drivers`); whoever asks meanwhile waits. A tool that
    does not exist needs nothing: whoever starts it will say so.

    Args:
        executable: the program, as `executables.find_executable` has it.
        command: the job's command, of which the arguments say whether it links, and where it looks.
        env: the environment that the job will have.
        cwd: the job's directory, absolute.
        store: a directory of ours where what is found outlives this process (`stored_tools`); "": none does.
    """
    question = _question(posixpath.join(cwd, executable), command, env, cwd)
    relative_to = _relative_to(question, env, cwd)
    key = (question, tuple(env.get(name) for name in drivers.RELEVANT), relative_to)
    store = "" if relative_to else store  # there are as many directories as jobs
    with _lock:
        kept = _kept.get(key)
        if kept is None and store:
            kept = stored_tools.load(store, repr(key))
        if kept is None or not kept[0].lasts():
            closure = Closure(env=env, cwd=cwd)
            _answer(question, closure, env, cwd)
            kept = closure.state(), closure.tools()
            if store:
                stored_tools.save(store, repr(key), *kept)
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[key] = kept
        return kept[1]


def _question(executable: str, command: Sequence[str], env: Mapping[str, str], cwd: str) -> Question:
    """Only a program can be asked: a script that bears a compiler's name may do anything."""
    if is_elf(first_bytes(executable)):
        if drivers.is_rust(executable):
            return _rust_question(executable, command, env, cwd)
        if drivers.is_c(executable):
            return _c_question(executable, command[1:], cwd)
    return Question(executable=executable)


def _c_question(executable: str, arguments: Sequence[str], cwd: str) -> Question:
    words = drivers.expanded(arguments, cwd)
    return Question(
        executable=executable,
        knowledge="c",
        options=drivers.where_it_looks(words),
        links=drivers.links(words),
    )


def _rust_question(executable: str, command: Sequence[str], env: Mapping[str, str], cwd: str) -> Question:
    from headstart_wrapper.dialects import rustc_command  # noqa: PLC0415 - only for rustc
    from headstart_wrapper.surroundings import Surroundings  # noqa: PLC0415 - likewise

    try:
        said = rustc_command.understand(command, Surroundings(cwd).read)
    except HeadstartError:  # a response file that is not there: rustc will say so
        said = rustc_command.understand(command[:1], str)
    linker = None
    if "link" in said.emit and not _LINKABLE.isdisjoint(said.crate_types):
        linker = find(said.codegen("linker") or "cc", cwd=cwd, path=env.get("PATH"))
    given = said.last("sysroot")
    return Question(
        executable=executable,
        knowledge="rust",
        options=(
            *(word for word in command[1:2] if word.startswith("+")),
            *(() if given is None else ("--sysroot", given)),
        ),
        linker=None
        if linker is None
        else _question(linker, (linker, *_link_arguments(said.values("C"))), env, cwd),
        proxy=rustup.proxy(executable, env=env, cwd=cwd),
    )


def _link_arguments(codegen: Sequence[str]) -> list[str]:
    """What `-C link-arg=` and its kin hand to the linker."""
    words: list[str] = []
    for option in codegen:
        name, _, value = option.partition("=")
        if name in {"link-arg", "pre-link-arg"}:
            words.append(value)
        elif name in {"link-args", "pre-link-args"}:
            words.extend(value.split())
    return words


def _relative_to(question: Question, env: Mapping[str, str], cwd: str) -> str:
    """The job's directory where something is relative to it, else ""."""
    searched = ":".join(filter(None, (env.get(name) for name in drivers.SEARCHED)))
    asked = (question, question.linker) if question.linker is not None else (question,)
    if all(part.startswith("/") for part in searched.split(":")) and not any(
        drivers.is_relative(each.options) for each in asked
    ):
        return ""
    return cwd


def _answer(question: Question, closure: Closure, env: Mapping[str, str], cwd: str) -> None:
    closure.program(question.executable)
    known = question.knowledge != ""
    if question.knowledge == "rust":
        known = _rust(question, closure, env, cwd)
    elif question.knowledge == "c":
        known = _c(question, closure, env, cwd)
    if not known:
        for directory in (*system.PROGRAMS, *system.LIBRARIES):
            closure.directory(directory)
        for path in closure.spellings:
            _python(path, closure)


def _python(path: str, closure: Closure) -> None:
    """The library of a Python that is no system's: it lies beside the program, a virtual environment's beside the link to it."""
    name = posixpath.basename(path)
    if name.startswith("python"):
        home = posixpath.dirname(posixpath.dirname(path))
        closure.file(f"{home}/pyvenv.cfg")
        for library in entries(f"{home}/lib"):
            if library.startswith("python"):
                closure.directory(f"{home}/lib/{library}")


def _rust(question: Question, closure: Closure, env: Mapping[str, str], cwd: str) -> bool:
    sysroot = drivers.sysroot(question.executable, question.options, env=env, cwd=cwd)
    if sysroot is None:
        return False
    name = posixpath.basename(question.executable)
    if question.proxy is not None:
        closure.program(f"{sysroot}/bin/{name}")
        closure.names(sysroot)
        for path in question.proxy.files:
            closure.file(path)
        for path in question.proxy.listed:
            closure.names(path)
    libraries = f"{sysroot}/lib"
    closure.directory(libraries if libraries not in _SHARED else f"{libraries}/rustlib")
    for target in entries(f"{libraries}/rustlib"):
        for kind in ("codegen-backends", "lib"):
            _shared_objects(f"{libraries}/rustlib/{target}/{kind}", closure)
    if question.linker is not None:
        for target in entries(f"{libraries}/rustlib"):
            _programs(f"{libraries}/rustlib/{target}/bin", closure)
        _answer(question.linker, closure, env, cwd)
    return True


def _shared_objects(directory: str, closure: Closure) -> None:
    for name in entries(directory):
        if name.endswith(".so"):
            closure.library(f"{directory}/{name}")


def _programs(directory: str, closure: Closure) -> None:
    """rust-lld and its names for compilers that ask for `ld`, one directory below."""
    for name in entries(directory):
        closure.program(f"{directory}/{name}")
        for inner in entries(f"{directory}/{name}"):
            closure.program(f"{directory}/{name}/{inner}")


def _c(question: Question, closure: Closure, env: Mapping[str, str], cwd: str) -> bool:
    layout = drivers.layout(question.executable, question.options, env=env, cwd=cwd)
    if layout is None:
        return False
    for directory in layout.own:
        closure.directory(posixpath.join(cwd, directory))
    for directory in layout.listed:
        closure.names(posixpath.join(cwd, directory))
    path = ":".join((*layout.programs, env.get("PATH") or executables.DEFAULT_PATH))
    for name in (*drivers.COMPILING, *(drivers.LINKING if question.links else ())):
        if (found := find(name, cwd=cwd, path=path)) is not None:
            closure.program(found)
    if question.links:
        for directory in layout.libraries:
            closure.directory(posixpath.join(cwd, directory))
    return True
