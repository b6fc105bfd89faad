"""Judges what a worker and its compilers did under strace: the windows of sandboxes, and what may happen in and between them (I8).

    windows    a sandbox is a request's from the end of the worker's read of that request to the begin of its write of the response
    outside    no call names anything under a sandbox, and no thread is in it
    inside     what is read under the sandbox is declared as input, what is written there as output
    always     other reads are of the toolchain, the system, the worker or its private directories; other writes of the latter; a
               file that shares its inode with one of the host's is not written

Everything comes from the log but where symbolic links lead. A call that overlaps a window's edge counts as outside. Page faults of mappings
and what was opened before do not show in calls: a look at the processes has to tell (`holdings`).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

from attrs import Factory, frozen

from process.strace_inodes import Inodes, within
from process.strace_lines import Call, Exit, Name, Role, unquoted

_FOR_EVER = 1 << 62


@frozen
class Streams:
    """The worker's two protocol streams, as strace names them: `pipe:[123]`."""

    requests: str
    responses: str


@frozen
class Permitted:
    """What may be touched whatever the requests say; files, and directories with all that is in them.

    Attributes:
        read: toolchain, system, the worker itself.
        write: private directories: they may be read too.
        leads: what inputs and outputs of sandboxes are outside: path to real path. Nothing but an input of an open window is read
            there; who asks whether the place exists may.
    """

    read: tuple[str, ...]
    write: tuple[str, ...]
    leads: Mapping[str, str] = Factory(dict)


@frozen
class Window:
    """One request's time with its sandbox, in lines of the log; both ends excluded."""

    request_id: int
    sandbox: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    begin: int
    end: int

    @property
    def is_open(self) -> bool:
        """There was no response."""
        return self.end == _FOR_EVER

    def holds(self, call: Call) -> bool:
        """The call happened within the window from begin to end."""
        return self.begin < call.began and call.ended < self.end


@frozen
class Violation:
    """Something that must not be.

    Attributes:
        kind: "after" (outside every window), "held" (a thread's directory), "read", "write", "shared" (a write to an inode of the
            host's), "link" (a symbolic link into a sandbox that stays).
        path: what was touched.
        how: the call, for people.
    """

    kind: str
    path: str
    how: str


