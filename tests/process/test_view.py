"""A private view of the file system: what is not declared does not exist, and everything else is as it is outside.

As who runs the tests, straight and through the helper; and, where that is root, with a helper that is an ordinary user, who gets
his view by a user namespace.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from headstart_wrapper.dialects import EarlySignal
from headstart_wrapper.errors import CommandNotExecutableError, MachineError, RequestError
from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, ProcessGroup, Spawner
from headstart_wrapper.sandbox import system, view
from headstart_wrapper.sandbox.confinement import Confinement, confined
from headstart_wrapper.sandbox.landlock import Rules
from headstart_wrapper.sandbox.mounts import View
from headstart_wrapper.spawner import start_leader
from headstart_wrapper.streams import Launch
from headstart_wrapper.supervise import Exited, Started, Supervisor
from process.confined import Job, needs_abi, python
from process.support import PATIENCE, Fifo, children
from process.views import AS_NOBODY, ENV, IN_A_VIEW, NOBODY, asked, needs_view
from survivors import await_exit, is_alive

GCC: Final = shutil.which("gcc")
RUSTC: Final = shutil.which("rustc")

pytestmark = [needs_abi(3), needs_view]


@pytest.fixture(scope="session")
def as_nobody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that runs as an ordinary user."""
    if os.getuid() != 0 or not shutil.which(AS_NOBODY[0]):
        pytest.skip("who runs this is an ordinary user, or cannot become one")
    if why := asked(*AS_NOBODY):
        pytest.skip(f"an ordinary user can make no view here: {why}")
    program = tmp_path_factory.mktemp("nobody") / "python"
    program.write_text(f'#!/bin/sh\nexec {" ".join(AS_NOBODY)} {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(params=["direct", "helper", "ordinary"])
def spawner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawner]:
    if request.param == "direct":
        yield DirectSpawner()
        return
    with closing(HelperSpawner()) as helper:
        if request.param == "ordinary":
            with monkeypatch.context() as patch:
                patch.setattr(sys, "executable", str(request.getfixturevalue("as_nobody")))
                helper.warm_up()
        helper.warm_up()
        yield helper


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the job runs: everybody may come here."""
    directory = Path(tempfile.mkdtemp(prefix="headstart-view-")).resolve()
    directory.chmod(0o777)
    monkeypatch.chdir(directory)
    yield directory
    shutil.rmtree(directory)


def made(name: str, text: str = "", mode: int = 0o644) -> Path:
    path = Path.cwd() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def output_directory(name: str = "out") -> Path:
    directory = Path.cwd() / name
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def rules(
    *, read: tuple[object, ...] = (), listed: tuple[object, ...] = (), write: tuple[object, ...] = ()
) -> Rules:
    return Rules(
        read=(*system.READ, *system.PROGRAMS, *system.LIBRARIES, *map(str, read)),
        list=tuple(map(str, listed)),
        write=(*system.WRITE, *map(str, write)),
    )


def planned(held: Rules) -> View:
    return view.plan(held, str(Path.cwd()))


def started(spawner: Spawner, held: Rules, *command: str, env: dict[str, str] | None = None) -> Job:
    tagged = ENV | {name: value for name, value in os.environ.items() if name.startswith("TEST_")}
    return Job(spawner, held, *command, env=tagged | (env or {}), view=planned(held))


def run(spawner: Spawner, held: Rules, *command: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    return started(spawner, held, *command, env=env).end()


def sh(spawner: Spawner, script: str, **allowed: tuple[object, ...]) -> tuple[int, str]:
    return run(spawner, rules(**allowed), "sh", "-c", script)


def test_an_undeclared_file_does_not_exist_and_a_declared_one_does(spawner: Spawner) -> None:
    declared, secret = made("in/declared", "declared\n"), made("in/secret")
    code, said = sh(spawner, f"cat {declared}; stat {secret}; ls in; test -e {secret}", read=(declared,))
    assert code == 1
    first, refusal, *listing = said.splitlines()
    assert first == "declared"
    assert refusal.endswith("No such file or directory")
    assert listing == ["declared"]


def test_a_probe_for_an_undeclared_file_finds_nothing(spawner: Spawner) -> None:
    """Landlock alone lets such a probe find it: the compiler stops, or takes another way than on a clean machine."""
    made("inc/optional.h")
    source = made("a.c", "#if __has_include(<optional.h>)\n#error found\n#endif\nint a;\n")
    code, said = run(
        spawner,
        rules(read=(source,), listed=(Path("inc").absolute(),)),
        "gcc",
        "-Iinc",
        "-fsyntax-only",
        "a.c",
    )
    assert (code, said) == (0, "")


def test_a_whole_directory_is_there_and_nothing_beside_it(spawner: Spawner) -> None:
    made("lib/deep/a", "a"), made("lib/b", "b"), made("library")
    code, said = sh(spawner, "find . -type f; cat lib/deep/a", read=(Path("lib").absolute(),))
    assert code == 0
    assert sorted(said.split()) == ["./lib/b", "./lib/deep/a", "a"]


def test_what_is_outside_of_the_declaration_is_an_empty_world(spawner: Spawner) -> None:
    code, said = sh(spawner, "ls -A /; ls -A / /home /root /var /opt /etc/ssh 2>/dev/null")
    assert code == 2
    assert set(said.split()) & {"home", "root", "var", "opt", "srv", "mnt", "run"} == set()
    assert [name for name in said.split() if name.startswith(".")] == []
    assert str(Path.cwd()).split("/")[1] in said.split()


def test_inputs_that_are_links(spawner: Spawner) -> None:
    made("store/one", "one "), made("store/deep/two", "two "), made("store/secret")
    links = [Path("exec/one").absolute(), Path("exec/tree").absolute()]
    links[0].parent.mkdir()
    links[0].symlink_to("../store/one")
    links[1].symlink_to(Path("store/deep").absolute())
    through = Path.cwd() / "exec/tree/two"
    code, said = sh(
        spawner, "cat exec/one exec/tree/two; readlink exec/one; ls store", read=(links[0], through)
    )
    assert (code, said.split()) == (0, ["one", "two", "../store/one", "deep", "one"])


def test_outputs_appear_outside_with_their_owner(spawner: Spawner) -> None:
    out = output_directory()
    code, said = sh(
        spawner, "id -u; umask 022; echo made > out/file; mkdir out/dir; echo > beside", write=(out,)
    )
    uid, *refusals = said.splitlines()
    assert code != 0
    assert "Read-only file system" in refusals[0]
    assert (out / "file").read_text() == "made\n"
    status = (out / "file").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (int(uid), 0o644)
    assert sorted(os.listdir()) == ["out"]  # noqa: PTH208 - names


def test_inputs_cannot_be_written(spawner: Spawner) -> None:
    declared = made("declared", "as it was", 0o666)
    code, said = sh(spawner, "echo changed > declared", read=(declared,))
    assert code != 0
    assert "Read-only" in said or "Permission denied" in said
    assert declared.read_text() == "as it was"


def test_the_directory_and_its_private_temporary_directory(spawner: Spawner, place: Path) -> None:
    temporary = output_directory("tmp")
    env = {"TMPDIR": str(temporary)}
    script = 'pwd; pwd -P; f=$(mktemp); echo "$f"; test -s /dev/null; echo > "$f"'
    code, said = run(spawner, rules(write=(temporary,)), "sh", "-c", script, env=env)
    first, second, file = said.split()
    assert code == 0
    assert first == second == str(place)
    assert Path(file).parent == temporary
    assert Path(file).exists()


def test_devices_and_streams_are_there(spawner: Spawner) -> None:
    code, said = sh(
        spawner,
        "echo lost > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x | cat /dev/stdin;"
        "cat < /dev/fd/0; readlink /proc/self/exe; ls /dev",
    )
    assert code == 0
    assert said.split()[:4] == ["4", "4", "x", "/usr/bin/readlink"]
    assert "sda" not in said
    assert "null" in said


@pytest.mark.parametrize("number", [0, 3, 124, 255])
def test_exit_codes_are_the_commands_own(spawner: Spawner, number: int) -> None:
    assert sh(spawner, f"exit {number}") == (number, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_signals_are_the_commands_own(spawner: Spawner, number: int) -> None:
    assert sh(spawner, f"kill -{int(number)} $$") == (-number, "")


def without_the_librarys_own(status: str) -> list[int]:
    """Sets of signals in the lines of /proc/PID/status; of 32 and 33, which are glibc's, posix_spawn(3) leaves a trace."""
    sets = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Sig")]
    return [each & ~(0b11 << 31) for each in sets]


