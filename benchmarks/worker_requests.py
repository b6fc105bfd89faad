"""What a request to the worker costs, against starting the same command oneself.

The client here is as lean as a client can be: frames are made before the clock starts, and it blocks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from headstart_worker.codec import HostCodec, host_codec_for
from headstart_worker.messages import WorkRequest
from measure import Run

TRUE = "/bin/true"
IN_FLIGHT = 16
ONE_AT_A_TIME = 20
"""Requests of a round, so that one round is long against the clock's grain and short against the machine's moods."""

TOGETHER = 64
"""Requests of a round with 16 in flight; the first and last 16 are less than half."""


@frozen(eq=False)
class Client:
    """A running worker and the way to ask it."""

    process: subprocess.Popen[bytes]
    to: IO[bytes]
    answers: IO[bytes]
    codec: HostCodec

    def one_at_a_time(self) -> Run:
        """The latency of each of some requests."""
        frames = [self._frame(number) for number in range(1, ONE_AT_A_TIME + 1)]
        times = []
        for frame in frames:
            began = time.perf_counter()
            self._send(frame)
            next(self._answers())
            times.append(time.perf_counter() - began)
        return Run(tuple(times))

    def together(self) -> Run:
        """The mean time for one request when so many are always in flight."""
        frames = iter([self._frame(number) for number in range(1, TOGETHER + 1)])
        began = time.perf_counter()
        for _ in range(IN_FLIGHT):
            self._send(next(frames))
        answered = 0
        answers = self._answers()
        while answered < TOGETHER:
            next(answers)
            answered += 1
            frame = next(frames, None)
            if frame is not None:
                self._send(frame)
        return Run(((time.perf_counter() - began) / TOGETHER,))

    def _frame(self, number: int) -> bytes:
        return self.codec.encode(WorkRequest(number, ("--", TRUE)))

    def _send(self, frame: bytes) -> None:
        self.to.write(frame)
        self.to.flush()

    def _answers(self) -> Iterator[object]:
        while True:
            for response in self.codec.responses():
                if response.exit_code:
                    raise SystemExit(f"the worker answered {response}; it cannot be measured")
                yield response
            data = self.answers.read1()  # type: ignore[attr-defined] # a pipe's reader is buffered
            if not data:
                raise SystemExit("the worker ended; it cannot be measured")
            self.codec.feed(data)

    def memory(self) -> dict[str, dict[str, int]]:
        """Resident and proportional bytes of the worker and of its helper, as the kernel tells them."""
        helper = int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii"))
        return {"worker": _memory(self.process.pid), "helper": _memory(helper)}


@contextmanager
def client(protocol: str) -> Iterator[Client]:
    """A worker that has served a request, so that its helper runs and everything is imported."""
    command = [sys.executable, "-m", "headstart_worker", "--persistent_worker", "--jobs=16"]
    with subprocess.Popen(
        [*command, f"--worker-protocol={protocol}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both streams are pipes")
        asked = Client(process, process.stdin, process.stdout, host_codec_for(protocol))
        asked.one_at_a_time()
        yield asked
        process.stdin.close()


def cases(clients: dict[str, Client]) -> dict[str, Callable[[], Run]]:
    """Everything to compare, with one request at a time and with 16."""
    pool = ThreadPoolExecutor(IN_FLIGHT)
    alone = {f"worker, {name}, one at a time": asked.one_at_a_time for name, asked in clients.items()}
    together = {f"worker, {name}, {IN_FLIGHT} in flight": asked.together for name, asked in clients.items()}
    return {
        "bare spawn, one at a time": partial(_one_at_a_time, _spawn_bare),
        "subprocess, one at a time": partial(_one_at_a_time, _spawn),
        **alone,
        f"subprocess, {IN_FLIGHT} in flight": partial(_spawn_together, pool),
        **together,
    }


def _spawn() -> float:
    began = time.perf_counter()
    # What the worker does for each job too: a group of its own, and its output in a pipe.
    subprocess.run(
        [TRUE],
        process_group=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    return time.perf_counter() - began


def _spawn_bare() -> float:
    began = time.perf_counter()
    os.waitpid(os.posix_spawn(TRUE, [TRUE], os.environ, setpgroup=0), 0)
    return time.perf_counter() - began


def _one_at_a_time(spawn: Callable[[], float]) -> Run:
    return Run(tuple(spawn() for _ in range(ONE_AT_A_TIME)))


def _spawn_together(pool: ThreadPoolExecutor) -> Run:
    began = time.perf_counter()
    for _ in pool.map(lambda _: _spawn(), range(TOGETHER)):
        pass
    return Run(((time.perf_counter() - began) / TOGETHER,))


def _memory(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    found: dict[str, Any] = {
        name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)
    }
    return {"rss": found["Rss"], "pss": found["Pss"]}
