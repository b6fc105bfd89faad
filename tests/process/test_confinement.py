"""Confined jobs, from the start to the end: everything that holds of other jobs holds of them too."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

import headstart_wrapper
from headstart_wrapper.dialects import EarlySignal
from headstart_wrapper.errors import CommandNotExecutableError, CommandNotFoundError, MachineError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup, Spawner
from headstart_wrapper.sandbox.confinement import Confinement, confined
from headstart_wrapper.sandbox.landlock import Rules
from headstart_wrapper.spawner import Children
from headstart_wrapper.streams import Launch, Text
from headstart_wrapper.supervise import Exited, Started, Supervisor
from process.confined import LATER, Job, needs_abi, python, rules, run
from process.support import Fifo, gone
from survivors import descriptors

pytestmark = needs_abi(3)

MakeFifo = Callable[[str], Fifo]


@pytest.fixture(params=["direct", "helper"])
def spawner(request: pytest.FixtureRequest) -> Iterator[Spawner]:
    if request.param == "direct":
        yield DirectSpawner()
        return
    with closing(HelperSpawner()) as helper:
        yield helper


def test_S1_each_of_many_jobs_at_once_has_what_it_was_given(spawner: Spawner, tmp_path: Path) -> None:
    numbers = range(20)
    for number in numbers:
        (tmp_path / str(number)).write_text(f"{number}\n", encoding="utf-8")
    everything = "".join(f"{number}\n" for number in numbers)
    script = f"for n in {' '.join(map(str, numbers))}; do cat {tmp_path}/$n 2>/dev/null; done; true"

    def one(number: int) -> tuple[int, str]:
        held = rules(read=(tmp_path / str(number),)) if number % 2 else None
        return run(spawner, held, "sh", "-c", script)

    # Starts come from many threads where many threads may start.
    with concurrent.futures.ThreadPoolExecutor(1 if isinstance(spawner, DirectSpawner) else 8) as pool:
        found = list(pool.map(one, numbers))
    assert found == [(0, f"{number}\n" if number % 2 else everything) for number in numbers]


def launch(script: str, held: Rules, **more: object) -> Launch:
    settled: dict[str, object] = {
        "command": ("/bin/sh", "-c", script),
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "capture": True,
        "stderr": None,
        "early_signal": EarlySignal.NONE,
        "early_outputs": (),
        "timeout": None,
        "kill_delay": 0.2,
        "confinement": lambda: confined(held),
    }
    return Launch(**{**settled, **more})  # type: ignore[arg-type]


def test_S1_a_whole_job_is_confined_and_its_ruleset_lives_no_longer_than_its_start(
    spawner: Spawner, tmp_path: Path
) -> None:
    during: list[set[tuple[int, str]]] = []
    said = b""
    before = descriptors()
    for event in Supervisor(launch(f"ls {tmp_path}", rules()), spawner).events():
        if isinstance(event, Started):
            during.append({place for place in descriptors().items() if "landlock" in place[1]})
        said += event.data if isinstance(event, Text) else b""
        last = event
    assert during == [set()]
    assert isinstance(last, Exited)
    assert os.waitstatus_to_exitcode(last.status) == 2
    assert b"Permission denied" in said
    assert last.usage.spawn > 0
    if isinstance(spawner, DirectSpawner):
        assert descriptors() == before


def test_a_confinement_that_cannot_be_made_fails_the_job_alone(spawner: Spawner, tmp_path: Path) -> None:
    def refused() -> contextlib.AbstractContextManager[Confinement]:
        raise MachineError("no")

    made = launch(f"touch {tmp_path}/x", rules(), confinement=refused)
    with pytest.raises(MachineError, match="no"):
        list(Supervisor(made, spawner).events())
    assert not (tmp_path / "x").exists()
    assert run(spawner, None, "true") == (0, "")


def test_a_timeout_ends_a_confined_tree(spawner: Spawner, fifo: MakeFifo) -> None:
    ready = fifo("ready")
    script = f"trap '' TERM; setsid sh -c 'echo > {ready}; sleep 60' & sleep 60; sleep 60"
    events = list(Supervisor(launch(script, rules(write=(ready,)), timeout=3), spawner).events())
    last = events[-1]
    assert isinstance(last, Exited)
    assert last.timed_out
    assert os.waitstatus_to_exitcode(last.status) == -signal.SIGKILL
    assert last.usage.wall < 7.5  # and what it left, the fixture looks for


def test_the_usage_is_the_jobs_own() -> None:
    with closing(HelperSpawner()) as helper:
        peaks = {}
        for name, held in (("free", None), ("held", rules()), ("again", rules())):
            job = Job(helper, held, "/bin/true")
            assert job.end() == (0, "")
            peaks[name] = job.peak
        assert max(peaks.values()) - peaks["free"] < 2 << 20
        hog = Job(helper, rules(), *python("x = bytearray(64 << 20)"))
        assert hog.end() == (0, "")
        assert 64 << 20 < hog.peak < 128 << 20


@pytest.mark.parametrize("kind", ["DirectSpawner", "HelperSpawner"])
def test_I3_confined_jobs_die_with_their_owner(fifo: MakeFifo, kind: str) -> None:
    news = fifo("news")
    script = f"""
group = start({kind}(), PROGRAMS, "sh", "-c", "sleep 60; sleep 60")
with open(sys.argv[1], "w") as news:
    print(group.pid, file=news, flush=True)