def test_the_process_is_as_any_other_leader(spawner: Spawner) -> None:
    script = "ls /proc/$$/fd; umask; ps -o pgid= -p $$; exec grep 'Sig[BI]' /proc/self/status"
    job = started(spawner, rules(), "/bin/sh", "-c", script)
    *inside, group, blocked, ignored = job.end()[1].splitlines()
    *plain, _, plain_blocked, plain_ignored = (
        Job(spawner, None, "/bin/sh", "-c", script, env=ENV).end()[1].splitlines()
    )
    assert int(group) == job.group.pid
    assert inside == plain
    assert "98" in inside
    assert blocked == plain_blocked
    assert without_the_librarys_own(ignored) == without_the_librarys_own(plain_ignored)


def test_signals_that_we_catch_ignore_or_block_are_nothing_to_the_job() -> None:
    script = """
spawner = DirectSpawner()
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
for seen in (SEEN, None):
    run(spawner, "grep", "Sig[BI]", "/proc/self/status", seen=seen)
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR1}
"""
    sets = without_the_librarys_own(asked(script=IN_A_VIEW + script))
    assert sets == [0, 1 << (signal.SIGHUP - 1)] * 2


def test_a_stream_that_we_had_to_open_for_ourselves_reaches_the_job() -> None:
    script = f'import os; os.close(0)\n{IN_A_VIEW}\nrun(DirectSpawner(), "readlink", "/proc/self/fd/0")'
    assert asked(script=script) == "/dev/null"


