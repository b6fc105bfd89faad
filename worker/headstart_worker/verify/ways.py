"""The ways in which a job can be run, each in a fresh private copy of its directory.

All but the last run at the same path, so that a directory's name in an output is no difference between them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, final

import trio
from attrs import frozen

from headstart_worker.messages import WorkResponse
from headstart_worker.testing import FakeHost, WorkerEndedError
from headstart_worker.verify import copies
from headstart_worker.verify.comparison import Made, apart
from headstart_worker.verify.execution import Ran, execute
from headstart_worker.verify.request import Request
from headstart_wrapper import environment, executables
from headstart_wrapper import options as grammar
from headstart_wrapper.errors import MachineError, RequestError
from headstart_wrapper.job import Job
from headstart_wrapper.job_files import settled
from headstart_wrapper.surroundings import Surroundings

HERE: Final = "here"
ELSEWHERE: Final = "another-directory"
"""Where copies are made: of another length, so that what depends on it shows."""

_BEFORE_PATH: Final = r"(^|(?<=[=:,;'\"(@<>|&\s])|(?<=^-\w)|(?<=^-\w\w)|(?<=^-\w{7}))"
"""What stands before a path in a word: nothing, punctuation, or an option that it is glued to (-I, -isystem)."""

_AFTER_PATH: Final = r"(?![\w.-])"

_VARIABLES: Final = "HEADSTART_"


@frozen
class Pipelining:
    """What a pipelined run declares. Attributes: early outputs, other outputs, relative to the job's directory."""

    early: tuple[str, ...]
    full: tuple[str, ...]


@frozen
class Place:
    """One fresh copy.

    Attributes:
        top: the copy.
        cwd: the job's directory in it.
        words, command: the job's options and command, with the copy's path where they had the directory's.
        job: what these say.
        env: the environment, likewise.
        before: what is in it.
    """

    top: Path
    cwd: Path
    words: tuple[str, ...]
    command: tuple[str, ...]
    job: Job
    env: Mapping[str, str]
    before: dict[str, copies.State]


