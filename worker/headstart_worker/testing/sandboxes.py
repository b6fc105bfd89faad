"""Sandboxes as a host owns them that lets many sandboxed requests through one worker (Bazel 6 and later).

    sandboxes = Sandboxes(directory, execution_root, slots=4, garbage=Garbage())
    async with FakeHost(cwd=directory) as host:
        response = await sandboxes.work(host, ("--", "cc", "-c", "a.c"), (Input("a.c", b"1"),), outputs=("a.o",))

Each slot is one directory, `__sandbox/<number>/<name of the execution root>` below the worker's. A request holds a slot from before
it is sent until its response is read; in between nobody but the worker touches the directory. With the response the
declared outputs are *moved* to the execution root, and the directory is another action's, before anything else happens. Not
here: digests, and when a request is due; those are the caller's.
"""

from __future__ import annotations

import os
import posixpath
import random
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, final

import trio
from attrs import define, field

from headstart_worker.messages import Input, WorkResponse
from headstart_worker.testing.host import WorkerEndedError, Works

Kind = Literal["symlink", "hardlink", "copy"]

_BRING: Final[Mapping[Kind, Callable[[str, str], object]]] = {
    "symlink": os.symlink,
    "hardlink": os.link,
    "copy": shutil.copy,
}

_Stamp = tuple[int, int, int, int]

_LINES: Final = 50
"""Of garbage: a file that is longer than some inputs and shorter than others."""


@final
@define
class Garbage:
    """What the next action would put into a sandbox, only worse: whoever still reads there gets wrong bytes or none.

    Under each name is another file, no file, a directory or a link to nowhere; now and then the whole sandbox is gone. What is
    reached through a link is never written to: that would be the execution root.

    Attributes:
        written: sandboxes that were filled with it so far.
        removed: sandboxes that were taken away instead.
    """

    seed: int = 1
    written: int = field(default=0, init=False)
    removed: int = field(default=0, init=False)
    _random: random.Random = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - the same garbage each time

    def put(self, sandbox: Path, names: Iterable[str], *, in_place: Collection[str]) -> None:
        """Fills a sandbox, or removes it.

        Args:
            sandbox: that somebody may still look into.
            names: of the files of its last request.
            in_place: those that are files of the sandbox's own; half of them are truncated and written, so that who holds one
                open, mapped or linked sees it change.
        """
        if self._random.random() < 0.1:
            self.removed += 1
            shutil.rmtree(sandbox)
            return
        self.written += 1
        for name in names:
            place = sandbox / name
            text = f"garbage of another action, where {name} was\n" * self._random.randrange(1, _LINES)
            if name in in_place and self._random.random() < 0.5 and _is_own(place):
                place.write_text(text, encoding="utf-8")
                continue
            _remove(place)
            match self._random.choices(("file", "nothing", "directory", "link"), (6, 2, 1, 1))[0]:
                case "file":
                    _make_parent(place)
                    place.write_text(text, encoding="utf-8")
                case "directory":
                    place.mkdir(parents=True)
                case "link":
                    _make_parent(place)
                    place.symlink_to("nowhere")


