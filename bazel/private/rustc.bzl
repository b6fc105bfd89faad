"""A repository that names the Rust compiler and what is known about it."""

# Where the linker driver is looked for: the PATH of every compile, whatever the PATH of the person who builds.
COMPILE_PATH = "/usr/local/bin:/usr/bin:/bin"

def _output_of(ctx, command):
    result = ctx.execute(command)
    if result.return_code != 0:
        fail("Headstart asked the Rust compiler with `%s`, and it failed (%s): set HEADSTART_RUSTC to one that works." % (
            " ".join(command),
            result.stderr.strip() or "exit code %d" % result.return_code,
        ))
    return result.stdout

def _find(ctx):
    asked_for = ctx.os.environ.get("HEADSTART_RUSTC")
    if asked_for:
        if not ctx.path(asked_for).exists:
            fail("HEADSTART_RUSTC names %s, which does not exist: set it to a rustc." % asked_for)
        return asked_for
    on_path = ctx.which("rustc")
    if not on_path:
        fail("Headstart's Rust rules find no rustc on PATH: install one, or set HEADSTART_RUSTC to its path.")
    return str(on_path)

def _local_rustc_impl(ctx):
    rustc = _find(ctx)
    sysroot = _output_of(ctx, [rustc, "--print", "sysroot"]).strip()

    # What is found first may be rustup's proxy, which works out at every start which compiler is meant.
    direct = ctx.path(sysroot).get_child("bin").get_child("rustc")
    if direct.exists:
        rustc = str(direct)
    if hasattr(ctx, "watch"):  # Bazel 7.1 and later: look again when the compiler is replaced.
        ctx.watch(rustc)

    linker_found = False
    for directory in COMPILE_PATH.split(":"):
        if ctx.path(directory).get_child("cc").exists:
            linker_found = True

    ctx.file("version.txt", "%s\nsysroot: %s\n" % (_output_of(ctx, [rustc, "-vV"]).strip(), sysroot), executable = False)
    ctx.file("rustc.bzl", "RUSTC = %r\n\nLINKER_FOUND = %r\n" % (rustc, linker_found), executable = False)
    ctx.file("BUILD.bazel", """\
exports_files(
    ["version.txt"],
    visibility = ["//visibility:public"],
)
""", executable = False)

local_rustc = repository_rule(
    implementation = _local_rustc_impl,
    configure = True,
    doc = """Finds the Rust compiler.

`rustc.bzl` in it defines RUSTC, the absolute path of the compiler itself (not of rustup's proxy), and LINKER_FOUND, whether
there is a `cc` where compiles will look for one. `version.txt` holds the answer to `rustc -vV`; it is an input of every
compile, so that another compiler compiles everything again.
""",
    environ = [
        "HEADSTART_RUSTC",
        "PATH",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
    ],
    local = True,
)
