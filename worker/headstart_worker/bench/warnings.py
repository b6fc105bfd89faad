"""What a reader of figures must know of how they were taken. Pure: it is given the machine's condition and the builds.

Each warning says what was seen and what to do about it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from headstart_worker.bench.records import Experiment
from headstart_worker.bench.verdicts import COVERAGE, ENOUGH

BUSY_LOAD: Final = 0.25
"""Load for each core: a quarter of a core that somebody else has moves a build's time by more than modes differ."""

BUSY_PRESSURE: Final = 5.0
"""Percent of time in which something waits for a core; an idle machine shows less than 1."""

SPREAD: Final = 0.05
"""Standard deviation in units of the mean: what modes differ by on most graphs."""

STOLEN: Final = 0.01
"""Part of the processors' time: as large as what tracing or a worker may cost."""

SHORT: Final = 1.0
"""Seconds: below that, a build tells of the start of processes more than of what compilers do."""


@frozen
class Condition:
    """The state of the machine at one moment; None wherever it does not tell.

    Attributes:
        cores: that this process may use.
        load: the load average of the last minute.
        pressure: percent of the last ten seconds in which something that could run waited for a core.
        governor: how the kernel chooses the cores' clock: "performance", "powersave" and so on; several, joined by commas.
        boost: True when a core may run above its nominal clock for a while (turbo).
    """

    cores: int
    load: float
    pressure: float | None = None
    governor: str | None = None
    boost: bool | None = None

    def export(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def warnings(before: Condition, experiments: Sequence[Experiment]) -> tuple[str, ...]:
    """Sentences without a full stop.

    Args:
        before: the machine before the first build.
        experiments: what was measured then.
    """
    of_machine = _machine(before, experiments)
    of_builds = (told for experiment in experiments for told in _builds(experiment))
    return tuple(dict.fromkeys((*of_machine, *of_builds)))


def _machine(before: Condition, experiments: Sequence[Experiment]) -> Iterator[str]:
    busy = []
    if before.load > BUSY_LOAD * before.cores:
        busy.append(f"load {before.load:.1f} on {_count(before.cores, 'core')}")
    if before.pressure is not None and before.pressure > BUSY_PRESSURE:
        busy.append(f"something waited for a core during {before.pressure:.0f} % of the last ten seconds")
    if busy:
        yield f"the machine was busy before the first build ({', '.join(busy)}): stop what else runs, and measure again"
    if before.cores == 1:
        yield "there is one core: compilers cannot run at once, so no pipelining can gain wall time here"
    if before.boost:
        yield (
            "cores may run above their nominal clock (turbo), less so when several are busy or hot: "
            "turn it off in the firmware or through /sys/devices/system/cpu to compare small differences"
        )
    if before.governor not in {None, "performance"}:
        yield (
            f"the clock of the cores follows the load (governor {before.governor}): "
            "`cpupower frequency-set -g performance` fixes it"
        )
    if most := max((one.jobs for one in experiments if one.jobs > before.cores), default=0):
        yield (
            f"{most} jobs share {_count(before.cores, 'core')}: compilers wait for one another there, and more jobs show "
            "no more than that"
        )


def _builds(experiment: Experiment) -> Iterator[str]:
    fewest = min((len(experiment.of(mode)) for mode in experiment.modes), default=0)
    if 0 < fewest < ENOUGH:
        yield (
            f"{_count(fewest, 'run')} of each mode tell no difference from chance: --rounds={ENOUGH} gives intervals "
            f"that hold the median in {100 * COVERAGE:g} % of cases"
        )
    stolen = max((one.stolen for one in experiment.taken if one.stolen is not None), default=0.0)
    if stolen > STOLEN:
        yield (
            f"{experiment.name}: the host of this virtual machine took up to {100 * stolen:.0f} % of its processors' time "
            "during a build: measure when it is quiet, or on a machine of your own"
        )
    if wide := list(_spreads(experiment)):
        # What was just said is the likely cause; the advice that would come next is said once.
        advice = (
            "" if stolen > STOLEN else ": something else ran at times; measure again, or with more --rounds"
        )
        yield f"{experiment.name}: times are spread widely ({', '.join(wide)}){advice}"
    if short := [mode for mode in experiment.modes if _median(experiment, mode) < SHORT]:
        yield (
            f"{experiment.name}: builds of less than a second ({', '.join(short)}) tell of the start of processes more "
            "than of compiling: take a larger workspace"
        )


def _spreads(experiment: Experiment) -> Iterable[str]:
    for mode in experiment.modes:
        walls = [one.wall for one in experiment.of(mode)]
        if len(walls) > 1 and (spread := statistics.stdev(walls) / statistics.fmean(walls)) > SPREAD:
            yield f"{mode} {100 * spread:.0f} %"


def _median(experiment: Experiment, mode: str) -> float:
    return statistics.median(one.wall for one in experiment.of(mode))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s'[: number != 1]}"
