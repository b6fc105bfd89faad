"""`headstart verify` with scripted compilers: what is equal, what is blamed on whom, and that nothing of the user's is touched."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from process.support import Fifo, entries, gone

HEADSTART = str(Path(sys.executable).with_name("headstart"))
WAYS = [
    "plain",
    "standalone",
    "standalone (stays)",
    "worker (proto)",
    "worker (json)",
    "standalone (pipelined)",
    "worker (pipelined)",
    "copied directory",
    "plain again",
]
PIPELINED = {"standalone (pipelined)", "worker (pipelined)"}

INTERFACE_THEN_CODE = "echo interface > tmp; mv tmp a.i; echo hello; echo warning >&2; cat source.c > a.o"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The user's directory, with something of everything in it."""
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    (project / "source.c").write_text("int x;\n")
    (project / "source.c").chmod(0o640)
    (project / "link").symlink_to("source.c")
    (project / "absolute").symlink_to(project / "sub")
    (project / "dangling").symlink_to("nowhere")
    os.utime(project / "source.c", ns=(10**18, 10**18))
    return project


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the copies are made."""
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


Verify = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def verify(project: Path, temporary: Path) -> Verify:
    """Runs it in the user's directory; checks that nothing of that changed, and that nothing of ours is left."""

    def run(*arguments: str, cwd: Path = project, **environment: str) -> subprocess.CompletedProcess[str]:
        before = digest(project)
        done = subprocess.run(
            [HEADSTART, "verify", *arguments],
            cwd=cwd,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert digest(project) == before
        assert list(temporary.iterdir()) == []
        return done

    return run


def digest(directory: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path)] = (status.st_mode, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def ways(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {way["way"]: way for way in told["ways"]}


def blamed(told: dict[str, Any]) -> dict[str, list[str]]:
    """What differs, way by way, and not among plain runs."""
    found = {
        way["way"]: [each["subject"] for each in way["differences"] if not each["plain_runs_differ_too"]]
        for way in told["ways"]
    }
    return {way: subjects for way, subjects in found.items() if subjects}


def test_I6_a_good_compiler_makes_equal_bytes_in_every_way(verify: Verify) -> None:
    done = verify("--json", "--early-output=a.i", "--output=a.o", "--", "sh", "-c", INTERFACE_THEN_CODE)
    told = report(done)
    assert (done.returncode, told["verdict"], told["outputs"]) == (0, "equal", ["a.i", "a.o"]), done.stdout
    assert list(ways(told)) == WAYS
    for way in told["ways"]:
        assert (way["exit_code"], way["files"], way["differences"]) == (0, ["a.i", "a.o"], []), way
    assert ways(told)["worker (pipelined)"]["early_seconds"] > 0


def test_a_person_reads_a_table(verify: Verify) -> None:
    done = verify("--", "sh", "-c", "echo made > out")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == "verify: sh -c 'echo made > out' (dialect generic)"
    assert lines[1] == "outputs: out (found by a listing before and after the plain run)"
    rows = {row[:22].strip(): row[22:].split() for row in lines[4:13]}
    assert list(rows) == WAYS
    for title, row in rows.items():
        assert row[:5] == (["not", "run"] if title in PIPELINED else ["0", "same", "same", "1", "same"]), (
            title
        )
    assert lines[-1] == "Every byte is equal in every way."


def test_a_compiler_that_is_not_deterministic_is_named_and_we_are_not_blamed(verify: Verify) -> None:
    script = "head -c 8 /dev/urandom > random; echo fixed > fixed; head -c 8 /dev/urandom | od -t x1"
    done = verify("--json", "--", "sh", "-c", script)
    told = report(done)
    assert (done.returncode, told["verdict"], blamed(told)) == (1, "not deterministic", {}), done.stdout
    assert {each["subject"] for each in ways(told)["standalone"]["differences"]} == {"random", "stdout"}
    (note,) = told["notes"]
    assert note.startswith(
        "the compiler itself is not deterministic: plain runs of it differ in random, stdout;"
    )


def test_a_compiler_that_tosses_a_coin_is_run_more_often_before_we_are_blamed(
    verify: Verify, tmp_path: Path
) -> None:
    # Every way but three of the first four sees heads, as a coin could fall; the first two plain runs agree.
    (tmp_path / "tosses").write_text("")
    script = f"echo x >> {tmp_path}/tosses; case $(wc -l < {tmp_path}/tosses) in 2|8) echo tail;; *) echo head;; esac > out"
    done = verify("--json", "--", "sh", "-c", script)
    told = report(done)
    assert [way["way"] for way in told["ways"]][-2:] == ["plain again", "plain, run 3"]
    assert (told["verdict"], blamed(told)) == ("not deterministic", {}), done.stdout


def test_I6_a_wrapper_that_changes_a_byte_is_blamed_and_the_byte_is_named(
    verify: Verify, tmp_path: Path
) -> None:
    lying = tmp_path / "lying"
    lying.write_text(
        f'#!/bin/sh\n{sys.executable} -P -m headstart_worker "$@"\ncode=$?\necho more >> out\nexit $code\n'
    )
    lying.chmod(0o755)
    done = verify(
        "--json", f"--wrapper={lying}", "--", "sh", "-c", "printf 'one\\ntwo\\n' > out; echo > other"
    )
    told = report(done)
    assert (done.returncode, told["verdict"]) == (1, "differs")
    assert blamed(told) == {way: ["out"] for way in WAYS if "plain" not in way and way not in PIPELINED}
    (difference,) = ways(told)["standalone"]["differences"]
    assert (difference["offset"], difference["place"]) == (8, "line 3")
    assert difference["detail"] == "differs from byte 8, 13 bytes, plain 8"


def test_a_wrapper_that_changes_a_message_or_permissions_is_blamed(verify: Verify, tmp_path: Path) -> None:
    lying = tmp_path / "lying"
    lying.write_text(
        f'#!/bin/sh\n{sys.executable} -P -m headstart_worker "$@"\ncode=$?\nchmod 600 out\necho more >&2\nexit $code\n'
    )
    lying.chmod(0o755)
    told = report(
        verify(
            "--json", f"--wrapper={lying}", "--", "sh", "-c", "echo > out; chmod 755 out; echo warning >&2"
        )
    )
    assert blamed(told)["standalone"] == ["stderr", "out"]
    stderr, out = ways(told)["standalone"]["differences"]
    assert stderr["detail"] == "differs from line 2: 'more', plain ''"
    assert out["detail"] == "permissions 0600, plain 0755"


def test_outputs_that_hold_their_directory_are_told_by_the_copied_directory_alone(verify: Verify) -> None:
    done = verify("--json", "--", "sh", "-c", "pwd > out; echo fine > other")
    told = report(done)
    assert (done.returncode, told["verdict"], blamed(told)) == (1, "differs", {"copied directory": ["out"]})
    (difference,) = ways(told)["copied directory"]["differences"]
    assert difference["names_directory"] is True
    assert "depend on the name of the directory" in told["notes"][0]
    assert [way["way"] for way in told["ways"]][
        -1
    ] == "plain again"  # it is explained: nobody is asked once more


@pytest.mark.parametrize(
    ("options", "script", "code"),
    [
        ((), "echo out; echo 'a.c:1: error' >&2; echo half > a.o; exit 3", 3),
        ((), "kill -SEGV $$", 139),
        (("--timeout=0.3",), "exec sleep 60", 124),
        (("--timeout=0.3", "--kill-delay=0.1"), "trap '' TERM; while :; do sleep 1; done", 124),
        (("--early-output=a.i",), "echo 'a.c:1: error' >&2; exit 1", 1),
    ],
)
def test_a_failing_compile_fails_alike_everywhere(
    verify: Verify, options: tuple[str, ...], script: str, code: int
) -> None:
    done = verify("--json", *options, "--", "sh", "-c", script)
    told = report(done)
    assert (done.returncode, told["verdict"]) == (0, "equal"), done.stdout
    assert {way["exit_code"] for way in told["ways"] if not way["skipped"]} == {code}
    assert told["notes"] == [
        f"the command fails by itself, with exit code {code}: there are no outputs to compare"
    ]


def test_the_directorys_own_path_in_a_command_stands_for_the_copy(verify: Verify, project: Path) -> None:
    script = (
        f'cp {project}/source.c {project}/sub/made; echo "$WHERE $0 $1" | tr / _ | wc -c; test -e "$WHERE"'
    )
    done = verify(
        "--json",
        f"--output={project}/sub/made",
        f"--env=WHERE={project}/sub/made",
        "--",
        "sh",
        "-c",
        script,
        f"-I{project}",
        f"--x={project}/sub:{project}",
        DIRECTORY=str(project),
    )
    told = report(done)
    assert told["outputs"] == ["sub/made"]
    assert set(blamed(told)) == {"copied directory"}  # whose path is longer, and the count with it


def test_links_into_the_directory_lead_into_the_copy(verify: Verify, project: Path) -> None:
    told = report(verify("--json", "--", "sh", "-c", "echo x > absolute/through; cat link > out"))
    assert (told["verdict"], told["outputs"]) == ("equal", ["out", "sub/through"])
    assert not (project / "sub" / "through").exists()


def test_relative_links_out_of_the_directory_lead_where_they_did(
    verify: Verify, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "shared.h").write_text("shared")
    (project / "out-of-it").symlink_to("../shared.h")
    told = report(verify("--json", "--", "cp", "out-of-it", "out"))
    assert (told["verdict"], told["outputs"]) == ("equal", ["out"])


def test_root_copies_a_directory_above(verify: Verify, project: Path) -> None:
    refused = verify("--json", "--output=../out", "--", "cp", "../source.c", "../out", cwd=project / "sub")
    assert refused.returncode == 125
    assert "--root" in refused.stderr
    done = verify(
        "--json", "--root=..", "--output=../out", "--", "cp", "../source.c", "../out", cwd=project / "sub"
    )
    assert (done.returncode, report(done)["outputs"]) == (0, ["out"]), done.stdout + done.stderr


def test_a_command_that_reaches_the_directory_itself_is_told_at_once(project: Path, temporary: Path) -> None:
    (project / "script").write_text(f"echo x > {project}/reached; echo x >> {project}/../count\n")
    done = subprocess.run(
        [HEADSTART, "verify", "--", "sh", "script"],
        cwd=project,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 125
    assert f"{project}/reached changed while a copy of its directory was used (plain)" in done.stderr
    assert (project.parent / "count").read_text() == "x\n"  # it was not run a second time


def test_what_is_read_only_or_no_file_is_copied_or_named(verify: Verify, project: Path) -> None:
    (project / "locked").mkdir()
    (project / "locked" / "file").write_text("x")
    (project / "locked").chmod(0o555)
    os.mkfifo(project / "fifo")
    same = "test \"$(stat -c '%a %Y' source.c locked | xargs)\" = '640 1000000000 555 1000000000' || exit 1"
    os.utime(project / "locked", ns=(10**18, 10**18))
    told = report(
        verify(
            "--json", "--", "sh", "-c", same + "; cat locked/file > out; mkdir -p deep/er; chmod 0 deep/er"
        )
    )
    assert (told["verdict"], told["outputs"]) == ("equal", ["out"])
    assert told["notes"] == ["not copied, because they are no files: fifo"]


def test_variables_of_the_wrapper_are_left_out(verify: Verify, project: Path) -> None:
    done = verify("--", "true", HEADSTART_STATS=str(project / "stats.json"), HEADSTART_TIMEOUT="no number")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 125, "put -- before the command"),
        (("--",), 125, "no command"),
        (("cc", "-c", "a.c"), 125, "put -- before the command"),
        (("--no-such", "--", "true"), 125, "unknown option --no-such"),
        (("--phase=early", "--early-output=x", "--", "true"), 125, "--phase has no place here"),
        (("--stats=x", "--", "true"), 125, "--stats has no place here"),
        (("--explain", "--", "true"), 125, "--explain has no place here"),
        (("--jobs=2", "--", "true"), 125, "--jobs has no place"),
        (("--json=x", "--", "true"), 125, "--json takes no value"),
        (("--max-size", "--", "true"), 125, "--max-size wants a value"),
        (("--max-size=50%", "--", "true"), 125, "--max-size is an amount of disk"),
        (("--max-size=1", "--", "true"), 125, "allow that with --max-size=1M"),
        (("--root=sub", "--", "true"), 125, "--root=sub is no directory above"),
        (("--root=/", "--", "true"), 125, "holds everything of yours"),
        (("--output=/elsewhere/x", "--", "true"), 125, "/elsewhere/x is outside the directory"),
        (("--wrapper=no-such", "--", "true"), 125, "no-such cannot be executed"),
        (("@none.params", "--", "true"), 125, "none.params"),
        (("--", "no-such-command"), 127, "no-such-command is not on PATH"),
        (("--", "./source.c"), 126, "chmod"),
    ],
)
def test_wrong_use_is_one_sentence(verify: Verify, arguments: tuple[str, ...], code: int, text: str) -> None:
    done = verify(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert done.stderr.startswith("headstart: ")
    assert done.stderr.count("\n") == 1


def test_home_and_what_holds_it_is_not_copied(verify: Verify, project: Path) -> None:
    for home in (project, project / "sub"):
        done = verify("--", "true", HOME=str(home))
        assert (done.returncode, "holds everything of yours" in done.stderr) == (125, True)


def test_copies_are_not_made_inside_what_is_copied(verify: Verify, project: Path) -> None:
    done = verify("--", "true", TMPDIR=str(project / "sub"))
    assert done.returncode == 125
    assert "set TMPDIR" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("way", [0, 1, 3])
async def test_I3_a_signal_ends_it_and_nothing_is_left(  # noqa: PLR0917 - fixtures
    project: Path,
    temporary: Path,
    fifo: Callable[[str], Fifo],
    tmp_path: Path,
    number: signal.Signals,
    way: int,
) -> None:
    pids = fifo("pids")
    runs = tmp_path / "runs"
    script = f"echo x >> {runs}; test $(wc -l < {runs}) -le {way} && exit; (trap '' TERM; exec sleep 99) & echo $! > {pids}; exec sleep 99"
    with subprocess.Popen(  # noqa: ASYNC220 - it is the test's own business to wait
        [HEADSTART, "verify", "--", "sh", "-c", script],
        cwd=project,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            background = await pids.pid()
            process.send_signal(number)
            assert process.wait(20) == 128 + number
        finally:
            process.kill()
    await gone(background)
    assert entries(temporary) == []
