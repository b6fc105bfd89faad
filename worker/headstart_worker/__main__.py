"""The executable `process-wrapper`: one job, or many.

Decides from the arguments before anything is imported: one job must not pay for the worker's libraries.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line of this process and exits."""
    arguments = sys.argv[1:]
    if sys.platform != "linux":
        sys.exit(
            "process-wrapper: only Linux is supported; this release signals process groups through its pidfds"
        )
    if _serves(arguments):
        from headstart_worker.lifetime import main as serve  # noqa: PLC0415 - see the module's docstring

        serve(arguments)
    from headstart_wrapper.standalone import main as run  # noqa: PLC0415 - likewise

    sys.exit(run(arguments))


def _serves(arguments: list[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--persistent_worker" in options or "--persistent-worker" in options


if __name__ == "__main__":
    main()
