"""What staging a job takes in a multiplex sandbox: into an empty private root, and when the root has the same inputs already. The worker's trace tells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from headstart_worker.messages import Input
from headstart_worker.testing import FakeHost, Sandboxes
from measure import Sample
from sections import Section, entry

TURNS: Final = ("first", "repeated")

COUNTED: Final = ("linked", "kept", "copied", "removed")
"""What a span tells of inputs."""

_FILES_IN_A_DIRECTORY: Final = 25
"""As in crates with many modules: staging pays for directories too."""


def staging(scratch: Path, *, inputs: int, jobs: int) -> Section:
    """Each of some jobs twice.

    Args:
        scratch: a directory to work in.
        inputs: of each job.
        jobs: how many are staged.
    """
    spans = trio.run(stage, scratch, inputs, jobs)
    return Section(
        f"staging a job with {inputs} inputs",
        tuple(
            entry(Sample(turn, tuple(one["seconds"] for one in spans if one["turn"] == turn)), inputs=inputs)
            for turn in TURNS
        ),
    )


async def stage(scratch: Path, inputs: int, jobs: int) -> list[dict[str, Any]]:
    """Jobs with inputs in a sandbox, each asked for twice, so that its root is empty first and full then."""
    root, directory, trace = scratch / "execution-root", scratch / "staging", scratch / "staging.json"
    directory.mkdir()
    declared = _declared(root, inputs)
    sandboxes = Sandboxes(directory, root, slots=1)
    options = (f"--trace={trace}", f"--state-dir={scratch / 'state'}")
    async with FakeHost(options=options, cwd=directory) as host:
        for number in range(jobs):
            for turn in TURNS:
                made = f"out/{number}"
                # The word at its end makes it another job of the same outputs: it joins nothing.
                command = ("/bin/sh", "-c", f"mkdir -p out; echo > {made}.early; echo > {made}.full", turn)
                halves = (f"--early-output={made}.early", f"--output={made}.full")
                answer = await sandboxes.work(
                    host, ("--phase=full", *halves, "--", *command), declared, outputs=[f"{made}.full"]
                )
                if answer.exit_code:
                    raise SystemExit(f"a job failed, nothing can be measured: {answer.output}")
    spans = staged(trace)
    if len(spans) != len(TURNS) * jobs:
        raise SystemExit(
            f"{len(TURNS) * jobs} jobs were staged, the trace tells of {len(spans)}; nothing can be said"
        )
    return [{"turn": turn, **span} for span, turn in zip(spans, TURNS * jobs, strict=True)]


def staged(trace: Path) -> list[dict[str, Any]]:
    """Every staging that a worker's trace tells of, in order."""
    text = trace.read_text("utf-8")
    events = json.loads(text[: text.rfind("}") + 1] + "]")
    return [
        {"seconds": event["dur"] / 1e6, **{what: event["args"].get(what, 0) for what in COUNTED}}
        for event in events
        if event["name"] == "stage"
    ]


def _declared(root: Path, inputs: int) -> Sequence[Input]:
    declared = []
    for number in range(inputs):
        path = f"in/{number // _FILES_IN_A_DIRECTORY}/{number}"
        text = f"{number}\n".encode()
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text)
        declared.append(Input(path, hashlib.sha256(text).digest()))
    return declared
