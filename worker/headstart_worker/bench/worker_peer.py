"""Any other persistent worker: it gets plain commands and need know nothing of ours.

Each unit is one request, as in mode "none": `env NAME=VALUE... rustc ARGUMENTS...`, to be run in the worker's directory. It is asked for as
many at once as there are jobs: each holds a token of a jobserver that the compilers find in their environment. What it does when, it does not tell.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

import trio
from attrs import field, frozen

from headstart_worker import timeline
from headstart_worker.bench import hosts
from headstart_worker.bench.hosts import Phases, Setting
from headstart_worker.bench.out_tree import OutTree
from headstart_worker.bench.records import Taken
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import Unit
from headstart_worker.messages import Input, WorkResponse
from headstart_worker.model.plans import REQUESTS_PER_JOB
from headstart_worker.testing import BuildReport, FakeHost, WorkerEndedError, build
from headstart_wrapper.dialects.rustc import Rustc
from headstart_wrapper.errors import RequestError
from headstart_wrapper.jobserver import Jobserver

_GONE: Final = (WorkerEndedError, trio.BrokenResourceError, trio.TooSlowError)
"""What comes of a worker that is not there when it should be, or is when it should not."""

FIRST_SECONDS: Final = 60.0
"""Patience with the first answer, to a request for nothing, so that a worker that speaks otherwise than we believe is not waited for all night."""

_SAID: Final = 4000
"""Letters of a worker's complaints that are worth showing."""


@frozen
class Peer:
    """A worker to compare with.

    Attributes:
        command: a shell's words; `--persistent_worker` is put behind them, as Bazel does.
        protocol: "proto" or "json".
        name: for people.
    """

    command: str
    protocol: str = "proto"
    name: str = field()

    @name.default
    def _words_without_places(self) -> str:
        return " ".join(posixpath.basename(word) for word in shlex.split(self.command))


def absolute(command: str) -> str:
    """A shell's words whose first one does not depend on where we are: a worker is started in the workspace."""
    program = shlex.split(command)[0]
    if "/" not in program or not command.startswith(program) or not Path(program).is_file():
        return command
    return shlex.quote(str(Path(program).absolute())) + command.removeprefix(program)


@final
class WorkerPeer:
    """See `hosts.BenchHost`."""

    mode: Mode = "none"
    same_bytes_as = hosts.bytes_of("none")
    traced: timeline.Build | None = None
    phases: Phases = MappingProxyType({})

    def __init__(self, setting: Setting, peer: Peer) -> None:
        self.name = peer.name
        self._setting = setting
        self._peer = peer
        self._command = absolute(peer.command)
        self._answers = False
        self._said = ""
        self._tree = OutTree(setting, f"peer {peer.name}", self.mode)
        self._place = setting.scratch / self._tree.root

    def prepare(self) -> None:
        """See `hosts.BenchHost`."""
        self._place.mkdir(parents=True)

    def clean(self) -> None:
        """See `hosts.BenchHost`."""
        self._tree.clean()

    def edited(self, unit: Unit) -> AbstractContextManager[None]:
        """See `hosts.BenchHost`."""
        return self._tree.edited(unit, self.build)

    def build(self) -> Taken:
        """See `hosts.BenchHost`."""
        report, seen = self._tree.build(self.name, self._run)
        return hosts.taken(self, report.seconds, seen, actions=report.requests, compilers=report.requests)

    def _run(self, up_to_date: Collection[str]) -> BuildReport:
        try:
            return trio.run(self._build, up_to_date)
        except (*_GONE, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.split(_GONE)[1] is not None:
                raise
            fault = (
                "ended before the build did, or did not end after it"
                if self._answers
                else f"did not answer its first request; does it speak {self._peer.protocol} (--peer-protocol)?"
            )
            raise RequestError(f"the worker {self._peer.command} {fault}; it said:\n{self._said}") from error

    async def _build(self, up_to_date: Collection[str]) -> BuildReport:
        setting = self._setting
        self._answers = False
        (self._place / "jobserver").unlink(missing_ok=True)
        # The shell drops the words that follow its script, which are those that only our own worker knows.
        command = ("/bin/sh", "-c", f"exec {self._command} --persistent_worker")
        with closing(Jobserver.create(self._place, setting.jobs)) as jobserver:
            async with FakeHost(
                self._peer.protocol,
                cwd=setting.workspace,
                env={**hosts.environment(), **jobserver.environment},
                command=command,
            ) as host:
                try:
                    with trio.fail_after(FIRST_SECONDS):
                        await host.work((hosts.WARM_UP,))
                    self._answers = True
                    return await build(
                        setting.units,
                        workspace=setting.workspace,
                        outroot=self._tree.root,
                        mode=self.mode,
                        jobs=REQUESTS_PER_JOB * setting.jobs,
                        host=_Plain(host, str(setting.workspace), jobserver),
                        up_to_date=up_to_date,
                    )
                finally:
                    self._said = host.stderr[-_SAID:]

    def outputs(self) -> Mapping[str, Path]:
        """See `hosts.BenchHost`."""
        return self._tree.outputs()

    def close(self) -> None:
        """See `hosts.BenchHost`: nothing runs between builds."""


@final
class _Plain:
    """Puts requests to our wrapper as commands that need none; each holds a token while it is unanswered."""

    def __init__(self, host: FakeHost, workspace: str, jobserver: Jobserver) -> None:
        self._host = host
        self._workspace = workspace
        self._jobserver = jobserver
        self._turn = trio.Lock()

    async def work(
        self,
        arguments: Sequence[str],
        inputs: Iterable[Input] = (),
        *,
        request_id: int | None = None,
        sandbox_dir: str = "",
        answered: Callable[[WorkResponse], object] = lambda _response: None,
    ) -> WorkResponse:
        """See `testing.FakeHost.work`."""
        async with self._token():
            return await self._host.work(
                plain(arguments, self._workspace),
                inputs,
                request_id=request_id,
                sandbox_dir=sandbox_dir,
                answered=answered,
            )

    @asynccontextmanager
    async def _token(self) -> AsyncIterator[None]:
        async with self._turn:
            while not self._jobserver.take():
                await trio.lowlevel.wait_readable(self._jobserver.descriptor)
        try:
            yield
        finally:
            self._jobserver.put_back()


def plain(arguments: Sequence[str], pwd: str) -> list[str]:
    """The command of a request to our wrapper, as anybody can run it.

    Args:
        arguments: of a whole job: options, `--`, the command.
        pwd: what `${pwd}` stands for.
    """
    end = arguments.index("--")
    variables = [word.removeprefix("--env=") for word in arguments[:end] if word.startswith("--env=")]
    # How rustc is asked to talk is hashed into a crate, so the peer's is asked as ours is.
    asked = Rustc().plan(arguments[end + 1 :], early_outputs=(), pipelined=False, stage=None, read=_no_file)
    return [word.replace("${pwd}", pwd) for word in ("env", *variables, *asked.command)]


def _no_file(path: str) -> str:
    raise RequestError(f"no unit's command has a response file, but {path} is one")