def has_exited(job: Job) -> bool:
    """Waits for it."""
    poll = select.poll()
    poll.register(job.group.pidfd, select.POLLIN)
    return bool(poll.poll(PATIENCE * 1000))


@pytest.mark.parametrize("spawner", ["helper", "ordinary"], indirect=True)
def test_peak_memory_is_not_ours(spawner: Spawner) -> None:
    job = started(spawner, rules(), "true")
    os.close(job._output)
    assert has_exited(job)
    assert 0 < job.group.reap()[3] < 20 << 20


def launch(script: str, held: Rules, **more: object) -> Launch:
    seen = planned(held)
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
        "confinement": lambda: confined(held, seen),
    }
    return Launch(**{**settled, **more})  # type: ignore[arg-type]


def test_a_timeout_ends_everything_in_a_view(spawner: Spawner) -> None:
    out = output_directory()
    script = "trap '' TERM; echo $$ > out/pid; sleep 99 & while :; do wait; done"
    *_, last = Supervisor(launch(script, rules(write=(out,)), timeout=5), spawner).events()
    assert isinstance(last, Exited)
    assert last.timed_out
    assert os.waitstatus_to_exitcode(last.status) == -signal.SIGKILL
    assert not is_alive(int((out / "pid").read_text()))


def test_I2_a_killed_job_is_dead_with_what_left_its_group(spawner: Spawner) -> None:
    out = output_directory()
    with Fifo(out / "fifo") as ready:
        ready.path.chmod(0o666)
        supervisor = Supervisor(
            launch(
                "setsid sh -c 'echo $$ > out/pid; echo > out/fifo; exec sleep 99' & wait", rules(write=(out,))
            ),
            spawner,
        )
        for event in supervisor.events():
            if isinstance(event, Started):
                while ready.silent():
                    os.sched_yield()
                supervisor.stop(kill=True)
    assert isinstance(event, Exited)
    assert event.stopped
    assert not is_alive(int((out / "pid").read_text()))


def test_I3_the_guard_kills_a_job_in_a_view(spawner: Spawner) -> None:
    job = started(spawner, rules(), "sleep", "99")
    os.close(job._output)
    job.group._guard.close()
    assert has_exited(job)
    reaped = spawner.reap(job.group.pid)
    os.close(job.group.pidfd)
    assert reaped is not None
    assert os.waitstatus_to_exitcode(reaped[0]) == -signal.SIGKILL


def test_I3_a_job_whose_owner_is_gone_before_it_has_its_view_is_killed() -> None:
    guard, writer = os.pipe2(os.O_CLOEXEC)
    os.close(writer)
    pid = start_leader(["sleep", "99"], "/bin/sleep", ENV, (0, 1, 2, guard), view=planned(rules()))
    os.close(guard)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_I3_a_job_whose_owner_is_killed_while_it_makes_its_view_is_killed() -> None:
    script = """
links = tuple((f"/link{number}", "nowhere") for number in range(30_000))  # a fifth of a second's work
run(DirectSpawner(), "sleep", "99", seen=(*SEEN[:2], SEEN[2] + links, *SEEN[3:]))
"""
    with subprocess.Popen(python(IN_A_VIEW + script), cwd="/", start_new_session=True) as owner:
        while not (found := [pid for pid in children(owner.pid) if os.getpgid(pid) == pid]):
            assert owner.poll() is None
            os.sched_yield()
        owner.kill()
    assert await_exit(found, PATIENCE)


