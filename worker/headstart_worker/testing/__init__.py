"""For those who test a worker or a build rule: a host that speaks the protocol, and a build that drives it.

`FakeHost` starts a real `process-wrapper --persistent_worker` and talks to it as a build tool would; `build` compiles an
imported Cargo workspace through one. `Sandboxes` are a host's, one for each request in flight; `Garbage` is what comes into them
with the response. Not for production: the worker never imports this package.
"""

from __future__ import annotations

from headstart_worker.testing.build import BuildReport, Failure, UnitReport, build
from headstart_worker.testing.host import Ended, FakeHost, WorkerEndedError
from headstart_worker.testing.sandboxes import Garbage, Sandboxes

__all__ = [
    "BuildReport",
    "Ended",
    "Failure",
    "FakeHost",
    "Garbage",
    "Sandboxes",
    "UnitReport",
    "WorkerEndedError",
    "build",
]
