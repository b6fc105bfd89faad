"""For authors of rules: compile through Headstart's worker.

A compile that Headstart runs is an ordinary action whose tool is `process-wrapper`. A rule needs an attribute for the tool and one
call of `compile_action`. This rule compiles C; nothing in it is early:

    load("@headstart//bazel:defs.bzl", "WORKER_ATTRIBUTE", "compile_action")

    def _object_impl(ctx):
        output = ctx.actions.declare_file(ctx.label.name + ".o")
        compile_action(
            ctx,
            worker = ctx.attr._headstart_worker[DefaultInfo].files_to_run,
            mnemonic = "ObjectCompile",
            command = ["/usr/bin/cc", "-c", ctx.file.src, "-o", output],
            inputs = [ctx.file.src],
            outputs = [output],
            env = {"PATH": "/usr/bin:/bin"},
        )
        return [DefaultInfo(files = depset([output]))]

    object = rule(
        implementation = _object_impl,
        attrs = dict(WORKER_ATTRIBUTE, src = attr.label(allow_single_file = True)),
    )

**Pipelining.** Where the compiler writes its interface first (a `.cmi`, `.pcm`, `.rmeta`), call `compile_action` twice with the same
arguments but for three: `phase = "early"` with one mnemonic, `phase = "full"` with another, and the `outputs` of the full one. The
early action yields `early_outputs` as soon as the compiler has written them, and what depends on the interface alone starts
then; the full action yields `outputs` and finds the same compiler process still at work. The two must reach the same worker process, and
their jobs must be equal:

  * the same command, environment, inputs, options and protocol in both calls (the phase is the only difference);
  * the same `worker_key`: it stands for the mnemonic in Bazel's choice of the process.

Everything that differs from action to action travels in the params file, never in the worker's arguments or environment: Bazel starts one
process per distinct command line, environment and key. If the two do not meet (another strategy, a restarted worker, a
cached early action), the full action runs the compiler itself: that costs time, not correctness.

**Choosing strategies** is the user's affair: `--strategy=<Mnemonic>=worker|sandboxed|local`. The command line is the same in all of them.
So are options of the worker process: `--worker_extra_flag=<Mnemonic>=--trace=/tmp/traces/` (a file for each process), for all mnemonics that share a
process or they do not share it any more, and `--experimental_worker_max_multiplex_instances=<worker key>=N` for the number of
requests that one process may have at once.

**A new version of the worker.** Bazel restarts a worker whose own files changed when the worker is given out or taken back; a process that
serves many requests at once is not taken back while any of them runs, and can go on with old code (bazelbuild/bazel issue 29447). With
`exit_when_changed = True` the worker itself notices it, from the digests that requests carry, and ends when nothing is left to do.

**Checking declarations.** `--@headstart//bazel:check=audit` tells of every compile what it read and wrote beyond its declaration, from
dependency files and outputs, which costs next to nothing; `=trace` looks at every file that is opened, with strace, and also sees what
procedural macros read, names that were looked for in vain, and directories that were listed. Bazel shows it as the compile's output.
`=enforce` has the kernel refuse what is undeclared, which fails the compile and names the file; `=strict` hides it.
Outputs are the same bytes; actions that were built without a check run again.
"""

load("//bazel/private:check.bzl", "CheckInfo")

# For the attributes of a rule: the tool that runs its compiles, and the flag that has them checked.
WORKER_ATTRIBUTE = {
    "_headstart_check": attr.label(
        default = Label("//bazel:check"),
        providers = [CheckInfo],
    ),
    "_headstart_worker": attr.label(
        cfg = "exec",
        default = Label("//bazel:process-wrapper"),
        executable = True,
    ),
}

# Actions with this key and the same protocol share a process, whatever their mnemonics are.
DEFAULT_WORKER_KEY = "Headstart"

_PHASES = [None, "early", "full"]

_PROTOCOLS = ["json", "proto"]

def each(values, *, before_each = None, format_each = None, map_each = None, uniquify = False):
    """A part of a command that is made from many values, when the action runs and not before.

    Use it in the `command` of `compile_action` for depsets; the parameters are those of `Args.add_all`.

    Args:
      values: a depset, or a list, of Files or strings.
      before_each: an argument that precedes every value, for example `"-I"`.
      format_each: a pattern with one `%s`.
      map_each: a top-level function from a value to a string, a list of strings, or None.
      uniquify: whether a string that came before is left out (with its `before_each`).

    Returns:
      A struct that `compile_action` understands.
    """
    return struct(
        before_each = before_each,
        format_each = format_each,
        map_each = map_each,
        uniquify = uniquify,
        values = values,
    )

def _one_line(what, text):
    """The params file holds one argument per line, so no argument can hold a newline."""
    if "\n" in text:
        fail("%s holds a newline, which a params file cannot carry: %r" % (what, text))
    return text

def _add_command(args, command):
    for part in command:
        if type(part) == "struct":
            args.add_all(
                part.values,
                before_each = part.before_each,
                format_each = part.format_each,
                map_each = part.map_each,
                uniquify = part.uniquify,
            )
        elif type(part) == "string":
            args.add(_one_line("An argument of the command", part))
        else:
            args.add(part)