@pytest.mark.skipif(GCC is None, reason="there is no gcc")
def test_I6_gcc_makes_the_same_bytes_as_outside(spawner: Spawner) -> None:
    source = made(
        "hello.c", '#include <stdio.h>\n#include "a.h"\nint main(void) { puts(A __FILE__); return 0; }\n'
    )
    header, out, temporary = made("a.h", '#define A "a"\n'), output_directory(), output_directory("tmp")
    held = rules(read=(source, header), write=(out, temporary))
    env = {"TMPDIR": str(temporary)}
    command = "gcc -g -O2 -o out/hello hello.c && gcc -g -c -o out/hello.o hello.c && out/hello"
    assert run(spawner, held, "sh", "-c", command, env=env) == (0, "ahello.c\n")
    inside = [(out / name).read_bytes() for name in ("hello", "hello.o")]
    for name in ("hello", "hello.o"):
        (out / name).unlink()
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, env=ENV | env)
    assert inside == [(out / name).read_bytes() for name in ("hello", "hello.o")]


@pytest.mark.skipif(GCC is None, reason="there is no gcc")
def test_an_output_beside_undeclared_files_is_written_through(spawner: Spawner) -> None:
    """Its directory cannot be writable without showing them: the output alone is there, made before."""
    source = made("b.c", "int main(void) { return 0; }\n")
    made("b.o", "another job's")
    output, temporary = made("b", mode=0o777), output_directory("tmp")
    held = rules(read=(source,), write=(output, temporary))
    code, said = run(spawner, held, "sh", "-c", "gcc -o b b.c && ./b && ls", env={"TMPDIR": str(temporary)})
    assert (code, said.split()) == (0, ["b", "b.c", "tmp"])
    assert output.stat().st_size > 0


@pytest.mark.rustc
@pytest.mark.skipif(RUSTC is None, reason="there is no rustc")
@pytest.mark.parametrize("spawner", ["direct", "helper"], indirect=True)  # the toolchain may be root's own
def test_I6_rustc_makes_the_same_bytes_as_outside(spawner: Spawner) -> None:
    sysroot = subprocess.run(
        [str(RUSTC), "--print=sysroot"], check=True, capture_output=True, text=True
    ).stdout.strip()
    source = made("hello.rs", 'fn main() { println!("{}", file!()); }\n')
    made("secret.rs")
    out, temporary = output_directory(), output_directory("tmp")
    held = rules(read=(source, sysroot), write=(out, temporary))
    env = {"TMPDIR": str(temporary)}
    command = f"{sysroot}/bin/rustc -g --out-dir out hello.rs && out/hello"
    assert run(spawner, held, "sh", "-c", command, env=env) == (0, "hello.rs\n")
    inside = (out / "hello").read_bytes()
    (out / "hello").unlink()
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, env=ENV | env)
    assert inside == (out / "hello").read_bytes()


def test_nothing_is_mounted_outside(spawner: Spawner) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    out = output_directory()
    with Fifo(out / "fifo") as go:
        go.path.chmod(0o666)
        job = started(spawner, rules(write=(out,)), "sh", "-c", "read x < out/fifo")
        parent = Path(f"/proc/{job.group.pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert Path(f"/proc/{parent}/mountinfo").read_text() == before
        assert Path(f"/proc/{job.group.pid}/mountinfo").read_text() != before
        assert Path("/proc/self/mountinfo").read_text() == before
        go.go()
        assert job.end() == (0, "")
    assert Path("/proc/self/mountinfo").read_text() == before


def test_where_mounts_are_shared_a_view_still_is_nobody_elses() -> None:
    """As systemd has it; a container has not."""
    script = """
before = open("/proc/self/mountinfo").read()
assert "shared:" in before
run(DirectSpawner(), "true")
assert open("/proc/self/mountinfo").read() == before
print("the same")
"""
    shared = ("unshare", "-U", "-r", "-m", "--propagation=shared")
    assert asked(*shared, script=IN_A_VIEW + script) == "the same"


def test_a_view_alone_cannot_be_changed(spawner: Spawner) -> None:
    script = "mount -t tmpfs none /usr || mount -o remount,rw,bind / || umount -l /proc"
    code, said = Job(spawner, None, "sh", "-c", script, env=ENV, view=planned(rules())).end()
    assert code != 0
    assert len(said.splitlines()) >= 3


def test_there_is_no_way_out(spawner: Spawner) -> None:
    secret = made("secret", "secret\n", 0o666)
    script = (
        f"cat /proc/{os.getpid()}/root{secret}; cat /proc/1/root{secret}; cat /proc/$PPID/cwd/secret;"
        "umount -l /proc; mount -t tmpfs none /usr; mount -o remount,rw /; unshare -m true;"
        f"unshare -Um sh -c 'umount -l /usr; cat {secret}'; cat {secret}; : > {secret}; ls /.headstart-old-root"
    )
    code, said = sh(spawner, script)
    assert code != 0
    assert "secret\n" not in said.replace("secret: ", "")
    assert secret.read_text() == "secret\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root reads the files of others")
