"""Signals that come while the worker is about to end."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

_AT_THE_LAST_MOMENT: Final = """
import os, signal, trio
from trio._core._wakeup_socketpair import WakeupSocketpair
from headstart_worker.ends import EndSignals

def close(pair):
    pair.wakeup_sock.close()
    os.kill(os.getpid(), signal.SIGTERM)
    closed(pair)

closed, WakeupSocketpair.close = WakeupSocketpair.close, close

async def main(signals):
    with signals.cancelling(trio.CancelScope()):
        pass

with EndSignals() as signals:
    trio.run(main, signals)
"""
"""The event loop has closed the one end of its wake-up pipe; the interpreter still writes each signal's number to the other."""


def test_I3_a_signal_while_the_event_loop_closes_leaves_no_trace() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _AT_THE_LAST_MOMENT], check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
