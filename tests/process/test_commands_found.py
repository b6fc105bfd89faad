"""Commands are found and started as execvp(3) does it, and one that cannot be is told in a sentence; in every mode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart_worker.testing import FakeHost

WRAPPER = (sys.executable, "-m", "headstart_worker")


def scripts(directory: Path) -> None:
    """Two scripts that tell their names: one names its interpreter."""
    directory.mkdir()
    for name, first in (("text", ""), ("named", "#!/bin/sh\n")):
        (directory / name).write_text(f'{first}echo "$0" "$@"\n')
        (directory / name).chmod(0o755)


@pytest.mark.parametrize("options", [(), ("--stay", "--")])
@pytest.mark.parametrize("command", ["text", "./bin/text", "named", "./bin/named"])
def test_a_script_is_run_as_execvp_runs_it(tmp_path: Path, options: tuple[str, ...], command: str) -> None:
    """By the shell when its first line names no interpreter; and it is told the name by which it was found."""
    scripts(tmp_path / "bin")
    env = os.environ | {"PATH": f"bin:{os.environ['PATH']}"}
    ours, plain = (
        subprocess.run(
            [*before, command, "a b", ""], capture_output=True, check=True, cwd=tmp_path, env=env
        ).stdout
        for before in ((*WRAPPER, *options), ("env",))
    )
    assert ours == plain


@pytest.mark.parametrize("sandbox_dir", ["", "sandbox"])
async def test_I6_a_script_is_told_the_same_name_in_the_worker(tmp_path: Path, sandbox_dir: str) -> None:
    (tmp_path / sandbox_dir).mkdir(exist_ok=True)
    scripts(tmp_path / sandbox_dir / "bin")
    async with FakeHost("proto", cwd=tmp_path, command=WRAPPER) as host:
        for command in ("./bin/text", "./bin/named", "text", "named"):
            name = command if "/" in command else f"bin/{command}"
            path = f"--env=PATH=bin:{os.environ['PATH']}"
            response = await host.work((path, "--", command, "a b"), sandbox_dir=sandbox_dir)
            assert (response.exit_code, response.output) == (0, f"{name} a b\n")
        assert (await host.finish()).exit_code == 0


@pytest.mark.parametrize(
    ("command", "path", "code"),
    [("./closed/cmd", "/none", 126), ("cmd", "closed:open", 0), ("cmd", "closed", 127)],
)
def test_a_directory_that_is_closed_to_us_is_passed_by(
    tmp_path: Path, command: str, path: str, code: int
) -> None:
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cmd").touch(mode=0o755)
    script = (
        "import os, sys\n"
        "from headstart_wrapper import errors, executables, option_values\n"
        "if os.getuid() == 0: os.setresuid(*[65534] * 3)\n"
        "try: executables.named_executable(sys.argv[1], cwd='', path=sys.argv[2])\n"
        "except errors.HeadstartError as error: sys.exit(error.exit_code)"
    )
    tmp_path.chmod(0o755)
    (tmp_path / "closed").chmod(0)
    try:
        done = subprocess.run([sys.executable, "-c", script, command, path], cwd=tmp_path, check=False)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert done.returncode == code


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("no-such-command",), 127, "is not on PATH"),
        (("./none",), 127, "does not exist"),
        (("./plain",), 126, "chmod +x"),
        (("./empty",), 126, "cannot be executed"),
        (("./cut",), 126, "cannot be executed"),
        (("./lost",), 127, "interpreter"),
        ((".",), 127, "not on PATH"),
        (("",), 127, "not on PATH"),
        (("plain",), 126, "chmod +x"),
        (("@long",), 125, "longer than the kernel takes"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--",), ("--env=A=b", "--"), ("--stay", "--")])
def test_what_cannot_be_executed_is_told_in_one_sentence(
    tmp_path: Path, options: tuple[str, ...], command: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "long").write_text("--\ntrue\n" + "x" * (1 << 18))
    for name, text in (("empty", "\0"), ("cut", "\x7fELF"), ("lost", "#!/none\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    if command[0].startswith("@"):
        options = tuple(option for option in options if option != "--")
    path = f"{tmp_path}:{tmp_path}/lost:{os.environ['PATH']}"
    done = subprocess.run(
        [*WRAPPER, *options, *command],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("process-wrapper: ")
    assert said in line
    assert done.returncode == code
