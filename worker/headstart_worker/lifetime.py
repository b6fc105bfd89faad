"""The worker's process, from its start to its end.

Makes what a `Server` needs, runs it, and sees to the order of the end, whatever began it (end of input, a signal, a host
that hung up, a malformed frame, changed tool files, a defect of ours): no request is read any more; every job is killed
at once and its end awaited; the helper ends, and with it whatever was left; the state directory is removed; what was
answered is written. After a defect everybody who still waits is answered then too: nothing can happen any more that
would make the answer wrong.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import trio

from headstart_worker import stdio
from headstart_worker.codec import Codec, codec_for
from headstart_worker.correspondence import Correspondence
from headstart_worker.ends import EndSignals
from headstart_worker.faults import bug_report
from headstart_worker.idle import collect_when_idle
from headstart_worker.jobs import Jobs
from headstart_worker.outbox import HungUpError, Outbox
from headstart_worker.preparation import Preparation
from headstart_worker.requests import Requests
from headstart_worker.roots import Roots
from headstart_worker.server import Server
from headstart_worker.state import state_directory
from headstart_worker.tool_files import ToolFiles
from headstart_worker.tracing import TraceFile
from headstart_wrapper import environment, params_files
from headstart_wrapper import options as grammar
from headstart_wrapper.command_line import read_params
from headstart_wrapper.console import say
from headstart_wrapper.errors import HeadstartError, MachineError, ProtocolError, RequestError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.job import Job, Sandbox
from headstart_wrapper.jobserver import Jobserver
from headstart_wrapper.options import Options
from headstart_wrapper.text import message_line
from headstart_wrapper.variables import from_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from headstart_worker.look_ahead import LookAhead

_FLUSH_SECONDS: Final = 0.2
"""How long a host may take to read the last answers of a worker that ends; it has a second for everything."""

_DEFECT: Final = "this worker has met a bug of its own and ends; its log has the details, please report them, and build again"


async def _serve(
    options: Options,
    descriptor: int,
    codec: Codec,
    correspondence: Correspondence,
    signals: EndSignals,
    *,
    outer: Jobserver | None,
    spawner: HelperSpawner,
    state: Path,
) -> None:
    """Serves to a good end.

    Raises:
        ProtocolError: the host broke the protocol, or hung up.
        BaseExceptionGroup: we have a bug.
    """
    reader = trio.lowlevel.FdStream(descriptor)
    capacity = options.jobs or len(os.sched_getaffinity(0))
    jobserver = outer or Jobserver.create(state, capacity)
    error: ProtocolError | None = None
    ending, served = trio.CancelScope(), False
    look_ahead = _look_ahead(options)  # before the new trace, which may take the place of the old one
    roots = Roots(state.parent)
    with (
        TraceFile(options.trace) as trace,
        contextlib.closing(jobserver),
        contextlib.closing(roots),
        signals.cancelling(ending),
    ):
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(correspondence.outbox.write)
                watching.start_soon(correspondence.outbox.watch)
                async with trio.open_nursery() as running:
                    jobs = Jobs(
                        running,
                        capacity=capacity,
                        jobserver=jobserver,
                        trace=trace,
                        roots=roots,
                        memory=options.memory,
                        look_ahead=look_ahead,
                    )
                    preparation = Preparation(
                        options=options,
                        cwd=str(Path.cwd()),
                        env={**environment.inherited(), **jobserver.environment},
                        spawner=spawner,
                        state=state,
                        roots=roots,
                    )
                    requests = Requests(jobs, preparation, trace)
                    watching.start_soon(trace.write, jobs.events.sampled)
                    if options.collect_when_idle is not None:
                        is_asked = partial(stdio.holds_input, reader.fileno())
                        watching.start_soon(
                            collect_when_idle, jobs.activity, options.collect_when_idle, is_asked
                        )
                    tool_files = ToolFiles(options.worker_files) if options.exit_when_changed else None
                    server = Server(codec, requests, jobs, correspondence, tool_files=tool_files)
                    with ending:
                        await server.serve(reader)
                    served = True
                watching.cancel_scope.cancel()
        except* ProtocolError as group:
            error = _first(group)
        except* HungUpError:
            # A host that ends closes both pipes, in any order, and some send a signal before: an end like others.
            if not (served or signals.came or stdio.has_ended(reader.fileno())):
                error = ProtocolError("the host does not read responses any more; every job was ended")
    if error is not None:
        raise error


def _first(group: BaseExceptionGroup[ProtocolError]) -> ProtocolError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def main(arguments: Sequence[str]) -> NoReturn:
    """Serves requests until the input ends, and ends this process with the worker's exit code."""
    code = _main(arguments)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # At once: the interpreter's own end takes 40 ms (measured), in which a host takes us for a worker that serves.
    os._exit(code)


def _main(arguments: Sequence[str]) -> int:
    outer = Jobserver.outer(os.environ)  # before any descriptor of ours can have the numbers that it names
    try:
        reader, writer = stdio.claim_protocol_descriptors()
        options = grammar.parse(
            params_files.expand(arguments, read_params, arity=grammar.arity),
            base=from_variables(environment.inherited(), worker=True),
        )
        for name in options.foreign:
            say(f"the flag {name} is not known and left out; see process-wrapper --help")
        if options.job.command:
            raise RequestError("a worker takes no command at its start; send it in a request")
        with EndSignals() as signals:
            return _work(options, reader, writer, outer=outer, signals=signals)
    except HeadstartError as error:
        say(str(error))
        return error.exit_code


def _probe(job: Job) -> None:
    """Tries what all jobs are to be held to, so that no job waits for it, and whoever reads the log knows; each job is answered for itself."""
    if not job.is_checked:
        return
    from headstart_wrapper.sandbox import policy, probe  # noqa: PLC0415 - few workers are started with a check

    asked = job.check or Sandbox.OFF
    try:
        warning = policy.decide(asked, probe.available(asked), unavailable=job.sandbox_unavailable).warning
    except MachineError as error:
        warning = str(error)
    if warning:
        say(warning)


def _look_ahead(options: Options) -> LookAhead | None:
    if options.look_ahead is None:
        return None
    from headstart_worker import look_ahead  # noqa: PLC0415 - few workers are started with it

    return look_ahead.read(options.look_ahead)


def _work(options: Options, reader: int, writer: int, *, outer: Jobserver | None, signals: EndSignals) -> int:
    codec = codec_for(options.worker_protocol)
    correspondence = Correspondence(codec, Outbox(writer))
    try:
        with (
            state_directory(options.state_dir) as state,
            contextlib.closing(HelperSpawner(state.name)) as spawner,
        ):
            spawner.warm_up()
            _probe(options.job)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            serve = partial(
                _serve,
                options,
                reader,
                codec,
                correspondence,
                signals,
                outer=outer,
                spawner=spawner,
                state=state,
            )
            trio.run(serve)
    except HeadstartError:
        correspondence.outbox.flush(seconds=_FLUSH_SECONDS)
        raise
    except BaseException:  # noqa: BLE001 - whatever it is, whoever waits is told before we go
        correspondence.last_words(message_line(_DEFECT), seconds=_FLUSH_SECONDS)
        with contextlib.suppress(Exception):
            say(bug_report())
        return HeadstartError.exit_code
    correspondence.outbox.flush(seconds=_FLUSH_SECONDS)
    complaint = correspondence.audit()
    if complaint is not None:
        say(complaint)
        return HeadstartError.exit_code
    return 0
