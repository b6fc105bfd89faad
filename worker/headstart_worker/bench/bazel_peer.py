"""Real Bazel with the rules of `bazel/`, on the imported workspace, in one mode; its server runs and has analysed before the clock starts.

Its workers end with `bazel clean`, so that the wall time of a clean build holds their start. Processor time and memory are those of the
server, the workers and the compilers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from headstart_worker import timeline
from headstart_worker.bench import graphs, hosts, outputs
from headstart_worker.bench.hosts import Phases, Setting
from headstart_worker.bench.records import Taken
from headstart_worker.bench.sampling import Watch
from headstart_worker.cargo.commands import Mode
from headstart_worker.cargo.units import Unit
from headstart_worker.model.plans import REQUESTS_PER_JOB
from headstart_wrapper.errors import CommandNotFoundError, RequestError

_MNEMONICS: Final = ("Rust", "RustMetadata")
"""Both get the same flags everywhere: the two halves of a crate must reach one process."""

_PROCESSES: Final = re.compile(r"^INFO: \d+ process(?:es)?: (.+)\.$", re.MULTILINE)
_KIND: Final = re.compile(r"(\d+) ([\w-]+)")


@final
class BazelPeer:
    """See `hosts.BenchHost`."""

    def __init__(self, setting: Setting, mode: Mode) -> None:
        """Starts nothing yet.

        Raises:
            CommandNotFoundError: there is no Bazel.
        """
        bazel = shutil.which("bazel")
        if bazel is None:
            raise CommandNotFoundError("there is no bazel on PATH; Debian has it as bazel-bootstrap")
        self.name = f"bazel:{mode}"
        self.mode: Mode = mode
        self.same_bytes_as = hosts.bytes_of(mode)
        self.phases: Phases = {}
        self.traced: timeline.Build | None = None
        self._bazel = bazel
        self._setting = setting
        self._place = setting.scratch / f"bazel-{mode}"
        self._traces = self._place / "traces"
        self._server = 0
        self._bin = Path()
        self._stale = {unit.name for unit in setting.units}

    def prepare(self) -> None:
        """See `hosts.BenchHost`."""
        self._traces.mkdir(parents=True)
        self._server = int(self._run("info", "server_pid"))
        self._bin = Path(self._run("info", *self._mode_flags(), "bazel-bin").strip())
        self.build()

    def clean(self) -> None:
        """See `hosts.BenchHost`."""
        self._run("clean")
        self._run("build", "--nobuild", *self._flags())
        self._stale = {unit.name for unit in self._setting.units}

    @contextmanager
    def edited(self, unit: Unit) -> Iterator[None]:
        """See `hosts.BenchHost`. Bazel remembers what it built last, so everything is built unedited before."""
        if self._stale:
            self.build()
        with hosts.edit(self._setting.workspace / unit.root, unit):
            self._stale = {unit.name, *graphs.dependents(self._setting.units)[unit.name]}
            stale = set(self._stale)
            try:
                yield
            finally:
                self._stale = stale

    def build(self) -> Taken:
        """See `hosts.BenchHost`."""
        since = time.time()
        with Watch([self._server]) as watch:
            began = time.monotonic()
            said = self._run("build", *self._flags())
            wall = time.monotonic() - began
        traces = [path.read_text("utf-8") for path in sorted(self._traces.glob("*.json"))]
        self.traced = timeline.read_build(traces, since=since)
        self.phases = hosts.phases(self.traced, self._setting.units, self.mode)
        if self.phases.keys() != self._stale:
            raise RequestError(
                f"Bazel compiled {len(self.phases)} units where the others compile {len(self._stale)}; compare without it"
            )
        self._stale = set()
        return hosts.taken(
            self,
            wall,
            watch.seen,
            actions=_actions(said),
            compilers=len(self.traced.compiles),
            joins=self.traced.joins if self.mode == "worker" else None,
        )

    def outputs(self) -> Mapping[str, Path]:
        """See `hosts.BenchHost`."""
        return outputs.files(self._setting.units, self._bin, self.mode)

    def close(self) -> None:
        """See `hosts.BenchHost`."""
        if (self._place / "base").is_dir():
            self._run(
                "clean", "--expunge"
            )  # also what nobody else may remove: outputs are read-only, directories too

    def _mode_flags(self) -> list[str]:
        return [f"--@headstart//bazel/rust:mode={self.mode}"]

    def _flags(self) -> list[str]:
        """The same for analysis and for building, else Bazel analyses anew."""
        setting = self._setting
        in_flight = REQUESTS_PER_JOB * setting.jobs
        worker = [f"--jobs={setting.jobs}", f"--trace={self._traces}/%p.json"]
        return [
            *self._mode_flags(),
            f"--jobs={in_flight}",
            # One of these is taken by each request in flight; it is the worker that bounds how many compilers run.
            f"--local_cpu_resources={in_flight}",
            f"--experimental_worker_max_multiplex_instances=Headstart={in_flight}",
            "--show_result=0",
            "--noshow_progress",
            *(f"--strategy={mnemonic}=worker" for mnemonic in _MNEMONICS),
            *(f"--worker_extra_flag={mnemonic}={flag}" for mnemonic in _MNEMONICS for flag in worker),
            *(f"//{unit.directory}:{unit.name}" for unit in setting.units),
        ]

    def _run(self, command: str, *flags: str) -> str:
        """Runs one command and returns what it printed; its messages, where it printed nothing.

        Raises:
            RequestError: it failed.
        """
        done = subprocess.run(
            [
                self._bazel,
                f"--output_user_root={self._place.parent / 'bazel'}",  # one installation for all modes
                f"--output_base={self._place / 'base'}",
                command,
                *([] if command == "info" else ["--symlink_prefix=/"]),
                *flags,
            ],
            cwd=self._setting.workspace,
            env={**hosts.environment(), "HEADSTART_PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RequestError(
                f"bazel {command} failed, so nothing can be compared; it said:\n{done.stderr[-4000:]}"
            )
        return done.stdout or done.stderr


def _actions(said: str) -> int:
    """How many actions Bazel ran, from a line such as `INFO: 21 processes: 2 internal, 19 worker.` that it ends with."""
    found = _PROCESSES.search(said)
    kinds = _KIND.findall(found[1]) if found else []
    return sum(int(number) for number, kind in kinds if kind != "internal")
