"""Decides what exists for a job under `--sandbox=strict`: a plan of mounts, made from what Landlock would let it read.

Landlock refuses to open an undeclared file, but does not hide it: `stat`, `__has_include` and every probe along a search path find
it. In a view it does not exist (ENOENT), and a directory shows only what is declared. What a view is, and what it leaves open, stands in
`mounts`, which makes it.

What is in it: every file and directory of the rules at its own path; the symbolic links on the way there, with what they lead to;
directories that may be listed, with what else of them is declared; /proc and the devices that every program expects.
What it cannot hide: files beside the outputs in a *writable* directory, which is mounted whole. A job whose outputs go to a directory of
its own sees nothing undeclared.

A view costs 4 ms, and 20 µs more for each input (CPU, measured: 20 inputs 5 ms, 200 inputs 8 ms, 1000 inputs 20 ms), so that many
inputs need no cleverness; a directory that is declared whole (a private root) is one mount. The helper makes them one at a time.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import sys

from headstart_wrapper.errors import RequestError
from headstart_wrapper.hints import TYPE_CHECKING, Final, final
from headstart_wrapper.sandbox import mounts
from headstart_wrapper.spawner import ConfinementError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from headstart_wrapper.sandbox.landlock import Rules
    from headstart_wrapper.sandbox.mounts import View

    Look = Callable[[str], str | bool | None]

_PROC: Final = "/proc"
"""One mount, whatever is wanted of it: what is below is different for every process."""

_ALWAYS: Final = (
    _PROC,
    *(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")),
    *(f"/dev/{name}" for name in ("fd", "stdin", "stdout", "stderr")),
)

_MOST_LINKS: Final = 40
"""On the way to one file, as the kernel has it (path_resolution(7))."""

_REMEDIES: Final = dict.fromkeys(
    (errno.EPERM, errno.EACCES),
    "; allow user namespaces to ordinary users: kernel.unprivileged_userns_clone, "
    "kernel.apparmor_restrict_unprivileged_userns, or the container's seccomp profile",
) | {
    errno.ENOSPC: "; raise user.max_user_namespaces, user.max_mnt_namespaces or fs.mount-max",
    errno.ENOSYS: "; Linux 5.12 is the first that can",
    errno.ENOENT: "; it was there when the job was prepared, does something else write there?",
}

_PROBE: Final = (
    "import sys; sys.path.append(sys.argv[1]); from headstart_wrapper.sandbox import mounts; mounts.probe()"
)


def plan(rules: Rules, directory: str, look: Look | None = None, *, links: Iterable[str] = ()) -> View:
    """Decides what there is, for `mounts` to make.

    Args:
        rules: what the job may read, list and write; what does not exist is left out.
        directory: where the command starts; absolute.
        look: see `look_up`, which it is when it is None.
        links: symbolic links that are to be there too, whatever they lead to.

    Raises:
        RequestError: everything is declared, so that there is nothing to hide.
    """
    walk = _Walk(look or look_up)
    read = walk.places((*_ALWAYS, *rules.read))
    writable = walk.places(rules.write)
    listed = walk.places((directory, *rules.list))
    walk.places(links)
    whole = {place for place in read | writable if walk.is_directory(place)}
    if "/" in whole:
        raise RequestError(
            "--sandbox=strict shows a job only what it declares, and this one declares `/`; name directories below it, or use "
            "--sandbox=enforce"
        )
    # A directory that is there as a whole brings along what is below, and what is writable wins.
    is_below, is_below_writable = _below(whole), _below(whole & writable)
    readable = [place for place in sorted(read - writable) if not is_below(place)]
    changed = [place for place in sorted(writable) if not is_below_writable(place)]
    stubs = {place for place in (*readable, *changed) if not is_below(place)}
    made = {
        place
        for place in walk.passed | {each for each in listed | stubs if walk.is_directory(each)}
        if place != "/" and not is_below(place)
    }
    return (
        directory,
        tuple(sorted(made)),
        tuple((place, target) for place, target in sorted(walk.links.items()) if not is_below(place)),
        tuple(place for place in sorted(stubs) if not walk.is_directory(place)),
        tuple(readable),
        tuple(changed),
    )


def look_up(path: str) -> str | bool | None:
    """What is at a path: a symbolic link's target; True for a directory, False for another file; None: nothing that we can see."""
    try:
        mode = os.lstat(path).st_mode
        return os.readlink(path) if stat.S_ISLNK(mode) else stat.S_ISDIR(mode)  # noqa: PTH115 - hot path
    except (OSError, ValueError):
        return None


