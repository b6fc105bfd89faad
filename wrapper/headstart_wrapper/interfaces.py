"""What a run's early outputs have to agree with: what dependents were built with, what was published early, what its own archive embeds.

An *interface* is what dependents take from an early output. One that changes after somebody has read it is worse than none, so each is
remembered when it is told, and compared at the end. Not here: when that is (`run`).
"""

from __future__ import annotations

import os
import posixpath

from headstart_wrapper import elf
from headstart_wrapper.errors import InterfaceChangedError, RequestError
from headstart_wrapper.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headstart_wrapper.dialects import Plan
    from headstart_wrapper.job import Job


@final
class Interfaces:
    """Those of one run."""

    def __init__(self, job: Job, plan: Plan, directory: str, *, used: Sequence[str], pipelined: bool) -> None:
        """Reads nothing yet.

        Args:
            job: what is run.
            plan: what its dialect makes of it.
            directory: where its command runs.
            used: early outputs that dependents were built with already: what this run makes must agree with them.
            pipelined: the job may be answered early.
        """
        self._job = job
        self._final = plan.final_metadata
        self._plan = plan
        self._directory = directory
        self._pipelined = pipelined
        self._used = tuple(used)
        self._of_dependents: dict[str, bytes] | None = None
        self._told: dict[str, bytes] | None = None

    def _place(self, output: str) -> str:
        return self._plan.written(output, self._directory)

    def own(self) -> Iterator[str]:
        """The early outputs that this command makes: not one that another command made (the hollow mode's full half)."""
        return (output for output in self._job.early_outputs if self._is_own(output))

    def _is_own(self, output: str) -> bool:
        return self._job.phase is None or not self._plan.places or self._plan.private(output) is not None

    def look_around(self, directory: str) -> None:
        """Takes in what dependents were built with, from the directory where it is now; the first look counts.

        Raises:
            InterfaceChangedError: it is no interface.
        """
        if self._of_dependents is None:
            used = {output: posixpath.join(directory, output) for output in self._used}
            self._of_dependents = {
                output: _interface(path)
                for output, path in used.items()
                if os.path.isfile(path)  # noqa: PTH113 - hot path
            }

    def tell(self) -> bool:
        """Remembers the early outputs, which are complete; False: one is empty, and nothing may be told."""
        places = {output: self._place(output) for output in self._job.early_outputs}
        # rustc writes empty metadata for crates that cannot be pipelined; an empty early output is none.
        if not all(os.path.getsize(place) for place in places.values()):  # noqa: PTH202 - plain strings
            return False
        self._told = {output: _interface(place) for output, place in places.items()}
        return True

    @property
    def are_told(self) -> bool:
        """They were told to be complete."""
        return self._told is not None

    def check(self) -> None:
        """After success: the early outputs are there, agree with the final ones, and are what dependents know.

        Raises:
            InterfaceChangedError: they are not.
            RequestError: the command did not write one.
        """
        for output in self.own():
            if not os.path.isfile(self._place(output)):  # noqa: PTH113 - hot path
                raise RequestError(
                    f"the command succeeded but did not write its early output {output}; declare the path that it writes"
                )
        for output, told in (self._told or {}).items():
            if _interface(self._place(output)) != told:
                raise InterfaceChangedError(
                    f"{output} changed after it was published, so dependents may have read the older one; "
                    "this command cannot be pipelined"
                )
        if self._final and self._pipelined:
            for output in self.own():
                if not elf.agree(self._place(output), self._place(self._final)):
                    raise InterfaceChangedError(
                        f"{output} and the metadata inside {self._final} disagree; the compiler broke its contract, "
                        "build this crate without pipelining"
                    )
        for output, expected in (self._of_dependents or {}).items():
            made = self._place(output if self._is_own(output) else self._final or output)
            if _interface(made) != expected:
                raise InterfaceChangedError(
                    f"{output}, which dependents were built with, differs from what this run of the compiler made; "
                    "its output is not deterministic: pipeline it in one process (worker mode) or not at all"
                )


def _interface(path: str) -> bytes:
    """The metadata in an archive, else all of the file."""
    if path.endswith(".rlib"):
        return elf.embedded_metadata(path)
    from blake3 import blake3  # noqa: PLC0415 - for pipelined jobs only

    with open(path, "rb") as file:  # noqa: PTH123 - hot path
        return blake3(file.read()).digest()