def compile_action(
        ctx,
        *,
        worker,
        command,
        mnemonic,
        inputs,
        outputs,
        early_outputs = [],
        phase = None,
        env = {},
        substitutions = {"pwd": "${pwd}"},
        options = [],
        progress_message = None,
        worker_key = DEFAULT_WORKER_KEY,
        protocol = "proto",
        exit_when_changed = False,
        execution_requirements = {}):
    """Registers one action that compiles through process-wrapper.

    Args:
      ctx: the rule's context.
      worker: the tool: `ctx.attr._headstart_worker[DefaultInfo].files_to_run` with `WORKER_ATTRIBUTE`, or `ctx.executable.<attribute>` of
        an attribute with `executable = True` and `cfg = "exec"`.
      command: the compiler's command, compiler first: a list of strings, Files and `each(...)`. The compiler is a File
        or a path: a name without a slash is looked for on the PATH given in `env`. Bazel itself replaces an argument
        `@file` by the lines of that file; who wants the compiler to read it writes it another way.
      mnemonic: the action's mnemonic, by which users choose strategies.
      inputs: list or depset of Files that the compiler reads.
      outputs: list of Files that this action makes, without `early_outputs`. None for `phase = "early"`.
      early_outputs: list of Files that are complete before the compiler is. An action with `phase = "early"` makes them. To an
        action with `phase = "full"` they are *inputs* (added here): that orders the two, and lets the worker refuse
        a result whose interface is not the one that dependents were compiled with (exit code 70). Without a phase
        they are outputs like others.
      phase: `"early"`, `"full"`, or None for a compile that is not pipelined.
      env: the compiler's environment, string to string. Nothing else is in it but what Bazel gives to every worker (no
        PATH, HOME or LANG: name what the compiler needs) and what the worker adds: the jobserver's `MAKEFLAGS` and
        `CARGO_MAKEFLAGS`, and `HEADSTART_JOB`, by which it finds the compiler's processes.
      substitutions: `${KEY}` in the command and in values of `env` becomes VALUE. The value `${pwd}` is the absolute directory
        that the job runs in: `--remap-path-prefix=${pwd}=.`.
      options: more options of process-wrapper for this job, for example `["--timeout=600"]`.
      progress_message: what Bazel shows while the action runs.
      worker_key: actions with equal keys can share a worker process.
      protocol: `"proto"` or `"json"`; before Bazel 5.1 the latter wants `--experimental_worker_allow_json_protocol`.
      exit_when_changed: whether the worker ends when a request shows that the worker's own files changed since its start. That request and
        all that come before the end are served; then Bazel starts another. A request that Bazel writes in the very moment of the end
        fails the build, and building again repairs that. Part of the worker's command line: equal in all actions that share a worker.
      execution_requirements: more requirements; they win over those set here.
    """
    if phase not in _PHASES:
        fail("phase is %r; it can be None, \"early\" or \"full\"." % phase)
    if phase and not early_outputs:
        fail("An action with a phase needs early_outputs: they are what is early.")
    if phase == "early" and outputs:
        fail("An action with phase = \"early\" makes the early outputs only; the one with phase = \"full\" makes the outputs.")
    if protocol not in _PROTOCOLS:
        fail("protocol is %r; it can be \"proto\" or \"json\"." % protocol)

    # The worker's own arguments: the same in every action of a worker, or Bazel starts another process.
    startup = ctx.actions.args()
    startup.add("--worker-protocol=" + protocol)
    if exit_when_changed:
        startup.add("--exit-when-changed")

    # The request: exactly one params file, and last, as Bazel's strict flag file check demands.
    request = ctx.actions.args()
    request.use_param_file("@%s", use_always = True)
    request.set_param_file_format("multiline")
    request.add_all(["%s=%s" % item for item in sorted(substitutions.items())], format_each = "--subst=%s")
    request.add_all(
        [_one_line("The environment", "%s=%s" % item) for item in sorted(env.items())],
        format_each = "--env=%s",
    )
    request.add("--encoding-check=é")  # Bazel 4 encodes twice what it read from BUILD files: undone
    if hasattr(ctx.attr, "_headstart_check"):
        check = ctx.attr._headstart_check[CheckInfo].options
        request.add_all(check)
        if check:
            # Outside of a worker nobody else tells process-wrapper what is declared.
            request.add_all(inputs, format_each = "--input=%s")
    request.add_all(options)
    if phase:
        request.add("--phase=" + phase)
        request.add_all(early_outputs, format_each = "--early-output=%s")
    else:
        request.add_all(early_outputs, format_each = "--output=%s")
    request.add_all(outputs, format_each = "--output=%s")
    request.add("--")
    _add_command(request, command)

    made = outputs if phase == "full" else early_outputs + outputs
    if phase == "full":
        inputs = depset(early_outputs, transitive = [inputs if type(inputs) == "depset" else depset(inputs)])

    requirements = {
        "requires-worker-protocol": protocol,
        "supports-multiplex-workers": "1",
        "supports-worker-cancellation": "1",
        "supports-workers": "1",
        "worker-key-mnemonic": worker_key,
    }
    requirements.update(execution_requirements)

    ctx.actions.run(
        arguments = [startup, request],
        executable = worker,
        execution_requirements = requirements,
        inputs = inputs,
        mnemonic = mnemonic,
        outputs = made,
        progress_message = progress_message,
    )
