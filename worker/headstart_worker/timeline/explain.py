"""Builds and compiles explained in sentences: what was waited for, who joined whom, what it cost the build. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from headstart_worker.timeline.critical import Constraint, Critical, Segment, Why
from headstart_worker.timeline.model import Compile, Join, short

_NOTICED: Final = 0.005
"""Seconds from which on something is worth words: half of the last digit that we write."""

_NAMED: Final = 8
"""Compiles that one sentence names; the rest are counted."""


_FEW: Final = 5
"""Compiles that a summary names."""


def find(critical: Critical, wanted: str) -> list[int]:
    """The compiles that a person can mean by a name, a label or part of one, or a job's number."""
    of_each = list(zip(critical.build.compiles, critical.names, strict=True))
    ways: tuple[Callable[[Compile, str], bool], ...] = (
        lambda compile_, name: wanted in {name, compile_.label, short(compile_.label)},
        lambda compile_, _: wanted.removeprefix("#") == str(compile_.job),
        lambda compile_, name: wanted in compile_.label or wanted in name,
    )
    for means in ways:
        if found := [index for index, (compile_, name) in enumerate(of_each) if means(compile_, name)]:
            return found
    return []


def compile_told(critical: Critical, index: int) -> list[str]:
    """Why one compile ran when it did, and what came of it, a sentence each."""
    return [
        _course(critical, index),
        *_waited(critical, index),
        *_requests(critical.build.compiles[index]),
        *_unlocked(critical, index),
        *_cost(critical, index),
    ]


def build_told(critical: Critical) -> list[str]:
    """What a build took, and what its time went into."""
    build, path = critical.build, critical.path
    if not build.compiles:
        return ["The trace has no compile that ended."]
    told = (
        f"{_count(len(build.compiles), 'compile')} in {build.wall:.2f} s: CPU {build.cpu:.2f} s, at most "
        f"{build.peak_compilers} at once, {build.pipelined} with early outputs, {_count(build.joins, 'join')}."
    )
    if critical.knows_needs:
        return [
            told,
            f"The critical path has {_count(len(path), 'compile')}: {_path_parts(path, build.wall)}.",
            f"With a slot for every compile it would have taken {critical.longest_chain:.2f} s at least.",
        ]
    return [told, _NO_NEEDS] if len(build.compiles) > 1 else [told]


def summary_of_delays(critical: Critical) -> str:
    """The compiles that cost the build most, in one sentence; "" where the trace does not tell."""
    named = ", ".join(
        f"{critical.names[index]} by {delay:.2f} s" for delay, index in _delays(critical)[:_FEW]
    )
    return f"What delayed it most: {named}." if named else ""


def delays_told(critical: Critical) -> list[str]:
    """The compiles that delayed the build, a line each with the seconds in front, most first."""
    on_path = {segment.index: segment for segment in critical.path}
    return [
        f"{delay:8.2f}  {critical.names[index]}: {_part(critical, index, on_path.get(index))}"
        for delay, index in _delays(critical)
    ]


def _delays(critical: Critical) -> list[tuple[float, int]]:
    """Seconds and index of every compile that cost the build something to be seen, most first."""
    found = ((blame.delay or 0.0, index) for index, blame in enumerate(critical.blames))
    return sorted((pair for pair in found if pair[0] >= _NOTICED), key=lambda pair: (-pair[0], pair[1]))


_NO_NEEDS: Final = (
    "The trace does not tell what the compiles needed of each other, so only waits for slots are known."
)


def _path_parts(path: Sequence[Segment], wall: float) -> str:
    """Where its seconds went: they add up to the build's."""
    waits: dict[str, float] = defaultdict(float)
    for segment in path:
        waits["compiling"] += segment.seconds
        if segment.why is not None:
            waits["between one and the next"] += segment.lag
    rest = wall - sum(waits.values())
    if rest > _NOTICED:
        waits["before the first of them"] = rest
    return ", ".join(f"{seconds:.2f} s {what}" for what, seconds in waits.items() if seconds > _NOTICED)


def _part(critical: Critical, index: int, segment: Segment | None) -> str:
    seconds = critical.build.compiles[index].seconds
    if segment is None:
        return f"{seconds:.2f} s, slack {critical.blames[index].slack:.2f} s"
    part = f"{segment.seconds:.2f} of its {seconds:.2f} s on the critical path"
    return f"{part}, until {'the end' if segment.why is None else f'its {_GAVE[segment.why]}'}"


_GAVE: Final = {
    Why.EARLY: "early output was there",
    Why.FULL: "full output was there",
    Why.SLOT: "slot was free",
    Why.TOKEN: "jobserver token was free",
    Why.MEMORY: "memory was free",
    Why.TURN: "end",
}


