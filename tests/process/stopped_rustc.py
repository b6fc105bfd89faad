"""A rustc that stands still at a chosen moment until somebody writes to a fifo.

At its metadata it stops itself, within the call that tells of them: whoever wanted to stop it from outside, having heard, would
find it anywhere, and on a busy machine at its end.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_STOPS_ITSELF = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

ssize_t write(int file, const void *text, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    ssize_t written = real(file, text, length);
    const char *told = "\\"emit\\":\\"metadata\\"";
    if (file == 2 && written > 0 && memmem(text, (size_t)written, told, strlen(told)))
        raise(SIGSTOP);
    return written;
}
"""

_AT_METADATA = """\
#!{python} -IS
import os, signal, subprocess, sys

def wait():
    if {told!r}:
        with open({told!r}, "w") as told:
            told.write(f"{{rustc.pid}}\\n")
    with open({go!r}, "rb", buffering=0) as go:
        go.read(len(b"go\\n"))  # what follows is for the next one

rustc = subprocess.Popen([{rustc!r}, *sys.argv[1:]], env={{**os.environ, "LD_PRELOAD": {library!r}}})
seen = os.waitid(os.P_PID, rustc.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
if seen.si_code == os.CLD_STOPPED:
    wait()
    rustc.send_signal(signal.SIGCONT)
elif seen.si_status == 0:
    sys.exit(99)  # it never stood still: nothing would be tested
code = rustc.wait()
if {at_end!r}:
    wait()
sys.exit(code)
"""

_AT_START = """\
#!/bin/sh
echo $$ > '{told}'; read line < '{go}'; exec '{rustc}' "$@"
"""


def stopped_at_metadata(
    program: Path, rustc: str, *, go: Path, told: Path | None = None, at_end: bool = False
) -> None:
    """Writes a program that stops between metadata and code, with a library beside it; needs a C compiler.

    Args:
        program: where.
        rustc: what it runs.
        go: a fifo, which says that it is to go on.
        told: a fifo, which is given rustc's process id when it stands still.
        at_end: it stands still once more, when rustc has ended.
    """
    library = program.with_name(f"{program.name}-stops-itself.so")
    command = ("cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library))
    subprocess.run(command, input=_STOPS_ITSELF, text=True, check=True)
    text = _AT_METADATA.format(
        python=sys.executable,
        rustc=rustc,
        library=str(library),
        told=str(told or ""),
        go=str(go),
        at_end=at_end,
    )
    _write(program, text)


def stopped_at_start(program: Path, rustc: str, *, go: Path, told: Path) -> None:
    """Writes a program that stops before it is rustc."""
    _write(program, _AT_START.format(rustc=rustc, told=told, go=go))


def _write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)
