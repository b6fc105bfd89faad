"""Turns a Cargo build into a workspace for Bazel and for the embedded host.

`importer` runs Cargo once and writes the workspace; `units` is its model; `commands` says what each compile is.
"""
