"""The wrapper becomes the compiler when nothing is left to do after it: nothing of it remains, and nothing is changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WRAPPER = (sys.executable, "-m", "headstart_worker")
FACTS = "env -0; echo; ulimit -a; umask; pwd; ls /proc/self/fd; grep -E '^(Sig[^Q]|Shd)' /proc/self/status"
"""What a command can see of how it was started; /proc/self is one of its own children's, which inherits all of it."""

# What the interpreter of a test's shell is told beside the rest; a real caller's shell has its own.
ODD = {b"CARGO_BIN_EXE_a-b": b"x", b"NO_TEXT": b"\xff\xfe", b"EMPTY": b"", b"PATH": os.environb[b"PATH"]}


def seen(*before: str, env: dict[bytes, bytes], script: str = FACTS) -> bytes:
    done = subprocess.run([*before, "/bin/sh", "-c", script], env=env, capture_output=True, check=True)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "more",
    [
        {},
        {b"LC_ALL": b"C"},
        {b"LC_CTYPE": b"C.UTF-8"},
        {b"LC_CTYPE": b"C"},
        {b"LC_CTYPE": b""},
        {b"LC_CTYPE": b"no_SUCH"},
        {b"LANG": b"en_US.ISO-8859-1"},
        {b"PYTHONWARNINGS": b"error", b"PYTHONDEVMODE": b"1", b"PYTHONINSPECT": b"1"},
    ],
)
def test_the_command_sees_nothing_of_us(more: dict[bytes, bytes]) -> None:
    env = ODD | more
    assert seen(*WRAPPER, "--", env=env) == seen(env=env)
    assert seen(*WRAPPER, env=env) == seen(env=env)
    assert seen(*WRAPPER, "--input=x", "--", env=env) == seen(env=env)


def test_words_stay_bytes() -> None:
    words = [b"\xff", b"", b"a b", b"--", b"@x", "é".encode()]
    done = subprocess.run([*WRAPPER, "--", "printf", "[%s]", *words], capture_output=True, check=True)
    assert done.stdout == b"".join(b"[" + word + b"]" for word in words)


