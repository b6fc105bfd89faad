"""`headstart verify`: runs one compile in every way, in private copies of its directory, and compares every byte."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from headstart_worker import interrupts
from headstart_worker.verify import copies, report
from headstart_worker.verify.request import MAX_SIZE, Request, read
from headstart_worker.verify.verification import Verdict, Verification, Verifier
from headstart_worker.verify.ways import Ways
from headstart_wrapper import executables
from headstart_wrapper.environment import inherited
from headstart_wrapper.errors import HeadstartError, MachineError, RequestError

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_TEMPORARY: Final = ("TMPDIR", "TEMP", "TMP")
"""Variables that choose the place of temporary files, in Python's order."""

_HELP: Final = f"""\
usage: headstart verify [options] -- command arg...

Runs one compile job in every way (plain, standalone, in a worker over both protocols, pipelined, in a copied directory) and compares exit
code, messages and every byte of every output. Everything runs in private copies of the current directory below TMPDIR, which itself is
only read; what it links to elsewhere is shared. A worker's start is in its wall time. Two plain runs tell a compiler that is not deterministic. HEADSTART_* variables are
left out.

options of verify:
  --root=DIR        copy this directory, which holds the current one, because the command needs more of it (--root=..)
  --max-size=SIZE   the most that a copied directory may have ({MAX_SIZE >> 30}G)
  --wrapper=FILE    verify this process-wrapper instead of this installation's
  --json            the report as data
  --help            print this and exit

options of the job, as process-wrapper has them:
  --output, --early-output, --input, --dialect, --env, --subst, --timeout, --kill-delay

Exit code 0: every byte is equal; 1: something differs, or the compiler itself is not deterministic; 125: wrong use.

examples:
  headstart verify -- cc -c hello.c
  headstart verify --root=.. --early-output=out/liba.rmeta -- rustc --crate-type=lib --emit=metadata,link --out-dir=out ../a/lib.rs
"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code.

    Raises:
        HeadstartError: it cannot be done.
    """
    options = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    if {"--help", "-h"} & set(options):
        sys.stdout.write(_HELP)
        return 0
    request = read(arguments)
    # Before anything is copied: a command that is not there is told at once.
    variables = {**inherited(), **dict(request.job.env)}
    executables.find_executable(request.job.command[0], cwd=str(request.cwd), path=variables.get("PATH"))
    source = copies.Source(request.root, request.max_size)
    done = trio.run(_until_signalled, request, source)
    if isinstance(done, int):
        return 128 + done
    text = report.as_json(done) if request.json else report.as_text(done)
    sys.stdout.write(text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding))
    return 0 if done.verdict is Verdict.EQUAL else 1


def _base(request: Request) -> Path:
    """A private directory for everything."""
    # Looked at before it is asked for: that writes a file there, to try.
    chosen = Path(next(filter(None, map(os.environ.get, _TEMPORARY)), "/tmp")).resolve()  # noqa: S108 - the default
    parent = chosen if chosen.is_relative_to(request.root) else Path(tempfile.gettempdir()).resolve()
    if parent.is_relative_to(request.root):
        raise RequestError(
            f"temporary files are made in {parent}, inside the directory to copy; set TMPDIR to a place outside of it"
        )
    try:
        return Path(tempfile.mkdtemp(prefix="headstart-verify-", dir=parent))
    except OSError as error:
        raise MachineError(f"no copy can be made in {parent}: {error.strerror}; set TMPDIR") from error


async def _until_signalled(request: Request, source: copies.Source) -> Verification | int:
    """The verification; or the signal that ended it, with everything that it had started gone."""
    done: Verification | int = 0
    try:
        async with trio.open_nursery() as nursery:

            async def watch(task_status: trio.TaskStatus[None]) -> None:
                nonlocal done
                with trio.open_signal_receiver(*_SIGNALS) as signals:
                    task_status.started()
                    async for number in signals:
                        done = number
                        nursery.cancel_scope.cancel()

            await nursery.start(watch)  # before anything is made that would have to be removed
            base = _base(request)
            try:
                done = await Verifier(request, source, Ways(request, source, base), _progress).run()
            finally:
                copies.remove(base)
            nursery.cancel_scope.cancel()
    except* HeadstartError as group:
        error = interrupts.first(group)
        raise error from error.__cause__
    return done


def _progress(title: str) -> None:
    """Tells a person at a terminal how far it is."""
    if sys.stderr.isatty():
        shown = f"verify: {title}"
        sys.stderr.write(shown + "\n" if "NO_COLOR" in os.environ else f"\x1b[2m{shown}\x1b[0m\n")
        sys.stderr.flush()
