"""A process that goes as far away as a process can: a session of its own, no parent, no descriptor, deaf to signals."""

from __future__ import annotations

import os
import signal

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.closerange(0, 65536)
        while True:
            signal.pause()
