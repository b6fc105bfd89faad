"""Runs all the ways, and decides what their differences mean.

A compiler that gives other bytes each time is told by plain runs: the first and the last of all, as far apart in time as can be;
and some more before a difference is blamed on us.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, final

from attrs import evolve, field, frozen

from headstart_worker.verify.comparison import Difference, Made, differences
from headstart_worker.verify.copies import Source
from headstart_worker.verify.request import Request
from headstart_worker.verify.ways import ELSEWHERE, HERE, Pipelining, Ways
from headstart_wrapper import dialects
from headstart_wrapper.dialects import EarlySignal, Plan
from headstart_wrapper.dialects.base import place
from headstart_wrapper.errors import MachineError, RequestError
from headstart_wrapper.job_files import settled
from headstart_wrapper.surroundings import Surroundings

_MORE_PLAIN_RUNS: Final = 2
"""Before a difference is blamed on us: a compiler that tosses a coin is caught in seven of eight cases."""


_COPIED: Final = "copied directory"


class Verdict(StrEnum):
    """What all of it means."""

    EQUAL = "equal"
    DIFFERS = "differs"
    NOT_DETERMINISTIC = "not deterministic"


@frozen
class Way:
    """One way, and what came of it.

    Attributes:
        title: what it is.
        made: None when it was not run.
        differences: from the first plain run.
        skipped: why it was not run; "".
    """

    title: str
    made: Made | None = None
    differences: tuple[Difference, ...] = ()
    skipped: str = ""

    @property
    def blamed(self) -> bool:
        """True when it differs in something in which plain runs agree."""
        return any(not difference.excused for difference in self.differences)

    @property
    def unexplained(self) -> bool:
        """True when that is not told by the name of the directory."""
        return any(
            not difference.excused and not difference.names_directory for difference in self.differences
        )


@frozen
class Verification:
    """All of it.

    Attributes:
        request: what was asked.
        dialect: of the command.
        outputs: what the plain run wrote.
        told_by: how these are known.
        ways: in the order in which they were run.
        notes: sentences for a person.
    """

    request: Request
    dialect: str
    outputs: tuple[str, ...]
    told_by: str
    ways: tuple[Way, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """What all of it means."""
        if any(way.blamed for way in self.ways):
            return Verdict.DIFFERS
        return Verdict.NOT_DETERMINISTIC if any(way.differences for way in self.ways) else Verdict.EQUAL


@final
class Verifier:
    """One verification from start to end."""

    def __init__(self, request: Request, source: Source, ways: Ways, progress: Callable[[str], None]) -> None:
        self._request = request
        self._source = source
        self._ways = ways
        self._progress = progress
        self._done: list[Way] = []
        self._plain: list[Made] = []
        self._notes: list[str] = []

    async def run(self) -> Verification:
        """Runs everything.

        Raises:
            HeadstartError: it cannot be run at all, or the command reached the user's own directory.
        """
        request = self._request
        dialect = dialects.find(request.job.dialect, request.job.command)
        plain = await self._run_plain("plain")
        if self._source.left_out:
            self._notes.append(f"not copied, because they are no files: {', '.join(self._source.left_out)}")
        written = tuple(sorted(name for name, kept in plain.files.items() if kept.kind != "gone"))
        if plain.exit_code:
            self._notes.append(
                f"the command fails by itself, with exit code {plain.exit_code}: there are no outputs to compare"
            )
        await self._run("standalone", self._ways.standalone)
        await self._run("standalone (stays)", lambda: self._ways.standalone("--stay"))
        for protocol in ("proto", "json"):
            await self._run(f"worker ({protocol})", lambda p=protocol: self._ways.worker(p))  # type: ignore[misc]
        await self._run_pipelined(written)
        await self._run(_COPIED, lambda: self._ways.standalone(where=ELSEWHERE), where=ELSEWHERE)
        await self._run_plain("plain again")
        for _ in range(_MORE_PLAIN_RUNS):
            if any(way.unexplained for way in self._judged()):
                await self._run_plain(f"plain, run {len(self._plain) + 1}")
        ways = self._judged()
        await self._explain(ways)
        return Verification(
            request=request,
            dialect=dialect.name,
            outputs=written,
            told_by=self._told_by(),
            ways=ways,
            notes=tuple(self._notes),
        )

    async def _run_plain(self, title: str) -> Made:
        made = await self._run(title, self._ways.plain)
        self._plain.append(made)
        return made

    async def _run(self, title: str, way: Callable[[], Awaitable[Made]], *, where: str = HERE) -> Made:
        self._progress(title)
        try:
            made = await way()
        finally:
            touched = self._source.touched()
        if touched is not None:
            raise MachineError(
                f"{os.path.join(self._request.root, touched)} changed while a copy of its directory was used ({title}): "  # noqa: PTH118 - text
                "the command reaches it by its absolute path, or somebody else is at work there"
            )
        reference = self._plain[0] if self._plain else made
        found = tuple(
            differences(reference, made, elsewhere=None if where == HERE else self._ways.top(where))
        )
        self._done.append(Way(title, made, found))
        return made

    async def _run_pipelined(self, written: tuple[str, ...]) -> None:
        titles = ("standalone (pipelined)", "worker (pipelined)")
        declared, reason = self._pipelining(written)
        if declared is None:
            self._done += [Way(title, skipped=reason) for title in titles]
            return
        await self._run(titles[0], lambda: self._ways.pipelined(declared))
        await self._run(titles[1], lambda: self._ways.halves("proto", declared))

    def _pipelining(self, written: tuple[str, ...]) -> tuple[Pipelining | None, str]:
        """What a pipelined run is to declare; or why it cannot be pipelined."""
        job = self._request.job
        if job.early_outputs:
            plan = self._plan(job.early_outputs)
            early = {place(path, str(self._request.cwd)) for path in job.early_outputs}
        else:
            plan = self._plan(())
            early = set()
        inside = [self._relative(name) for name in written]
        if not job.early_outputs:
            found = tuple(name for name in inside if self._is_told_early(name, plan))
            if not found:
                why = plan.note or "the command wrote nothing that its compiler tells complete before its end"
                return None, f"{why}; declare an early output with --early-output=PATH"
            return Pipelining(found, tuple(name for name in inside if name not in found)), ""
        if plan.early_signal is EarlySignal.NONE:
            return None, plan.note or "its early outputs cannot be told complete before its end"
        rest = tuple(name for name in inside if place(name, str(self._request.cwd)) not in early)
        return Pipelining((), rest), ""

    def _relative(self, name: str) -> str:
        """A path below the copied directory, as the job's directory sees it."""
        below = self._request.cwd.relative_to(self._request.root)
        return posixpath.relpath(name, str(below))

    def _is_told_early(self, name: str, plan: Plan) -> bool:
        texts = {place(text) for text in plan.text_outputs}
        try:
            return self._plan((name,)).early_signal is EarlySignal.LINES and place(name) not in texts
        except RequestError:  # the command cannot do that for this file
            return False

    def _plan(self, early: tuple[str, ...]) -> Plan:
        job, cwd = self._request.job, str(self._request.cwd)
        return dialects.find(job.dialect, job.command).plan(
            settled(job, {}, Surroundings(cwd)).command,
            early_outputs=early,
            pipelined=bool(early),
            stage=None,
            read=lambda path: self._request.cwd.joinpath(path).read_bytes().decode("utf-8"),
            directory=cwd,
        )

    def _told_by(self) -> str:
        if self._request.job.outputs or self._request.job.early_outputs:
            return "declared by --output and --early-output, and found by a listing before and after"
        return "found by a listing before and after the plain run"

    def _judged(self) -> tuple[Way, ...]:
        """The ways, with the differences excused in which plain runs differ among themselves."""
        first, *others = self._plain
        loose = {difference.subject for other in others for difference in differences(first, other)}
        if {"stdout", "stderr"} & loose:
            loose.add("output")
        return tuple(
            evolve(
                way,
                differences=tuple(evolve(each, excused=each.subject in loose) for each in way.differences),
            )
            for way in self._done
        )

    async def _explain(self, ways: tuple[Way, ...]) -> None:
        blamed = {way.title: way for way in ways if way.blamed}
        loose = sorted(
            {each.subject for way in ways for each in way.differences if each.excused} - {"output"}
        )
        if loose:
            self._notes.append(
                f"the compiler itself is not deterministic: plain runs of it differ in {', '.join(loose)}; "
                "that is no difference of ours"
            )
        if set(blamed) == {_COPIED} or any(each.names_directory for way in ways for each in way.differences):
            self._notes.append(
                "the outputs depend on the name of the directory that they are made in; the wrapper has no part in that "
                "(compilers have options against it: -ffile-prefix-map, --remap-path-prefix)"
            )
        standalone = blamed.get("standalone")
        plan = self._plan(())
        if (
            standalone is not None
            and standalone.made is not None
            and plan.command != self._request.job.command
        ):
            added = [word for word in plan.command if word not in self._request.job.command]
            alone = await self._ways.plain(self._ways.moved(plan.command))
            same = all(each.subject in {"stdout", "stderr"} for each in differences(alone, standalone.made))
            if same:
                self._notes.append(
                    f"the difference is made by words that the dialect adds to the command, in every way alike: {shlex.join(added)}; "
                    "with them in your command every way makes the same bytes"
                )
