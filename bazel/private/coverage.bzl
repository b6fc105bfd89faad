"""A stand-in for the coverage tools that old Bazels fetch for every test, coverage or not."""

def _no_coverage_tools_impl(ctx):
    ctx.file("BUILD.bazel", """\
filegroup(
    name = "coverage_report_generator",
    visibility = ["//visibility:public"],
)

filegroup(
    name = "lcov_merger",
    visibility = ["//visibility:public"],
)
""", executable = False)

no_coverage_tools_repository = repository_rule(
    implementation = _no_coverage_tools_impl,
    doc = "A repository with the two targets that tests depend on, both empty.",
)
