"""What a traced job did, file by file: events become accesses. Pure.

What the job makes itself is its own to read, and when it is gone in the end it was temporary, wherever it was. Who opens a file
for writing that may have been there before (`O_CREAT` without `O_EXCL`) is taken to make it, unless the job saw it before. Not seen
at all: variables that are read, pages of mapped files, and what the kernel opens for a new program. Not here: what was
declared (`observed`).
"""

from __future__ import annotations

import posixpath

from headstart_wrapper.hints import TYPE_CHECKING, Final, final
from headstart_wrapper.sandbox.strace_log import Event, Use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ABSENT: Final = frozenset({"ENOENT", "ENOTDIR"})
REFUSED: Final = frozenset({"EACCES", "EPERM", "EROFS"})
_NETWORK: Final = frozenset({Use.CONNECT, Use.BIND})
_KERNELS: Final = ("/proc/", "/dev/")
"""Where names mean something else to every process: they are never resolved."""

MAKES: Final = (Use.CREATE, Use.MOVE, Use.LINK, Use.SYMLINK)
CHANGES: Final = (*MAKES, Use.WRITE, Use.REMOVE)


@final
class Access:
    """What a job did with one file or directory, in all.

    Attributes:
        place: its real path.
        names: the paths that it was used by.
        uses: what was done, and succeeded; READ only when it was not the job's own.
        programs: who did it first, for each use.
        absent, refused: uses that failed because it was not there, or because it was not allowed.
        existed: it was there before the job; None: nobody knows.
        made: the job made it, once or more often.
        exists: it is there in the end; None: nobody knows.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.names: dict[str, None] = {}
        self.uses: set[Use] = set()
        self.programs: dict[Use, str] = {}
        self.absent: set[Use] = set()
        self.refused: set[Use] = set()
        self.existed: bool | None = None
        self.made = False
        self.exists: bool | None = None

    @property
    def is_temporary(self) -> bool:
        """Made by the job and gone in the end."""
        return self.made and self.existed is not True and self.exists is False

    @property
    def is_written(self) -> bool:
        """Changed, and not only for the time of the job."""
        return bool(self.uses.intersection(CHANGES)) and not self.is_temporary

    @property
    def is_read(self) -> bool:
        """Read or executed, and no directory."""
        return bool(self.uses & {Use.READ, Use.EXECUTE}) and not self.uses & {Use.LIST, Use.ENTER}

    def by(self, *uses: Use) -> str:
        """` by cc1`: who did it first, where that is known."""
        found = next((self.programs[use] for use in uses if self.programs.get(use)), "")
        return f" by {found}" if found else ""


@final
class Observed:
    """Everything that a job did."""

    def __init__(self, events: Iterable[Event], resolve: Callable[[str], str]) -> None:
        """Takes all events in.

        Args:
            events: in order.
            resolve: gives the real path of an absolute one; of one that is not there, as far as it is.
        """
        self.accesses: dict[str, Access] = {}
        self.connections: dict[str, Event] = {}
        self._resolve = resolve
        self._resolved: dict[str, str] = {}
        for event in events:
            if event.use in _NETWORK:
                if not event.path.startswith("unix:") or not event.error:
                    self.connections.setdefault(event.path, event)
            else:
                self._take(event)

    def real(self, path: str) -> str:
        """The real path of an absolute one."""
        if path.startswith(_KERNELS):
            return posixpath.normpath(path)
        if path not in self._resolved:
            self._resolved[path] = posixpath.normpath(self._resolve(path))
        return self._resolved[path]

    def _access(self, path: str, real: str = "", *, follow: bool = False) -> Access:
        if follow and not real:
            real = self.real(path)
        parent, name = posixpath.split(posixpath.normpath(path) if path.startswith(_KERNELS) else path)
        place = real or posixpath.normpath(posixpath.join(self.real(parent or "/"), name))
        access = self.accesses.setdefault(place, Access(place))
        if not (real and path.startswith(_KERNELS)):  # of /proc/self/fd/3 nothing but where it leads is known
            access.names[posixpath.normpath(path)] = None
        return access

    def _take(self, event: Event) -> None:
        use = event.use
        follow = use in {Use.EXECUTE, Use.ENTER, Use.WRITE, Use.LIST}
        access = self._access(event.path, event.real, follow=follow and not event.error)
        access.programs.setdefault(use, event.program)
        if event.error in _ABSENT:
            if use not in MAKES and use is not Use.REMOVE and not access.made:
                access.absent.add(use)
                access.existed = bool(access.existed)
        elif event.error in REFUSED:
            access.refused.add(use)
        elif not event.error:
            self._succeeded(access, event)

    def _succeeded(self, access: Access, event: Event) -> None:
        use = event.use
        if use in MAKES:
            _make(access)
        elif access.existed is None:
            access.existed = True
        if use is Use.REMOVE:
            access.exists = False
        if use is not Use.READ or not access.made:
            access.uses.add(use)
        if use is Use.MOVE:
            self._move(self._access(event.source), access)
        elif use is Use.LINK:
            source = self._access(event.source)
            if not source.made:
                source.uses.add(Use.READ)
                source.programs.setdefault(Use.READ, event.program)

    def _move(self, source: Access, target: Access) -> None:
        if source.existed is None:
            source.existed = True
        source.exists = False
        source.uses.add(Use.REMOVE)
        below = f"{source.place}/"
        for place in [place for place in self.accesses if place.startswith(below)]:
            moved = self.accesses[place]
            if moved.exists:
                moved.exists = False
                there = self._access(posixpath.join(target.place, place.removeprefix(below)))
                _make(there)
                there.uses.add(Use.MOVE)


def _make(access: Access) -> None:
    if access.existed is None:
        access.existed = False
    access.made = access.exists = True
