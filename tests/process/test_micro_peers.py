"""Other people's worker loops are measured by the same client as ours, where they are on this machine; nothing is fetched here."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

import micro
import peer_workers
import worker_requests
from cancelling import cancelling
from peer_workers import Peer
from worker_client import Client, Worker, client


def only(name: str, found: list[Peer]) -> Peer:
    (peer,) = (one for one in found if one.name == name)
    return peer


def measure_peer(worker: Worker) -> None:
    with ExitStack() as stack:
        asked: Client = stack.enter_context(client(worker))
        alone = worker_requests.alone([asked], rounds=1)
        latency, _ = worker_requests.under_load([asked], rounds=1, loads=(1, 4))
    assert alone.results[-1]["command"] == worker.name
    most = min(worker.in_flight, 4)
    assert latency.results[-1]["command"] == f"{worker.name}, {most} in flight"


def test_bazels_own_handler_is_measured_where_a_bazel_is(tmp_path: Path) -> None:
    peer = only(peer_workers.JAVA, peer_workers.peers(tmp_path, install=False))
    if peer.worker is None:
        pytest.skip(peer.told)
    measure_peer(peer.worker)
    with client(peer.worker) as asked:
        asked.one_at_a_time(5)
        section = cancelling([asked], tmp_path, rounds=1, patience=2)
    # It kills the process that it started, and knows nothing of others.
    assert f"nine processes, {peer.name}: 8 left alive 2 s after the cancel." in section.sentences


def test_the_npm_loop_is_measured_where_it_is(tmp_path: Path) -> None:
    absent = only(peer_workers.NPM, peer_workers.peers(tmp_path, install=False))
    assert absent.worker is None
    assert absent.told.startswith("not here: ")
    peer = only(peer_workers.NPM, peer_workers.peers(peer_workers.CACHE, install=False))
    if peer.worker is None:
        pytest.skip(peer.told)
    measure_peer(peer.worker)


# The package's loop calls the program around it so, and takes what is written to stderr for the response.
LOOP = """
exports.runWorkerLoop = async (run) => {
  const output = [];
  process.stderr.write = (data) => output.push(String(data));
  const codes = [];
  for (const command of ['echo out; echo err >&2', 'exit 3']) codes.push(await run(['--', '/bin/sh', '-c', command], {}));
  process.stdout.write(JSON.stringify({ codes, output: output.join('') }));
};
"""


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node on PATH")
def test_the_program_around_the_npm_loop_runs_a_command_and_collects_its_output(tmp_path: Path) -> None:
    (tmp_path / "index.js").write_text(LOOP)
    program = Path(micro.__file__).parent / "peers" / "node_loop.js"
    done = subprocess.run(["node", program, tmp_path], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["codes"] == [True, False]
    assert sorted(told["output"].split()) == ["err", "out"]
