"""Takes the protocol's descriptors away from everybody else.

Whatever prints, in this process or in a library, must not reach the host's stream (I4). The two descriptors are
moved to new numbers that are closed on exec; 0 becomes the null device and 1 becomes stderr.
"""

from __future__ import annotations

import os
import sys


def claim_protocol_descriptors() -> tuple[int, int]:
    """Returns the descriptors to read requests from and to write responses to."""
    sys.stdout.flush()
    reader, writer = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return reader, writer
