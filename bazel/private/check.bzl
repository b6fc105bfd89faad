"""Whether compiles are checked for what they read and write beyond their declaration."""

# What each value of the flag adds to a request. A check changes no byte of an output.
CHECKS = {
    "audit": ["--sandbox=audit"],
    "enforce": ["--sandbox=enforce"],
    "off": [],
    "strict": ["--sandbox=strict"],
    "trace": ["--sandbox=audit", "--trace-files"],
}

CheckInfo = provider(
    doc = "How compiles are checked.",
    fields = {"options": "Options of process-wrapper, a list; empty for no check."},
)

def _check_impl(ctx):
    check = ctx.build_setting_value
    if check not in CHECKS:
        fail("%s is %r; it can be %s." % (ctx.label, check, ", ".join(sorted(CHECKS))))
    return [CheckInfo(options = CHECKS[check])]

check = rule(
    implementation = _check_impl,
    build_setting = config.string(flag = True),
    doc = "The build setting that chooses one of CHECKS.",
)
