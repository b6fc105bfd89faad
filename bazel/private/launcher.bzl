"""The rule that makes `process-wrapper` an executable with runfiles.

Not `py_binary` or `sh_binary`: their toolchains come from the network. And not a plain source file: Bazel counts as a tool only
what has runfiles of its own, and restarts a persistent worker only when a *tool* changed; a worker that is a plain file
goes on serving with the code of yesterday.
"""

# Started by absolute path in worker mode, by a path relative to the working directory otherwise, and from inside
# another executable's runfiles when it is somebody's data. `-B` because the runfiles are links into the source tree, which
# would get __pycache__ directories; `-I` so that no variable and no directory of the user's reaches the worker. PWD is the shell's addition, and wrong for a job that runs elsewhere.
_TEMPLATE = """\
#!/bin/sh
runfiles="$0.runfiles"
if [ ! -d "$runfiles" ]; then
  case "$0" in
    *.runfiles/*) runfiles="${0%%.runfiles/*}.runfiles" ;;
    *) runfiles="${RUNFILES_DIR:-$runfiles}" ;;
  esac
fi
unset PWD OLDPWD
exec '{PYTHON}' -B -I -c '
import os, sys
here = os.path.abspath(sys.argv[1])
sys.path[:0] = [os.path.join(here, directory) for directory in {IMPORTS}]
sys.argv[:2] = ["process-wrapper"]
from headstart_worker.__main__ import main
sys.exit(main())
' "$runfiles" '--worker-files={DIRECTORY}' "$@"
"""

def _repository_directory(ctx):
    """The directory below the runfiles that holds Headstart's own files, whatever the repository is called here."""
    short_path = ctx.files.srcs[0].short_path
    if short_path.startswith("../"):
        return short_path.split("/")[1]
    return ctx.workspace_name

def _process_wrapper_impl(ctx):
    if "'" in ctx.attr.python:
        fail("The path of the Python interpreter holds a quote: %s" % ctx.attr.python)
    repository = _repository_directory(ctx)

    # In a directory of its own, so that one prefix names all of the worker's own files among the inputs of an action:
    # the launcher and its runfiles. The prefix is the launcher's, not the action's: equal for all actions of a worker.
    launcher = ctx.actions.declare_file(ctx.label.name + "/process-wrapper")
    script = _TEMPLATE
    for placeholder, value in {
        "{DIRECTORY}": launcher.dirname,
        "{IMPORTS}": repr(["%s/%s" % (repository, directory) for directory in ctx.attr.imports]),
        "{PYTHON}": ctx.attr.python,
    }.items():
        script = script.replace(placeholder, value)
    ctx.actions.write(
        launcher,
        script,
        is_executable = True,
    )
    return [DefaultInfo(
        executable = launcher,
        files = depset([launcher]),
        runfiles = ctx.runfiles(files = ctx.files.srcs),
    )]

process_wrapper = rule(
    implementation = _process_wrapper_impl,
    attrs = {
        "imports": attr.string_list(
            doc = "Directories of the repository that hold the Python packages.",
            mandatory = True,
        ),
        "python": attr.string(
            doc = "Absolute path of the interpreter.",
            mandatory = True,
        ),
        "srcs": attr.label_list(
            allow_empty = False,
            allow_files = [".py"],
            doc = "The Python sources: a change of any of them makes Bazel start a new worker.",
        ),
    },
    doc = "Makes process-wrapper, standalone and worker, from its Python sources.",
    executable = True,
)
