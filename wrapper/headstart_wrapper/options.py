"""The one command-line grammar, standalone and in every request.

    [options] [--] command arg...

A table says what each option is (`option_table`); the parser only looks things up. Not here: arguments that stand in
files (`params_files`) or in variables (`variables`), how a value is written (`option_values`), what the options mean for
a compiler (dialects), which of them go together (`contradictions`), or running anything.
"""

from __future__ import annotations

from headstart_wrapper import contradictions, encoding, option_table, params_files
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job
from headstart_wrapper.option_values import given, refused, shown, to_text
from headstart_wrapper.records import Record, evolve, fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from headstart_wrapper.option_table import Option
    from headstart_wrapper.option_values import Size


class Options(Record, kw_only=True):
    """Everything that a command line says: about this process, and about the job.

    Attributes:
        persistent_worker: serve requests instead of running one job.
        worker_protocol: "proto" or "json".
        jobs: how many compilers may run at once; None: one for each usable core.
        memory: what the compilers that run at once may be expected to need together; None: not bounded.
        look_ahead: file with an earlier build's trace events, from which the order of waiting jobs is taken.
        state_dir: where private outputs live while jobs run; None: a directory of our own below TMPDIR.
        worker_files: inputs below these prefixes are the worker's own files, not the job's.
        exit_when_changed: end, when there is nothing to do, after a request showed that the worker's own files changed.
        collect_when_idle: give memory back after so many seconds without work; None: never.
        trace: file or directory for trace events.
        encoding_check: the known character as it arrived; see `encoding`.
        help, short_help, version: print and exit.
        foreign: unknown options behind `--persistent-worker`: a host's user can add flags there for every worker of a
            build (Bazel: `--worker_extra_flag`), some of which are meant for others. They are named and left out.
        job: the job's own options and command.
    """

    persistent_worker: bool = False
    worker_protocol: str = "proto"
    jobs: int | None = None
    memory: Size | None = None
    look_ahead: str | None = None
    state_dir: str | None = None
    worker_files: tuple[str, ...] = ()
    exit_when_changed: bool = False
    collect_when_idle: float | None = None
    trace: str | None = None
    encoding_check: str = ""
    help: bool = False
    short_help: bool = False
    version: bool = False
    foreign: tuple[str, ...] = ()
    job: Job = Job()


_JOB_ATTRIBUTES = frozenset(fields_of(Job))


class Values:
    """What was read so far: attributes and their values, those of repeated options in lists."""

    def __init__(self) -> None:
        self.read: dict[str, Any] = {}

    def take(self, option: Option, value: Any) -> None:
        """One more option and its value."""
        if option.repeated:
            self.read.setdefault(option.target, []).append(value)
        else:
            self.read[option.target] = value

    def over(self, base: Options) -> Options:
        """The base with what was read: repeated options add to it, others replace it."""
        job: dict[str, Any] = {}
        process: dict[str, Any] = {}
        for name, value in self.read.items():
            chosen, default = (job, base.job) if name in _JOB_ATTRIBUTES else (process, base)
            chosen[name] = getattr(default, name) + tuple(value) if isinstance(value, list) else value
        return evolve(base, job=evolve(base.job, **job), **process)


def parse(arguments: Sequence[str], *, base: Options | None = None, request: bool = False) -> Options:
    """Reads expanded arguments.

    Args:
        arguments: options, then the command; `--` between them may be left out when the command does not
            begin with a dash.
        base: defaults: the worker's startup options, or what variables say.
        request: the arguments are a request's, where startup options have no place, nor those of a job on its own.

    Raises:
        RequestError: an option is unknown, lacks its value, or has a bad one.
    """
    return _Parser(arguments, request=request).parsed().over(base or Options())


def arity(word: str) -> float:
    """How many words behind an option, as it is spelled, are its values; `params_files.MANY`: all up to the next option."""
    if not word.startswith("--"):
        for position, letter in enumerate(word):
            if _takes_value(f"-{letter}"):
                return 1 if position == len(word) - 1 else 0
        return 0
    spelled, equals, _ = word.partition("=")
    option = option_table.find(spelled)
    if option is None or option.convert is None or (equals and not option.pair):
        return 0
    if option.pair:
        return 1 if equals else 2
    return params_files.MANY if option.many else 1


def _takes_value(short: str) -> bool:
    option = option_table.BY_NAME.get(option_table.SHORT.get(short, ""))
    return option is not None and option.convert is not None


