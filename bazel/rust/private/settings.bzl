"""What all crates of a build have in common: the mode of pipelining, and the compiler."""

# In every mode the same rustc gets the same flags through the same worker, so that modes can be compared; only the number of
# actions and what starts when differs. Outputs are equal in all of them but `hollow`, whose environment rustc hashes.
MODES = {
    "hollow": "Two actions, two complete runs: the early one compiles a library without code (-Zno-codegen). Needs no " +
              "worker, so it serves remote and dynamic execution; needs RUSTC_BOOTSTRAP=1.",
    "none": "One action for each crate; a crate waits until its dependencies are complete.",
    "two_invocation": "Two actions, two runs: the early one stops the compiler when the metadata is written.",
    "worker": "Two actions, one run: the worker answers the early one when the metadata is written, and the compiler goes on.",
}

RustModeInfo = provider(
    doc = "How libraries are compiled.",
    fields = {"mode": "A key of MODES."},
)

RustCompilerInfo = provider(
    doc = "The Rust compiler.",
    fields = {
        "linker_found": "Whether there is a `cc` on the PATH that compiles get.",
        "rustc": "Absolute path of the compiler, a string.",
        "version": "File that changes when the compiler does; an input of every compile.",
    },
)

def _rust_mode_impl(ctx):
    mode = ctx.build_setting_value
    if mode not in MODES:
        fail("%s is %r; it can be %s." % (ctx.label, mode, ", ".join(sorted(MODES))))
    return [RustModeInfo(mode = mode)]

rust_mode = rule(
    implementation = _rust_mode_impl,
    build_setting = config.string(flag = True),
    doc = "The build setting that chooses one of MODES.",
)

def _rust_compiler_impl(ctx):
    return [RustCompilerInfo(
        linker_found = ctx.attr.linker_found,
        rustc = ctx.attr.rustc,
        version = ctx.file.version,
    )]

rust_compiler = rule(
    implementation = _rust_compiler_impl,
    attrs = {
        "linker_found": attr.bool(mandatory = True),
        "rustc": attr.string(mandatory = True),
        "version": attr.label(
            allow_single_file = True,
            mandatory = True,
        ),
    },
    doc = "Makes what the repository rule found known to the rules.",
)
