"""A repository that names the Python interpreter which runs the worker."""

# What the worker imports: (import name, distribution that brings it).
_PACKAGES = [
    ("attrs", "attrs"),
    ("blake3", "blake3"),
    ("elftools", "pyelftools"),
    ("google.protobuf", "protobuf"),
    ("trio", "trio"),
]

# Prints the distributions that are missing; `-I` because the worker is started with it too.
_CHECK = """
import importlib, sys
if sys.version_info < (3, 11):
    print("Python 3.11 or later")
for pair in sys.argv[1:]:
    module, distribution = pair.split("=")
    try:
        importlib.import_module(module)
    except ImportError:
        print(distribution)
"""

def _missing(ctx, python):
    """Names what an interpreter lacks.

    Args:
      ctx: the repository context.
      python: path of an interpreter.

    Returns:
      A sentence part such as "it lacks blake3, trio"; empty when the interpreter will do.
    """
    pairs = ["%s=%s" % pair for pair in _PACKAGES]
    result = ctx.execute([python, "-B", "-I", "-c", _CHECK] + pairs)
    if result.return_code != 0:
        return "it does not run (%s)" % (result.stderr.strip() or "exit code %d" % result.return_code)
    lacking = result.stdout.strip()
    return "it lacks " + ", ".join(lacking.split("\n")) if lacking else ""

def _candidates(ctx):
    asked_for = ctx.os.environ.get("HEADSTART_PYTHON")
    if asked_for:
        return [asked_for]
    found = []
    root = ctx.path(Label("//:BUILD.bazel")).dirname.realpath
    private = root.get_child(".venv").get_child("bin").get_child("python")
    if private.exists:
        # Not its realpath: an interpreter finds its virtual environment by the path that it is started with.
        found.append(str(private))
    on_path = ctx.which("python3")
    if on_path:
        found.append(str(on_path))
    return found

def _local_python_impl(ctx):
    complaints = []
    for python in _candidates(ctx):
        if not ctx.path(python).exists:
            complaints.append("%s does not exist" % python)
            continue
        missing = _missing(ctx, python)
        if not missing:
            ctx.file("BUILD.bazel", "# Loaded by Headstart's launcher.\n", executable = False)
            ctx.file("python.bzl", "PYTHON = %r\n" % str(ctx.path(python)), executable = False)
            return
        complaints.append("%s: %s" % (python, missing))
    fail(("Headstart's worker finds no Python interpreter to run with (%s): set HEADSTART_PYTHON to a Python 3.11 or " +
          "later that has %s.") % (
        "; ".join(complaints) or "there is no python3 on PATH",
        ", ".join([distribution for _, distribution in _PACKAGES]),
    ))

local_python = repository_rule(
    implementation = _local_python_impl,
    configure = True,
    doc = "Finds the Python interpreter that runs the worker; `python.bzl` in it defines PYTHON, an absolute path.",
    environ = [
        "HEADSTART_PYTHON",
        "PATH",
    ],
    local = True,
)