def can_be_made() -> str:
    """Makes a view, in a process of its own: "" when this machine can, otherwise a clause that says why not, and what to do."""
    return _by_fork() if len(os.listdir("/proc/self/task")) == 1 else _by_a_program()  # noqa: PTH208 - names


def _by_fork() -> str:
    pid, report = mounts.fork(("/", [""], {}), [], -1, mounts.NOTHING)
    try:
        mounts.await_command(pid, report)
    except ConfinementError as error:
        return why_not(error)
    except OSError:
        return ""  # a directory is no command: there was a view to find that out in
    os.waitpid(pid, 0)
    return "its process was killed"


def _by_a_program() -> str:
    """For a process that cannot copy itself: another thread may hold what the copy would wait for."""
    import subprocess  # noqa: PLC0415 - a job on its own starts without it

    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    command = [sys.executable, "-I", "-S", "-B", "-c", _PROBE, root]
    tried = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return ""
    number, _, what = tried.stderr.strip().rpartition("\n")[2].partition(" ")
    if not number.isdecimal():
        return f"trying it ends with {tried.returncode}: {number} {what}"
    return why_not(OSError(int(number), os.strerror(int(number)), what))


def why_not(error: OSError) -> str:
    """A clause for a view that could not be made: what was refused, and what to do."""
    return f"{error.filename}: {error.strerror}{_REMEDIES.get(error.errno or 0, '')}"


@final
class _Walk:
    """Follows paths to the files that they name.

    Attributes:
        links: (place: target) of every symbolic link on the way.
        passed: every directory on the way, which has to be there for `..` and for the next step.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._known: dict[str, str | bool | None] = {}
        self._starts: dict[str, str | None] = {"": "/"}
        self.links: dict[str, str] = {}
        self.passed: set[str] = set()

    def places(self, paths: Iterable[str]) -> set[str]:
        """Where these files are, without symbolic links; what does not exist is left out."""
        return {place for path in paths if (place := self._place(path)) is not None}

    def is_directory(self, place: str) -> bool:
        """True for a directory among what was found."""
        return place == "/" or self._kind(place) is True

    def _kind(self, place: str) -> str | bool | None:
        if place not in self._known:
            self._known[place] = self._look(place)
        return self._known[place]

    def _place(self, path: str) -> str | None:
        # Most share their directory with others.
        directory, _, name = path.rpartition("/")
        if directory not in self._starts:
            self._starts[directory] = self._follow("/", directory)
        start = self._starts[directory]
        return start if start is None or start == _PROC else self._follow(start, name)

    def _follow(self, place: str, path: str) -> str | None:
        links = 0
        steps = path.split("/")[::-1]
        while steps:
            step = steps.pop()
            if step in {"", "."}:
                continue
            self.passed.add(place)
            if step == "..":
                place = posixpath.dirname(place)
                continue
            following = f"{place.rstrip('/')}/{step}"
            kind = self._kind(following)
            if kind is None or following == _PROC:
                return None if kind is None else following
            if isinstance(kind, str):
                links += 1
                if links > _MOST_LINKS:
                    return None
                self.links[following] = kind
                steps += kind.split("/")[::-1]
                place = "/" if kind.startswith("/") else place
            else:
                place = following
        return place


def _below(directories: AbstractSet[str]) -> Callable[[str], bool]:
    """What tells whether a place is below one of these directories, at any depth."""
    known = {"/": False}

    def is_below(place: str) -> bool:
        if place not in known:
            parent = posixpath.dirname(place)
            known[place] = parent in directories or is_below(parent)
        return known[place]

    return is_below