def _course(critical: Critical, index: int) -> str:
    compile_, zero = critical.build.compiles[index], critical.zero
    early = "" if compile_.early is None else f", early output after {compile_.early - compile_.start:.2f} s"
    front = (
        "" if compile_.cpu_early is None else f" ({compile_.cpu_early:.2f} s of it until the early output)"
    )
    failed = f" It failed with exit code {compile_.exit_code}." if compile_.failed else ""
    ended = " It was ended: nobody wanted it any more." if compile_.cancelled else failed
    return (
        f"{critical.names[index]} ran for {compile_.seconds:.2f} s, from {compile_.start - zero:.2f} to "
        f"{compile_.end - zero:.2f} s{early}; CPU {compile_.cpu:.2f} s{front}, peak memory "
        f"{compile_.peak_memory >> 20} MiB.{ended}"
    )


def _waited(critical: Critical, index: int) -> list[str]:
    """From what it needed to its start, in the order of time."""
    build = critical.build
    compile_, zero = build.compiles[index], critical.zero
    constraints = critical.constraints[index]
    needs = sorted(
        (held for held in constraints if held.why in {Why.EARLY, Why.FULL}), key=lambda held: -held.at
    )
    told = []
    if needs:
        last = needs[0]
        others = ""
        if len(needs) > 1:
            others = (
                f", last of the {len(needs)} that it needed ({_name(critical, needs[1])} came "
                f"{last.at - needs[1].at:.2f} s before)"
            )
        told.append(
            f"It needed the {last.why} of {_name(critical, last)}, there at {last.at - zero:.2f} s{others}."
        )
        asked = compile_.queued - compile_.staging - last.at
        if asked > _NOTICED:
            told.append(f"The host asked for it {asked:.2f} s later.")
    elif critical.knows_needs:
        told.append("It needed nothing that this worker had made.")
    elif len(build.compiles) > 1:
        told.append(_NO_NEEDS)
    if compile_.staging > _NOTICED:
        told.append(f"Bringing its inputs to its private root took {compile_.staging:.2f} s.")
    queued = compile_.start - compile_.queued
    if queued > _NOTICED:
        turn = next((held for held in constraints if held.why not in {Why.EARLY, Why.FULL}), None)
        told.append(f"It waited {queued:.2f} s {_turn(critical, turn)}.")
    elif len(build.compiles) > 1:
        told.append("It got a slot at once.")
    if compile_.spawned is not None and compile_.spawned - compile_.start > _NOTICED:
        told.append(f"Starting its process took {compile_.spawned - compile_.start:.2f} s.")
    return told


def _turn(critical: Critical, turn: Constraint | None) -> str:
    if turn is None:
        return "for its turn, and the trace does not tell why"
    until = f"{turn.at - critical.zero:.2f} s"
    match turn.why:
        case Why.SLOT:
            return f"for its slot, which {_name(critical, turn)} held until {until}"
        case Why.TOKEN:
            return f"for a jobserver token though a slot was free; {_name(critical, turn)} ended at {until}"
        case Why.MEMORY:
            return f"for memory though a slot was free; {_name(critical, turn)} ended at {until}"
        case _:
            return f"for its turn, which came when {_name(critical, turn)} had ended at {until}"


def _name(critical: Critical, held: Constraint) -> str:
    return critical.names[held.of]


def _requests(compile_: Compile) -> list[str]:
    told = [_joined(compile_, join) for join in compile_.joined]
    if compile_.alone:
        told.append(f"It joined nothing: {compile_.alone.rstrip('.')}.")
    if compile_.publishing > _NOTICED:
        told.append(f"Bringing its outputs to their places took {compile_.publishing:.2f} s.")
    return told


def _joined(compile_: Compile, join: Join) -> str:
    if join.at < compile_.start:
        return f"The {join.want} request joined it while it waited."
    if join.at <= compile_.end:
        return f"The {join.want} request joined it {join.at - compile_.start:.2f} s after its start."
    return f"The {join.want} request took what it had made, {join.at - compile_.end:.2f} s after its end."


def _unlocked(critical: Critical, index: int) -> list[str]:
    by_why: dict[Why, list[str]] = defaultdict(list)
    for other in critical.unlocked.get(index, []):
        held = critical.held_by[other]
        if held is not None:
            by_why[held.why].append(critical.names[other])
    return [f"Its {_GAVE[why].split(' was')[0]} let start: {_list(names)}." for why, names in by_why.items()]


def _cost(critical: Critical, index: int) -> list[str]:
    if not critical.knows_needs:
        return []
    blame = critical.blames[index]
    told = (
        "It is on the critical path."
        if index in critical.on_path
        else f"It is not on the critical path: in this schedule it could have taken {blame.slack:.2f} s longer."
    )
    if blame.delay is None:
        return [told]
    return [told, f"Had it taken no time, the build would have ended {blame.delay:.2f} s sooner."]


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
