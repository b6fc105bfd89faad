"""The flags of rules_rust's process_wrapper, each on its own and together, standalone and as the options of a request.

What upstream tests of its wrapper is here with scripts of ours; the rest is where users suffer today.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from attrs import frozen

from headstart_worker.messages import WorkRequest
from headstart_worker.testing import FakeHost
from process.support import PATIENCE, Fifo, entries, gone, links, response
from survivors import is_alive

Worker = Callable[..., FakeHost]
MakeFifo = Callable[[str], Fifo]


@frozen
class Answer:
    """How a job ended. Attributes: its exit code, and its output with its errors."""

    code: int
    text: str


Way = Callable[..., Awaitable[Answer]]


async def standalone(workspace: Path, *arguments: str, **variables: str) -> Answer:
    done = await trio.run_process(
        [sys.executable, "-m", "headstart_worker", *arguments],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
        cwd=workspace,
        env={**os.environ, **variables},
    )
    return Answer(done.returncode, done.stdout.decode(errors="replace"))


@pytest.fixture(params=["standalone", "worker"])
def way(request: pytest.FixtureRequest, worker: Worker, workspace: Path, state: Path) -> Way:
    """Runs a job: way("--option", "--", "command", VARIABLE="inherited")."""

    async def served(*arguments: str, **variables: str) -> Answer:
        async with worker(env={**os.environ, **variables}) as host:
            with trio.fail_after(PATIENCE):
                answer = await host.work(arguments)
            (own,) = entries(state)
            assert [name for name in entries(state / own) if "params" in name] == []
        return Answer(answer.exit_code, answer.output)

    async def alone(*arguments: str, **variables: str) -> Answer:
        temporary = workspace.with_name("temporary")
        temporary.mkdir(exist_ok=True)
        with trio.fail_after(PATIENCE):
            answer = await standalone(workspace, *arguments, TMPDIR=str(temporary), **variables)
        assert entries(temporary) == []
        return answer

    return served if request.param == "worker" else alone


def script(*lines: str) -> tuple[str, ...]:
    return ("--", "/bin/sh", "-c", "\n".join(lines), "sh")


SHOW = script(r"""for word; do printf '<%s>' "$word"; done""")
CONTENTS = script(r"""for word; do printf '<%s>' "$word"; cat "${word#@}"; done""")


async def test_basic(way: Way) -> None:
    assert await way(*SHOW, "a", "-b", "--", "@c") == Answer(0, "<a><-b><--><@c>" + way_newline(way))


def way_newline(way: Way) -> str:
    """A response ends in a newline."""
    return "\n" if way.__name__ == "served" else ""


async def test_subst_pwd(way: Way, workspace: Path) -> None:
    options = ("--subst", "pwd=${pwd}", "other=${pwd}/x", "key=value")
    answer = await way(*options, *SHOW, "${pwd}/a:${pwd}", "${other}", "${key}", "${none}")
    assert answer.text.strip() == f"<{workspace}/a:{workspace}><${{pwd}}/x><value><${{none}}>"


async def test_subst_of_bazels_directories(way: Way, workspace: Path) -> None:
    options = ("--subst", "base=${output_base}", "--subst=root=${exec_root}")
    above = workspace.parent.parent
    answer = await way(*options, *SHOW, "${base}", "${root}")
    assert answer.text.strip() == f"<{above}><{above}/execroot/workspace>"
    elsewhere = workspace.with_name("elsewhere")
    (elsewhere / "external").mkdir(parents=True)
    (workspace / "external").symlink_to(elsewhere / "external")
    answer = await way(*options, *SHOW, "${base}", "${root}")
    assert answer.text.strip() == f"<{elsewhere}><{elsewhere}/execroot/workspace>"


async def test_subst_reaches_params_files_and_their_names(way: Way, workspace: Path) -> None:
    params = workspace / "a.params"
    params.write_bytes(b"-I${pwd}/x\r\n\xff${key}\n@${key}.params\n")
    (workspace / "v.params").write_text("nested ${key}\n")
    before = params.stat().st_mtime_ns
    options = ("--subst", "pwd=${pwd}", "--subst", "key=v")
    answer = await way(*options, *CONTENTS, "@${pwd}/a.params")
    word, _, text = answer.text.partition(">")
    assert not word.startswith(f"<@{workspace}")
    assert text.splitlines() == [f"-I{workspace}/x", "�v", "nested v"]
    # Nothing is beside the params file; that what the compiler read is gone is what `way` sees.
    assert entries(workspace) == ["a.params", "v.params"]
    assert params.stat().st_mtime_ns == before


async def test_a_params_file_in_which_nothing_changes_is_passed_as_it_is(way: Way, workspace: Path) -> None:
    (workspace / "a.params").write_text("-O\n")
    answer = await way("--subst", "pwd=${pwd}", *CONTENTS, "@a.params")
    assert answer.text == "<@a.params>-O\n"


async def test_the_params_file_of_a_killed_job_is_removed_too(way: Way, workspace: Path) -> None:
    (workspace / "a.params").write_text("${pwd}")
    options = ("--timeout=0.1", "--subst", "pwd=${pwd}")
    answer = await way(*options, *script('test -f "${1#@}" && exec sleep 99'), "@a.params")
    assert answer.code == 124


async def test_env_files(way: Way, workspace: Path) -> None:
    (workspace / "one").write_text(
        "A=from one\nB=from one\nC=${pwd}/c\nESCAPED=a\\\nb\nBACKSLASH=c\\\\\nBOTH=d\\\\\\\ne\n"
    )
    (workspace / "two").write_text("B=from two\n\nD=from two\n")
    show = script(
        r"""printf '<%s>' "$A" "$B" "$C" "$D" "$ESCAPED" "$BACKSLASH" "$BOTH" "$INHERITED" "$OPTION" "$KEPT" """
    )
    options = ("--env-file", "one", "two", "--env", "D=from option", "--subst", "pwd=${pwd}")
    answer = await way(
        *options,
        "--env=OPTION=${pwd}",
        *show,
        A="inherited",
        INHERITED="${pwd}/i",
        KEPT="${other}",
    )
    assert answer.text.strip() == (
        f"<from one><from two><{workspace}/c><from option><a\nb><c\\><d\\\ne><{workspace}/i><{workspace}><${{other}}>"
    )


async def test_arg_files(way: Way, workspace: Path) -> None:
    (workspace / "one").write_text("-a b\n\n${key}\n")
    (workspace / "two").write_text("last\\\nline\n")
    options = ("--arg-file", "one", "--arg-file", "two", "--subst", "key=v")
    answer = await way(*options, *SHOW, "given")
    assert answer.text.strip() == "<given><-a b><v><last\nline>"


async def test_several_values_behind_one_flag(way: Way, workspace: Path) -> None:
    for name in "abc":
        (workspace / name).write_text(f"V{name}=env {name}\n")
    answer = await way(
        "--env-file", "a", "b", "--arg-file", "c", *script('printf "%s|%s|%s" "$Va" "$Vb" "$1"')
    )
    assert answer.text.strip() == "env a|env b|Vc=env c"


async def test_out_dir(way: Way, workspace: Path) -> None:
    answer = await way(
        "--out-dir",
        "bin/x.out_dir",
        *script('printf "%s|%s|%s" "$OUT_DIR" "$1" "$X"'),
        "${out_dir}/a",
        X="${out_dir}",
    )
    directory = f"{workspace}/bin/x.out_dir"
    assert answer.text.strip() == f"{directory}|{directory}/a|{directory}"


async def test_status_files(way: Way, workspace: Path) -> None:
    (workspace / "stable").write_text("STABLE_LABEL a label\nSTABLE_EMPTY \n")
    (workspace / "volatile").write_text("BUILD_TIMESTAMP 17\n")
    (workspace / "env").write_text("A={STABLE_LABEL}/{BUILD_TIMESTAMP}/{STABLE_EMPTY}/{NONE}\n")
    options = ("--stable-status-file", "stable", "--volatile-status-file", "volatile", "--env-file", "env")
    answer = await way(*options, *script('printf "%s|%s" "$A" "$B"'), B="{BUILD_TIMESTAMP}")
    assert answer.text.strip() == "a label/17//{NONE}|17"


@pytest.mark.parametrize(
    ("stdout", "stderr", "stay"),
    [
        ("--stdout-file", "--stderr-file", ()),
        ("--stdout", "--stderr", ("--timeout=99",)),
        ("-o", "-e", ()),
    ],
)
async def test_stdout_and_stderr(
    way: Way, workspace: Path, stdout: str, stderr: str, stay: tuple[str, ...]
) -> None:
    (workspace / "out").write_text("what was there before, which is longer")
    says = script("echo out; echo err >&2; exit 3")
    assert await way(*stay, stdout, "out", *says) == Answer(3, "err\n")
    assert (workspace / "out").read_text() == "out\n"
    assert await way(*stay, stderr, "err", *says) == Answer(3, "out\n")
    assert (workspace / "err").read_text() == "err\n"
    assert await way(*stay, stdout, "both", stderr, "./both", *says) == Answer(3, "")
    assert (workspace / "both").read_text() == "out\nerr\n"


async def test_the_wrappers_own_words_go_to_its_own_stderr(way: Way, workspace: Path) -> None:
    answer = await way("--stdout=out", "--stderr=err", "--", "./no-such-command")
    assert answer == Answer(
        127,
        "process-wrapper: the command ./no-such-command does not exist; is it declared as an input or tool?\n",
    )
    (workspace / "broken").write_text("#!/no/such/interpreter\n")
    (workspace / "broken").chmod(0o755)
    answer = await way("--stdout=out", "--stderr=err", "--", "./broken")
    assert answer.code == 127
    assert "names an interpreter that does not exist" in answer.text
    assert (workspace / "err").read_text() == ""


async def test_output_file_has_stderr_as_it_came(way: Way, workspace: Path) -> None:
    says = script("""printf '%s\\n' out; printf '%s\\n' '{"rendered":"text\\n"}' noise >&2""")
    raw = '{"rendered":"text\\n"}\nnoise\n'
    plain = await way("--output-file", "raw", *says)
    assert sorted(plain.text.splitlines()) == sorted(f"out\n{raw}".splitlines())
    assert (workspace / "raw").read_text() == raw
    answer = await way(
        "--output-file=raw", "--rustc-output-format=rendered", "--stderr=err", "--stdout=out", *says
    )
    assert answer == Answer(0, "")
    assert [(workspace / name).read_text() for name in ("raw", "err", "out")] == [
        raw,
        "text\nnoise\n",
        "out\n",
    ]


async def test_touch_file_and_copy_output(way: Way, workspace: Path) -> None:
    (workspace / "b").write_text("old")
    (workspace / "touched").write_text("old")
    options = ("--touch-file", "touched", "--copy-output", "a", "b", "--copy-output", "a", "new/c")
    assert await way(*options, *script("exit 2")) == Answer(2, "")
    assert (workspace / "touched").read_text() == (workspace / "b").read_text() == "old"
    assert await way(*options, *script("echo made > a; chmod 750 a")) == Answer(0, "")
    assert [(workspace / name).read_text() for name in ("touched", "b", "new/c")] == ["", "made\n", "made\n"]
    assert (workspace / "b").stat().st_mode & 0o777 == 0o750


async def test_combined(way: Way, workspace: Path) -> None:
    (workspace / "env").write_text("FOO={STABLE_KEY}/${pwd}\n")
    (workspace / "args").write_text("@${pwd}/p\n")
    (workspace / "p").write_text("${pwd} ${key}\n")
    (workspace / "status").write_text("STABLE_KEY stamped\n")
    answer = await way(
        *("--subst", "pwd=${pwd}", "key=value", "--env-file", "env", "--arg-file", "args"),
        *(
            "--stable-status-file",
            "status",
            "--out-dir",
            "gen",
            "--stdout-file",
            "out",
            "--touch-file",
            "done",
        ),
        *("--copy-output", "out", "copy", "--stats", "stats.json"),
        *script('echo "$FOO $OUT_DIR"; cat "${1#@}"'),
    )
    assert answer == Answer(0, "")
    text = f"stamped/{workspace} {workspace}/gen\n{workspace} value\n"
    assert (workspace / "out").read_text() == (workspace / "copy").read_text() == text
    assert (workspace / "done").exists()
    stats = json.loads((workspace / "stats.json").read_text())
    assert stats["command"][-1] == f"@{workspace}/p"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--env-file=none",), "the file none of --env-file cannot be read"),
        (("--env-file=bad",), "the file bad of --env-file has the line 'bad'"),
        (("--arg-file=none",), "the file none of --arg-file cannot be read"),
        (("--stable-status-file=none",), "the file none of --stable-status-file cannot be read"),
        (("--volatile-status-file=none",), "the file none of --volatile-status-file cannot be read"),
        (("--stdout-file=none/x",), "the file none/x of --stdout cannot be written"),
        (("--stderr=fifo",), "the file fifo of --stderr cannot be written"),
        (("--output-file=.",), "the file . of --output-file cannot be written"),
        (("--stderr=/dev/full", "--rustc-output-format=json"), "the file of --stderr cannot be written"),
        (("--output-file=/dev/full",), "the file of --output-file cannot be written"),
        (("--touch-file=bad/x",), "the file bad/x of --touch-file cannot be made"),
        (("--copy-output", "none", "copy"), "--copy-output none copy cannot be carried out: No such file"),
        (("--copy-output", "bad", "."), "--copy-output bad . cannot be carried out"),
        (("--copy-output", "bad"), "--copy-output wants two values"),
        (("--rustc-quit-on-rmeta=yes",), "neither true nor false"),
        (("--rustc-output-format=xml",), "choose one of json, rendered"),
        (("--subst=a",), "give it as --subst=NAME=VALUE"),
    ],
)
async def test_what_is_wrong_is_one_sentence_with_the_flag(
    way: Way, workspace: Path, options: tuple[str, ...], says: str
) -> None:
    (workspace / "bad").write_text("bad\n")
    os.mkfifo(workspace / "fifo")
    answer = await way(*options, *script("echo >&2"))
    assert answer.code == 125
    *_, line = answer.text.splitlines()
    assert line.startswith("process-wrapper: ")
    assert says in line
    assert len(answer.text.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--stdout=f", "--stderr=f", "--output-file=f"])
async def test_a_half_has_no_files_for_its_streams(way: Way, option: str) -> None:
    answer = await way(option, "--phase=early", "--early-output=e", *script("touch e"))
    assert answer.code == 125
    assert f"{option.partition('=')[0]} has no place beside --phase=early" in answer.text


# What a compiler that is rustc to us says, and what it would do if it were let.
RUSTC = r"""
say() { printf '%s\n' "$1" >&2; }
say '{"rendered": "should be\nin output"}'
say 'noise of a macro'
say '{"artifact": "libx.rmeta", "emit": "metadata"}'
"""
DIAGNOSTIC = '{"rendered": "should be\\nin output"}\n'


@pytest.mark.parametrize(
    ("form", "shows"),
    [
        (("--rustc-output-format", "json"), DIAGNOSTIC),
        (("--rustc-output-format", "rendered"), "should be\nin output"),
    ],
)
async def test_quit_on_rmeta(
    way: Way, workspace: Path, fifo: MakeFifo, form: tuple[str, ...], shows: str
) -> None:
    pids, never = fifo("pids"), fifo("never")
    # The metadata is told of when the children are there: that they die with it is what is to be seen.
    later = f"sleep 99 & echo $! > {pids}; echo $$ > {pids}\n"
    after = f'read x < {never}\nsay \'{{"rendered": "no"}}\'\ntouch later'
    fake = RUSTC.replace("say '{\"artifact", f"{later}say '{{\"artifact")
    answer = await way(
        *("--rustc-quit-on-rmeta", "true", *form, "--output-file", "raw", "--touch-file=touched"),
        *script(fake, after),
    )
    assert answer == Answer(0, f"{shows}noise of a macro\n")
    for _ in range(2):
        pid = await pids.pid()
        await gone(pid)
        assert not is_alive(pid)
    assert entries(workspace) == ["raw", "touched"]
    raw = f'{DIAGNOSTIC}noise of a macro\n{{"artifact": "libx.rmeta", "emit": "metadata"}}\n'
    assert (workspace / "raw").read_text() == raw


async def test_what_is_said_after_the_metadata_is_not_heard(way: Way, workspace: Path) -> None:
    after = r"""{"emit": "metadata"}\n{"rendered": "no"}\nno\n"""
    for _ in range(3):
        answer = await way(
            *("--rustc-quit-on-rmeta=true", "--rustc-output-format=rendered", "--output-file=raw"),
            *script(f"printf 'yes\\n{after}' >&2; exit 1"),
        )
        assert answer == Answer(0, "yes\n")
        assert (workspace / "raw").read_text() == 'yes\n{"emit": "metadata"}\n'


async def test_without_quitting_the_job_goes_on_and_artifacts_are_not_shown(way: Way) -> None:
    says = script(RUSTC, 'say \'{"artifact": "libx.rlib", "emit": "link"}\'', "say last; exit 4")
    json_answer = await way("--rustc-output-format=json", *says)
    assert json_answer == Answer(4, f"{DIAGNOSTIC}noise of a macro\nlast\n")
    assert (await way("--rustc-output-format=rendered", "--rustc-quit-on-rmeta=false", *says)) == Answer(
        4, "should be\nin outputnoise of a macro\nlast\n"
    )


async def test_quit_on_rmeta_of_a_job_that_fails_before_it(way: Way) -> None:
    says = script('printf "%s\\n" \'{"rendered": "an error"}\' >&2; exit 1')
    answer = await way("--rustc-quit-on-rmeta=true", "--rustc-output-format=rendered", *says)
    assert answer == Answer(1, "an error" + way_newline(way))


PANIC = """
thread 'rustc' panicked at 'oh no', compiler/x.rs:1:1
note: the compiler unexpectedly panicked {"this": is no JSON
'+x' is not a recognized feature for this target (ignoring feature)
 WARN rustc_something: text
{"level": "mine"}
"""


@pytest.mark.parametrize("form", ["json", "rendered"])
async def test_a_panic_passes_as_it_is_with_its_exit_code(way: Way, workspace: Path, form: str) -> None:
    (workspace / "panic").write_text(PANIC)
    answer = await way(
        "--rustc-quit-on-rmeta=true", f"--rustc-output-format={form}", *script("cat panic >&2; exit 101")
    )
    assert answer == Answer(101, PANIC)


async def test_a_death_that_was_not_ours_is_named(way: Way) -> None:
    options = ("--rustc-quit-on-rmeta=true", "--rustc-output-format=json")
    answer = await way(*options, *script("kill -SEGV $$"))
    assert answer.text == "process-wrapper: sh was killed by signal 11 (SIGSEGV)\n"
    assert answer.code in {-signal.SIGSEGV, 128 + signal.SIGSEGV}


async def test_unstable_features_are_allowed_by_name_only(way: Way, workspace: Path) -> None:
    required = "--require-explicit-unstable-features=true"
    assert (await way(required, *SHOW, "-O")).text.strip() == "<-O><-Zallow-features=>"
    assert (await way(required, *SHOW, "-Zallow-features=x")).text.strip() == "<-Zallow-features=x>"
    (workspace / "p").write_text("-Zallow-features=x\n")
    assert (await way(required, *SHOW, "@p")).text.strip() == "<@p>"
    assert (await way(f"{required[:-4]}false", *SHOW, "-O")).text.strip() == "<-O>"


async def test_a_job_with_files_and_keys_is_still_become(workspace: Path) -> None:
    (workspace / "env").write_text("A=${pwd}\n")
    (workspace / "args").write_text("word\n")
    options = ("--subst", "pwd=${pwd}", "--env-file=env", "--arg-file=args", "--out-dir=o", "--stdout=out")
    answer = await standalone(workspace, "--explain", *options, *script('echo "$A $1 $$ $PPID" $OUT_DIR'))
    assert answer == Answer(0, "process-wrapper: becomes the compiler: nothing is left to do after it\n")
    assert (workspace / "out").read_text().split()[-2] == str(os.getpid())
    (workspace / "p").write_text("${pwd}")
    answer = await standalone(workspace, "--explain", *options, *script("true"), "@p")
    assert "process-wrapper: stays beside the compiler: --subst in a params file\n" in answer.text


async def test_files_of_a_job_are_relative_to_its_sandbox_and_given_back(
    worker: Worker, workspace: Path
) -> None:
    (workspace / "sandbox").mkdir()
    (workspace / "sandbox/env").write_text("A=a\n")
    options = (
        "--env-file=env",
        "--stdout=out",
        "--output-file=raw",
        "--touch-file=touched",
        "--copy-output",
        "out",
        "copy",
    )
    async with worker() as host:
        for _ in range(3):
            answer = await host.work((*options, *script('echo "$A"; echo err >&2')), sandbox_dir="sandbox")
            assert (answer.exit_code, answer.output) == (0, "err\n")
        assert [link for link in links(host.process.pid) if link.startswith(str(workspace))] == []
    assert entries(workspace / "sandbox") == ["copy", "env", "out", "raw", "touched"]
    assert entries(workspace) == ["sandbox"]


# In the worker, two halves.

HALVES = """
echo run >> {runs}
echo "$A $1"
echo interface > e.tmp && mv e.tmp e
read x < {go}
cat "${{1#@}}" > f
"""


def halves(phase: str, runs: Path, go: Fifo, options: tuple[str, ...], sandbox: str = "") -> WorkRequest:
    number = {"early": 1, "full": 2}[phase]
    outputs = ("--output=f",) if phase == "full" else ()
    job = script(HALVES.format(runs=runs, go=go))
    arguments = (*options, f"--phase={phase}", "--early-output=e", *outputs, *job, "@${pwd}/p")
    return WorkRequest(number, arguments, sandbox_dir=sandbox)


@pytest.mark.parametrize("changes", [None, "env", "args", "status", "p"])
async def test_I7_what_files_add_decides_who_joins(
    worker: Worker, workspace: Path, tmp_path: Path, fifo: MakeFifo, changes: str | None
) -> None:
    runs, go = tmp_path / "runs", fifo("go")
    for name, text in {"env": "A={KEY}\n", "args": "x\n", "status": "KEY 1\n", "p": "${pwd} 1\n"}.items():
        (workspace / name).write_text(text)
    options = (
        *("--subst", "pwd=${pwd}", "--env-file", "env", "--arg-file", "args"),
        *("--stable-status-file", "status"),
    )
    async with worker() as host:
        await host.send(halves("early", runs, go, options))
        assert (await response(host)).exit_code == 0
        if changes is not None:
            text = (workspace / changes).read_text()
            (workspace / changes).write_text(text.replace("{KEY}", "2").replace("1", "2").replace("x", "y"))
        await host.send(halves("full", runs, go, options))
        go.go(2)
        full = await response(host)
        assert full.exit_code == 0, full.output
    assert runs.read_text().count("run") == (1 if changes is None else 2)
    assert (workspace / "f").read_text() == f"{workspace} {2 if changes == 'p' else 1}\n"


RMETA = ("--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "src/lib.rs", "@flags")


@pytest.mark.rustc
async def test_I7_I6_two_sandboxes_are_no_difference_to_keys_in_params_files(
    worker: Worker, workspace: Path, tmp_path: Path
) -> None:
    rustc, runs = tmp_path / "bin/rustc", tmp_path / "runs"
    rustc.parent.mkdir()
    rustc.write_text(f'#!/bin/sh\necho run >> {runs}\nexec {shutil.which("rustc")} "$@"\n')
    rustc.chmod(0o755)
    command = ("--", str(rustc), *RMETA)
    for slot in ("one", "two", "three"):
        (workspace / slot / "src").mkdir(parents=True)
        (workspace / slot / "src/lib.rs").write_text('pub const A: &str = env!("A");\n')
        (workspace / slot / "flags").write_text("--remap-path-prefix=${pwd}=.\n--cfg=${base}\n")
        (workspace / slot / "env").write_text("A=a\nB=${pwd}/b\n")
    options = ("--subst", "pwd=${pwd}", "base=base", "--subst", "root=${exec_root}", "--env-file", "env")
    async with worker() as host:
        early = await host.work(
            (*options, "--phase=early", "--early-output=libx.rmeta", *command), sandbox_dir="one"
        )
        assert early.exit_code == 0, early.output
        full = await host.work(
            (
                *options,
                "--phase=full",
                "--early-output=libx.rmeta",
                "--output=libx.rlib",
                *command,
            ),
            sandbox_dir="two",
        )
        assert full.exit_code == 0, full.output
        assert runs.read_text() == "run\n"
        await host.work((*options, *command), sandbox_dir="three")
    for name, slot in (("libx.rmeta", "one"), ("libx.rlib", "two")):
        assert (workspace / slot / name).read_bytes() == (workspace / "three" / name).read_bytes()


async def test_only_the_end_of_a_job_touches_and_copies(
    worker: Worker, workspace: Path, tmp_path: Path, fifo: MakeFifo
) -> None:
    runs, go = tmp_path / "runs", fifo("go")
    (workspace / "p").write_text("text\n")
    options = ("--subst", "pwd=${pwd}", "--touch-file=touched", "--copy-output", "e", "copy")
    async with worker() as host:
        await host.send(halves("early", runs, go, options))
        assert (await response(host)).exit_code == 0
        assert entries(workspace) == ["e", "p"]
        await host.send(halves("full", runs, go, options))
        go.go()
        assert (await response(host)).exit_code == 0
    assert entries(workspace) == ["copy", "e", "f", "p", "touched"]


async def test_an_early_half_alone_touches_nothing(way: Way, workspace: Path) -> None:
    options = ("--phase=early", "--early-output=e", "--touch-file=touched", "--copy-output", "e", "copy")
    assert (await way(*options, *script("echo x > e"))).code == 0
    assert entries(workspace) == ["e"]


async def test_an_early_half_that_quits_is_joined_by_nobody(
    worker: Worker, workspace: Path, tmp_path: Path, fifo: MakeFifo
) -> None:
    runs, go = tmp_path / "runs", fifo("go")
    (workspace / "p").write_text("text\n")
    (workspace / "f").write_text("of an older build\n")
    async with worker() as host:
        await host.send(halves("early", runs, go, ("--subst=pwd=${pwd}", "--rustc-quit-on-rmeta=true")))
        assert (await response(host)).exit_code == 0
        go.go()
        await host.send(halves("full", runs, go, ("--subst=pwd=${pwd}",)))
        assert (await response(host)).exit_code == 0
    assert runs.read_text() == "run\nrun\n"
    assert (workspace / "f").read_text() == "text\n"


@pytest.mark.rustc
async def test_real_rustc_quits_at_its_metadata(way: Way, workspace: Path) -> None:
    (workspace / "x.rs").write_text("fn unused() {}\npub fn f() {}\n")
    command = ("rustc", "--crate-name=x", "--crate-type=lib", "--emit=metadata,link", "x.rs")
    asked = ("--error-format=json", "--json=artifacts")
    quit_ = ("--rustc-quit-on-rmeta", "true")
    answer = await way(*quit_, "--rustc-output-format", "rendered", "--", *command, *asked)
    assert answer.code == 0
    assert answer.text.startswith("warning: function `unused` is never used")
    assert (workspace / "libx.rmeta").stat().st_size > 0
    interface = (workspace / "libx.rmeta").read_bytes()
    # Whole, and nobody asks rustc for JSON: the dialect does.
    assert (await way(*quit_, "--", *command)).text == answer.text
    assert (workspace / "libx.rmeta").read_bytes() == interface
