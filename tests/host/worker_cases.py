"""What the cases of Bazel's own worker tests share: rules whose actions a worker runs, and a package for each case.

The rules are as a rule author would write them, on `compile_action`; `bare` is for what `compile_action` never does. The
command is `example_job.py`. Not here: what a case is about.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from attrs import frozen

from host.bazel_workspace import HEADSTART, BazelWorkspace, Finished, bazel_workspace, copy_headstart

_HERE = Path(__file__).parent

_RULES = '''\
load("@headstart//bazel:defs.bzl", "WORKER_ATTRIBUTE", "compile_action")

_COMMON = dict(
    action_mnemonic = attr.string(default = "Work"),
    env = attr.string_dict(),
    srcs = attr.label_list(allow_files = True),
    words = attr.string_list(),
    worker = attr.label(
        allow_files = True,
        cfg = "exec",
        default = "@headstart//bazel:process-wrapper",
        executable = True,
    ),
    _job = attr.label(allow_single_file = True, default = "//:example_job.py"),
)

def _tool(ctx):
    tool = ctx.attr.worker[DefaultInfo].files_to_run
    return tool if tool.executable else ctx.executable.worker

def _command(ctx, output, words = None):
    return ["{python}", "-I", "-S", ctx.file._job, output] + (words or ctx.attr.words)

def _work_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".out")
    compile_action(
        ctx,
        worker = _tool(ctx),
        command = _command(ctx, output),
        env = ctx.attr.env,
        execution_requirements = ctx.attr.requirements,
        inputs = ctx.files.srcs + [ctx.file._job],
        mnemonic = ctx.attr.action_mnemonic,
        options = ctx.attr.options,
        outputs = [output],
        protocol = ctx.attr.protocol,
        worker_key = ctx.attr.worker_key,
    )
    return [DefaultInfo(files = depset([output]))]

work = rule(
    implementation = _work_impl,
    attrs = dict(
        _COMMON,
        options = attr.string_list(),
        protocol = attr.string(default = "proto"),
        requirements = attr.string_dict(),
        worker_key = attr.string(default = "Work"),
    ),
)

def _halves_impl(ctx):
    early = ctx.actions.declare_file(ctx.label.name + ".early")
    full = ctx.actions.declare_file(ctx.label.name + ".out")
    for phase, mnemonic, outputs in [("early", "Early", []), ("full", "Full", [full])]:
        compile_action(
            ctx,
            worker = _tool(ctx),
            command = _command(ctx, full, [word.replace("EARLY", early.path) for word in ctx.attr.words]),
            early_outputs = [early],
            env = ctx.attr.env,
            inputs = ctx.files.srcs + [ctx.file._job],
            mnemonic = mnemonic,
            outputs = outputs,
            phase = phase,
            worker_key = "Halves",
        )
    return [
        DefaultInfo(files = depset([full])),
        OutputGroupInfo(early = depset([early])),
    ]

halves = rule(
    implementation = _halves_impl,
    attrs = _COMMON,
)

# An action with flag files and requirements of the test's own making. Each line of the request is a flag file of its own,
# of both kinds by turns, but for the command: nothing after `--` is a flag file any more.
def _bare_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".out")
    command = [part if type(part) == "string" else part.path for part in _command(ctx, output)]
    lines = ["--output=" + output.path] + ["--env=%s=%s" % item for item in sorted(ctx.attr.env.items())]
    files = []
    arguments = []
    for number, content in enumerate(lines + ["\\n".join(["--"] + command)]):
        file = ctx.actions.declare_file("%s.flags-%d" % (ctx.label.name, number))
        ctx.actions.write(file, content)
        files.append(file)
        arguments.append(("@" if number % 2 else "--flagfile=") + file.path)
    ctx.actions.run(
        arguments = ctx.attr.startup + arguments,
        executable = _tool(ctx),
        execution_requirements = ctx.attr.requirements,
        inputs = ctx.files.srcs + [ctx.file._job] + files,
        mnemonic = ctx.attr.action_mnemonic,
        outputs = [output],
    )
    return [DefaultInfo(files = depset([output]))]

bare = rule(
    implementation = _bare_impl,
    attrs = dict(
        _COMMON,
        requirements = attr.string_dict(),
        startup = attr.string_list(),
    ),
)

# As a worker: Headstart's, with `recorder.py` before it. Else it runs the command of the params file itself, which is quick.
_RECORDED = """#!/bin/sh
case " $* " in
  *" --persistent_worker "*)
    exec {python} -B -I "$0.runfiles/RECORDER" "DIRECTORY" "$0.runfiles/WRAPPER" "$@"
    ;;
esac
params="${2#@}"
set --
command=
while IFS= read -r line; do
  [ -z "$command" ] || set -- "$@" "$line"
  [ "$line" != -- ] || command=1
