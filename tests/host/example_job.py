"""The command of the actions in tests of workers: writes its words, and whatever else it is asked for, into a file.

    example_job.py OUTPUT [KNOB...] WORD...

Knobs, in the order in which they act:

    --uppercase    the words that follow are written in capitals
    --gate=PATH    arrives at a gate (see `gates`) under the name of the last line so far, and waits there
    --junk         prints what no worker may print to a host, on every way to descriptor 1
    --early=PATH   writes the lines so far there as well, at once
    --read=PATH    the lines of a file
    --worker       one line: the id of the worker process that runs this, 0 for none
    --environment  one line for each variable that it was started with
    --files=PATH   one line for each file below a directory
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def worker_above() -> int:
    """The nearest process above this one that serves a host; 0 when there is none."""
    pid = os.getpid()
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        pid = int(status.partition("\nPPid:")[2].split(None, 1)[0])
        if pid and b"--persistent_worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    return 0


def wait_at(gate: Path) -> None:
    """Arrives at a gate and waits there."""
    with gate.open("rb+", buffering=0) as pipe:
        (gate.parent / "begun").write_text(f"{gate.name}\n", encoding="utf-8")
        pipe.readline()


def print_junk() -> None:
    """Protobuf and JSON that would be responses, and what would be neither."""
    for junk in (b"I'm a poisoned worker\n", b'{"exitCode":9}\n', b"\x02\x08\x01\n"):
        os.write(1, junk)
        Path("/dev/fd/1").write_bytes(junk)
        Path("/proc/self/fd/1").write_bytes(junk)


def environment() -> list[str]:
    """The variables that this process was started with; Python adds to `os.environ`."""
    return sorted(filter(None, Path("/proc/self/environ").read_bytes().decode().split("\0")))


def as_text(lines: list[str]) -> str:
    """Each line with its end."""
    return "".join(f"{line}\n" for line in lines)


def lines_for(arguments: list[str]) -> list[str]:
    """What is written for the arguments."""
    lines: list[str] = []
    uppercase = False
    for argument in arguments:
        name, _, value = argument.partition("=")
        match name:
            case "--gate":
                wait_at(Path(value, lines[-1]))
            case "--junk":
                print_junk()
            case "--uppercase":
                uppercase = True
            case "--early":
                Path(value).write_text(as_text(lines), encoding="utf-8")
            case "--read":
                lines += Path(value).read_text(encoding="utf-8").splitlines()
            case "--worker":
                lines.append(str(worker_above()))
            case "--environment":
                lines += environment()
            case "--files":
                lines += sorted(str(path) for path in Path(value).rglob("*") if path.is_file())
            case _:
                lines.append(argument.upper() if uppercase else argument)
    return lines


def main() -> None:
    """Runs the command line."""
    output, *arguments = sys.argv[1:]
    Path(output).write_text(as_text(lines_for(arguments)), encoding="utf-8")


if __name__ == "__main__":
    main()
