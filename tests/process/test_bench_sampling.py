"""What a watch counts: every process that was started inside, whatever became of it, and nothing else."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import pytest
import trio

from headstart_worker.bench import sampling
from headstart_worker.bench.sampling import Watch
from process.support import PATIENCE, Fifo
from survivors import await_exit, is_alive

MakeFifo = Callable[[str], Fifo]

BURNED: Final = 0.3
"""Processor seconds of a burner; ten times what its start and the kernel's rounding make."""

_BURN: Final = f"""
import time
while time.process_time() < {BURNED}: pass
"""
_TELL: Final = "\nopen({place!r}, 'w').write('burned\\n')\n"
_STAY: Final = "\nwhile True: __import__('signal').pause()\n"


def python(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script]


def line(fifo: Fifo) -> str:
    return trio.run(fifo.line)


def used() -> float:
    """What the kernel says of the processes that this one has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def test_processor_time_is_what_the_kernel_says_of_waited_for_children() -> None:
    before = used()
    with Watch() as watch:
        subprocess.run(python(_BURN), check=True)
    assert watch.seen.user + watch.seen.system == pytest.approx(used() - before, abs=1e-6)
    assert watch.seen.user + watch.seen.system > 0.9 * BURNED


def test_a_killed_child_is_counted(fifo: MakeFifo) -> None:
    burned = fifo("burned")
    before = used()
    with Watch() as watch:
        with subprocess.Popen(python(_BURN + _TELL.format(place=str(burned)) + _STAY)) as child:
            assert line(burned) == "burned"
            child.kill()
        assert child.returncode == -signal.SIGKILL
    assert watch.seen.user + watch.seen.system == pytest.approx(used() - before, abs=1e-6)
    assert watch.seen.user + watch.seen.system > BURNED


def test_a_grandchild_that_its_killed_parent_left_behind_is_counted_and_ended(fifo: MakeFifo) -> None:
    """Its session is its own, and nobody waits for it: neither groups nor usage of children find it."""
    burned, started = fifo("burned"), fifo("started")
    orphan = python(_BURN + _TELL.format(place=str(burned)) + _STAY)
    parent = f"import subprocess; child = subprocess.Popen({orphan!r}, start_new_session=True)\n"
    parent += f"open({str(started)!r}, 'w').write(f'{{child.pid}}\\n')" + _STAY
    with Watch() as watch:
        with subprocess.Popen(python(parent)) as child:
            pid = int(line(started))
            child.kill()
        assert line(burned) == "burned"
        assert is_alive(pid)
    assert not is_alive(pid)
    assert watch.seen.user + watch.seen.system > 0.9 * BURNED


def test_a_process_that_was_there_before_is_counted_only_when_it_is_named(fifo: MakeFifo) -> None:
    burned, go = fifo("burned"), fifo("go")
    server = python(
        f"import subprocess\nopen({str(go)!r}).readline()\nsubprocess.run({python(_BURN)!r})"
        + _TELL.format(place=str(burned))
        + _STAY
    )
    for named in (True, False):
        with subprocess.Popen(server) as child:
            with Watch([child.pid] if named else []) as watch:
                go.go()
                assert line(burned) == "burned"
            assert is_alive(child.pid)
            child.kill()
        if named:  # with what it waited for, and but for ticks of 10 ms
            assert watch.seen.user + watch.seen.system > 0.8 * BURNED
        else:
            assert watch.seen.user + watch.seen.system < 0.1 * BURNED


def test_compilers_are_the_innermost_commands_with_a_crate(fifo: MakeFifo) -> None:
    started, go = fifo("started"), fifo("go")
    script = f"echo $$ > {started}; read x < {go}"
    compiler = ["/bin/sh", "-c", script, "rustc", "--crate-name", "a"]
    wrapper = ["/bin/sh", "-c", '"$@"; true', "wrapper", *compiler]
    linker = ["/bin/sh", "-c", script, "cc", "-o", "a"]
    children = [subprocess.Popen(command) for command in (compiler, wrapper, linker)]
    for _ in children:
        line(started)
    peaks = sampling._Peaks()
    peaks.take(sampling._tree(child.pid for child in children))
    go.go(len(children))
    for child in children:
        child.wait(PATIENCE)
    assert (peaks.compilers, peaks.processes) == (2, 4)


def test_shared_pages_are_counted_once(fifo: MakeFifo) -> None:
    started, go = fifo("started"), fifo("go")
    size = 64 << 20
    script = f"""
import os
pages = b"x" * {size}
child = os.fork()
open({str(started)!r}, "w").write("started\\n")
if child: os.waitpid(child, 0)
else: open({str(go)!r}).readline()
"""
    with subprocess.Popen(python(script)) as parent:
        for _ in range(2):
            line(started)
        tree = sampling._tree([parent.pid])
        peaks = sampling._Peaks()
        peaks.take(tree)
        resident = sum(map(sampling._resident, tree))
        go.go()
    assert len(tree) == 2
    assert resident > 2 * size
    assert size < peaks.memory < 1.5 * size


def test_the_sampler_sees_what_runs(fifo: MakeFifo) -> None:
    go = fifo("go")
    with (
        Watch() as watch,
        subprocess.Popen(["/bin/sh", "-c", f"read x < {go}", "rustc", "--crate-name", "a"]) as child,
    ):
        deadline = time.monotonic() + PATIENCE
        while not watch._peaks.compilers and time.monotonic() < deadline:
            await_exit([child.pid], 0.01)
        go.go()
    assert (watch.seen.peak_compilers, watch.seen.processes) == (1, 1)
    assert watch.seen.peak_memory > 0
    assert watch.seen.stolen is None or 0 <= watch.seen.stolen <= 1


def test_orphans_are_taken_only_while_a_watch_lasts(fifo: MakeFifo) -> None:
    go, told = fifo("go"), fifo("told")
    orphan = python(
        f"import os\nopen({str(go)!r}).readline()\nopen({str(told)!r}, 'w').write(f'{{os.getppid()}}\\n')"
    )

    def parent_of_an_orphan() -> int:
        subprocess.run(["/bin/sh", "-c", '"$@" & true', "sh", *orphan], check=True)
        go.go()
        return int(line(told))

    with Watch():
        assert parent_of_an_orphan() == os.getpid()
    assert parent_of_an_orphan() != os.getpid()
