"""Rust through Headstart's worker: rust_library, rust_binary, rust_proc_macro, rust_test.

    load("@headstart//bazel/rust:defs.bzl", "rust_binary", "rust_library")

    rust_library(
        name = "greeting",
        srcs = glob(["src/**/*.rs"]),
    )

    rust_binary(
        name = "hello",
        srcs = ["main.rs"],
        deps = [":greeting"],
    )

A library is two actions: `RustMetadata` yields the metadata that other libraries are compiled against, `Rust` the code, and both are
one run of the compiler. `--@headstart//bazel/rust:mode=none|two_invocation|hollow|worker` chooses other ways, to compare. Every
compile of a mode goes through the worker unless `--strategy` says otherwise.

Crates are compiled for the machine that runs rustc; there is no cross compilation. A procedural macro is therefore built in the
configuration of the crates that use it: nothing is compiled twice, and the mode holds for what the macro depends on, too.
"""

load("//bazel:defs.bzl", "WORKER_ATTRIBUTE")
load("//bazel/rust/private:compile.bzl", "compile_library", "compile_linked", _RustCrateInfo = "RustCrateInfo")
load("//bazel/rust/private:settings.bzl", "RustCompilerInfo", "RustModeInfo")

RustCrateInfo = _RustCrateInfo

_ATTRIBUTES = dict(
    WORKER_ATTRIBUTE,
    aliases = attr.label_keyed_string_dict(
        doc = "For dependencies that this crate knows by another name: label to that name.",
        providers = [RustCrateInfo],
    ),
    crate_name = attr.string(
        doc = "The crate's name; the target's name with `_` for `-` when empty.",
    ),
    crate_root = attr.label(
        allow_single_file = [".rs"],
        doc = "The file that rustc is given. When absent: src/lib.rs or lib.rs (main.rs for a binary) among `srcs`, or the only source.",
    ),
    data = attr.label_list(
        allow_files = True,
        doc = "Files that the finished program reads when it runs. What rustc reads belongs in `srcs`.",
    ),
    deps = attr.label_list(
        doc = "Libraries that this crate names.",
        providers = [RustCrateInfo],
    ),
    edition = attr.string(
        default = "2021",
        doc = "The edition of the language.",
    ),
    extern_prelude = attr.string_list(
        doc = "Crates of the compiler's own that are named without a path (`--extern NAME`), such as `alloc`.",
    ),
    extra_filename = attr.string(
        doc = "What sets the crate's files apart (`-C extra-filename`); `-` and `metadata` when empty.",
    ),
    metadata = attr.string(
        doc = "What sets the crate's symbols apart from those of another crate of this name (`-C metadata`); a hash of the label " +
              "when empty.",
    ),
    native_dirs = attr.string_list(
        doc = "Directories with native libraries (`-L native=`), relative to the execution root. The files in them belong in `srcs`.",
    ),
    proc_macro_deps = attr.label_list(
        doc = "Procedural macros that this crate names.",
        providers = [RustCrateInfo],
    ),
    rustc_env = attr.string_dict(
        doc = "The compiler's environment. `${pwd}` in a value is the directory that the compiler runs in.",
    ),
    rustc_flags = attr.string_list(
        doc = "Flags for rustc, verbatim, between the crate root and those that the rule adds.",
    ),
    srcs = attr.label_list(
        allow_files = True,
        doc = "All files that rustc may read: sources, what `include_str!` names, native libraries.",
    ),
    _compiler = attr.label(
        default = Label("//bazel/rust:compiler"),
        providers = [RustCompilerInfo],
    ),
    _mode = attr.label(
        default = Label("//bazel/rust:mode"),
        providers = [RustModeInfo],
    ),
)

def _runfiles(ctx):
    """The data of a crate and of all that it depends on."""
    runfiles = ctx.runfiles(files = ctx.files.data)
    for target in ctx.attr.data + ctx.attr.deps + ctx.attr.proc_macro_deps:
        runfiles = runfiles.merge(target[DefaultInfo].default_runfiles)
    return runfiles

def _rust_library_impl(ctx):
    library = compile_library(ctx)
    dep_info = [library.dep_info] if library.dep_info else []
    return [
        DefaultInfo(
            files = depset([library.rlib]),
            runfiles = _runfiles(ctx),
        ),
        OutputGroupInfo(
            dep_info = depset(dep_info),
            interface = depset([library.interface]),
        ),
        RustCrateInfo(
            code = library.rlib,
            codes = library.codes,
            crate_name = library.crate_name,
            interface = library.interface,
            interfaces = library.interfaces,
        ),
    ]

def _rust_proc_macro_impl(ctx):
    macro = compile_linked(ctx, "proc-macro")

    # What the macro itself was made from ends here: it is linked in, and rustc does not look for it again.
    itself = depset([macro.output])
    return [
        DefaultInfo(
            files = itself,
            runfiles = _runfiles(ctx),
        ),
        OutputGroupInfo(
            dep_info = depset([macro.dep_info]),
            interface = itself,
        ),
        RustCrateInfo(
            code = macro.output,
            codes = itself,
            crate_name = macro.crate_name,
            interface = macro.output,
            interfaces = itself,
        ),
    ]

def _program(ctx, kind):
    program = compile_linked(ctx, kind)
    return [
        DefaultInfo(
            executable = program.output,
            files = depset([program.output]),
            runfiles = _runfiles(ctx),
        ),
        OutputGroupInfo(dep_info = depset([program.dep_info])),
    ]

def _rust_binary_impl(ctx):
    return _program(ctx, "bin")

def _rust_test_impl(ctx):
    return _program(ctx, "test")

rust_library = rule(
    implementation = _rust_library_impl,
    attrs = _ATTRIBUTES,
    doc = "A library crate (.rlib), pipelined by the mode. `--output_groups=interface` asks for what dependents compile against.",
)

rust_proc_macro = rule(
    implementation = _rust_proc_macro_impl,
    attrs = dict(
        _ATTRIBUTES,
        extern_prelude = attr.string_list(
            default = ["proc_macro"],
            doc = "Crates of the compiler's own that are named without a path (`--extern NAME`).",
        ),
    ),
    doc = "A procedural macro. Never pipelined: the compiler runs it.",
)

rust_binary = rule(
    implementation = _rust_binary_impl,
    attrs = _ATTRIBUTES,
    doc = "A program. Never pipelined: it is linked from the code of its dependencies.",
    executable = True,
)

rust_test = rule(
    implementation = _rust_test_impl,
    attrs = _ATTRIBUTES,
    doc = "The tests of a crate (`rustc --test`), as a program for `bazel test`.",
    test = True,
)