@pytest.mark.parametrize("spawner", ["direct", "helper"], indirect=True)
def test_root_keeps_its_rights_over_files_of_others(spawner: Spawner) -> None:
    out, theirs = output_directory(), made("theirs/file", "theirs\n", 0o600)
    for path in (theirs, theirs.parent, out):
        os.chown(path, NOBODY, NOBODY)
    theirs.parent.chmod(0o700)
    out.chmod(0o700)
    assert sh(spawner, "cat theirs/file; cp theirs/file out/copy", read=(theirs,), write=(out,)) == (
        0,
        "theirs\n",
    )
    assert (out / "copy").stat().st_uid == 0


def test_a_thousand_inputs(spawner: Spawner) -> None:
    inputs = [made(f"in{number % 30}/{number}", f"{number}\n") for number in range(1000)]
    made("in3/secret")
    code, said = sh(spawner, "find in* -type f | wc -l; cat in*/* | sort -n | tail -1", read=tuple(inputs))
    assert (code, said.split()) == (0, ["1000", "999"])


def test_jobs_with_a_view_and_without_are_started_in_turn(spawner: Spawner) -> None:
    """While the threads that started those of the third kind (`spawner`) wait for them."""
    secret, script = made("secret", "secret\n"), "read x; cat own*; cat secret"
    reader, writer = os.pipe2(os.O_CLOEXEC)
    jobs = []
    for number in range(12):
        held = rules(read=(made(f"own{number}", f"own {number}\n"),), listed=(secret.parent,))
        kinds = ((None, None), (held, planned(held)), (held, None))
        limits, seen = kinds[number % 3]
        jobs.append(Job(spawner, limits, "sh", "-c", script, env=ENV, stdin=reader, view=seen))
    os.close(reader)
    os.write(writer, b"\n" * len(jobs))
    for number, job in enumerate(jobs):
        code, said = job.end()
        if number % 3 == 0:
            assert (code, said.splitlines()[-1]) == (0, "secret")
        else:
            assert code == 1
            assert f"own {number}\n" in said
            reason = "No such file or directory" if number % 3 == 1 else "Permission denied"
            assert said.endswith(f"cat: secret: {reason}\n")
    os.close(writer)


def test_a_file_without_an_interpreter_goes_to_the_shell(spawner: Spawner) -> None:
    script = made("script", "echo shell $1\n", 0o755)
    assert run(spawner, rules(read=(script,)), str(script), "word") == (0, "shell word\n")


def test_I11_a_ruleset_that_cannot_be_put_on_starts_nothing(spawner: Spawner) -> None:
    with open(os.devnull, "rb") as no_ruleset:  # noqa: PTH123 - a descriptor is wanted
        confinement = Confinement(ruleset=no_ruleset.fileno(), view=planned(rules()))
        with pytest.raises(MachineError, match="the kernel does not confine it"):
            ProcessGroup.start(
                spawner,
                ["touch", "out"],
                cwd=str(Path.cwd()),
                env=ENV,
                streams=(0, 1, 2),
                confinement=confinement,
            )
    assert not Path("out").exists()


def test_a_command_that_its_view_does_not_show(spawner: Spawner) -> None:
    script = made("script", "#!/bin/sh\n", 0o755)
    with pytest.raises(CommandNotExecutableError, match=r"in its sandbox.*--sandbox-allow"):
        run(spawner, rules(), str(script))
    interpreter = shutil.copy("/bin/sh", made("interpreter", mode=0o755))
    script.write_text(f"#!{interpreter}\n")
    with pytest.raises(CommandNotExecutableError, match="the interpreter that it names"):
        run(spawner, rules(read=(script,)), str(script))


def test_a_word_that_no_command_can_have(spawner: Spawner) -> None:
    with pytest.raises(RequestError, match="NUL"):
        run(spawner, rules(), "echo", "a\0b")


def test_an_input_that_vanishes_is_named_and_nothing_is_left_behind(spawner: Spawner) -> None:
    gone = made("gone")
    seen = planned(rules(read=(gone,)))
    gone.unlink()
    with pytest.raises(MachineError, match=rf"mount {gone}: No such file.*something else write"):
        Job(spawner, None, "true", env=ENV, view=seen)
    assert Job(spawner, None, "true", env=ENV, view=planned(rules())).end() == (0, "")
