"""Records anew what a real Bazel writes to its workers: `python tests/data/transcripts/record.py [NAME...]`.

Needs Bazel 4.2 as `bazel` and an environment with this project's dependencies. Everything happens below a temporary
directory, and the server is shut down at the end. README.md tells what each transcript shows.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attrs import frozen

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent

RULES = """
def _launcher_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(out, "#!/bin/sh\\nexport PYTHONPATH=%s\\nexec %s -B \\"$0.runfiles/%s/%s\\" \\"$@\\"\\n" % (
        ctx.attr.path, ctx.attr.python, ctx.workspace_name, ctx.file.main.short_path), is_executable = True)
    return [DefaultInfo(executable = out, files = depset([out]), runfiles = ctx.runfiles([ctx.file.main]))]

launcher = rule(_launcher_impl, executable = True, attrs = {
    "python": attr.string(), "path": attr.string(), "main": attr.label(allow_single_file = True)})

def _record_impl(ctx):
    out = ctx.actions.declare_file(ctx.label.name + ".out")
    startup = ctx.actions.args()
    startup.add("--tapes=" + ctx.attr.tapes)
    startup.add("--protocol=" + ctx.attr.protocol)
    request = ctx.actions.args()
    request.use_param_file("@%s", use_always = True)
    request.set_param_file_format("multiline")
    request.add(out)
    request.add_all(ctx.attr.texts)
    requirements = {"supports-workers": "1", "supports-worker-cancellation": "1",
                    "requires-worker-protocol": ctx.attr.protocol}
    if ctx.attr.multiplex:
        requirements["supports-multiplex-workers"] = "1"
    ctx.actions.run(executable = ctx.executable.worker, arguments = [startup, request], inputs = ctx.files.srcs,
                    outputs = [out], mnemonic = "Record", execution_requirements = requirements)
    return [DefaultInfo(files = depset([out]))]

record = rule(_record_impl, attrs = {
    "texts": attr.string_list(), "srcs": attr.label_list(allow_files = True), "tapes": attr.string(),
    "protocol": attr.string(), "multiplex": attr.bool(),
    "worker": attr.label(executable = True, cfg = "exec")})
"""

TEXTS = (
    ("plain",),
    ("", "two words", 'quote " backslash \\', "brace { } bracket [ ]"),
    ("h\u00e9llo", "\u96ea", "a=b", "<&'>"),
)


@frozen
class Scenario:
    """One transcript.

    Attributes:
        flags: for the build, beyond what all scenarios share.
        held: one action that the worker never finishes, instead of three that it does.
        interrupted: whether Bazel is interrupted (as by Ctrl-C) once the worker has the request.
    """

    protocol: str
    multiplex: bool
    flags: tuple[str, ...] = ("--strategy=Record=worker",)
    held: bool = False
    interrupted: bool = False


DYNAMIC = (
    "--internal_spawn_scheduler",
    "--strategy=Record=dynamic",
    "--dynamic_local_strategy=Record=worker",
    "--dynamic_remote_strategy=Record=sandboxed",
    "--experimental_local_execution_delay=0",
)
SANDBOXED = ("--strategy=Record=worker", "--worker_sandboxing")

SCENARIOS = {
    f"{protocol}-{name}": scenario
    for protocol in ("proto", "json")
    for name, scenario in (
        ("singleplex", Scenario(protocol, multiplex=False)),
        ("multiplex", Scenario(protocol, multiplex=True)),
        ("dynamic-cancel", Scenario(protocol, multiplex=False, flags=DYNAMIC, held=True)),
        (
            "interrupt-cancel",
            Scenario(protocol, multiplex=True, flags=SANDBOXED, held=True, interrupted=True),
        ),
    )
}


def write_workspace(workspace: Path, name: str, scenario: Scenario, tapes: Path) -> None:
    """Makes a workspace whose target `all` is the scenario's actions."""
    workspace.mkdir(exist_ok=True)
    tapes.mkdir()
    shutil.copy(HERE / "recording_worker.py", workspace)
    (workspace / "WORKSPACE").write_text('workspace(name = "transcripts")\n', encoding="utf-8")
    (workspace / "rules.bzl").write_text(RULES, encoding="utf-8")
    (workspace / "input.txt").write_text("input\n", encoding="utf-8")
    texts = (("hold",),) if scenario.held else TEXTS
    path = ":".join(str(ROOT / part) for part in ("worker", "wrapper"))
    lines = [
        'load("//:rules.bzl", "launcher", "record")',
        f'launcher(name = "launcher", main = "recording_worker.py", python = "{sys.executable}", path = "{path}")',
        *(
            f'record(name = "{name}-{number}", texts = {starlark(text)}, srcs = ["input.txt"], worker = ":launcher", '
            f'tapes = "{tapes}", protocol = "{scenario.protocol}", multiplex = {scenario.multiplex})'
            for number, text in enumerate(texts, 1)
        ),
    ]
    (workspace / "BUILD").write_text("\n".join(lines) + "\n", encoding="utf-8")


def starlark(texts: tuple[str, ...]) -> str:
    """A list literal; Bazel 4.2 knows no `\\u` escapes, so characters stand for themselves."""
    return "[" + ", ".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "]"


def record(name: str, scenario: Scenario, scratch: Path) -> bytes:
    """Runs one scenario; returns what its one worker read."""
    tapes = scratch / f"tapes-{name}"
    write_workspace(scratch / "workspace", name, scenario, tapes)
    bazel = subprocess.Popen(
        [
            *bazel_command(scratch),
            "build",
            "--experimental_worker_allow_json_protocol",
            "--experimental_worker_cancellation",
            "--worker_max_instances=1",
            *scenario.flags,
            ":all",
        ],
        cwd=scratch / "workspace",
    )
    if scenario.interrupted:
        while bazel.poll() is None and not any(tape.stat().st_size for tape in tapes.glob("*.tape")):
            time.sleep(0.05)
        time.sleep(1)  # the worker must have read the request whole, not its first bytes
        bazel.send_signal(signal.SIGINT)
    code = bazel.wait(timeout=120)
    if (code == 0) == scenario.interrupted:
        sys.exit(f"record.py: Bazel exited with {code} in {name}; its messages are above.")
    time.sleep(1)  # a cancel may follow the end of the build
    (tape,) = [tape for tape in tapes.glob("*.tape") if tape.stat().st_size]
    return tape.read_bytes()


def bazel_command(scratch: Path) -> tuple[str, ...]:
    """The start of every command."""
    return ("bazel", f"--output_user_root={scratch / 'root'}", "--nohome_rc")


def main() -> None:
    """Records the transcripts named on the command line, or all."""
    names = sys.argv[1:] or list(SCENARIOS)
    with tempfile.TemporaryDirectory(prefix="transcripts-") as directory:
        scratch = Path(directory)
        try:
            for name in names:
                data = record(name, SCENARIOS[name], scratch)
                (HERE / f"{name}.bin").write_bytes(data)
                sys.stdout.write(f"{name}: {len(data)} bytes\n")
        finally:
            workspace = scratch / "workspace"
            if workspace.is_dir():
                subprocess.run([*bazel_command(scratch), "shutdown"], cwd=workspace, check=False)
            # Bazel makes what it built read-only.
            subprocess.run(["chmod", "-R", "u+w", str(scratch)], check=False)


if __name__ == "__main__":
    main()
