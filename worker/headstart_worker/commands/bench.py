"""`headstart bench`: one graph of compile units built in every mode, measured alike, compared honestly.

Not for measuring: `bench.session` does. Here a command line becomes an order, and a result becomes text and files.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from headstart_worker.bench import page, regressions, report, result, session
from headstart_worker.bench.result import Result
from headstart_worker.bench.session import Order
from headstart_worker.bench.worker_peer import Peer
from headstart_worker.commands import bench_options
from headstart_worker.interrupts import BrokenOffError, interruptible
from headstart_wrapper.errors import RequestError

_FORMS: Final[dict[str, Callable[[Result], str]]] = {
    "output": result.as_json,
    "report": page.page,
    "markdown": report.markdown,
    "csv": result.as_csv,
}
"""What can be written, by the option that names the file."""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 1 when a comparison of two files shows a regression.

    Raises:
        HeadstartError: it cannot be done.
    """
    options = bench_options.parser().parse_args(arguments)
    if options.list_modes:
        sys.stdout.write(bench_options.modes())
        return 0
    if options.compare:
        return _compare(*options.compare, threshold=options.threshold / 100, force=options.force)
    if options.subject is None:
        raise RequestError(
            "name what to build: a Cargo workspace, an import of one, a .json graph, or a shape such as chain:20"
        )
    return _bench(_order(options, arguments), options.work, _files(options))


def _order(options: argparse.Namespace, arguments: Sequence[str]) -> Order:
    if "none" in options.edits and len(options.edits) > 1:
        raise RequestError("--edits=none goes with no other place: name places, or none")
    return Order(
        subject=options.subject,
        modes=options.modes,
        peers=tuple(Peer(command, options.peer_protocol) for command in options.peer),
        jobs=options.jobs or (len(os.sched_getaffinity(0)),),
        profiles=options.profile,
        edits=tuple(edit for edit in options.edits if edit != "none"),
        rounds=options.rounds,
        only=options.only,
        without=options.without,
        command=f"headstart bench {shlex.join(arguments)}",
    )


def _files(options: argparse.Namespace) -> dict[str, Path]:
    """By option, what is to be written; looked at before anything is measured.

    Raises:
        RequestError: it could not be.
    """
    files = {name: path for name in _FORMS if (path := getattr(options, name)) is not None}
    for name, path in files.items():
        target = path if path.exists() else path.parent
        if path.is_dir() or not os.access(target, os.W_OK):
            raise RequestError(f"--{name}={path} cannot be written: name a file in an existing directory")
    return files


def _bench(order: Order, work: Path | None, files: Mapping[str, Path]) -> int:
    kept: dict[str, Path] = {}

    def keep(done: Result) -> None:
        for name, path in files.items():
            try:
                path.write_text(_FORMS[name](done), encoding="utf-8")
            except OSError as error:
                raise RequestError(f"--{name}={path} cannot be written: {error.strerror}") from error
            kept[name] = path

    try:
        with interruptible(), _place(work) as place:
            done = session.measure(order, place, keep)
    except BrokenOffError as error:
        raise BrokenOffError(error.number, ", ".join(map(str, kept.values()))) from error
    sys.stdout.write(report.text(done))
    return 0


@contextmanager
def _place(work: Path | None) -> Iterator[Path]:
    if work is None:
        with tempfile.TemporaryDirectory(prefix="headstart-bench-", ignore_cleanup_errors=True) as directory:
            yield Path(directory).resolve()
        return
    if work.exists() and (not work.is_dir() or any(work.iterdir())):
        raise RequestError(f"--work={work} is there and not empty; name a new directory")
    work.mkdir(parents=True, exist_ok=True)
    yield work.resolve()


def _compare(old: Path, new: Path, *, threshold: float, force: bool) -> int:
    found = regressions.changes(_read(old), _read(new), threshold=threshold, force=force)
    sys.stdout.write(regressions.text(found))
    return 1 if found.regressions else 0


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"the results {path} cannot be read: {error}") from error