@final
class Sandboxes:
    """The sandboxes of one worker.

    Attributes:
        slots: directories, relative to the worker's, as requests name them.
        served: how many requests each of them was used for.
    """

    def __init__(
        self,
        directory: Path,
        execution_root: Path,
        *,
        slots: int,
        kind: Kind = "symlink",
        garbage: Garbage | None = None,
    ) -> None:
        """Makes no directory yet.

        Args:
            directory: the worker's.
            execution_root: where inputs come from and outputs go to.
            slots: how many requests may be unanswered at once; more wait for one.
            kind: how an input comes into a sandbox. Bazel's are symbolic links, absolute, to the execution root's files.
            garbage: what is put into a sandbox with the response; None: it is left as it is until its next request.
        """
        self.slots = [f"__sandbox/{number}/{execution_root.name}" for number in range(1, slots + 1)]
        self.served = dict.fromkeys(self.slots, 0)
        self._directory = directory
        self._root = execution_root
        self._kind = kind
        self._garbage = garbage
        self._left: dict[str, dict[str, _Stamp]] = {}
        self._touched: list[str] = []
        # The last one given back is the next one given out, as in Bazel's pools: what is reused, is reused at once.
        self._free = list(reversed(self.slots))
        self._number_free = trio.Semaphore(slots)

    async def work(
        self,
        host: Works,
        arguments: Sequence[str],
        inputs: Iterable[Input] = (),
        *,
        outputs: Collection[str] = (),
        texts: Mapping[str, str] | None = None,
        request_id: int | None = None,
    ) -> WorkResponse:
        """Sends a request with a sandbox of its own and waits for its response.

        Args:
            host: of the worker in whose directory these are.
            arguments: the wrapper's command line.
            inputs: all of them; each is a file of the execution root or one of `texts`.
            outputs: what is moved out, as far as it is there.
            texts: what the host writes itself, such as params files, which are real files of the sandbox.
            request_id: see `FakeHost.work`.

        Raises:
            FileNotFoundError: an input does not exist.
            WorkerEndedError: the worker ended first.
            trio.BrokenResourceError: it had ended before.
        """
        inputs, texts = tuple(inputs), texts or {}
        await self._number_free.acquire()
        slot = self._free.pop()
        linked = [item.path for item in inputs if item.path not in texts]
        try:
            await trio.to_thread.run_sync(self._fill, slot, linked, outputs, texts)
        except BaseException:
            self._give_back(slot)
            raise
        self.served[slot] += 1
        try:
            return await host.work(
                arguments,
                inputs,
                request_id=request_id,
                sandbox_dir=slot,
                answered=lambda _response: self._take_back(slot, linked, outputs, texts),
            )
        except (WorkerEndedError, trio.BrokenResourceError):  # no response will come
            self._give_back(slot)
            raise

    def _fill(
        self, slot: str, linked: Sequence[str], outputs: Iterable[str], texts: Mapping[str, str]
    ) -> None:
        """The sandbox of one request, from nothing."""
        self._look(slot)
        self._left.pop(slot, None)
        sandbox = self._directory / slot
        if sandbox.exists():
            shutil.rmtree(sandbox)
        directories = {posixpath.dirname(path) for path in (*linked, *outputs, *texts)}
        for directory in directories:
            (sandbox / directory).mkdir(parents=True, exist_ok=True)
        bring = _BRING[self._kind]
        for path in linked:
            source = f"{self._root}/{path}"
            if not os.path.exists(source):  # noqa: PTH110 - a host does this for thousands of files
                raise FileNotFoundError(f"the input {path} is not in the execution root {self._root}")
            bring(source, f"{sandbox}/{path}")
        for path, text in texts.items():
            (sandbox / path).write_text(text, encoding="utf-8")

    def _take_back(
        self, slot: str, linked: Sequence[str], outputs: Iterable[str], texts: Mapping[str, str]
    ) -> None:
        """Runs as the response is read. It blocks, so that nothing comes between."""
        sandbox = self._directory / slot
        for path in outputs:
            if os.path.lexists(sandbox / path):
                place = self._root / path
                _make_parent(place)
                shutil.move(sandbox / path, place)
        if self._garbage is not None:
            own = {*texts, *(linked if self._kind == "copy" else ())}
            self._garbage.put(sandbox, (*linked, *texts, *outputs), in_place=own)
            self._left[slot] = _stamps(sandbox)
        self._give_back(slot)

    def touched(self) -> list[str]:
        """Every file, relative to the worker's directory, that is not as the host left it with a response. I8: none ever is.

        Tells of writing, removing and linking; not of reading. Knows nothing where there is no garbage.
        """
        for slot in self._free:
            self._look(slot)
        return sorted(self._touched)

    def _look(self, slot: str) -> None:
        left = self._left.get(slot)
        if left is not None:
            found = self._left[slot] = _stamps(self._directory / slot)
            changed = (name for name in left.keys() | found if left.get(name) != found.get(name))
            self._touched += (f"{slot}/{name}" for name in changed)

    def _give_back(self, slot: str) -> None:
        self._free.append(slot)
        self._number_free.release()


def _stamps(directory: Path) -> dict[str, _Stamp]:
    """What is in it, of each its inode; of a file also its number of links, its size and the time of its last change."""
    found: dict[str, _Stamp] = {}
    for path in directory.rglob("*"):
        status = path.lstat()
        # A directory changes with what is in it, which is told by name.
        look = (status.st_nlink, status.st_size, status.st_ctime_ns)
        found[str(path.relative_to(directory))] = (
            (status.st_ino, 0, 0, 0) if stat.S_ISDIR(status.st_mode) else (status.st_ino, *look)
        )
    return found


def _is_own(place: Path) -> bool:
    """A regular file that is reached through no link."""
    return place.is_file() and not place.is_symlink()


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _make_parent(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
