"""What Headstart needs from the machine, for a workspace with a MODULE.bazel file.

Headstart's own MODULE.bazel uses the extension; a module that depends on Headstart has nothing to add. See
`repositories.bzl` for what is looked for, and where.
"""

load("//bazel/private:python.bzl", "local_python")
load("//bazel/private:rustc.bzl", "local_rustc")

def _local_impl(_module_ctx):
    local_python(name = "headstart_python")
    local_rustc(name = "headstart_rust")

# Bazel before 5 does not know module extensions; it never loads this file.
local = module_extension(implementation = _local_impl)
