"""Makes hosts from their names: `worker`, `worker+sandbox`, `cargo`, `bazel:worker`, and peers."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from attrs import evolve

from headstart_worker.bench.bazel_peer import BazelPeer
from headstart_worker.bench.cargo_peer import CargoPeer
from headstart_worker.bench.embedded import SANDBOXED, Embedded
from headstart_worker.bench.hosts import BenchHost, Setting
from headstart_worker.bench.worker_peer import Peer, WorkerPeer
from headstart_worker.cargo.commands import MODES, Mode
from headstart_wrapper.errors import CommandNotFoundError, RequestError

CARGO: Final = "cargo"
BAZEL: Final = "bazel:"

NAMES: Final = (*MODES, f"worker{SANDBOXED}", CARGO, *(f"{BAZEL}{mode}" for mode in MODES))
"""Everything that has a name; other modes can be sandboxed too, but only pipelining makes that interesting."""


@contextmanager
def opened(
    names: Sequence[str], setting: Setting, peers: Sequence[Peer] = ()
) -> Iterator[tuple[tuple[BenchHost, ...], tuple[str, ...]]]:
    """Hosts, in the order of their names, and sentences about those that this machine cannot have.

    All are closed at the end, whatever it is.

    Args:
        names: some of NAMES.
        setting: of all of them; its directories are made.
        peers: other workers.

    Raises:
        RequestError: there is no such name, or nobody is left.
    """
    setting.scratch.mkdir(parents=True, exist_ok=True)
    hosts: list[BenchHost] = []
    notes: list[str] = []
    with ExitStack() as closing:
        for name in names:
            try:
                hosts.append(_host(name, setting))
            except CommandNotFoundError as error:
                notes.append(f"{name} is left out: {error}")
        for peer in peers:
            hosts.append(
                WorkerPeer(setting, evolve(peer, name=_free(peer.name, [host.name for host in hosts])))
            )
        if not hosts:
            raise RequestError(f"there is nobody to measure: {'; '.join(notes) or 'name a mode or a peer'}")
        for host in hosts:
            closing.callback(host.close)
        yield tuple(hosts), tuple(notes)


def _host(name: str, setting: Setting) -> BenchHost:
    if name == CARGO:
        return CargoPeer(setting)
    if name.startswith(BAZEL):
        return BazelPeer(setting, _mode(name.removeprefix(BAZEL)))
    return Embedded(setting, _mode(name.removesuffix(SANDBOXED)), sandboxed=name.endswith(SANDBOXED))


def _free(name: str, taken: Collection[str]) -> str:
    """A name that nobody has: two releases of one worker are called the same."""
    numbered = (f"{name} #{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def _mode(name: str) -> Mode:
    for mode in MODES:
        if mode == name:
            return mode
    raise RequestError(f"there is no mode {name!r}; there are {', '.join(NAMES)}")
