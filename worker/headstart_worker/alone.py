"""Why a request for a half of a job got a compiler of its own, in words.

An early request that is the first to come for its outputs has nothing to join: that is how every job begins, and not worth
a word. Pure.
"""

from __future__ import annotations

from headstart_worker.identity import Identity
from headstart_worker.pipeline_states import JobId, Obstacle, Want


def reason(
    want: Want, obstacle: Obstacle, job: JobId | None, mine: Identity | None, other: Identity | None
) -> str:
    """One sentence without a full stop; "" where nothing else was to be expected.

    Args:
        want: the half that is asked for.
        obstacle: why it joins nothing.
        job: whose job is in its way.
        mine: of the request.
        other: of that job.
    """
    match obstacle:
        case Obstacle.NOTHING_RAN if want is Want.EARLY:
            return ""
        case Obstacle.NOTHING_RAN:
            return "nothing ran for these outputs in this worker, or both halves have been answered from it already"
        case Obstacle.ENDING:
            return f"job {job}, the same work, is being ended because nobody wanted it any more"
        case Obstacle.FAILED_BEFORE:
            return f"job {job}, the same work, has failed, and this half has been told so: it is tried anew"
        case Obstacle.OTHER_WRITES:
            return f"job {job}, other work, may still write one of its outputs: who joined would get these"
        case Obstacle.OTHER:
            difference = mine.differs_from(other) if mine and other else "one of them is never joined"
            return f"job {job} for the same outputs is other work: {difference}"
