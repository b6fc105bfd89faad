"""For those who test a worker or a build rule: a host that speaks the protocol, and a build that drives it.

`FakeHost` starts a real `process-wrapper --persistent_worker` and talks to it as a build tool would; `build` compiles an
imported Cargo workspace through one. Not for production: the worker never imports this package.
"""

from __future__ import annotations

from headstart_worker.testing.build import BuildReport, Failure, UnitReport, build
from headstart_worker.testing.host import Ended, FakeHost, WorkerEndedError

__all__ = ["BuildReport", "Ended", "Failure", "FakeHost", "UnitReport", "WorkerEndedError", "build"]
