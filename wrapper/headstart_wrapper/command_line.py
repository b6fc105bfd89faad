"""The command line of one job on its own: read, and carried out in the cheapest way that does all of it.

When nothing is left to do after the compiler, this process becomes it (`tail`); else it stays (`standalone`). Imports
neither trio nor protobuf nor attrs: its start is part of every job's time.
"""

from __future__ import annotations

import os

from headstart_wrapper import environment, params_files, programs, tail
from headstart_wrapper import options as grammar
from headstart_wrapper.console import answer, say
from headstart_wrapper.errors import HeadstartError, RequestError
from headstart_wrapper.variables import from_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headstart_wrapper.job import Job
    from headstart_wrapper.options import Options


def read_params(path: str) -> str:
    """Reads a params file: raw, a carriage return is part of its line. Its words are the same bytes in every locale."""
    with open(path, "rb") as file:  # noqa: PTH123 - without pathlib
        data = file.read()
    data.decode("utf-8")
    return environment.text(data)


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit code, or does not return: it becomes the compiler, or dies by its signal."""
    try:
        variables = environment.inherited()
        options = grammar.parse(
            params_files.expand(arguments, read_params, arity=grammar.arity),
            base=from_variables(variables),
        )
        if options.help or options.version:
            _show(options)
            return 0
        if options.persistent_worker:
            raise RequestError("--persistent_worker stands in a params file; give it on the command line")
        job = grammar.check(options)
        return _carry_out(job, variables, options.trace)
    except HeadstartError as error:
        say(str(error))
        return error.exit_code


def _show(options: Options) -> None:
    if options.help:
        from headstart_wrapper import manual  # noqa: PLC0415 - a job does not wait for it

        answer(manual.brief() if options.short_help else manual.usage())
        return
    import importlib.metadata  # noqa: PLC0415 - likewise

    answer(f"process-wrapper {importlib.metadata.version('headstart')}\n")


def _carry_out(job: Job, variables: Mapping[str, str], trace: str | None) -> int:
    if not job.is_settled:
        from headstart_wrapper.job_files import settled  # noqa: PLC0415 - few jobs need it
        from headstart_wrapper.surroundings import Surroundings  # noqa: PLC0415 - likewise

        job = settled(job, variables, Surroundings(_directory()))
    reason = tail.reason_to_stay(job) or ("--trace" if trace else None)
    if reason is None and programs.is_left_alone(job.dialect or programs.spoken_by(job.command), job.command):
        tail.become_job(job, variables)
    from headstart_wrapper import standalone  # noqa: PLC0415 - a job that we become does not wait for it

    return standalone.run(job, cwd=_directory(), variables=variables, reason=reason, trace=trace)


def _directory() -> str:
    """This process's directory; who becomes the compiler in one that is gone does not need its name."""
    try:
        return os.getcwd()  # noqa: PTH109 - without pathlib
    except OSError as error:
        raise RequestError(
            f"the working directory does not exist any more ({error.strerror}); change into one that does"
        ) from error
