"""How a test learns that every request which it sent is in the worker's queue, without waiting for time to pass.

Requests attach to jobs in the order in which they were read. A full request whose compiler has run already is answered
as soon as it attaches, so its answer says that all requests before it are attached, too.
"""

from __future__ import annotations

from headstart_worker.testing import FakeHost
from process.support import sh

_SCRIPT = "printf x > early-probe.tmp && mv early-probe.tmp early-probe; printf x > full-probe"


async def prepare(host: FakeHost) -> None:
    """Runs the compiler; before slots are taken."""
    answer = await host.work(sh(_SCRIPT, "--phase=early", "--early-output=early-probe"))
    assert answer.exit_code == 0


async def all_attached(host: FakeHost) -> None:
    """Returns when every request that was sent before is attached; once after each `prepare`."""
    answer = await host.work(sh(_SCRIPT, "--phase=full", "--early-output=early-probe", "--output=full-probe"))
    assert answer.exit_code == 0