@final
class Ways:
    """Runs one request's job; the directory that it is given is used up and may be removed."""

    def __init__(self, request: Request, source: copies.Source, base: Path) -> None:
        self._request = request
        self._source = source
        self._base = base
        self._runs = 0
        self._wrapper = (
            (str(Path(request.wrapper).resolve()),)
            if request.wrapper is not None
            else (sys.executable, "-P", "-m", "headstart_worker")
        )
        inherited = {
            name: value for name, value in environment.inherited().items() if not name.startswith(_VARIABLES)
        }
        self._env = inherited
        self._spellings = _spellings(request, inherited.get("PWD", ""))

    def top(self, where: str = HERE) -> Path:
        """The path of a copy."""
        return self._base / where / (self._request.root.name or "root")

    def cwd(self, where: str = HERE) -> Path:
        """The job's directory in it."""
        return self.top(where) / self._request.cwd.relative_to(self._request.root)

    async def plain(self, command: Sequence[str] | None = None) -> Made:
        """Without any wrapper; another command than the job's, if given."""
        with self._place(HERE) as place:
            words = place.command if command is None else tuple(command)
            job = place.job
            env = {**place.env, **dict(job.env)}
            executable = executables.find_executable(words[0], cwd=str(place.cwd), path=env.get("PATH"))
            ran = await execute(
                words,
                executable=executable,
                cwd=place.cwd,
                env=env,
                timeout=job.timeout,
                kill_delay=job.kill_delay,
            )
            return self._made(ran, place)

    async def standalone(self, *more: str, where: str = HERE) -> Made:
        """`process-wrapper` before the command, with some more options."""
        with self._place(where) as place:
            command = [*self._wrapper, *place.words, *more, "--", *place.command]
            return self._made(await execute(command, cwd=place.cwd, env=place.env), place)

    async def pipelined(self, declared: Pipelining) -> Made:
        """One standalone run that tells of its early outputs."""
        return await self.standalone("--on-early=:", *_declared(declared, self._request.job))

    async def worker(self, protocol: str) -> Made:
        """One request of a worker."""
        with self._place(HERE) as place:
            async with self._host(protocol, place) as host:
                began = trio.current_time()
                response = await self._ask(host, (*place.words, "--", *place.command))
                wall = trio.current_time() - began
            return self._answered(place, response.exit_code, response.output, wall)

    async def halves(self, protocol: str, declared: Pipelining) -> Made:
        """An early and a full request of a worker."""
        with self._place(HERE) as place:
            words = (*place.words, *_declared(declared, self._request.job))
            early_outputs = [place.cwd / path for path in (*place.job.early_outputs, *declared.early)]
            async with self._host(protocol, place) as host:
                began = trio.current_time()
                early = await self._ask(host, (*words, "--phase=early", "--", *place.command))
                told = trio.current_time() - began
                published = None if early.exit_code else _digests(early_outputs)
                full = await self._ask(host, (*words, "--phase=full", "--", *place.command))
                wall = trio.current_time() - began
            # A failure before the early outputs is the answer to both, in the same words.
            output = full.output if early.exit_code else early.output + full.output
            faults = []
            if published is not None and not full.exit_code and published != _digests(early_outputs):
                faults.append("process-wrapper: an early output changed after it was published")
            return self._answered(place, full.exit_code, output, wall, early=told, faults=faults)

    @contextlib.contextmanager
    def _place(self, where: str) -> Iterator[Place]:
        top, cwd = self.top(where), self.cwd(where)
        top.parent.mkdir(exist_ok=True)
        self._source.copy(top)
        try:
            words, command = (
                tuple(self._moved(word, top) for word in each)
                for each in (self._request.words, self._request.job.command)
            )
            job = grammar.check(grammar.parse([*words, "--", *command], request=True))
            for path in (*job.early_outputs, *job.outputs):
                if not Path(os.path.realpath(cwd / path)).is_relative_to(os.path.realpath(top)):
                    raise RequestError(
                        f"the output {path} is outside the directory {self._request.root}, of which a copy is used; "
                        "copy a directory that holds it with --root"
                    )
            env = {
                name: value if name == "PATH" else self._moved(value, top)
                for name, value in self._env.items()
            }
            yield Place(
                top=top,
                cwd=cwd,
                words=words,
                command=command,
                job=settled(job, {}, Surroundings(str(cwd))),
                env={**env, "PWD": str(cwd)},
                before=copies.listing(top),
            )
        finally:
            copies.remove(top)

    def moved(self, command: Sequence[str]) -> tuple[str, ...]:
        """A command with the path of the copy where it had the directory's."""
        return tuple(self._moved(word, self.top()) for word in command)

    def _moved(self, text: str, top: Path) -> str:
        """A text with the copy's path in the place of the directory's own."""
        return self._spellings.sub(lambda _: str(top), text)

    def _host(self, protocol: str, place: Place) -> FakeHost:
        state = (f"--state-dir={self._base / 'state'}",)
        return FakeHost(protocol, state, cwd=place.cwd, env=place.env, command=self._wrapper)

    async def _ask(self, host: FakeHost, arguments: tuple[str, ...]) -> WorkResponse:
        try:
            return await host.work(arguments)
        except (WorkerEndedError, trio.BrokenResourceError) as error:
            raise MachineError(
                f"the worker ended instead of answering: {host.stderr.strip() or error}"
            ) from error

    def _made(self, ran: Ran, place: Place) -> Made:
        stdout, (stderr, said) = ran.stdout, apart(ran.stderr)
        return Made(ran.exit_code, stdout, stderr, said=said, files=self._collect(place), wall=ran.wall)

    def _answered(
        self,
        place: Place,
        exit_code: int,
        output: str,
        wall: float,
        *,
        early: float | None = None,
        faults: Sequence[str] = (),
    ) -> Made:
        text, said = apart(output.encode())
        return Made(
            exit_code,
            text=text.decode(),
            said=(*said, *faults),
            files=self._collect(place),
            wall=wall,
            early=early,
        )

    def _collect(self, place: Place) -> dict[str, copies.Kept]:
        self._runs += 1
        return copies.collect(place.top, place.before, self._base / "made" / str(self._runs))


def _spellings(request: Request, pwd: str) -> re.Pattern[str]:
    """Matches the directory's own path in a word, as the kernel or the shell has it."""
    roots = [str(request.root)]
    with contextlib.suppress(OSError):
        below = request.cwd.relative_to(request.root)
        logical = Path(*Path(pwd).parts[: len(Path(pwd).parts) - len(below.parts)])
        if pwd and logical.samefile(request.root):
            roots.append(str(logical))
    return re.compile(f"{_BEFORE_PATH}(?:{'|'.join(map(re.escape, roots))}){_AFTER_PATH}")


def _declared(declared: Pipelining, job: Job) -> tuple[str, ...]:
    """The options for what the request's own do not declare."""
    early = () if job.early_outputs else declared.early
    full = () if job.outputs else declared.full
    return (*(f"--early-output={path}" for path in early), *(f"--output={path}" for path in full))


def _digests(paths: Sequence[Path]) -> list[bytes]:
    return [hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"" for path in paths]
