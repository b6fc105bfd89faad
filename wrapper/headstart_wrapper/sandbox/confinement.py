"""What holds one job while it starts: made right before, owned until right after.

Not here: what the job may do (`landlock.Rules`), and how it is put on (`spawner`).
"""

from __future__ import annotations

import contextlib
import os

from headstart_wrapper.hints import TYPE_CHECKING
from headstart_wrapper.records import Record
from headstart_wrapper.sandbox import landlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headstart_wrapper.sandbox.mounts import View


class Confinement(Record, kw_only=True):
    """What holds a job.

    Attributes:
        ruleset: a descriptor of its Landlock ruleset; -1: none.
        view: the file system that it sees (`view.plan`); None: everybody's.
    """

    ruleset: int = -1
    view: View | None = None


@contextlib.contextmanager
def confined(rules: landlock.Rules | None, view: View | None = None) -> Iterator[Confinement]:
    """Makes what holds a job, and takes our part of it back: what was started is held all the same.

    Raises:
        MachineError: Landlock cannot be had.
    """
    ruleset = -1 if rules is None else landlock.ruleset(rules)
    try:
        yield Confinement(ruleset=ruleset, view=view)
    finally:
        if ruleset >= 0:
            os.close(ruleset)
