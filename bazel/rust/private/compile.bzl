"""The compile actions of one crate: which there are in each mode, and the exact command of rustc.

Order of a command, the same for all kinds and modes:

    RUSTC --crate-name X --edition=E --crate-type K ROOT FLAGS... -C metadata=M -C extra-filename=-M --emit=...
        --extern NAME=PATH... -L dependency=DIR... -L native=DIR... --remap-path-prefix=${pwd}=.

Outputs lie in the package's directory; what is early lies in a directory of its own below it (`_meta` or `_hollow`), because
rustc looks through every `-L dependency` directory, and a hollow library found by a linking command would end in
undefined symbols.
"""

load("//bazel:defs.bzl", "compile_action", "each")
load("//bazel/private:rustc.bzl", "COMPILE_PATH")
load(":settings.bzl", "RustCompilerInfo", "RustModeInfo")

RustCrateInfo = provider(
    doc = "A crate that others can depend on: a library or a procedural macro.",
    fields = {
        "code": "File that linking crates (binaries, tests, macros) are compiled against: .rlib, or .so of a macro.",
        "codes": "depset of Files: `code` of this crate and of all that it is linked from.",
        "crate_name": "The name that the crate gave itself; dependents may use another.",
        "interface": "File that libraries are compiled against: early output where the mode has one, else `code`.",
        "interfaces": "depset of Files: `interface` of this crate and of all that its interface refers to.",
    },
)

# The first of these that is among `srcs` is the crate root when the rule names none.
_ROOTS = {
    "bin": ["src/main.rs", "main.rs"],
    "lib": ["src/lib.rs", "lib.rs"],
    "proc-macro": ["src/lib.rs", "lib.rs"],
    "test": ["src/lib.rs", "lib.rs", "src/main.rs", "main.rs"],
}

def _crate_root(ctx, kind):
    if ctx.file.crate_root:
        return ctx.file.crate_root
    sources = [src for src in ctx.files.srcs if src.extension == "rs"]
    for name in _ROOTS[kind]:
        for source in sources:
            if source.owner.package == ctx.label.package and source.owner.name == name:
                return source
    if len(sources) == 1:
        return sources[0]
    fail("%s: which of its sources is the crate root? Name it with crate_root, or have one of %s." % (
        ctx.label,
        ", ".join(_ROOTS[kind]),
    ))

def _hex32(number):
    """The low 32 bits of a number; Bazel 4 has no `%x`."""
    return "".join(["0123456789abcdef"[(number >> shift) & 15] for shift in range(28, -1, -4)])

def _label_hash(label):
    """16 hexadecimal digits that tell two crates of one name apart, and are the same on every machine."""
    text = "%s//%s:%s" % (label.workspace_root, label.package, label.name)

    # Starlark's hash has 32 bits. Two texts that collide from left to right hardly do from right to left.
    return _hex32(hash(text)) + _hex32(hash("".join(reversed(text.elems()))))

def _externs(ctx, field):
    """The parts of the command that name the direct dependencies, in the order of the attributes."""
    aliases = {target.label: name for target, name in ctx.attr.aliases.items()}
    parts = []
    for name in ctx.attr.extern_prelude:
        parts.extend(["--extern", name])
    for target in ctx.attr.deps + ctx.attr.proc_macro_deps:
        crate = target[RustCrateInfo]
        name = aliases.get(target.label, crate.crate_name)
        parts.append(each([getattr(crate, field)], before_each = "--extern", format_each = name + "=%s"))
    return parts

def _directory(file):
    return file.dirname

def _require_linker(ctx, compiler, kind):
    if compiler.linker_found:
        return
    for flag in ctx.attr.rustc_flags:
        if flag.startswith("-Clinker=") or flag.startswith("linker="):
            return
    fail("%s: a %s crate is linked by the C compiler, and there is no cc in %s: install one, or give -Clinker=PATH in rustc_flags." % (
        ctx.label,
        kind,
        COMPILE_PATH,
    ))

def _plan(ctx, kind):
    """All that the actions of one crate have in common.

    Args:
      ctx: the rule's context, with the attributes of CRATE_ATTRIBUTES in `defs.bzl`.
      kind: "lib", "proc-macro", "bin" or "test".

    Returns:
      A struct; `before` and `after` are the command around `--emit`.
    """
    compiler = ctx.attr._compiler[RustCompilerInfo]
    if kind != "lib":
        _require_linker(ctx, compiler, kind)
    crate_name = ctx.attr.crate_name or ctx.label.name.replace("-", "_")
    metadata = ctx.attr.metadata or _label_hash(ctx.label)
    extra_filename = ctx.attr.extra_filename or "-" + metadata
    root = _crate_root(ctx, kind)

    # Only a library can be compiled against interfaces: whatever is linked needs the code.
    field = "interface" if kind == "lib" else "code"
    dependencies = depset(transitive = [
        getattr(target[RustCrateInfo], field + "s")
        for target in ctx.attr.deps + ctx.attr.proc_macro_deps
    ])

    before = [compiler.rustc, "--crate-name", crate_name, "--edition=" + ctx.attr.edition]
    before += ["--test"] if kind == "test" else ["--crate-type", kind]
    before.append(root)
    before += ctx.attr.rustc_flags
    before += ["-C", "metadata=" + metadata, "-C", "extra-filename=" + extra_filename]

    after = _externs(ctx, field)
    after.append(each(
        dependencies,
        before_each = "-L",
        format_each = "dependency=%s",
        map_each = _directory,
        uniquify = True,
    ))
    for directory in ctx.attr.native_dirs:
        after.extend(["-L", "native=" + directory])
    after.append("--remap-path-prefix=${pwd}=.")

    env = {"PATH": COMPILE_PATH}
    env.update(ctx.attr.rustc_env)
    return struct(
        after = after,
        before = before,
        crate_name = crate_name,
        dependencies = dependencies,
        env = env,
        inputs = depset([root, compiler.version] + ctx.files.srcs, transitive = [dependencies]),
        name = crate_name + extra_filename,
    )

