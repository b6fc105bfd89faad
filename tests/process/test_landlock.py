"""What a ruleset of Landlock holds and what it does not: the eight traps, rights, old kernels."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headstart_wrapper.helper_spawner import HelperSpawner
from headstart_wrapper.process_group import DirectSpawner, Spawner
from headstart_wrapper.sandbox import landlock
from headstart_wrapper.sandbox.landlock import Rules
from process.confined import ABI, LATER, STRACE, Job, injected, needs_abi, needs_strace, python, rules, run
from process.support import PATIENCE, Fifo
from survivors import descriptors

pytestmark = needs_abi(3)

GCC = shutil.which("gcc")
RUSTC = shutil.which("rustc")


@pytest.fixture(params=["direct", "helper"])
def spawner(request: pytest.FixtureRequest) -> Iterator[Spawner]:
    if request.param == "direct":
        yield DirectSpawner()
        return
    with closing(HelperSpawner()) as helper:
        yield helper


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that no job declares."""
    made = tmp_path / "secret"
    made.write_text("secret\n")
    return made


def held_threads(process: int, count: int) -> list[int]:
    """The threads of a process that may gain no privileges any more, as a held one may not, when they are so many."""
    found = [-1] * (count + 1)
    deadline = time.monotonic() + PATIENCE
    while (
        len(found) != count and time.monotonic() < deadline
    ):  # those of jobs that are over may still be ending
        with contextlib.suppress(OSError):
            found = [
                int(thread.name)
                for thread in Path(f"/proc/{process}/task").iterdir()
                if "NoNewPrivs:\t1" in (thread / "status").read_text(encoding="utf-8")
            ]
    assert len(found) == count
    return found


