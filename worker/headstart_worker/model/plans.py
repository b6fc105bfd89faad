"""What a build is made of, as the model sees it: costs of units, a machine, and the actions that a mode makes of a unit.

    unit + mode + machine ─→ actions, each a request and the steps of the compiler that it starts

What is assumed of a compile:

- It is three steps, one after the other: the front end on one thread, until the interface is written; codegen on up to `width`
  threads; the link, or the packing of a library, on one.
- What the halves of `two_invocation` and `hollow` do before their early output costs as much as the front end of the whole run. Their
  early halves are charged the whole compile's memory, which is too much.
- A mode changes nothing else: a compile that reads metadata costs as much as one that reads libraries.

What is assumed of remote executors: each action has one to itself, whose cores nobody shares. It begins with a latency and with
the transfer of its inputs, and ends with that of its outputs; transfers do not slow each other down. There is no background work
there: in mode worker each half runs the whole compiler, the early one to its end. Pure; what a build of it takes is `simulation`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

from headstart_worker.cargo.commands import Mode, Phase

REQUESTS_PER_JOB: Final = 4
"""Requests that our hosts have in flight for each job: early answers come while compilers still run, so more than the worker runs compilers."""


@frozen
class Cost:
    """What one unit's compile costs.

    Attributes:
        name: the unit's.
        needs: names of the units whose outputs it reads.
        is_library: others can be compiled against its metadata.
        front: processor seconds until its early output is complete.
        codegen: processor seconds of codegen.
        link: processor seconds after that.
        width: the most threads that codegen can keep busy, a mean.
        memory: bytes, at the peak.
        sources, metadata, code: sizes in bytes of what it reads of its own and of what it makes; they matter to remote executors.
    """

    name: str
    needs: tuple[str, ...]
    is_library: bool
    front: float
    codegen: float
    link: float
    width: float
    memory: int
    sources: int = 0
    metadata: int = 0
    code: int = 0

    @property
    def work(self) -> float:
        """Processor seconds of one whole run."""
        return self.front + self.codegen + self.link

    def scaled(self, factor: float) -> Cost:
        """The same with all times multiplied."""
        return evolve(self, front=self.front * factor, codegen=self.codegen * factor, link=self.link * factor)


@frozen
class Remote:
    """Remote executors.

    Attributes:
        latency: seconds that an action takes beyond its own work and its transfers.
        bandwidth: bytes per second, to and from an executor.
        cores: of one executor.
    """

    latency: float
    bandwidth: float
    cores: int = 2


@frozen
class Machine:
    """Where a build runs.

    Attributes:
        cores: processors. Without meaning where executors are remote.
        jobs: compilers at once, and threads of all of them together (jobserver tokens); with remote executors, actions at once.
        pace: wall seconds for one second of processor time of a thread that has a core, when `crowd` cores are busy: what it waits for its
            turn, for files, and for the machine's other work. A thread alone among several cores finds one free and waits for nobody; in
            between the waits grow evenly, beyond they do not. What threads of remote executors wait is not known, and taken for nothing.
        crowding: how much more processor time the same work takes when `crowd` cores are busy than when one is, likewise: 0.1 is a tenth more.
        crowd: see above.
        request: processor seconds of host and worker for each request, beside the compilers.
        in_flight: unanswered requests that the host allows itself; None: four a job.
        remote: executors; None: everything runs here.
        ordered: the full half of `two_invocation` and `hollow` is sent when the early one was answered, as by the embedded host and by
            Bazel with our rules, where it has the early output among its inputs. False: both are sent at once, as rules_rust does.
        look_ahead: the worker knows the jobs' paths, as with --look-ahead.
    """

    cores: int
    jobs: int
    pace: float = 1.0
    crowding: float = 0.0
    crowd: int = 2
    request: float = 0.0
    in_flight: int | None = None
    remote: Remote | None = None
    ordered: bool = True
    look_ahead: bool = False

    @property
    def requests(self) -> int:
        """Unanswered requests that the host allows itself."""
        return REQUESTS_PER_JOB * self.jobs if self.in_flight is None else self.in_flight

    def slowdown(self, busy: float) -> float:
        """Processor time that work takes with so many cores busy, as a multiple of what it takes with one."""
        return 1 + self.crowding * self._crowded(busy)

    def waiting(self, busy: float) -> float:
        """Wall seconds of a thread that has a core for one second of its processor time, with so many cores busy."""
        if self.remote is not None:
            return 1.0
        return 1 + (self.pace - 1) * (self._crowded(busy) if self.cores > 1 else 1.0)

    def _crowded(self, busy: float) -> float:
        """0 for one thread alone, 1 with the whole crowd."""
        crowd = max(2, self.crowd)
        return (min(max(busy, 1.0), crowd) - 1) / (crowd - 1)


@frozen
class Step:
    """A part of an action.

    Attributes:
        seconds: of processor time; of the clock where the step is no work.
        width: threads that it can keep busy.
        is_work: it needs a core. Latencies and transfers do not.
    """

    seconds: float
    width: float = 1.0
    is_work: bool = True


@frozen
class Action:
    """One request, and what it starts.

    Attributes:
        phase: which half; None: the whole job.
        steps: of the compiler that it starts; none where it joins the one that the request before it started.
        early_after: the request is answered after so many steps; None: at the end.
        is_urgent: the worker starts it before others, because somebody waits for an early output.
        follows: it is sent when the unit's request before it was answered; otherwise with it.
    """

    phase: Phase | None
    steps: tuple[Step, ...]
    early_after: int | None = None
    is_urgent: bool = False
    follows: bool = True


def actions(cost: Cost, mode: Mode, machine: Machine, costs: Mapping[str, Cost]) -> tuple[Action, ...]:
    """What a unit's compile is in one mode, in the order of its requests.

    Args:
        cost: the unit's.
        mode: any.
        machine: where it runs.
        costs: of all units, by name.
    """
    front = (Step(cost.front),)
    whole = (*front, Step(cost.codegen, cost.width), Step(cost.link))
    if mode == "none" or not cost.is_library:
        planned = [Action(None, whole)]
    elif mode != "worker":
        planned = [
            Action("early", front, is_urgent=mode != "hollow"),
            Action("full", whole, follows=machine.ordered),
        ]
    elif machine.remote is None:
        planned = [Action("early", whole, early_after=1, is_urgent=True), Action("full", ())]
    else:
        planned = [Action("early", whole), Action("full", whole)]
    if machine.remote is None:
        return tuple(planned)
    return tuple(_carried(action, cost, mode, machine.remote, costs) for action in planned)


def reads_early(cost: Cost, needed: Cost, mode: Mode) -> bool:
    """Whether the early output of `needed` is enough for it."""
    return mode != "none" and cost.is_library and needed.is_library


def _carried(action: Action, cost: Cost, mode: Mode, remote: Remote, costs: Mapping[str, Cost]) -> Action:
    """The action on a remote executor, with what has to go there and come back."""
    needed = [costs[name] for name in cost.needs]
    read = sum(one.metadata if reads_early(cost, one, mode) else one.code for one in needed)
    made = cost.metadata if action.phase == "early" else cost.code
    before = Step(remote.latency + (cost.sources + read) / remote.bandwidth, is_work=False)
    after = Step(made / remote.bandwidth, is_work=False)
    own = tuple(evolve(step, width=min(step.width, float(remote.cores))) for step in action.steps)
    return evolve(action, steps=(before, *own, after))
