"""What a job's command and variables are made of besides their words: files that say more of them, and keys to replace.

Variables are, in this order: what is inherited, the lines of `--env-file`, OUT_DIR of `--out-dir`, `--env`; in their values `{KEY}`
of a status file is replaced, then `${KEY}`. The command is its words and the lines of `--arg-file`, in which `${KEY}` is
replaced; of a params file `@file` among them in the name and in the text. All this is what rules that were written for
rules_rust's process_wrapper rely on. No file is touched here: how to read them is handed in (`surroundings`), and changed params
files are written by whoever runs the job.
"""

from __future__ import annotations

from headstart_wrapper import params_files
from headstart_wrapper.errors import RequestError
from headstart_wrapper.records import evolve

TYPE_CHECKING = False  # what type checkers take for typing's own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Protocol

    from headstart_wrapper.job import Job

    Keys = list[tuple[str, str]]

    class Files(Protocol):
        """What is known of the job's directory."""

        def read(self, path: str) -> str:
            """The text of a file; raises OSError."""

        def is_file(self, path: str) -> bool:
            """True for a file that can be read as often as one likes."""

        def place(self, magic: str) -> str:
            """The directory that one of `MAGIC` stands for."""


PWD = "${pwd}"  # noqa: S105 - a directory
MAGIC = (PWD, "${output_base}", "${exec_root}")
"""Values of `--subst` that stand for directories."""

_ALLOWS_FEATURES = ("-Zallow-features=", "allow-features=")


def settled(
    job: Job, variables: Mapping[str, str], files: Files, *, named: Callable[[str], str] | None = None
) -> Job:
    """The same job with its command and its variables complete; itself when they are.

    Args:
        job: as requested.
        variables: what it inherits.
        files: of its directory.
        named: what stands for the directories of `MAGIC` in the result; None: they themselves. Files are found all the same.

    Returns:
        A job whose `env` has every variable that differs from the inherited ones, and `params` the changed params files.

    Raises:
        RequestError: a file cannot be read, or a line of it is not what it has to be; the sentence names the option.
    """
    if job.is_settled:
        return job
    found, shown = _keys(job, files.place), _keys(job, named or files.place)
    words = _Words(files, found, shown)
    for word in (*job.command, *_lines_of(job.arg_files, "--arg-file", files)):
        words.take(word)
    if job.explicit_features and not words.allow_features:
        words.command.append(_ALLOWS_FEATURES[0])
    return evolve(
        job,
        command=tuple(words.command),
        params=tuple(words.params),
        env=tuple(_changed(job, variables, files, shown)),
        substitutions=(),
        env_files=(),
        arg_files=(),
        stable_status_file=None,
        volatile_status_file=None,
        out_dir=None,
        explicit_features=False,
    )


def _keys(job: Job, place: Callable[[str], str]) -> Keys:
    """What is replaced by what, in order."""
    keys = [(key, place(value) if value in MAGIC else value) for key, value in job.substitutions]
    if job.out_dir is not None:
        keys.append(("out_dir", _below(place(PWD), job.out_dir)))
    return [(f"${{{key}}}", value) for key, value in keys]


def _below(directory: str, path: str) -> str:
    return path if path.startswith("/") else f"{directory}/{path}"


def _replaced(text: str, keys: Keys) -> str:
    for key, value in keys:
        text = text.replace(key, value)
    return text


class _Words:
    """The words of a command, as they are taken one after the other.

    Attributes:
        command: the words.
        params: (index among them, text) of the params files that are to have another text.
        allow_features: one of them says which unstable features are allowed.
    """

    def __init__(self, files: Files, found: Keys, shown: Keys) -> None:
        self._files = files
        self._found, self._shown = found, shown
        self.command: list[str] = []
        self.params: list[tuple[int, str]] = []
        self.allow_features = False

    def take(self, word: str) -> None:
        """Takes the next word."""
        path = self._params_file(word)
        if path is not None and self.command:  # the first one is the program
            text = self._read(path)
            expanded = self._expanded(text, depth=1)
            if expanded != text:
                self.params.append((len(self.command), expanded))
        self.command.append(self._seen(word))

    def _params_file(self, word: str) -> str | None:
        """The file of a word `@file`; None where there is none, or one that can be read but once: it is the compiler's then."""
        path = _replaced(word, self._found)
        return path[1:] if path.startswith("@") and self._files.is_file(path[1:]) else None

    def _read(self, path: str) -> str:
        try:
            return self._files.read(path)
        except OSError as error:
            raise RequestError(f"the params file {path} cannot be read: {error.strerror}") from error

    def _seen(self, word: str) -> str:
        word = _replaced(word, self._shown)
        self.allow_features |= word.startswith(_ALLOWS_FEATURES)
        return word

    def _expanded(self, text: str, *, depth: int) -> str:
        """The text with keys replaced, and with the lines of files that it names in their places: not every compiler looks there."""
        lines = []
        for line in text.split("\n"):
            path = self._params_file(line.removesuffix("\r"))
            if path is None:
                lines.append(self._seen(line))
                continue
            if depth == params_files.MAX_NESTING:
                raise RequestError(
                    f"params files are nested more than {depth} deep at {path}; does one name itself?"
                )
            lines.append(self._expanded(self._read(path), depth=depth + 1).removesuffix("\n"))
        return "\n".join(lines)


def _changed(job: Job, variables: Mapping[str, str], files: Files, keys: Keys) -> Iterable[tuple[str, str]]:
    values = dict(variables)
    for path in job.env_files:
        values.update(_pairs(path, "--env-file", files))
    if job.out_dir is not None:
        values["OUT_DIR"] = dict(keys)["${out_dir}"]
    values.update(job.env)
    status: Keys = []
    for option, file in (
        ("--stable-status-file", job.stable_status_file),
        ("--volatile-status-file", job.volatile_status_file),
    ):
        if file is not None:
            status += ((f"{{{key}}}", value) for key, value in _status(file, option, files))
    for name, value in values.items():
        made = _replaced(_replaced(value, status), keys)
        if variables.get(name) != made:
            yield name, made


def _pairs(path: str, option: str, files: Files) -> Iterable[tuple[str, str]]:
    for line in _lines(path, option, files):
        name, equals, value = line.partition("=")
        if not name or not equals:
            raise RequestError(f"the file {path} of {option} has the line {line!r}; write it as NAME=VALUE")
        yield name, value


def _status(path: str, option: str, files: Files) -> Iterable[tuple[str, str]]:
    for line in _lines(path, option, files):
        key, _, value = line.partition(" ")
        if not key:
            raise RequestError(f"the file {path} of {option} has the line {line!r}; write it as KEY VALUE")
        yield key, value


def _lines_of(paths: Iterable[str], option: str, files: Files) -> Iterable[str]:
    for path in paths:
        yield from _lines(path, option, files)


def _lines(path: str, option: str, files: Files) -> list[str]:
    """The lines of a file that are not empty.

    Of backslashes at the end of a line each two stand for one, and one that is left over for a newline inside the line.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        text = files.read(path)
    except OSError as error:
        raise RequestError(
            f"the file {path} of {option} cannot be read: {error.strerror}; declare it as an input of the action"
        ) from error
    lines, begun = [], ""
    for given in text.split("\n"):
        line = given.removesuffix("\r")
        if not line:
            continue
        kept = line.rstrip("\\")
        backslashes = len(line) - len(kept)
        begun += kept + "\\" * (backslashes // 2)
        if backslashes % 2:
            begun += "\n"
        else:
            lines.append(begun)
            begun = ""
    return [*lines, begun] if begun else lines
