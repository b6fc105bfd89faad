"""Options that do not go together: each pair with the sentence that says why, and what to do.

Not here: options that mean nothing without another one and do no harm (`--stats-format` without `--stats`), because a
variable may give them to every job.
"""

from __future__ import annotations

from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Phase, Sandbox
from headstart_wrapper.option_values import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from headstart_wrapper.job import Job


def refuse(job: Job, trace: str | None = None) -> None:
    """Looks at all options of a job together.

    Args:
        job: what they make.
        trace: where its trace goes.

    Raises:
        RequestError: two of them contradict each other, or one lacks the other that gives it a meaning.
    """
    if job.phase and not job.early_outputs:
        raise RequestError(f"--phase={job.phase} needs at least one --early-output=PATH")
    if job.stop_after_early and job.phase is not Phase.EARLY:
        raise RequestError("--stop-after-early goes with --phase=early")
    for name, value in (
        ("--on-early", job.on_early),
        ("--early-fifo", job.early_fifo),
        ("--early-fd", job.early_fd),
    ):
        if value is not None and not job.early_outputs:
            raise RequestError(
                f"{name} tells when early outputs are complete; name them with --early-output=PATH"
            )
        if value is not None and job.phase is Phase.FULL:
            raise RequestError(
                f"{name} has nothing to tell in a full half, which comes after the early one; "
                "give it with --phase=early, or without --phase"
            )
    if job.quit_on_rmeta and job.phase is Phase.FULL:
        raise RequestError(
            "--rustc-quit-on-rmeta ends rustc at its metadata, and --phase=full wants all that it makes; give one of them"
        )
    for name, path in (("--stdout", job.stdout), ("--stderr", job.stderr), ("--output-file", job.raw_stderr)):
        if path is not None and job.phase:
            raise RequestError(
                f"{name} has no place beside --phase={job.phase}: one compiler writes for both halves; each half's answer has its text"
            )
    if job.trace_files and job.check is not Sandbox.AUDIT:
        raise RequestError(f"--trace-files goes with --sandbox=audit, and this job has --sandbox={job.check}")
    _refuse_shared_files(job, trace)


def _refuse_shared_files(job: Job, trace: str | None) -> None:
    """Two things that we write into one file would overwrite each other; stdout and stderr share one well."""
    named: dict[str, str] = {}
    for name, path in _written_files(job, trace):
        other = named.setdefault(path, name)
        if other != name and (other, name) != ("--stdout", "--stderr") and not path.startswith("/dev/"):
            raise RequestError(f"{other} and {name} name one file, {shown(path)}; give each its own")


def _written_files(job: Job, trace: str | None) -> Iterator[tuple[str, str]]:
    for name, path in (
        ("--stdout", job.stdout),
        ("--stderr", job.stderr),
        ("--output-file", job.raw_stderr),
        ("--stats", job.stats),
        ("--touch-file", job.touched),
        ("--early-fifo", job.early_fifo),
        ("--trace", trace),
    ):
        if path is not None:
            yield name, path
    yield from (("--copy-output", target) for _, target in job.copies)
