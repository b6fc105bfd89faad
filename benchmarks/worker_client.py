"""A host of a worker, as lean as one can be: frames are made before the clock starts, and it blocks. Any worker can be asked, ours or another's.

Not for builds, nor for a worker that misbehaves: that is what `headstart_worker.testing.FakeHost` is for.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from attrs import frozen

from headstart_worker.codec import HostCodec, host_codec_for
from headstart_worker.messages import WorkRequest, WorkResponse

TRUE: Final = "/bin/true"
JOBS: Final = 16
"""Jobs that our worker runs at once. More than cores: `/bin/true` waits for its start more than it computes."""

_READ: Final = 1 << 16
"""Bytes at a time: a pipe's capacity on Linux."""


_PATIENCE: Final = 60.0
"""Seconds without any answer after which a worker is taken to have lost a request: no measurement waits for ever."""

_END_SECONDS: Final = 5.0
"""In which a worker ends when its input does; ours takes less than one."""


@frozen
class Worker:
    """A worker that can be measured.

    Attributes:
        name: for people.
        command: starts it.
        protocol: "proto" or "json".
        in_flight: the most requests that it takes at once; 1: it answers one before it reads the next.
        cancels: whether it can be asked to give a request up.
    """

    name: str
    command: tuple[str, ...]
    protocol: str = "proto"
    in_flight: int = 1 << 16
    cancels: bool = True


@frozen
class Burst:
    """Requests of which as many were always in flight. Attributes: latencies, of each, and seconds, for all of them together."""

    latencies: tuple[float, ...]
    seconds: float

    @property
    def each(self) -> float:
        """Seconds for one request, as many were served together."""
        return self.seconds / len(self.latencies)


@final
class Client:
    """A running worker and the way to ask it; made by `client`.

    Attributes:
        worker: what runs.
        pid: its process.
        answers: the descriptor from which its answers are read, to wait for it together with others.
    """

    def __init__(self, worker: Worker, process: subprocess.Popen[bytes], patience: float) -> None:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both streams are pipes")
        self.worker = worker
        self.pid = process.pid
        self.answers = process.stdout.fileno()
        self._to = process.stdin
        self._patience = patience
        self._codec: HostCodec = host_codec_for(worker.protocol)

    def one_at_a_time(self, count: int) -> tuple[float, ...]:
        """The latency of each of some requests to run `/bin/true`."""
        frames = [self.frame(number) for number in range(1, count + 1)]
        times = []
        for frame in frames:
            began = time.perf_counter()
            self.send(frame)
            self.success()
            times.append(time.perf_counter() - began)
        return tuple(times)

    def together(self, in_flight: int, count: int) -> Burst:
        """Likewise with so many always in flight; what is sent to get there, and comes after the last that counts, is left out."""
        total = count + 2 * in_flight
        frames = [self.frame(number) for number in range(1, total + 1)]
        sent: list[float] = []
        answered: list[tuple[float, float]] = []
        for number in range(total):
            while len(sent) < min(number + in_flight, total):
                sent.append(time.perf_counter())
                self.send(frames[len(sent) - 1])
            request = self.success().request_id
            now = time.perf_counter()
            answered.append((now, now - sent[request - 1]))
        counted = answered[in_flight : in_flight + count]
        return Burst(tuple(latency for _, latency in counted), counted[-1][0] - answered[in_flight - 1][0])

    def frame(self, number: int, *command: str) -> bytes:
        """A request's bytes; without a command it runs `/bin/true`."""
        return self._codec.encode(WorkRequest(number, ("--", *(command or (TRUE,)))))

    def cancel_frame(self, number: int) -> bytes:
        """A cancel's bytes."""
        return self._codec.encode(WorkRequest(number, cancel=True))

    def send(self, frame: bytes) -> None:
        """Writes a frame, which is short enough for a pipe to take it whole."""
        os.write(self._to.fileno(), frame)

    def answer(self) -> WorkResponse:
        """The next answer."""
        while (response := next(self._codec.responses(), None)) is None:
            if not select.select([self.answers], [], [], self._patience)[0]:
                raise SystemExit(
                    f"{self.worker.name} did not answer in {self._patience:g} s; it cannot be measured"
                )
            data = os.read(self.answers, _READ)
            if not data:
                raise SystemExit(f"{self.worker.name} ended; it cannot be measured")
            self._codec.feed(data)
        return response

    def success(self) -> WorkResponse:
        """The next answer, which must tell a success."""
        response = self.answer()
        if response.exit_code:
            raise SystemExit(f"{self.worker.name} answered {response}; it cannot be measured")
        return response

    def close(self) -> None:
        """Ends the worker's input."""
        self._to.close()

    def memory(self) -> dict[str, dict[str, int]]:
        """Resident and proportional bytes of our worker and of its helper, as the kernel tells them."""
        helper = int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii"))
        return {"worker": _memory(self.pid), "helper": _memory(helper)}


@contextmanager
def client(worker: Worker, *, patience: float = _PATIENCE) -> Iterator[Client]:
    """Starts a worker; its input ends with the context, and its end is waited for.

    Args:
        worker: what is started.
        patience: seconds that an answer may take.

    Raises:
        subprocess.TimeoutExpired: it did not end; it was killed.
    """
    with subprocess.Popen(worker.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        asked = Client(worker, process, patience)
        try:
            yield asked
        finally:
            asked.close()
            try:
                process.wait(_END_SECONDS)
            finally:
                process.kill()


def ours(programs: Path, protocol: str) -> Worker:
    """Our worker.

    Args:
        programs: the directory with `process-wrapper`.
        protocol: "proto" or "json".
    """
    command = (str(programs / "process-wrapper"), "--persistent_worker", f"--jobs={JOBS}")
    return Worker(f"worker, {protocol}", (*command, f"--worker-protocol={protocol}"), protocol)


def _memory(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    kib = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return {"rss": kib["Rss"] * 1024, "pss": kib["Pss"] * 1024}
