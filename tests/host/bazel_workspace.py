"""A scratch workspace with a real Bazel in it: written, built and shut down again.

Knows how to run Bazel; not what is in the workspace, and nothing of Headstart but where it lies. Every workspace has an
output root and so a server of its own; only one Bazel command runs at a time on the machine, whatever runs the tests.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

HEADSTART = Path(__file__).parents[2]
"""The repository under test."""

# Far above what a command here takes (seconds); a hung worker should end the test, not the night.
_COMMAND_SECONDS = 240

_WORKSPACE = """\
workspace(name = "scratch")

local_repository(
    name = "headstart",
    path = "{headstart}",
)

load("@headstart//bazel:repositories.bzl", "headstart_repositories", "no_coverage_tools")

headstart_repositories()

no_coverage_tools()
"""

_MODULE = """\
module(name = "scratch")

bazel_dep(name = "headstart")
local_path_override(
    module_name = "headstart",
    path = "{headstart}",
)
"""


@frozen
class Finished:
    """A Bazel command that has ended.

    Attributes:
        code: Bazel's exit code: 0 success, 1 build failed, 3 tests failed.
        stdout: what `bazel run`'s program or a query printed.
        stderr: everything that Bazel itself said.
    """

    code: int
    stdout: str
    stderr: str


@frozen
class BazelWorkspace:
    """A directory that Bazel builds.

    Attributes:
        root: the workspace.
        output_user_root: where its Bazel server keeps everything.
        environment: variables set for every command, over those of the caller.
    """

    root: Path
    output_user_root: Path
    environment: Mapping[str, str] = field(factory=dict)

    def write(self, path: str, text: str) -> None:
        """Writes one file of the workspace, with the directories above it."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def argv(self, command: str, *arguments: str) -> list[str]:
        """The command line of one Bazel command."""
        options = ["--jobs=2", "--color=no", "--curses=no", "--noshow_progress"]
        return [
            "bazel",
            "--nohome_rc",  # but the system's: a distribution says there where its Bazel lies
            f"--output_user_root={self.output_user_root}",
            "--max_idle_secs=300",  # when a test is killed, its server goes by itself
            command,
            *(options if command not in {"clean", "shutdown"} else []),
            *arguments,
        ]

    def try_bazel(
        self, command: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Runs one Bazel command and reports how it ended.

        Raises:
            subprocess.TimeoutExpired: it hung; its server was killed.
        """
        with one_at_a_time():
            try:
                done = subprocess.run(
                    self.argv(command, *arguments),
                    cwd=self.root,
                    env={**os.environ, **self.environment, **(environment or {})},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=_COMMAND_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                self._end_server()
                raise
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """One Bazel command in the background, for a test that interrupts it; it has ended afterwards.

        What it says is shown with a test that fails.
        """
        with (
            one_at_a_time(),
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                self.argv(command, *arguments),
                cwd=self.root,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            ) as process,
        ):
            try:
                yield process
                process.wait(_COMMAND_SECONDS)
            finally:
                if process.poll() is None:
                    self._end_server()  # what the test left waiting would keep it for ever
                process.kill()
                said.seek(0)
                sys.stderr.write(said.read().decode(errors="replace"))

    def compilers(self) -> dict[int, str]:
        """What runs in Bazel's directories beside the workers and their helpers: process ids and command lines."""
        return {
            pid: command
            for pid, command in _processes()
            if "--persistent_worker" not in command
            and "headstart_wrapper/spawner.py" not in command
            and not command.startswith("bazel(")
            and self._is_at_home(pid)
        }

    def _is_at_home(self, pid: int) -> bool:
        try:
            return Path("/proc", str(pid), "cwd").readlink().is_relative_to(self.output_user_root)
        except OSError:
            return False

    def _end_server(self) -> None:
        for pid, command in _processes():
            if command.startswith("bazel(") and str(self.output_user_root) in command:
                os.kill(pid, signal.SIGKILL)

    def bazel(self, command: str, *arguments: str) -> Finished:
        """Runs one Bazel command that has to succeed.

        Raises:
            AssertionError: it failed; the message is what Bazel said.
        """
        done = self.try_bazel(command, *arguments)
        if done.code != 0:
            raise AssertionError(
                f"bazel {command} {' '.join(arguments)}: exit code {done.code}\n{done.stderr}\n{done.stdout}"
            )
        return done


def _processes() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").strip()
                if command:
                    yield int(entry.name), command.decode(errors="replace")


def _write_empty(root: Path, headstart: Path) -> None:
    root.mkdir()
    (root / "WORKSPACE").write_text(_WORKSPACE.format(headstart=headstart))
    (root / "MODULE.bazel").write_text(_MODULE.format(headstart=headstart))
    (root / "BUILD.bazel").touch()


@contextmanager
def bazel_workspace(
    *, headstart: Path = HEADSTART, write: Callable[[Path, Path], object] = _write_empty
) -> Iterator[BazelWorkspace]:
    """Makes a workspace that can load `@headstart`; its server is gone and its files deleted afterwards.

    Args:
        headstart: the copy of the repository to use.
        write: makes the workspace in a directory that does not exist, for that repository; an empty one by default.
    """
    directory = Path(tempfile.mkdtemp(prefix="headstart-bazel-"))
    workspace = BazelWorkspace(
        directory / "workspace", directory / "output", {"HEADSTART_PYTHON": sys.executable}
    )
    try:
        write(workspace.root, headstart)
        yield workspace
    finally:
        workspace.try_bazel("shutdown")
        for parent, _, _ in os.walk(directory):
            Path(parent).chmod(0o700)  # Bazel takes the right to write away from its output directories
        shutil.rmtree(directory)


def copy_headstart(destination: Path) -> None:
    """Copies what a workspace loads as `@headstart`, for a test that changes it."""
    for part in ["bazel", "worker", "wrapper"]:
        shutil.copytree(HEADSTART / part, destination / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ["BUILD.bazel", "MODULE.bazel", "WORKSPACE"]:
        shutil.copy(HEADSTART / part, destination / part)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Holds the machine-wide lock: several Bazels at once would measure each other."""
    lock = Path(tempfile.gettempdir()) / f"headstart-bazel-{os.getuid()}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
