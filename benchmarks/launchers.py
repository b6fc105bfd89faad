"""Measures programs in front of a command, ours among them: what they add to its time, and what of them stays in memory beside it.

    benchmarks/launchers.py [--rounds=40]

Ours is measured as pip installs it. Programs take turns, and each time is compared with that of the bare command in the same round. Not
for builds: that is `builds.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import measure
import programs
from installed import installed
from measure import Run, Sample
from programs import Front
from residents import JOBS, Resident, beside

RESULTS = Path(__file__).parent / "results"

TRUE: Final = "true"
COMPILER: Final = "rustc -vV"
"""What Cargo asks first: the shortest run of a real compiler."""
INTERPRETER: Final = "python3 -I -S -c pass"

MOST_SECONDS: Final = 0.010
MOST_OVER_INTERPRETER: Final = 0.003
"""What `process-wrapper -- true` may take more than `true`: the first, or what the interpreter takes and this, whichever is larger."""

MOST_BYTES: Final = 12_000_000
"""What may be resident for a command with statistics, over what a spawner in Python needs at least."""


def main() -> None:
    """Runs everything and writes `results/launchers.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40, help="how often each program is started (40)")
    parser.add_argument("--output", type=Path, default=RESULTS / "launchers.json", help="file to write")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be at least 2: one measurement has no spread")
    before = measure.load()
    with installed() as bin_, tempfile.TemporaryDirectory(prefix="headstart-launchers-") as scratch:
        fronts = programs.fronts(bin_, Path(scratch))
        cases, bases = _cases(fronts, bin_)
        started = _compared(measure.interleaved(cases, rounds=options.rounds, warm_up=3), bases)
        residents = [beside(front, Path(scratch)) for front in fronts if front.words]
    verdicts = {"time": [*_verdicts_on_time(started)], "memory": [*_verdicts_on_memory(residents)]}
    _tell(started, residents, [*verdicts["time"], *verdicts["memory"]])
    result = {
        "machine": measure.machine(),
        "load_before": before,
        "load_after": measure.load(),
        "command": f"benchmarks/launchers.py --rounds={options.rounds}",
        "programs": started,
        "memory": [resident.export() for resident in residents],
        "verdicts": verdicts,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\nload {before} before, {result['load_after']} after; written to {options.output}")


def _cases(fronts: Sequence[Front], bin_: Path) -> tuple[dict[str, Callable[[], Run]], dict[str, str]]:
    """Everything to run, by what a person would type, and for each the bare command that it is compared with."""
    true, compiler = programs.which("true"), programs.which("rustc")
    wrapper = str(bin_ / "process-wrapper")
    commands: dict[str, tuple[Sequence[str], str]] = {
        front.before(TRUE): ((*front.words, true), TRUE) for front in fronts
    }
    commands[INTERPRETER] = (str(bin_ / "python"), "-I", "-S", "-c", "pass"), TRUE
    commands[COMPILER] = (compiler, "-vV"), COMPILER
    commands[f"process-wrapper {COMPILER}"] = (wrapper, compiler, "-vV"), COMPILER
    return (
        {name: partial(programs.run, command) for name, (command, _) in commands.items()},
        {name: base for name, (_, base) in commands.items()},
    )


def _compared(samples: Sequence[Sample], bases: dict[str, str]) -> list[dict[str, Any]]:
    by_name = {sample.command: sample for sample in samples}
    return [
        {
            **sample.export(),
            "base": bases[sample.command],
            "more": measure.more(sample, by_name[bases[sample.command]]),
        }
        for sample in samples
    ]


def _verdicts_on_time(started: Sequence[dict[str, Any]]) -> Iterator[str]:
    more = {one["command"]: one["more"]["median"] for one in started}
    interpreter = more[INTERPRETER]
    most = max(MOST_SECONDS, interpreter + MOST_OVER_INTERPRETER)
    for front in (programs.WRAPPER, programs.LAUNCHER):
        ours = more[f"{front} {TRUE}"]
        within = "within" if ours <= most else "NOT within"
        yield (
            f"`{front} {TRUE}` takes {ours * 1e3:.1f} ms more than `{TRUE}`, {within} the {most * 1e3:.1f} ms that we allow it; "
            f"the interpreter alone takes {interpreter * 1e3:.1f} ms more."
        )


def _verdicts_on_memory(residents: Sequence[Resident]) -> Iterator[str]:
    by_name = {resident.front: resident for resident in residents}
    becomes, stays, floor = (
        by_name[name] for name in (programs.WRAPPER, programs.STATISTICS, programs.FLOOR)
    )
    left = "nothing" if not becomes.processes else f"{becomes.processes:g} processes"
    over = stays.rss - floor.rss
    within = "within" if over <= MOST_BYTES else "NOT within"
    yield f"`{programs.WRAPPER}` with nothing to do afterwards leaves {left} beside the command."
    yield (
        f"With statistics {stays.rss / 1e6:.1f} MB are resident for each of {JOBS} commands, {over / 1e6:.1f} MB more than for the "
        f"least spawner in Python, {within} the {MOST_BYTES / 1e6:.0f} MB that we allow it."
    )


def _tell(started: Sequence[dict[str, Any]], residents: Sequence[Resident], verdicts: Sequence[str]) -> None:
    width = max(len(one["command"]) for one in started) + 2
    print(f"\n{'the whole run':{width}}{'median':>11}{'p10':>11}{'more than the bare command':>30}")
    for one in started:
        more = one["more"]
        spread = f"{more['median'] * 1e3:+.2f} ({more['q1'] * 1e3:+.2f} to {more['q3'] * 1e3:+.2f}) ms"
        print(f"{one['command']:{width}}{one['median'] * 1e3:8.2f} ms{one['p10'] * 1e3:8.2f} ms{spread:>30}")
    print(f"\n{f'beside each of {JOBS} commands':{width}}{'processes':>11}{'RSS':>11}{'USS':>11}{'PSS':>11}")
    for resident in residents:
        sizes = "".join(f"{size / 1e6:8.1f} MB" for size in (resident.rss, resident.uss, resident.pss))
        print(f"{resident.front:{width}}{resident.processes:>11g}{sizes}")
    print("\n" + "\n".join(verdicts))


if __name__ == "__main__":
    main()
