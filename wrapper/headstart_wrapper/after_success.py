"""What a job is to leave behind when it succeeded, besides what its compiler wrote."""

from __future__ import annotations

import os
import posixpath

from headstart_wrapper import outputs
from headstart_wrapper.errors import RequestError
from headstart_wrapper.job import Job, Phase


def see_to(job: Job, *, root: str) -> None:
    """Copies what is to be copied and makes the file that is to be made; nothing for an early half, which is no end.

    Args:
        job: it succeeded.
        root: the directory that relative paths are relative to.

    Raises:
        RequestError: a file cannot be copied or made; the sentence names the option.
    """
    if job.phase is Phase.EARLY:
        return
    for source, target in job.copies:
        _copy(source, target, root)
    if job.touched is not None:
        _touch(job.touched, root)


def _copy(source: str, target: str, root: str) -> None:
    try:
        outputs.publish(posixpath.join(root, source), posixpath.join(root, target), link=False)
    except OSError as error:
        raise RequestError(
            f"--copy-output {source} {target} cannot be carried out: {error.strerror}; "
            "the first has to be a file that the command wrote, the second a place for it"
        ) from error


def _touch(path: str, root: str) -> None:
    place = posixpath.join(root, path)
    try:
        os.makedirs(posixpath.dirname(place), exist_ok=True)  # noqa: PTH103 - without pathlib
        with open(place, "wb"):  # noqa: PTH123 - likewise
            pass
    except OSError as error:
        raise RequestError(f"the file {path} of --touch-file cannot be made: {error.strerror}") from error
