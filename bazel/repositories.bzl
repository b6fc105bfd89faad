"""What Headstart needs from the machine, for a workspace with a WORKSPACE file.

    local_repository(name = "headstart", path = "...")
    load("@headstart//bazel:repositories.bzl", "headstart_repositories")
    headstart_repositories()

Two small repositories are made; nothing is downloaded. They are looked at again when one of the named environment
variables changes, when the Bazel server starts, and on `bazel sync --configure`. Each fails with one sentence that
says what to install or to set.
"""

load("//bazel/private:coverage.bzl", "no_coverage_tools_repository")
load("//bazel/private:python.bzl", "local_python")
load("//bazel/private:rustc.bzl", "local_rustc")

def headstart_repositories():
    """Finds the Python interpreter of the worker and the Rust compiler.

    `@headstart_python`: the interpreter named by the environment variable HEADSTART_PYTHON, else `.venv/bin/python`
    in Headstart's own directory, else the python3 on PATH; it has to have the packages that the worker imports.

    `@headstart_rust`: the compiler named by HEADSTART_RUSTC, else the rustc on PATH. Only loaded by the Rust rules: who
    uses `//bazel:defs.bzl` alone needs no Rust.
    """
    if not native.existing_rule("headstart_python"):
        local_python(name = "headstart_python")
    if not native.existing_rule("headstart_rust"):
        local_rustc(name = "headstart_rust")

def no_coverage_tools():
    """Lets `bazel test` run without the network, and without `bazel coverage`.

    Bazel 4 downloads its coverage tools as soon as a test is analyzed, whether coverage is asked for or not. This puts an
    empty repository in their place; call it only in a workspace that has to build offline.
    """
    no_coverage_tools_repository(name = "remote_coverage_tools")
