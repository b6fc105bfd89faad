"""A worker under strace, its sandboxes, and the crates that go through it; what `test_trace_of_sandboxes` is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, final

import trio
from attrs import Factory, define, frozen

import headstart_worker
import headstart_wrapper
from headstart_worker.messages import Input, WorkResponse
from headstart_worker.testing import FakeHost
from process.holdings import Holding, held
from process.stopped_rustc import stopped_at_metadata
from process.strace_inodes import within
from process.strace_lines import calls
from process.strace_windows import Permitted, Streams, Violation, judge, windows
from survivors import living

STRACE = "/usr/bin/strace"
_EVERYTHING = "trace=%file,%desc,%process,%network"

# A linker is not among what runs here: these are for interpreters, compilers and the C library.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/dev/null", "/dev/urandom"),
    *(
        "/etc/ld.so.cache",
        "/etc/ld.so.preload",
        "/etc/locale.alias",
        "/etc/localtime",
        "/etc/ssl/openssl.cnf",
    ),
    *("/sys/fs/cgroup", "/sys/devices/system", "/sys/kernel/mm/transparent_hugepage"),
)
SYSTEM_WRITES = ("/dev/null", "/proc", "/sys/fs/cgroup")


@frozen
class Toolchain:
    """A rustc.

    Attributes:
        rustc: the program itself, not one that finds it.
        sysroot: where it and its libraries are.
    """

    rustc: str
    sysroot: str

    @classmethod
    def of(cls, command: str) -> Self:
        """Finds what stands behind a command."""
        done = subprocess.run([command, "--print=sysroot"], check=True, capture_output=True, text=True)
        sysroot = os.path.realpath(done.stdout.strip())
        return cls(f"{sysroot}/bin/rustc", sysroot)

    def held(self, directory: Path, fifo: Path) -> Path:
        """A program of the same name that is stopped between metadata and code."""
        directory.mkdir()
        program = directory / "rustc"
        stopped_at_metadata(program, self.rustc, go=fifo)
        return program


@define
class Slot:
    """One sandbox of the host's, filled and taken back as Bazel does it.

    Attributes:
        workspace: the execution root, and the worker's directory.
        name: the sandbox, relative to it.
        seen: what processes held at the moment of the response.
    """

    workspace: Path
    name: str
    tag: str
    copies: bool = False
    seen: list[Holding] = Factory(list)

    @property
    def path(self) -> Path:
        return self.workspace / self.name

    def fill(self, inputs: Sequence[str]) -> None:
        """Puts a request's inputs there."""
        shutil.rmtree(self.path, ignore_errors=True)
        for path in (*inputs, "out/x"):
            (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        for path in inputs:
            if self.copies:
                shutil.copy(self.workspace / path, self.path / path)
            else:
                (self.path / path).symlink_to(self.workspace / path)

    async def work(
        self, host: FakeHost, arguments: Sequence[str], inputs: Sequence[str], outputs: Sequence[str]
    ) -> WorkResponse:
        """Sends a request, and takes the sandbox away in the moment of its response."""

        def take_back(_response: WorkResponse) -> None:
            self.seen = [
                each
                for each in held(living(self.tag))
                if within(each.path.removesuffix(" (deleted)"), str(self.path))
            ]
            for path in outputs:
                if (self.path / path).is_file():
                    shutil.move(self.path / path, self.workspace / path)
            shutil.rmtree(self.path)
            for path in (*inputs, *outputs):
                (self.path / path).parent.mkdir(parents=True, exist_ok=True)
                (self.path / path).write_text("garbage of another action\n")

        self.fill(inputs)
        return await host.work(
            arguments,
            tuple(Input(path, str(len(path)).encode()) for path in inputs),
            sandbox_dir=self.name,
            answered=take_back,
        )


def _pipe(stream: object) -> str:
    """A pipe's name, which is the same at both ends."""
    assert isinstance(stream, trio.lowlevel.FdStream)
    return str(Path(f"/proc/self/fd/{stream.fileno()}").readlink())


@final
class Traced:
    """A worker under strace; a host as a context manager, and judged after it."""

    def __init__(
        self,
        tmp_path: Path,
        workspace: Path,
        toolchain: Toolchain,
        *command: str,
        options: Sequence[str] = (),
    ) -> None:
        self.private = tmp_path / "private"
        self.private.mkdir()
        self._log = tmp_path / "strace.log"
        self._workspace = workspace
        self._toolchain = toolchain
        self._tools = tmp_path / "tools"
        strace = (
            STRACE,
            "-f",
            "-ttt",
            "-y",
            "-s",
            "4096",
            "-e",
            _EVERYTHING,
            "-e",
            "signal=none",
            "-o",
            str(self._log),
        )
        self.host = FakeHost(
            "json",
            options,
            cwd=workspace,
            env={**os.environ, "TMPDIR": str(self.private), "PYTHONDONTWRITEBYTECODE": "1"},
            command=(*strace, "--", sys.executable, "-P", *command),
        )
        self._streams: Streams | None = None

    async def __aenter__(self) -> FakeHost:
        await self.host.__aenter__()
        process = self.host.process
        self._streams = Streams(_pipe(process.stdin), _pipe(process.stdout))
        return self.host

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.host.__aexit__(kind, error, trace)

    def violations(self, *, read: Sequence[str] = (), write: Sequence[str] = ()) -> list[Violation]:
        """Judges the whole run.

        Args:
            read: permitted beside the toolchain, the system and the worker.
            write: permitted beside the private directory.
        """
        assert self._streams is not None, "it did not run"
        with self._log.open(encoding="utf-8", errors="surrogateescape") as log:
            events = calls(log, str(self._workspace))
        found = windows(events, self._streams, str(self._workspace))
        assert found, "there was no request"
        assert not any(window.is_open for window in found), "a request has no response"
        worker = (str(Path(package.__path__[0]).parent) for package in (headstart_worker, headstart_wrapper))
        search = filter(None, os.environ.get("PYTHONPATH", "").split(":"))
        python = (*search, sys.prefix, sys.base_prefix, str(Path(__file__).parent), str(self._tools))
        leads = {
            path: str(self._workspace / os.path.relpath(path, window.sandbox))
            for window in found
            for path in (*window.inputs, *window.outputs)
        }
        return judge(
            events,
            found,
            Permitted(
                read=(self._toolchain.sysroot, *SYSTEM, *worker, *python, *read),
                write=(str(self.private), *SYSTEM_WRITES, *write),
                leads=leads,
            ),
        )