class _Parser:
    """The words of one command line, read from the left."""

    def __init__(self, arguments: Sequence[str], *, request: bool) -> None:
        self._rest = encoding.read_back_arguments(arguments)[::-1]  # taking the next word is cheap at the end
        self._separated = "--" in arguments
        self._request = request
        self._values = Values()

    def parsed(self) -> Values:
        while self._rest:
            word = self._rest.pop()
            if word == "--":
                break
            if not word.startswith("-"):
                self._rest.append(word)
                break
            if word.startswith("--"):
                self._take_long(word)
            else:
                self._take_short(word)
        self._values.read["command"] = tuple(reversed(self._rest))
        return self._values

    def _take_long(self, word: str) -> None:
        spelled, equals, value = word.partition("=")
        option = option_table.find(spelled)
        if option is None:
            self._leave_out(spelled)
            return
        self._refuse_misplaced(option, spelled)
        if option.convert is None:
            if equals:
                raise refused(
                    spelled, value, f"is wrong: it takes no value; give {spelled} alone, or not at all"
                )
            self._values.take(option, True)
        elif option.pair:
            self._values.take(option, self._two_words(option, spelled, [value] if equals else []))
        else:
            self._values.take(
                option, option.convert(spelled, value if equals else self._word(option, spelled))
            )
            while option.many and self._separated and not equals and not self._rest[-1].startswith("-"):
                self._values.take(option, option.convert(spelled, self._rest.pop()))

    def _take_short(self, word: str) -> None:
        """A cluster, of which the last may have a value: `-g`, `-t5`, `-t 5`, `-gt5`."""
        letters = word[1:]
        if not letters or (len(letters) > 1 and option_table.find(f"-{word.partition('=')[0]}")):
            self._leave_out(word)  # one dash before a long name: nobody means the letters
            return
        while letters:
            spelled, letters = f"-{letters[0]}", letters[1:]
            option = option_table.BY_NAME.get(option_table.SHORT.get(spelled, ""))
            if option is None:
                self._leave_out(word)
                return
            self._refuse_misplaced(option, spelled)
            self._values.read |= option_table.SHORT_MEANS_TOO.get(spelled, {})
            if option.convert is None:
                self._values.take(option, True)
                continue
            self._values.take(option, option.convert(spelled, letters or self._word(option, spelled)))
            return

    def _leave_out(self, spelled: str) -> None:
        # A sandbox that was misspelled must not be left out: that would be weaker than asked for (I11).
        if not self._values.read.get("persistent_worker") or spelled.lstrip("-").startswith("sandbox"):
            raise _unknown(spelled.partition("=")[0])
        self._values.read.setdefault("foreign", []).append(spelled)

    def _refuse_misplaced(self, option: Option, spelled: str) -> None:
        if self._request and option.startup:
            raise RequestError(f"{spelled} has no place in a request; give it when the worker is started")
        if self._request and option.alone:
            raise RequestError(
                f"{spelled} has no place in a request; it is for a job on its own, without a worker"
            )

    def _word(self, option: Option, spelled: str) -> str:
        if not self._rest or self._rest[-1] == "--":
            raise RequestError(f"{spelled} wants a value; give it as {given(spelled, option.metavar)}")
        return self._rest.pop()

    def _two_words(self, option: Option, spelled: str, words: list[str]) -> tuple[str, str]:
        while len(words) < 2 and self._rest and not self._rest[-1].startswith("--"):
            words.append(self._rest.pop())
        if len(words) < 2 or not all(words):
            raise RequestError(f"{spelled} wants two values; give it as {spelled} {option.metavar}")
        source, target = (to_text(spelled, word) for word in words)
        if source == target:
            raise RequestError(f"{spelled} copies {shown(source)} to itself; name another target")
        return source, target


def _unknown(spelled: str) -> RequestError:
    import difflib  # noqa: PLC0415 - only when something is wrong

    word = shown(spelled)
    # Without dashes, which would make every two names alike.
    known = [name.removeprefix("--") for name in option_table.known()]
    near = difflib.get_close_matches(word.lstrip("-").replace("_", "-"), known, n=1, cutoff=0.7)
    hint = f"did you mean --{near[0]}? See" if near else "see"
    return RequestError(f"unknown option {word}; {hint} process-wrapper --help, or put -- before the command")


def check(options: Options) -> Job:
    """The job of the options, after the checks that need all of them.

    Raises:
        RequestError: there is no command, or two options contradict each other.
    """
    job = options.job
    if not job.command:
        raise RequestError("no command is given; put the compiler and its arguments after --")
    for word in job.command:
        if "\0" in word:
            raise RequestError(
                f"the command's word {shown(word)} holds a NUL, which no word can; correct what made the request"
            )
    contradictions.refuse(job, options.trace)
    return job
