"""The executable `headstart`: the companion commands."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys

from attrs import frozen

from headstart_wrapper.errors import HeadstartError


@frozen
class Command:
    """One companion command: its module is imported only when it is asked for."""

    module: str
    help: str


COMMANDS = {
    "import-cargo": Command(
        "headstart_worker.cargo.importer", "turn a Cargo workspace into compile units and Bazel targets"
    ),
    "demo": Command("headstart_worker.commands.demo", "build a real workspace in two modes and compare them"),
    "doctor": Command("headstart_worker.commands.doctor", "say what this machine can do for process-wrapper"),
    "verify": Command(
        "headstart_worker.commands.verify", "run a compile in every way and compare every byte of its outputs"
    ),
    "check": Command(
        "headstart_worker.commands.check", "tell what a command reads and writes beyond what it declares"
    ),
    "timeline": Command("headstart_worker.commands.timeline", "turn traces into a page for a browser"),
    "explain": Command(
        "headstart_worker.commands.explain",
        "tell from a trace what delayed a build, and why a job ran when it did",
    ),
    "advise": Command(
        "headstart_worker.commands.advise",
        "predict from one build which pipelining mode pays on your machine",
    ),
    "bench": Command(
        "headstart_worker.commands.bench", "build one graph in every mode and say what the times show"
    ),
    "launcher": Command(
        "headstart_worker.commands.launcher", "write a process-wrapper that starts in the shortest time"
    ),
    "diagrams": Command(
        "headstart_worker.diagrams", "write the state diagrams of the transition tables into a document"
    ),
}


def usage() -> str:
    """The help text, made from the table."""
    lines = ["usage: headstart COMMAND [arguments]", "", "Companion commands of process-wrapper:"]
    lines += [f"  {name:<14} {command.help}" for name, command in COMMANDS.items()]
    lines += ["", "headstart COMMAND --help tells more. The wrapper itself: process-wrapper --help."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the command line of this process and exits."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        sys.stdout.write(f"headstart {importlib.metadata.version('headstart')}\n")
        sys.exit(0)
    command = COMMANDS.get(arguments[0])
    if command is None:
        sys.stderr.write(f"headstart: there is no command {arguments[0]}; headstart --help lists them\n")
        sys.exit(2)
    try:
        sys.exit(importlib.import_module(command.module).main(arguments[1:]))
    except HeadstartError as error:
        sys.stderr.write(f"headstart: {error}\n")
        sys.exit(error.exit_code)