def starter(spawner: Spawner, job: Job) -> int:
    """The process that started a job."""
    if isinstance(spawner, DirectSpawner):
        return os.getpid()
    return int(Path(f"/proc/{job.group.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def test_trap_1_S1_no_other_thread_and_no_other_start_is_confined(
    spawner: Spawner, secret: Path, tmp_path: Path
) -> None:
    with Fifo(tmp_path / "go") as go:
        job = Job(spawner, rules(read=(go,)), "sh", "-c", f"read x < {go}; cat {secret} || exit 7")
        # While it runs, and with it the thread that started it:
        seen: list[str] = []
        fresh = threading.Thread(target=lambda: seen.append(secret.read_text(encoding="utf-8")))
        fresh.start()
        fresh.join()
        assert [secret.read_text(encoding="utf-8"), *seen] == ["secret\n"] * 2
        free = run(spawner, None, "sh", "-c", f"cat {secret}; grep NoNewPrivs /proc/self/status")
        assert free == (0, "secret\nNoNewPrivs:\t0\n")
        process = starter(spawner, job)
        assert process not in held_threads(process, 1)
        go.go()
        code, said = job.end()
    assert code == 7
    assert "Permission denied" in said


def test_trap_1_a_thread_is_used_once(spawner: Spawner) -> None:
    # A thread takes sixteen rulesets, one within the other: one that is used again fails at the seventeenth.
    assert [run(spawner, rules(), "true")[0] for _ in range(20)] == [0] * 20


@needs_strace
@pytest.mark.parametrize("kind", ["DirectSpawner", "HelperSpawner"])
def test_trap_2_a_thread_that_is_held_opens_nothing(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    script = f"{LATER}\nspawner = {kind}()\nprint(job(spawner, PROGRAMS, '/bin/true'))\ngetattr(spawner, 'close', int)()"
    traced = ["-e", "trace=%file,execve,landlock_restrict_self,vfork,clone,clone3", "-e", "signal=none"]
    done = subprocess.run(
        [STRACE, "-f", "-qqq", *traced, "-o", str(log), *python(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "0\n"
    calls = [line.split(maxsplit=1) for line in log.read_text(encoding="utf-8").splitlines()]
    (thread,) = {who for who, call in calls if call.startswith("landlock_restrict_self(")}
    own = [call.partition("(")[0] for who, call in calls if who == thread and not call.startswith("<...")]
    assert own[0] == "landlock_restrict_self"
    assert set(own[1:]) <= {"vfork", "clone", "clone3"}


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv")
def test_trap_3_a_leader_that_dies_with_its_parent_lives_as_long_as_it_wants(
    spawner: Spawner, tmp_path: Path
) -> None:
    with Fifo(tmp_path / "go") as go, Fifo(tmp_path / "ready") as ready:
        script = f"echo > {ready}; read x < {go}; exit 7"
        held = rules(read=(go,), write=(ready,))
        job = Job(spawner, held, "setpriv", "--pdeathsig", "KILL", "sh", "-c", script)
        while ready.silent():
            os.sched_yield()
        # The parent of which it says that is the thread that started it: that one must not end before.
        process = starter(spawner, job)
        (thread,) = held_threads(process, 1)
        kept = Path(f"/proc/{process}/task/{thread}/children").read_text(encoding="ascii")
        assert kept.split() == [str(job.group.pid)]
        go.go()
        assert job.end() == (7, "")


def test_trap_3_the_thread_ends_with_the_leader(tmp_path: Path) -> None:
    with closing(HelperSpawner()) as helper, Fifo(tmp_path / "go") as go:
        jobs = [Job(helper, rules(read=(go,)), "sh", "-c", f"read x < {go}") for _ in range(3)]
        process = starter(helper, jobs[0])
        held_threads(process, 3)
        go.go(3)
        assert [job.end() for job in jobs] == [(0, "")] * 3
        held_threads(process, 0)


def test_trap_4_a_rule_on_a_file_is_about_the_file_not_its_name(spawner: Spawner, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    file, other = inside / "file", tmp_path / "other"
    file.write_text("old\n", encoding="utf-8")
    other.write_text("new\n", encoding="utf-8")
    with Fifo(tmp_path / "go") as go:
        command = ("sh", "-c", f"read x < {go}; cat {file}")
        by_file = Job(spawner, rules(read=(go, file)), *command)
        by_directory = Job(spawner, rules(read=(go, inside)), *command)
        other.rename(file)
        go.go(2)
        code, said = by_file.end()
        assert by_directory.end() == (0, "new\n")
    assert code == 1
    assert "Permission denied" in said


def test_trap_5_a_rule_through_a_link_is_about_what_it_leads_to(
    spawner: Spawner, secret: Path, tmp_path: Path
) -> None:
    link, directory = tmp_path / "link", tmp_path / "execroot"
    link.symlink_to(secret)
    directory.symlink_to(tmp_path)
    for allowed, opened in ((link, link), (link, secret), (directory / "secret", link)):
        assert run(spawner, rules(read=(allowed,)), "cat", str(opened)) == (0, "secret\n")


def test_trap_6_what_was_open_before_goes_on_to_work(spawner: Spawner, secret: Path) -> None:
    with secret.open("r+b") as opened:
        script = f"cat; echo written >&0; cat {secret}"
        code, said = run(spawner, rules(), "sh", "-c", script, stdin=opened.fileno())
    assert code == 1
    assert said.startswith("secret\n")
    assert said.endswith("Permission denied\n")
    assert secret.read_text(encoding="utf-8") == "secret\nwritten\n"


ATTEMPTS = """
import json, os, signal, socket, sys
secret, pid, tcp, udp, abstract = sys.argv[1:]

def tried(name, action):
    try:
        action()
        done[name] = 0
    except OSError as error:
        done[name] = error.errno

def connect(family, address):
    with socket.socket(family) as made:
        made.settimeout(20)
        made.connect(address)

def send(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", address)

def bind():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()

done = {}
tried("stat", lambda: os.stat(secret))
tried("chmod", lambda: os.chmod(secret, 0o600))
tried("utime", lambda: os.utime(secret, (1, 1)))
tried("chdir", lambda: os.chdir(os.path.dirname(secret)))
tried("open", lambda: os.open(secret, os.O_RDONLY))
tried("truncate", lambda: os.truncate(secret, 0))
tried("udp", lambda: send(("127.0.0.1", int(udp))))
tried("connect", lambda: connect(socket.AF_INET, ("127.0.0.1", int(tcp))))
tried("bind", bind)
tried("abstract", lambda: connect(socket.AF_UNIX, chr(0) + abstract))
tried("signal", lambda: os.kill(int(pid), 0))
tried("own group", lambda: os.killpg(0, 0))
print(json.dumps(done))
"""


@pytest.fixture
def attempts(secret: Path) -> Iterator[tuple[str, ...]]:
    """A command that tries what an undeclared file and a neighbour might be asked for, and says what came of it."""
    name = f"headstart-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield python(ATTEMPTS, secret, os.getpid(), tcp.getsockname()[1], udp.getsockname()[1], name)


def test_trap_7_attributes_are_not_held_and_neighbours_are(
    spawner: Spawner, attempts: tuple[str, ...]
) -> None:
    code, said = run(spawner, rules(), *attempts)
    assert code == 0, said
    none = dict.fromkeys(("stat", "chmod", "utime", "chdir", "udp", "own group"), 0)
    files = dict.fromkeys(("open", "truncate"), errno.EACCES)
    tcp = dict.fromkeys(("connect", "bind"), errno.EACCES if ABI >= 4 else 0)
    outside = dict.fromkeys(("abstract", "signal"), errno.EPERM if ABI >= 6 else 0)
    assert json.loads(said) == none | files | tcp | outside
    # Nothing of this is a matter of the script: the same one, not confined, may do it all.
    assert set(json.loads(run(spawner, None, *attempts)[1]).values()) == {0}


def compile_c(spawner: Spawner, source: Path, held: tuple[Path, ...], *options: str) -> tuple[int, str]:
    assert GCC
    return run(
        spawner, rules(read=held, write=(source.parent / "out",)), GCC, "-c", *options, str(source), "-o",
        str(source.parent / "out/x.o"), env={"PATH": os.environ["PATH"], "TMPDIR": str(source.parent / "out")},
    )  # fmt: skip


@pytest.mark.skipif(GCC is None, reason="there is no gcc")
def test_trap_8_an_undeclared_header_is_there_and_cannot_be_opened(spawner: Spawner, tmp_path: Path) -> None:
    first, second, source = tmp_path / "first", tmp_path / "second", tmp_path / "x.c"
    for directory in (first, second, tmp_path / "out"):
        directory.mkdir()
    (second / "h.h").write_text("int h;\n", encoding="utf-8")
    options = (f"-I{first}", f"-I{second}")
    source.write_text('#include "h.h"\n', encoding="utf-8")
    code, said = compile_c(spawner, source, (source, first), *options)
    assert (code, f"fatal error: {second}/h.h: Permission denied" in said) == (1, True), said
    assert compile_c(spawner, source, (source, first, second / "h.h"), *options) == (0, "")
    confined = (tmp_path / "out/x.o").read_bytes()
    run(spawner, None, str(GCC), "-c", *options, str(source), "-o", str(tmp_path / "out/x.o"))
    assert (tmp_path / "out/x.o").read_bytes() == confined
    # One that would win over a declared one, and one that is only asked for.
    (first / "h.h").write_text("int shadow;\n", encoding="utf-8")
    code, said = compile_c(spawner, source, (source, second), *options)
    assert (code, f"fatal error: {first}/h.h: Permission denied" in said) == (1, True), said
    source.write_text('#if __has_include("h.h")\n#endif\n', encoding="utf-8")
    code, said = compile_c(spawner, source, (source, second), *options)
    assert (code, f"{first}/h.h: Permission denied" in said) == (1, True), said


@pytest.mark.skipif(RUSTC is None, reason="there is no rustc")
def test_trap_8_an_undeclared_text_of_rustc_is_there_and_cannot_be_opened(
    spawner: Spawner, tmp_path: Path
) -> None:
    assert RUSTC
    sysroot = subprocess.run(
        [RUSTC, "--print=sysroot"], capture_output=True, text=True, check=True
    ).stdout.strip()
    out, source, text = tmp_path / "out", tmp_path / "lib.rs", tmp_path / "t.txt"
    out.mkdir()
    text.write_text("text", encoding="utf-8")
    source.write_text('pub const T: &str = include_str!("t.txt");\n', encoding="utf-8")
    command = (
        f"{sysroot}/bin/rustc",
        "--crate-type=lib",
        "--emit=metadata",
        str(source),
        "--out-dir",
        str(out),
    )
    code, said = run(spawner, rules(read=(sysroot, source), write=(out,)), *command)
    assert (code, "t.txt`: Permission denied" in said) == (1, True), said
    assert run(spawner, rules(read=(sysroot, source, text), write=(out,)), *command) == (0, "")


WRITING = """
set -e
cd {here}/one
mkdir d; : > d/f; ln d/f l; ln -s d/f s; mkfifo p; mv d/f {here}/two/moved; cp /bin/true run; ./run
echo text > t; echo > t; rm l s p t run; rmdir d
echo into > {here}/file
cat {here}/two/moved
"""


def test_everything_may_be_done_in_a_directory_to_write(spawner: Spawner, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    file = tmp_path / "file"
    file.touch()
    held = rules(write=(tmp_path / "one", tmp_path / "two", file))
    assert run(spawner, held, "sh", "-c", WRITING.format(here=tmp_path)) == (0, "")
    assert file.read_text(encoding="utf-8") == "into\n"
    assert (tmp_path / "two/moved").exists()
    outside = (
        "touch {}/new",
        "rm {}/file",
        "mv {}/file {}/one",
        "ln {}/file {}/one/f",
        "mkdir {}/d",
        "ls {}",
    )
    for action in outside:
        code, said = run(spawner, held, "sh", "-c", action.replace("{}", str(tmp_path)))
        assert code != 0, (action, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "one", "two"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_nobody_makes_devices(spawner: Spawner, tmp_path: Path) -> None:
    for kind in "bc":
        command = ("mknod", str(tmp_path / kind), kind, "1", "3")
        assert run(spawner, rules(write=(tmp_path,)), *command)[0] == 1
        assert run(spawner, None, *command) == (0, "")


def test_who_may_list_a_directory_opens_nothing_in_it(spawner: Spawner, secret: Path, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    held = rules(listed=(tmp_path, secret))
    assert run(spawner, held, "ls", str(tmp_path)) == (0, "below\nsecret\n")
    assert run(spawner, held, "ls", str(tmp_path / "below")) == (0, "")  # rules go downwards
    assert run(spawner, held, "cat", str(secret))[0] == 1


@needs_abi(5)
def test_a_device_that_is_not_declared_obeys_nothing(spawner: Spawner) -> None:
    # open(2): mode 3 asks for neither reading nor writing, only for ioctl, here of how much entropy there is.
    script = "import fcntl, os, sys; fcntl.ioctl(os.open(sys.argv[1], 3), 0x80045200, bytes(4))"
    code, said = run(spawner, rules(), *python(script, "/dev/random"))
    assert (code, "Permission denied" in said) == (1, True), said
    assert run(spawner, rules(read=("/dev/random",)), *python(script, "/dev/random")) == (0, "")


def test_what_is_not_there_is_passed_over_and_nothing_stays_open(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    (tmp_path / "loop").symlink_to("loop")
    before = descriptors()
    try:
        odd = (
            tmp_path / "none",
            tmp_path / "none/x",
            tmp_path / "loop",
            f"/proc/self/fd/{reader}",
            "/\0",
            "/" + "x" * 5000,
        )
        made = landlock.ruleset(Rules(read=tuple(map(str, odd)), list=("/etc/passwd",), write=("/none",)))
        assert not os.get_inheritable(made)
        os.close(made)
        assert descriptors() == before
    finally:
        os.close(reader)
        os.close(writer)


@needs_strace
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("error=ENOSYS", "this kernel was built without it"),
        ("error=EOPNOTSUPP", "it is switched off on this machine, see the kernel's option lsm="),
        ("error=EPERM", "asking for it fails: Operation not permitted"),
    ],
)
def test_I11_without_landlock_nothing_starts(fault: str, why: str, tmp_path: Path) -> None:
    script = """
print(landlock.abi())
try:
    job(DirectSpawner(), PROGRAMS, "/bin/touch", sys.argv[1])
except HeadstartError as error:
    print(error.exit_code, error)
"""
    touched = tmp_path / "touched"
    abi, error = injected(fault, script, touched).splitlines()
    assert abi == repr((0, why))
    assert error.startswith(f"125 the job cannot be confined by Landlock ({why}); ")
    assert not touched.exists()


@needs_strace
@needs_abi(6)
@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5])
def test_an_old_kernel_is_asked_for_what_it_has(abi: int, attempts: tuple[str, ...]) -> None:
    script = """
held = Rules(read=(*PROGRAMS.read, "/proc", sys.prefix, sys.base_prefix), write=PROGRAMS.write)
assert job(DirectSpawner(), held, *sys.argv[1:]) == 0
"""
    found = json.loads(injected(f"retval={abi}:when=1", script, *attempts))
    assert found["open"] == errno.EACCES
    assert found["truncate"] == (errno.EACCES if abi >= 3 else 0)
    assert found["connect"] == (errno.EACCES if abi >= 4 else 0)
    assert found["signal"] == found["abstract"] == 0


def test_a_shortage_is_told_in_a_sentence() -> None:
    script = """
import resource
last = os.open("/dev/null", os.O_RDONLY)
resource.setrlimit(resource.RLIMIT_NOFILE, (last + 2, last + 2))
for _ in range(2):  # and it costs no descriptor
    try:
        landlock.ruleset(PROGRAMS)
    except HeadstartError as error:
        print(error.exit_code, error)
"""
    done = subprocess.run(python(LATER + script), capture_output=True, text=True, check=True)
    sentence = "125 the job's sandbox cannot be made (Too many open files: /usr); lower --jobs, or see to the limits of this machine\n"
    assert done.stdout == sentence * 2
