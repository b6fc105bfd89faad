"""What a traced job did, held to what it declared. Pure: accesses in, findings out.

A file is judged under every name that it was used by and under its real one; it is enough that one of them is declared. Temporary
files, which the job made and removed, are no findings, and neither are names outside of the job's directory and its search
directories that were not there.
"""

from __future__ import annotations

import posixpath

from headstart_wrapper.hints import TYPE_CHECKING, final
from headstart_wrapper.records import Record
from headstart_wrapper.sandbox.accesses import CHANGES, MAKES, REFUSED, Access, Observed
from headstart_wrapper.sandbox.strace_log import Event, Use
from headstart_wrapper.sandbox.verdict import REMEDIES, Finding, Kind, found, merged, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from headstart_wrapper.sandbox.declared import Declared


class Free(Record):
    """What every job may use besides its declaration.

    Attributes:
        read: files and whole directories: the toolchain's and the system's.
        listed: directories of which it may read the names.
        write: files and whole directories.
    """

    read: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


@final
class _Reach:
    """Files, and directories with all that is in them."""

    def __init__(self, paths: Iterable[str], observed: Observed) -> None:
        self._paths = {spelled for path in paths for spelled in (path, observed.real(path))}

    def holds(self, access: Access) -> bool:
        return any(not self._paths.isdisjoint(_upwards(path)) for path in (access.place, *access.names))

    def leads_to(self, access: Access) -> bool:
        """One of them is the place, or below it."""
        return any(access.place in _upwards(path) for path in self._paths)


def _upwards(path: str) -> Iterator[str]:
    """A path, and the directories that it is in."""
    yield path
    while path not in {"/", ""}:
        path = posixpath.dirname(path)
        yield path


def findings(observed: Observed, declared: Declared, free: Free, *, unused: bool = False) -> list[Finding]:
    """What a job did beyond its declaration, by kind and path.

    Args:
        observed: what it did.
        declared: what it may do.
        free: what every job may do besides.
        unused: list declared inputs that it did not use, too.
    """
    return _Judgement(observed, declared, free).findings(unused=unused)


def denials(observed: Observed, declared: Declared, *, exists: Callable[[str], bool]) -> list[Finding]:
    """What a job was refused by a sandbox, from the trace of a run in it.

    Args:
        observed: what it did and tried.
        declared: for the spelling of paths.
        exists: tells of a path that was not there for the job whether it is there outside of its view.
    """
    told = []
    near = _Reach((declared.directory, *declared.search), observed)
    for access in observed.accesses.values():
        # No sandbox of ours refuses a look; a view can hide what is looked for, and far away that is a search for programs.
        refused = access.refused - {Use.LOOK}
        hidden = access.absent if near.holds(access) else access.absent - {Use.LOOK, Use.EXECUTE}
        if refused:
            told.append(_denial(access, declared, refused, "was refused"))
        elif hidden and not access.made and exists(access.place):
            told.append(_denial(access, declared, hidden, "failed: it is hidden"))
    told += [
        Finding(Kind.DENIED, address, f"the connection{_by(event)} was refused", "let the job work offline")
        for address, event in observed.connections.items()
        if event.error in REFUSED
    ]
    return merged(told)


def _denial(access: Access, declared: Declared, uses: set[Use], how: str) -> Finding:
    path = _shown(access, declared)
    writes = not uses.isdisjoint(CHANGES)
    who = access.by(*sorted(uses))
    remedy = REMEDIES[Kind.UNDECLARED_WRITE if writes else Kind.UNDECLARED_READ].replace("{}", path)
    return Finding(Kind.DENIED, path, f"{'writing' if writes else 'reading'}{who} {how}", remedy)


def _shown(access: Access, declared: Declared) -> str:
    """A path as its declaration would have it, by the name with which that can be done."""
    for path in (access.place, *access.names):
        if (short := spelled(path, declared)) != path:
            return short
    return access.place


def _by(event: Event) -> str:
    return f" by {event.program}" if event.program else ""


@final
class _Judgement:
    """One job's."""

    def __init__(self, observed: Observed, declared: Declared, free: Free) -> None:
        self._observed, self._declared = observed, declared
        outputs = [path for pair in declared.outputs for path in pair]
        written = (*outputs, *declared.dep_info, *declared.writable)
        self._readable = _Reach(
            (*declared.inputs, *declared.allowed, *written, *free.read, *free.write), observed
        )
        self._writable = _Reach((*written, *free.write), observed)
        self._searched = _Reach((declared.directory, *declared.search), observed)
        listed = (*declared.search, *free.listed)
        self._directories = {
            above
            for access in observed.accesses.values()
            if access.uses
            for above in _upwards(posixpath.dirname(access.place))
        }
        self._listed = {spelled for path in listed for spelled in (path, observed.real(path))}

    def findings(self, *, unused: bool) -> list[Finding]:
        told = [finding for access in self._observed.accesses.values() for finding in self._of(access)]
        told += [
            found(Kind.NETWORK, address, f"{'bound' if event.use is Use.BIND else 'connected'}{_by(event)}")
            for address, event in self._observed.connections.items()
            if not self._is_own_socket(address)
        ]
        if unused:
            told += self._unused()
        return merged(told)

    def _is_own_socket(self, address: str) -> bool:
        path = address.removeprefix("unix:")
        return path.startswith("/") and self._readable.holds(Access(path))

    def _of(self, access: Access) -> Iterator[Finding]:
        path = _shown(access, self._declared)
        readable = self._readable.holds(access)
        if access.is_read and not readable and access.place not in self._directories:
            did = "read" if Use.READ in access.uses else "executed"
            yield found(Kind.UNDECLARED_READ, path, f"{did}{access.by(Use.READ, Use.EXECUTE)}")
        if access.is_written and not self._may_write(access):
            did = "removed" if access.exists is False else "written"
            yield found(Kind.UNDECLARED_WRITE, path, f"{did}{access.by(*CHANGES)}")
        if Use.LIST in access.uses and not access.made and not readable and access.place not in self._listed:
            yield found(Kind.UNDECLARED_LISTING, path, f"listed{access.by(Use.LIST)}")
        if access.absent and self._is_probe(access) and not readable:
            yield found(Kind.UNDECLARED_PROBE, path, f"not there; looked for{access.by(*access.absent)}")

    def _may_write(self, access: Access) -> bool:
        made_on_the_way = access.uses.intersection(MAKES) and self._writable.leads_to(access)
        return self._writable.holds(access) or bool(made_on_the_way)

    def _is_probe(self, access: Access) -> bool:
        """True when a file of this name, if there was one, could change what the job makes."""
        if access.made or access.existed or not self._searched.holds(access):
            return False
        known = self._observed.accesses
        above = [known[path] for path in _upwards(posixpath.dirname(access.place)) if path in known]
        if any(directory.made for directory in above):
            return False
        # A directory that is not there is told alone.
        return not any(directory.absent and not directory.existed for directory in above)

    def _unused(self) -> Iterator[Finding]:
        used = {
            above
            for access in self._observed.accesses.values()
            if access.uses
            for path in (access.place, *access.names)
            for above in _upwards(path)
        }
        for path in self._declared.inputs:
            if path not in used and self._observed.real(path) not in used:
                yield found(Kind.UNUSED_INPUT, spelled(path, self._declared))