def test_it_is_the_process_that_was_started_in_the_group_of_who_started_it() -> None:
    script = "echo $$; ps -o pgid= -p $$; readlink /proc/$$/exe"
    with subprocess.Popen([*WRAPPER, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid, group, program = process.stdout.read().split()
    assert (int(pid), int(group)) == (process.pid, os.getpgrp())
    assert "python" not in program


def test_signals_are_the_commands_own() -> None:
    with subprocess.Popen([*WRAPPER, "--", "sh", "-c", "kill -USR1 $$"], stderr=subprocess.PIPE) as process:
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == -signal.SIGUSR1


def test_the_signal_mask_and_what_is_ignored_stay_as_they_were() -> None:
    script = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    asked = ("grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status")
    plain = subprocess.run([sys.executable, "-c", script, *asked], capture_output=True, check=True).stdout
    ours = subprocess.run(
        [sys.executable, "-c", script, *WRAPPER, "--", *asked], capture_output=True, check=True
    )
    assert ours.stdout == plain
    assert b"SigBlk:\t0000000000000200" in plain


def test_descriptors_of_a_jobserver_stay_open() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"+")
        done = subprocess.run(
            [*WRAPPER, "--", "sh", "-c", f"head -c1 /dev/fd/{reader}"],
            capture_output=True,
            check=True,
            pass_fds=(reader, writer),
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.stdout == b"+"


def test_an_ignored_sigchld_stays_ignored() -> None:
    asked = ("grep", "-E", "^SigIgn", "/proc/self/status")
    ours, plain = (
        subprocess.run(
            ["env", "--ignore-signal=CHLD", *before, *asked], capture_output=True, check=True
        ).stdout
        for before in ((*WRAPPER, "--"), ())
    )
    assert ours == plain != b"SigIgn:\t0000000000000000\n"


@pytest.mark.parametrize("module", ["headstart_wrapper.tail", "headstart_wrapper.command_line"])
def test_an_interrupt_during_our_start_is_a_death_without_words(module: str) -> None:
    script = (
        "import os, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(name, path, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts)\n"
        "from headstart_worker.__main__ import main\n"
        "main()"
    )
    asked = [sys.executable, "-c", script, "--input=x", "--", "true"]
    done = subprocess.run(asked, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_a_directory_that_is_gone_is_told_to_who_needs_one(tmp_path: Path) -> None:
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    for number, options in enumerate([(), ("--",), ("--env=A=b", "--"), ("--stay", "--")]):
        (gone := tmp_path / str(number)).mkdir()
        done = subprocess.run(
            ["sh", "-c", script, "sh", gone, *WRAPPER, *options, "echo", "here"],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONSAFEPATH": "1"},  # `-m` looks into it
            text=True,
        )
        if "--stay" in options:
            assert done.returncode == 125
            assert "does not exist any more" in done.stderr
            assert len(done.stderr.splitlines()) == 1
        else:
            assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("options", [("--stdout=out",), ("--stderr=err",), ("--stdout=out", "--stderr=err")])
def test_files_take_the_place_of_closed_streams(
    tmp_path: Path, closed: str, options: tuple[str, ...]
) -> None:
    taken = {"--stdout=out": ">out", "--stderr=err": "2>err"}
    script = "for n in 0 1 2; do test -e /dev/fd/$n && echo $n >> open; done; echo o; echo e >&2"
    written = [tmp_path / name for name in ("out", "err", "open")]
    told = []
    for before, redirections in (((*WRAPPER, *options, "--"), ""), ((), " ".join(taken[o] for o in options))):
        command = ["sh", "-c", f'exec "$@" {closed} {redirections}', "sh", *before, "sh", "-c", script]
        subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)
        told.append([file.read_text() for file in written if file.exists()])
        for file in written:
            file.unlink(missing_ok=True)
    assert told[0] == told[1]


def test_words_of_a_params_file_are_its_bytes_in_every_locale(tmp_path: Path) -> None:
    (tmp_path / "params").write_bytes("--env=A=é\n--\nsh\n-c\nprintf %s%s $A $1\nsh\né".encode())
    for more in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = subprocess.run(
            [*WRAPPER, "@params"], capture_output=True, check=False, cwd=tmp_path, env=os.environ | more
        )
        assert (done.stdout, done.stderr) == ("éé".encode(), b"")


BECOMES = (
    (),
    ("--env=A=b",),
    ("--subst=A=b",),
    ("--input=x",),
    ("--dialect=generic",),
    ("--kill-delay=1",),
    ("--sandbox=off",),
    ("--explain",),
)
STAYS = (
    ("--stay",),
    ("--timeout=9",),
    ("--stats=s.json",),
    ("--graceful-sigterm",),
    ("--output=o",),
    ("--output-file=raw",),
    ("--touch-file=t",),
    ("--copy-output", "s", "t"),
    ("--rustc-output-format=json",),
    ("--rustc-quit-on-rmeta=true",),
)


@pytest.mark.parametrize("options", BECOMES)
def test_it_becomes_the_command_with(options: tuple[str, ...], tmp_path: Path) -> None:
    with _parent_of_command(options, tmp_path) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == os.getpid()


@pytest.mark.parametrize("options", STAYS)
def test_it_stays_beside_the_command_with(options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    with _parent_of_command(options, tmp_path) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid


def _parent_of_command(options: tuple[str, ...], cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*WRAPPER, *options, "--", "sh", "-c", "echo $PPID; exec touch o"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "becomes the compiler"), (("--timeout=9",), "stays beside the compiler: --timeout")],
)
def test_explain_says_which_and_why(options: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [*WRAPPER, "--explain", *options, "--", "true"], capture_output=True, check=True, text=True
    )
    assert said in done.stderr


def test_a_variable_of_ours_counts_and_a_jobs_tag_does_not(tmp_path: Path) -> None:
    asked = [*WRAPPER, "sh", "-c", "echo $PPID"]
    tagged = subprocess.run(asked, env=os.environ | {"HEADSTART_JOB": "x/1"}, capture_output=True, check=True)
    assert int(tagged.stdout) == os.getpid()
    stats = tmp_path / "stats.json"
    subprocess.run(asked, env=os.environ | {"HEADSTART_STATS": str(stats)}, capture_output=True, check=True)
    assert stats.stat().st_size


def test_the_compilers_own_words_are_not_ours() -> None:
    for word in ("--persistent_worker", "--help", "--timeout=x", "@none"):
        done = subprocess.run(
            [*WRAPPER, "echo", word, "--", "--stay"], capture_output=True, check=True, text=True
        )
        assert done.stdout == f"{word} -- --stay\n"


def test_a_wrapper_may_stand_before_a_wrapper() -> None:
    """As Cargo puts RUSTC_WRAPPER before RUSTC_WORKSPACE_WRAPPER."""
    done = subprocess.run(
        [*WRAPPER, *WRAPPER, "--", "sh", "-c", "echo $PPID"], capture_output=True, check=True
    )
    assert int(done.stdout) == os.getpid()