signal.pause()
"""
    with subprocess.Popen(python(LATER + script, news)) as owner:
        pid = trio.run(news.pid)
        owner.kill()
    trio.run(gone, pid)


@pytest.mark.parametrize("what", ["closed", "not a ruleset"])
def test_I11_a_ruleset_that_is_none_starts_nothing_and_costs_nothing_else(
    spawner: Spawner, tmp_path: Path, fifo: MakeFifo, what: str
) -> None:
    go = fifo("go")
    neighbour = Job(spawner, rules(read=(go,)), "sh", "-c", f"read x < {go}; exit 7")
    with open(os.devnull, "r+b") as null:  # noqa: PTH123 - a descriptor is wanted
        number = null.fileno() if what == "not a ruleset" else 999_999
        with pytest.raises(
            MachineError, match="was not started, because the kernel does not confine it"
        ) as error:
            ProcessGroup.start(
                spawner,
                ["touch", str(tmp_path / "touched")],
                cwd="/" if isinstance(spawner, HelperSpawner) else str(Path.cwd()),
                env=os.environ,
                streams=(null.fileno(),) * 3,
                confinement=Confinement(ruleset=number),
            )
    assert "\n" not in str(error.value)
    go.go()
    assert neighbour.end() == (7, "")
    assert not (tmp_path / "touched").exists()


def test_I11_a_ruleset_that_is_lost_on_its_way_starts_nothing(tmp_path: Path) -> None:
    with closing(HelperSpawner()) as helper:
        run(helper, None, "true")
        process = helper._process
        assert process
        # The kernel drops what the helper has no number for, and tells it nothing.
        used = len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: PTH208 - a count
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + 4, limits[1]))
        with pytest.raises(MachineError, match="raise the limit of open files"):
            run(helper, rules(), "touch", str(tmp_path / "touched"))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        assert run(helper, rules(), "true") == (0, "")
    assert not (tmp_path / "touched").exists()
    # There it would have failed a little later too, for the lack of a pidfd; so once more, where there is room.
    request = (["touch", str(tmp_path / "touched")], "/usr/bin/touch", dict(os.environ), "/", True, None)
    with Path(os.devnull).open("r+b") as null, pytest.raises(OSError, match="Too many open files"):
        Children("").start(request, [null.fileno()] * 4)


NESTING = """
from headstart_wrapper import spawner
from headstart_wrapper.sandbox import landlock
made = landlock.ruleset(landlock.Rules(read=("/",), write=("/dev/null",)))
count = 0
try:
    while True:
        spawner.restriction(made)()
        count += 1
except OSError as error:
    print(count, error.errno)
"""

OURS = Path(headstart_wrapper.__file__).parents[1]


def test_a_compiler_may_confine_itself_further(spawner: Spawner) -> None:
    env = {"PYTHONPATH": str(OURS), "PATH": os.environ["PATH"]}
    held = rules(read=(OURS,))
    assert run(spawner, held, *python(NESTING), env=env) == (0, f"15 {errno.E2BIG}\n")
    assert run(spawner, None, *python(NESTING), env=env) == (0, f"16 {errno.E2BIG}\n")


def test_who_is_confined_sixteen_times_is_told_so() -> None:
    script = """
try:
    print(job(DirectSpawner(), PROGRAMS, "true"))
except HeadstartError as error:
    print(error.exit_code, error)
"""
    done = subprocess.run(python(NESTING + LATER + script), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1].startswith(
        "125 the command true was not started, because the kernel does not confine it (sixteen sandboxes hold us already); "
    )


def test_a_command_that_it_may_not_read_is_named(spawner: Spawner, tmp_path: Path) -> None:
    tool, script = tmp_path / "tool", tmp_path / "script"
    shutil.copy("/bin/true", tool)
    script.write_text(f"#!{tool}\n", encoding="utf-8")
    script.chmod(0o755)
    for command, held in ((tool, rules()), (script, rules(read=(script,)))):
        with pytest.raises(
            CommandNotExecutableError, match=f"^the command {command} cannot be executed in its sandbox"
        ):
            run(spawner, held, str(command))
    assert run(spawner, rules(read=(script, tool)), str(script)) == (0, "")
    with pytest.raises(CommandNotFoundError):
        run(spawner, rules(), str(tmp_path / "none"))


def test_a_script_without_a_first_line_is_confined_too(spawner: Spawner, tmp_path: Path) -> None:
    script, secret = tmp_path / "script", tmp_path / "secret"
    script.write_text(f"cat {secret} || exit 7\n", encoding="utf-8")
    script.chmod(0o755)
    secret.touch()
    assert run(spawner, rules(read=(script,)), str(script))[0] == 7
    assert run(spawner, None, str(script)) == (0, "")


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env")


def ordinary_python() -> tuple[str, ...]:
    """Python for an ordinary user; which one depends on whether it is for everybody to execute."""
    if os.geteuid() != 0:
        return (sys.executable,)
    for found in (sys.executable, "/usr/bin/python3"):
        user = (*NOBODY, f"PYTHONPATH={OURS}", found)
        with contextlib.suppress(OSError):
            if subprocess.run([*user, "-c", LATER], capture_output=True, check=False).returncode == 0:
                return user
    pytest.skip("there is no Python that an ordinary user can execute, or no setpriv")


@pytest.mark.parametrize("kind", ["DirectSpawner", "HelperSpawner"])
def test_an_ordinary_user_confines_jobs(kind: str) -> None:
    script = f"""
os.chdir("/")
spawner = {kind}()
print(os.geteuid() != 0, job(spawner, PROGRAMS, "cat", "/proc/version"), job(spawner, PROGRAMS, "true"), flush=True)
getattr(spawner, "close", int)()
"""
    done = subprocess.run(
        [*ordinary_python(), "-c", LATER + script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True 1 0\n"
    assert "Permission denied" in done.stderr
