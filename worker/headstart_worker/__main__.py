"""The executable `process-wrapper`: one job, or many.

Decides from the arguments before anything is imported: one job must not pay for the worker's libraries, and a job that
needs nothing of us not even for the wrapper's.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal's own core; signal costs two milliseconds
import sys


def main() -> None:
    """Runs the command line of this process and exits."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # Python would keep ^C for later, where a compiler that we are then would never hear of it, and show a traceback.
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    if sys.platform != "linux":
        sys.exit(
            "process-wrapper: only Linux is supported; this release signals process groups through its pidfds"
        )
    from headstart_wrapper import tail  # noqa: PLC0415 - not to be had elsewhere

    arguments = sys.argv[1:]
    try:
        tail.take_shortcut(arguments)
    except Exception as error:  # noqa: BLE001 - to name what is expected costs an import; the rest is raised again
        _tell(error)
    if _serves(arguments):
        from headstart_worker.lifetime import main as serve  # noqa: PLC0415 - see the module's docstring

        serve(arguments)
    from headstart_wrapper import command_line, console  # noqa: PLC0415 - likewise

    console.leave(command_line.main(arguments))


def _tell(error: Exception) -> None:
    from headstart_wrapper import console  # noqa: PLC0415 - only when something is wrong
    from headstart_wrapper.errors import HeadstartError  # noqa: PLC0415 - likewise

    if not isinstance(error, HeadstartError):
        raise error
    console.say(str(error))
    console.leave(error.exit_code)


def _serves(arguments: list[str]) -> bool:
    """True when the option stands among ours; behind the compiler's name it is the compiler's."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--persistent_worker" not in options and "--persistent-worker" not in options:
        return False
    from headstart_wrapper.errors import HeadstartError  # noqa: PLC0415 - see the module's docstring
    from headstart_wrapper.options import parse  # noqa: PLC0415 - likewise

    try:
        return parse(arguments).persistent_worker
    except HeadstartError:
        return True  # the worker's start tells what is wrong


if __name__ == "__main__":
    main()