done <"$params"
exec "$@"
"""

def _recorded_impl(ctx):
    wrapper = ctx.attr._headstart_worker[DefaultInfo]
    launcher = ctx.actions.declare_file(ctx.label.name)
    script = _RECORDED
    for key, value in {
        "DIRECTORY": ctx.attr.directory,
        "RECORDER": ctx.workspace_name + "/" + ctx.file._recorder.short_path,
        "WRAPPER": ctx.workspace_name + "/" + wrapper.files_to_run.executable.short_path,
    }.items():
        script = script.replace(key, value)
    ctx.actions.write(launcher, script, is_executable = True)
    files = ctx.runfiles([ctx.file._recorder, wrapper.files_to_run.executable])
    return [DefaultInfo(executable = launcher, runfiles = files.merge(wrapper.default_runfiles))]

recorded = rule(
    implementation = _recorded_impl,
    attrs = dict(
        WORKER_ATTRIBUTE,
        directory = attr.string(),
        _recorder = attr.label(allow_single_file = True, default = "//:recorder.py"),
    ),
    executable = True,
)
'''

# `example_worker.py`, which is broken on purpose; in a directory, because Bazel looks for a name without one on a PATH.
_BROKEN = """\
#!/bin/sh
PYTHONPATH={headstart}/worker:{headstart}/wrapper exec {python} -B {here}/example_worker.py "$@"
"""


@frozen
class Kind:
    """One way in which Bazel uses a worker.

    Attributes:
        multiplex: several requests at a time through one process.
        sandboxed: with `--worker_sandboxing`.
        protocol: "proto" or "json".
    """

    multiplex: bool = False
    sandboxed: bool = False
    protocol: str = "proto"

    @property
    def flags(self) -> list[str]:
        """Bazel's flags; nothing but a worker may run an action, unless a case says so."""
        return [
            "--spawn_strategy=worker",
            "--worker_verbose",
            f"--{'' if self.multiplex else 'no'}experimental_worker_multiplex",
            f"--worker_max_instances={3 if self.multiplex else 1}",
            f"--{'' if self.sandboxed else 'no'}worker_sandboxing",
            "--experimental_worker_allow_json_protocol",
        ]

    @property
    def requirements(self) -> dict[str, str]:
        """What `compile_action` asks for, for rules that do without it."""
        multiplex = {"supports-multiplex-workers": "1"} if self.multiplex else {}
        return {"supports-workers": "1", "requires-worker-protocol": self.protocol, **multiplex}

    @property
    def created(self) -> str:
        """A pattern for what Bazel says when it starts such a worker."""
        multiplexed = self.multiplex and not self.sandboxed
        return f"Created new (non-)?sandboxed \\w+ {'multiplex-' if multiplexed else ''}worker"


@final
class Case:
    """A package of its own for one case, so that nothing in it was ever built before.

    Attributes: the workspace; the package's name and directory; the kind of the workers.
    """

    def __init__(self, workspace: BazelWorkspace, package: str, kind: Kind) -> None:
        self.workspace = workspace
        self.package = package
        self.kind = kind
        self.directory = workspace.root / package
        self._build = 'load("//:example.bzl", "bare", "halves", "recorded", "work")\n'

    def add(self, rule: str, name: str, *words: str, **attributes: Any) -> None:
        """Adds a target; words are for `example_job.py`, attributes are the rule's."""
        values = {"name": name, **({"words": list(words)} if words else {}), **attributes}
        self._build += f"{rule}({', '.join(f'{key} = {value!r}' for key, value in values.items())})\n"
        self.write("BUILD.bazel", self._build)

    def work(self, name: str, *words: str, **attributes: Any) -> None:
        """Adds a `work` target that speaks this kind's protocol."""
        self.add("work", name, *words, protocol=self.kind.protocol, **attributes)

    def write(self, path: str, text: str) -> None:
        """Writes a file of the package."""
        self.workspace.write(f"{self.package}/{path}", text)

    def command(self, *names: str) -> list[str]:
        """The arguments of `bazel build` for targets of the package; what begins with a dash is a flag."""
        flags = [name for name in names if name.startswith("-")]
        return [
            *self.kind.flags,
            *flags,
            *(f"//{self.package}:{name}" for name in names if name not in flags),
        ]

    def build(self, *names: str, environment: Mapping[str, str] | None = None) -> str:
        """Builds targets; returns what Bazel said."""
        done = self.try_build(*names, environment=environment)
        assert done.code == 0, done.stderr
        return done.stderr

    def try_build(self, *names: str, environment: Mapping[str, str] | None = None) -> Finished:
        """Builds targets, which may fail."""
        return self.workspace.try_bazel("build", *self.command(*names), environment=environment)

    def output(self, name: str) -> str:
        """What the action of a target wrote."""
        return (self.workspace.root / "bazel-bin" / self.package / f"{name}.out").read_text()

    def words(self, name: str) -> list[str]:
        """The lines of it."""
        return self.output(name).splitlines()

    def worker(self, name: str) -> int:
        """The process that ran a target with the knob `--worker`."""
        (line,) = (line for line in self.words(name) if line.isdecimal())
        return int(line)


@contextmanager
def case_workspace(headstart: Path) -> Iterator[BazelWorkspace]:
    """A workspace with the rules, for a copy of Headstart that is made there: cases may edit the copy."""
    copy_headstart(headstart)
    with bazel_workspace(headstart=headstart) as workspace:
        workspace.write("example.bzl", _RULES.replace("{python}", sys.executable))
        workspace.write("BUILD.bazel", 'exports_files(["example_job.py", "recorder.py"])\n')
        for name in ("example_job.py", "recorder.py"):
            shutil.copy(_HERE / name, workspace.root / name)
        workspace.write("tools/BUILD.bazel", 'exports_files(["broken"])\n')
        workspace.write(
            "tools/broken", _BROKEN.format(headstart=HEADSTART, here=_HERE, python=sys.executable)
        )
        (workspace.root / "tools" / "broken").chmod(0o755)
        yield workspace