def _objects(text: str) -> Iterator[tuple[dict[str, Any], int, int]]:
    """JSON objects, and where each begins and ends."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, end = decoder.raw_decode(text, at)
        yield value, at, end
        at = end


def _moved(events: Iterable[Call | Exit], names: tuple[str, ...], stream: str) -> list[tuple[Call, bytes]]:
    ending = f"<{stream}>"
    return [
        (call, call.data()[: int(call.result)])
        for call in events
        if isinstance(call, Call) and call.name in names and not call.failed and call.args[0].endswith(ending)
    ]


def _frames(moved: list[tuple[Call, bytes]]) -> Iterator[tuple[dict[str, Any], Call, Call]]:
    """JSON objects with the calls that moved their first and their last byte."""
    starts, text = [], ""
    for call, data in moved:
        starts.append((len(text), call))
        text += data.decode("ascii", "replace")  # one character for each byte: places count
    for value, begin, end in _objects(text):
        first = max(at for at, _ in starts if at <= begin)
        last = max(at for at, _ in starts if at < end)
        yield value, dict(starts)[first], dict(starts)[last]


def windows(events: Iterable[Call | Exit], streams: Streams, cwd: str) -> list[Window]:
    """Every request's window, in order of the requests.

    Raises:
        ValueError: strace did not show the streams whole.
    """
    events = list(events)
    ends: dict[int, list[int]] = {}
    for response, first, _ in _frames(_moved(events, ("write",), streams.responses)):
        ends.setdefault(int(response.get("requestId", 0)), []).append(first.began)
    found = []
    for request, _, last in _frames(_moved(events, ("read",), streams.requests)):
        if request.get("cancel"):
            continue
        number = int(request.get("requestId", 0))
        sandbox = posixpath.normpath(posixpath.join(cwd, request.get("sandboxDir", "")))
        outputs = [
            argument.partition("=")[2]
            for argument in request.get("arguments", ())
            if argument.startswith(("--output=", "--early-output="))
        ]
        end = next((end for end in ends.get(number, ()) if end > last.ended), _FOR_EVER)
        inputs = (item["path"] for item in request.get("inputs", ()))
        found.append(
            Window(
                number,
                sandbox,
                tuple(posixpath.normpath(posixpath.join(sandbox, path)) for path in inputs),
                tuple(posixpath.normpath(posixpath.join(sandbox, path)) for path in outputs),
                last.ended,
                end,
            )
        )
    return found


def judge(events: Iterable[Call | Exit], found: Iterable[Window], permitted: Permitted) -> list[Violation]:
    """Everything that must not be: the first of each kind and path, in order."""
    violations = _Judge(list(events), list(found), permitted).violations()
    return list({(each.kind, each.path): each for each in reversed(list(violations))}.values())[::-1]


@final
class _Judge:
    def __init__(self, events: list[Call | Exit], found: list[Window], permitted: Permitted) -> None:
        self._events = events
        self._windows = found
        self._permitted = permitted
        self._sandboxes = sorted({window.sandbox for window in found})
        self._temporary = set(_temporary(events, found))
        self._inputs = {path for window in found for path in window.inputs}
        self._inputs |= {permitted.leads.get(path, path) for path in self._inputs}
        self._elsewhere = {*self._sandboxes, *permitted.leads.values()}
        self._ids = Inodes()

    def violations(self) -> Iterator[Violation]:
        yield from self._held()
        for call in self._events:
            if isinstance(call, Exit):
                continue
            for name in dict.fromkeys(call.names()):
                yield from self._of(call, name)
            if not call.failed:
                yield from self._links(call)

    def _sandbox(self, path: str) -> str | None:
        return next((sandbox for sandbox in self._sandboxes if within(path, sandbox)), None)

    def _window(self, call: Call, sandbox: str) -> Window | None:
        return next((each for each in self._windows if each.sandbox == sandbox and each.holds(call)), None)

    def _of(self, call: Call, name: Name) -> Iterator[Violation]:
        sandbox = self._sandbox(name.path)
        window = None if sandbox is None else self._window(call, sandbox)
        if sandbox is not None and window is None:
            yield Violation("after", name.path, call.text)
        elif call.failed or name.role is Role.TOUCH:
            return
        elif name.role is Role.WRITE:
            if not (self._is_output(name.path, window, call) if window else self._may_write(name.path)):
                yield Violation("write", name.path, call.text)
            elif self._ids.is_hosts(name.path, call.ended) and not _makes_names(call):
                yield Violation("shared", name.path, call.text)
        elif not (self._is_declared(name, window) if window else self._may_read(name, call)):
            yield Violation("read", name.path, call.text)

    def _is_declared(self, name: Name, window: Window) -> bool:
        files = (*window.inputs, *window.outputs, window.sandbox)
        if name.role is not Role.READ and any(within(path, name.path) for path in files):
            return True  # a directory on the way, as realpath(3) looks at it
        return (name.path, window) in self._temporary or any(
            within(name.path, path) for path in (*window.inputs, *window.outputs)
        )

    def _is_output(self, path: str, window: Window, call: Call) -> bool:
        if path in window.outputs or (path, window) in self._temporary:
            return True
        makes = call.name in {"mkdir", "mkdirat"}
        return makes and any(within(output, path) for output in window.outputs)

    def _may_write(self, path: str) -> bool:
        return any(within(path, tree) for tree in self._permitted.write)

    def _may_read(self, name: Name, call: Call) -> bool:
        trees = [*self._permitted.read, *self._permitted.write]
        for window in self._windows:
            if window.holds(call):
                trees += (self._permitted.leads.get(path, path) for path in window.inputs)
        if name.role is not Role.READ and any(within(tree, name.path) for tree in (*trees, *self._elsewhere)):
            return True
        return any(within(name.path, tree) for tree in trees)

    def _links(self, call: Call) -> Iterator[Violation]:
        """Follows which names share an inode, and which of those are the host's."""
        paths = [name.path for name in call.names() if name.role is not Role.TOUCH]
        if call.name.startswith("symlink"):
            target = unquoted(call.args[0]).decode(errors="surrogateescape")
            leads = posixpath.normpath(posixpath.join(posixpath.dirname(paths[-1]), target))
            if self._sandbox(leads) is not None and self._sandbox(paths[-1]) is None:
                yield Violation("link", leads, call.text)
        elif call.name.startswith("link"):
            if paths[0] in self._inputs:
                self._ids.mark(paths[0], 0)
            self._ids.link(paths[0], paths[1])
        elif call.name.startswith("rename"):
            self._ids.rename(paths[0], paths[1])
        elif call.name.startswith("unlink"):
            self._ids.unlink(paths[0])
        if call.name.startswith(("link", "rename")) and (sandbox := self._sandbox(paths[1])):
            window = self._window(call, sandbox)
            self._ids.mark(paths[1], window.end if window else call.ended)

    def _held(self) -> Iterator[Violation]:
        """Threads that are in a sandbox when its response is written."""
        for window in self._windows:
            here: dict[int, Call] = {}
            for event in self._events:
                if isinstance(event, Exit):
                    if event.line < window.end:
                        here.pop(event.pid, None)
                elif event.ended < window.end:
                    here[event.pid] = event
            for call in here.values():
                if within(call.then, window.sandbox) and not window.is_open:
                    yield Violation("held", call.then, call.text)


def _temporary(events: Iterable[Call | Exit], found: Iterable[Window]) -> Iterator[tuple[str, Window]]:
    """What became an output by rename within the output's window."""
    for call in events:
        if isinstance(call, Call) and call.name.startswith("rename") and not call.failed:
            source, target = (name.path for name in call.names() if name.role is Role.WRITE)
            for window in found:
                if target in window.outputs and window.holds(call):
                    yield source, window


def _makes_names(call: Call) -> bool:
    """The call changes what a directory says, not the file of that name."""
    return call.name.startswith(("link", "rename", "unlink", "symlink", "mkdir")) or any(
        "O_EXCL" in arg for arg in call.args
    )
