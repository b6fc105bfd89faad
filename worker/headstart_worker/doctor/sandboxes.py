"""What `--sandbox` gives on this machine, by the same probes that jobs are decided by, and what it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headstart_worker.doctor.finding import Finding, Probe, missing, ok, weaker
from headstart_wrapper.errors import MachineError
from headstart_wrapper.job import Sandbox
from headstart_wrapper.sandbox import landlock, policy, probe, tracer, view

_LANDLOCK: Final = (
    "Linux 6.7, with landlock in the kernel's lsm= list and in no container that filters it, has all of it"
)
_LINUX_6_7: Final = "Linux 6.7 refuses TCP too"


def probes() -> tuple[Probe, ...]:
    """What is probed, in the order of the report."""
    return (modes, held_by_landlock, views, traces)


def modes() -> Iterator[Finding]:
    """What a job gets that asks for each mode."""
    for mode in Sandbox:
        what, available = f"--sandbox={mode}", probe.available(mode)
        try:
            policy.decide(mode, available, unavailable="fail")
        except MachineError as error:
            less = policy.decide(mode, available, unavailable="warn")
            yield missing(
                what,
                f"such a job fails; with --sandbox-unavailable=warn it runs with {less.name}",
                str(error).partition(": ")[2].partition("; see ")[0],
            )
        else:
            yield ok(what, _GIVEN[mode])


_GIVEN: Final = {
    Sandbox.OFF: "jobs run without checks",
    Sandbox.AUDIT: "what dependency files and outputs tell is compared with what is declared",
    Sandbox.ENFORCE: "the kernel refuses undeclared reads, writes and connections",
    Sandbox.STRICT: "likewise, and undeclared files do not exist for the job",
}


def held_by_landlock() -> Iterator[Finding]:
    """Landlock."""
    abi, why_not = landlock.abi()
    if abi < policy.LEAST_ABI:
        yield missing("Landlock", why_not or f"ABI {abi}, which leaves gaps", _LANDLOCK)
    elif abi < policy.TCP_ABI:
        yield weaker("Landlock", f"ABI {abi}: reads and writes can be held, connections cannot", _LINUX_6_7)
    else:
        yield ok("Landlock", f"ABI {abi}: reads, writes and connections can be held without privileges")


def views() -> Iterator[Finding]:
    """User and mount namespaces."""
    why_not = view.can_be_made()
    if why_not:
        reason, _, remedy = why_not.partition("; ")
        yield missing(
            "user namespaces", reason, remedy or "see the kernel's and the container's settings for them"
        )
    else:
        yield ok("user namespaces", "a view of one's own of the file system can be made: tried")


def traces() -> Iterator[Finding]:
    """strace, for --trace-files, headstart check, and what a sandbox refused."""
    why_not = tracer.can_trace()
    if why_not:
        reason, _, remedy = why_not.partition(": ")
        yield missing("strace", reason, remedy or "allow ptrace to whoever runs jobs")
    else:
        yield ok("strace", "what a job really opens can be told: tried")