def _compile(ctx, plan, what, emit, mnemonic = "Rust", **kwargs):
    compile_action(
        ctx,
        worker = ctx.attr._headstart_worker[DefaultInfo].files_to_run,
        command = plan.before + emit + plan.after,
        inputs = plan.inputs,
        mnemonic = mnemonic,
        progress_message = "Compiling Rust crate %s (%s)" % (plan.crate_name, what),
        **kwargs
    )

def compile_linked(ctx, kind):
    """Registers the one action of a crate that is linked.

    Args:
      ctx: the rule's context.
      kind: "proc-macro", "bin" or "test".

    Returns:
      A struct: crate_name, output (File), dep_info (File).
    """
    plan = _plan(ctx, kind)
    name = "lib%s.so" % plan.name if kind == "proc-macro" else plan.name
    output = ctx.actions.declare_file(name)
    dep_info = ctx.actions.declare_file(plan.name + ".d")
    _compile(
        ctx,
        plan,
        kind,
        ["--emit=dep-info=%s,link=%s" % (dep_info.path, output.path)],
        env = plan.env,
        outputs = [output, dep_info],
    )
    return struct(
        crate_name = plan.crate_name,
        dep_info = dep_info,
        output = output,
    )

def compile_library(ctx):
    """Registers the actions of a library: one or two, by the mode.

    Args:
      ctx: the rule's context.

    Returns:
      A struct: crate_name, rlib (File), interface (File), dep_info (File, or None in mode hollow), interfaces and codes (depsets).
    """
    plan = _plan(ctx, "lib")
    mode = ctx.attr._mode[RustModeInfo].mode
    rlib = ctx.actions.declare_file("lib%s.rlib" % plan.name)
    if mode == "hollow":
        dep_info = None
        interface = _compile_hollow(ctx, plan, rlib)
    else:
        dep_info = ctx.actions.declare_file(plan.name + ".d")
        metadata = ctx.actions.declare_file("_meta/lib%s.rmeta" % plan.name)
        interface = rlib if mode == "none" else metadata
        _compile_with_metadata(ctx, plan, mode, rlib, metadata, dep_info)

    codes = [target[RustCrateInfo].codes for target in ctx.attr.deps + ctx.attr.proc_macro_deps]
    return struct(
        codes = depset([rlib], transitive = codes),
        crate_name = plan.crate_name,
        dep_info = dep_info,
        interface = interface,
        interfaces = depset([interface], transitive = [plan.dependencies]),
        rlib = rlib,
    )

def _compile_with_metadata(ctx, plan, mode, rlib, metadata, dep_info):
    """The modes none, two_invocation and worker: one command, for one run, for two, or for two requests that share a run."""
    emit = ["--emit=dep-info=%s,metadata=%s,link=%s" % (dep_info.path, metadata.path, rlib.path)]
    if mode == "none":
        _compile(ctx, plan, "lib", emit, early_outputs = [metadata], env = plan.env, outputs = [rlib, dep_info])
        return
    _compile(
        ctx,
        plan,
        "early",
        emit,
        mnemonic = "RustMetadata",
        early_outputs = [metadata],
        env = plan.env,
        options = ["--stop-after-early"] if mode == "two_invocation" else [],
        outputs = [],
        phase = "early",
    )
    _compile(
        ctx,
        plan,
        "full",
        emit,
        early_outputs = [metadata],
        env = plan.env,
        outputs = [rlib, dep_info],
        phase = "full",
    )

def _compile_hollow(ctx, plan, rlib):
    """The mode hollow: two commands that differ by one flag. Returns the library without code."""
    hollow = ctx.actions.declare_file("_hollow/lib%s.rlib" % plan.name)

    # In both, because rustc hashes it into what dependents compare, as it does the kinds of output (only `link` here).
    env = dict(plan.env, RUSTC_BOOTSTRAP = "1")
    _compile(
        ctx,
        plan,
        "early",
        ["-Zno-codegen", "--emit=link=" + hollow.path],
        mnemonic = "RustMetadata",
        env = env,
        outputs = [hollow],
    )
    _compile(
        ctx,
        plan,
        "full",
        ["--emit=link=" + rlib.path],
        early_outputs = [hollow],
        env = env,
        outputs = [rlib],
        phase = "full",
    )
    return hollow
