"""A signal ends the long commands: what they had started is dead, their directories are gone, and one line says so."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from headstart_worker.bench import synthetic
from process.support import PATIENCE, Fifo, entries, gone

SIGNALS = [(signal.SIGTERM,), 9 * (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGINT,)]
HEADSTART = str(Path(sys.executable).with_name("headstart"))


def endless_compiler(source: Path, started: Fifo) -> Path:
    """An import whose compiler never ends."""
    units = synthetic.write(synthetic.chain(1), source)
    script = f"#!/bin/sh\necho $$ > {started}\nexec sleep 3600\n"
    Path(units.rustc).write_text(script, encoding="utf-8")
    return source


def endless_build_script(source: Path, started: Fifo) -> Path:
    """A Cargo workspace whose build script never ends."""
    if shutil.which("cargo") is None:
        pytest.skip("needs a real cargo")
    (source / "src").mkdir(parents=True)
    (source / "Cargo.toml").write_text('[package]\nname = "endless"\nversion = "0.1.0"\nedition = "2021"\n')
    (source / "src/lib.rs").touch()
    script = f'std::fs::write("{started}", format!("{{}}\\n", std::process::id())).unwrap();'
    (source / "build.rs").write_text(f"fn main() {{ {script} loop {{ std::thread::park(); }} }}\n")
    return source


@pytest.mark.parametrize("signals", SIGNALS, ids=lambda sent: f"{sent[0].name}-{len(sent)}")
@pytest.mark.parametrize(
    ("command", "make"),
    [
        (("bench", "--modes=none"), endless_compiler),
        (("bench", "--modes=worker"), endless_compiler),
        (("advise",), endless_compiler),
        (("import-cargo", "--out=imported"), endless_build_script),
        (("demo", "--host=embedded"), endless_build_script),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
async def test_a_signal_ends_a_long_command_and_leaves_nothing(
    signals: tuple[signal.Signals, ...],
    command: tuple[str, ...],
    make: Callable[[Path, Fifo], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with Fifo(tmp_path / "started") as started:
        source = make(tmp_path / "source", started)
        async with trio.open_nursery() as nursery:
            process = await nursery.start(_run, [HEADSTART, *command, str(source)], tmp_path)
            works = await started.pid()
            for number in signals:
                process.send_signal(number)
            with trio.fail_after(PATIENCE):
                await process.wait()
            said = (await process.stderr.receive_some()).decode()
            assert process.returncode == 128 + signals[0], said
            assert said.splitlines()[-1] == "headstart: broken off"
            assert "Traceback" not in said
            await gone(works)
            nursery.cancel_scope.cancel()
    assert entries(temporary) == []


async def _run(command: list[str], cwd: Path, task_status: trio.TaskStatus[Any]) -> None:
    await trio.run_process(
        command,
        cwd=cwd,
        capture_stdout=False,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        task_status=task_status,
    )
